"""What every sequential recommender offers to the training loop and to the ranking."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from seqmend.recommenders.rows import Form, Rows

if TYPE_CHECKING:
    from seqmend.recommenders.reliability import Reliability

Objective = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""Loss of next-item prediction, the weighted sum over T targets: (states [T, d], table [V + 1, d], targets [T], weights
[T], users [T]) -> scalar; see `losses`."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of one training step, on the device.

    Attributes:
        numbers: int64 [B], their numbers in the rows of the training.
        items: int32 [B, L], inputs, trimmed to the longest row; 0 = padding or masked.
        targets: int32 [B, L]; 0 = no loss here.
        weights: float32 [B, L].
        users: int64 [B].
        epoch: Passes done before this one.
        teacher: The averaged weights so far, in evaluation mode; None in a training without `ema_decay`.
    """

    numbers: Tensor
    items: Tensor
    targets: Tensor
    weights: Tensor
    users: Tensor
    epoch: int = 0
    teacher: "Backbone | None" = None

    @property
    def counts(self) -> Tensor:
        """Where there is a loss, bool [B, L]."""
        return (self.targets != 0) & (self.weights > 0)


class Backbone(nn.Module, ABC):
    """A sequential recommender whose scores are products of a state and a table of item vectors.

    A model with a bias per item has it as one more column of the table, which the states meet with a one.

    Attributes:
        forms: Forms of rows that it can learn from.
        is_causal: Whether the state of every column has seen that column and the ones before it, and nothing else.
            Otherwise only the state of the last column is a prediction.
        n_items: V; items are numbered 1..V and 0 is padding.
        n_users: Users that have a vector of their own; 0 where none has.
        max_length: Most inputs that `forward` takes.
    """

    forms: ClassVar[tuple[Form, ...]] = ("sequence", "instance")
    is_causal: ClassVar[bool] = True

    n_items: int
    n_users: int = 0
    max_length: int

    @abstractmethod
    def forward(self, items: Tensor, users: Tensor | None = None) -> Tensor:
        """States of all columns.

        Args:
            items: int [B, L], L <= max_length, 0 = padding or masked; the latest interaction is in the last column.
            users: int [B], for models that know users; without it, a user nobody has met.

        Returns:
            float [B, L, d]. Always finite; without meaning at padding.
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

    def prepare(self, rows: Rows) -> None:
        """Take from the training rows what the model needs beside its weights; called once, before the first step.

        Nothing by default.
        """

    def training_loss(self, batch: Batch, objective: Objective) -> Tensor:
        """Weighted sum of the losses of a batch, a scalar.

        By default the objective at every column that has a target that counts.
        """
        counts = batch.counts
        users = batch.users[:, None].expand_as(counts)[counts]
        states = self(batch.items, batch.users)[counts]
        return objective(states, self.output_table(), batch.targets[counts].long(), batch.weights[counts], users)

    def reliability(self, rows: Rows) -> "Reliability":
        """How far the model believes in the targets of rows in instance form; see `reliability.Reliability`.

        By default the rank of the target; robust models answer with what they have learned for the purpose.
        """
        from seqmend.recommenders.reliability import generic_reliability  # it needs this class

        return generic_reliability(self, rows)


def with_one(states: Tensor) -> Tensor:
    """States with a one behind, float [..., d + 1], for a table `with_bias`."""
    return nn.functional.pad(states, (0, 1), value=1.0)


def with_bias(table: Tensor, bias: Tensor) -> Tensor:
    """A table of item vectors with a bias per item, float [V + 1, d + 1].

    Args:
        table: float [V + 1, d].
        bias: float [V + 1].
    """
    return torch.cat([table, bias[:, None]], dim=1)
