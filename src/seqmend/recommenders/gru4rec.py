"""GRU4Rec: a gated recurrent unit over the history (Hidasi et al., ICLR 2016), for sequences of users."""

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from seqmend.recommenders.backbone import Backbone
from seqmend.recommenders.dropout import Dropout

_INITIAL_STD = 0.02


class GRU4RecConfig(BaseModel):
    """Size of the model; names as in the project's glossary."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["gru4rec"] = "gru4rec"
    embedding_size: int = Field(default=64, ge=1)
    hidden_size: int = Field(default=128, ge=1)
    n_layers: int = Field(default=1, ge=1)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    max_length: int = Field(default=50, ge=1)


class GRU4Rec(Backbone):
    """Embedding, dropout, GRU, a linear map back to the embedding.

    The original is for sessions whose state is carried across mini-batches, with negatives from the batch. Here, as is
    common for leave-one-out, each row starts from an empty state and the training's objective is a setting. The state
    stays empty until the first input, so that padding on the left changes nothing; a masked interaction leaves the
    state as it is.

    Args:
        n_items: V.
        config: Sizes.
        seed: Of the initial weights; the global random state is left alone.
    """

    def __init__(self, n_items: int, config: GRU4RecConfig, seed: int = 0) -> None:
        super().__init__()
        self.n_items, self.max_length = n_items, config.max_length
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.items = nn.Embedding(n_items + 1, config.embedding_size, padding_idx=0)
            self.dropout = Dropout(config.dropout)
            self.gru = nn.GRU(config.embedding_size, config.hidden_size, config.n_layers, batch_first=True)
            self.to_embedding = nn.Linear(config.hidden_size, config.embedding_size)
            nn.init.normal_(self.items.weight, std=_INITIAL_STD)
            with torch.no_grad():
                self.items.weight[0] = 0

    def forward(self, items: Tensor, users: Tensor | None = None) -> Tensor:
        """States of all columns, float [B, L, d]; see `Backbone.forward`."""
        length = items.shape[1]
        is_input = items != 0
        # Inputs are moved to the left without gaps, because a GRU's state changes at padding too, and back afterwards.
        places = (is_input.cumsum(1) - 1).clamp_(min=0)
        order = torch.where(is_input, 0, 1).argsort(dim=1, stable=True)
        x = self.dropout(self.items(items.gather(1, order)))
        states = self.to_embedding(self.dropout(self.gru(x)[0]))
        return states.gather(1, places[..., None].expand(-1, length, states.shape[-1]))

    def output_table(self) -> Tensor:
        """The input embedding, float [V + 1, d]."""
        return self.items.weight
