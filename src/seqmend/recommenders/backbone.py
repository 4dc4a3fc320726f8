"""What every sequential recommender offers to the training loop and to the ranking."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """A sequential recommender whose scores are products of a state and a table of item vectors.

    Attributes:
        n_items: V; items are numbered 1..V and 0 is padding.
        max_length: Most inputs that `forward` takes.
    """

    n_items: int
    max_length: int

    @abstractmethod
    def forward(self, items: Tensor) -> Tensor:
        """States of all columns.

        Args:
            items: int [B, L], L <= max_length, 0 = padding or masked; the latest interaction is in the last column.

        Returns:
            float [B, L, d]; the state of a column has seen that column and the ones before it. Always finite; without
            meaning at padding.
        """

    @abstractmethod
    def output_table(self) -> Tensor:
        """Item vectors that states are multiplied with, float [V + 1, d]; row 0 is never used."""

    def scores(self, states: Tensor) -> Tensor:
        """Scores of all items for every state.

        Args:
            states: float [..., d].

        Returns:
            float [..., V + 1]; column 0 is minus infinity.
        """
        scores = states @ self.output_table().T
        padding = torch.zeros((), dtype=torch.long, device=scores.device)
        return scores.index_fill(-1, padding, float("-inf"))
