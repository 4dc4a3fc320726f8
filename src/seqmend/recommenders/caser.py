"""Caser: convolutions over the last few items as an image (Tang and Wang, WSDM 2018)."""

from typing import ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from seqmend.recommenders.backbone import Backbone, with_bias, with_one
from seqmend.recommenders.dropout import Dropout
from seqmend.recommenders.rows import Form


class CaserConfig(BaseModel):
    """Size of the model; names as in the project's glossary, defaults as the official code.

    Attributes:
        n_horizontal: Filters of every height 1..max_length.
        n_vertical: Filters over a whole column of the image.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["caser"] = "caser"
    embedding_size: int = Field(default=64, ge=1)
    n_horizontal: int = Field(default=16, ge=1)
    n_vertical: int = Field(default=4, ge=1)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    max_length: int = Field(default=5, ge=1)


class Caser(Backbone):
    """Horizontal and vertical convolutions, joined by a linear map and set beside the user's vector (section 3).

    Deviations: a user that nobody has met gets a vector of zeros; one target and the training's objective instead of
    the next three targets and three negatives. The image has always `max_length` rows, those of padding are zeros.

    Args:
        n_items: V.
        config: Sizes.
        n_users: Users with a vector; users are numbered from 0.
        seed: Of the initial weights; the global random state is left alone.
    """

    forms: ClassVar[tuple[Form, ...]] = ("instance",)
    is_causal: ClassVar[bool] = False

    def __init__(self, n_items: int, config: CaserConfig, n_users: int = 0, seed: int = 0) -> None:
        super().__init__()
        self.n_items, self.n_users, self.max_length = n_items, n_users, config.max_length
        self.config = config
        size, length = config.embedding_size, config.max_length
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.items = nn.Embedding(n_items + 1, size, padding_idx=0)
            self.users = nn.Embedding(n_users, size) if n_users else None
            self.horizontal = nn.ModuleList(
                nn.Conv1d(size, config.n_horizontal, height) for height in range(1, length + 1)
            )
            self.vertical = nn.Linear(length, config.n_vertical, bias=False)
            self.join = nn.Linear(config.n_horizontal * length + config.n_vertical * size, size)
            self.dropout = Dropout(config.dropout)
            self.output = nn.Embedding(n_items + 1, 2 * size if n_users else size)
            self.output_bias = nn.Parameter(torch.zeros(n_items + 1))
            for table in (self.items, self.users, self.output):
                if table is not None:
                    nn.init.normal_(table.weight, std=1 / size)  # as the official code
            with torch.no_grad():
                self.items.weight[0] = 0

    def forward(self, items: Tensor, users: Tensor | None = None) -> Tensor:
        """States, float [B, L, d]: the state of the last column at every column; see `Backbone.forward`."""
        length = items.shape[1]
        image = self.items(nn.functional.pad(items, (self.max_length - length, 0)))
        image = image * (nn.functional.pad(items, (self.max_length - length, 0)) != 0)[..., None]
        columns = image.transpose(1, 2)
        pooled = [nn.functional.relu(filters(columns)).amax(-1) for filters in self.horizontal]
        weighted = self.vertical(columns).flatten(1)
        state = nn.functional.relu(self.join(self.dropout(torch.cat([*pooled, weighted], dim=1))))
        if self.users is not None:
            who = self.users(users) if users is not None else torch.zeros_like(state)
            state = torch.cat([state, who], dim=1)
        return with_one(state)[:, None].expand(-1, length, -1)

    def output_table(self) -> Tensor:
        """A table of its own, float [V + 1, d], with a bias per item."""
        return with_bias(self.output.weight, self.output_bias)
