"""SASRec: self-attention over the history (Kang and McAuley, ICDM 2018)."""

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from seqmend.recommenders.backbone import Backbone
from seqmend.recommenders.dropout import Dropout

_INITIAL_STD = 0.02  # as BERT4Rec; with 1 / sqrt(d) the first epochs learn little but popularity


class SASRecConfig(BaseModel):
    """Size of the model; names as in the project's glossary.

    Attributes:
        inner_size: Of the pointwise feed-forward layers; by default the embedding's, as in the official code.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["sasrec"] = "sasrec"
    embedding_size: int = Field(default=64, ge=1)
    n_layers: int = Field(default=2, ge=1)
    n_heads: int = Field(default=2, ge=1)
    inner_size: int | None = Field(default=None, ge=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    max_length: int = Field(default=50, ge=1)

    @model_validator(mode="after")
    def _heads_divide(self) -> "SASRecConfig":
        if self.embedding_size % self.n_heads:
            raise ValueError("embedding_size must be a multiple of n_heads")
        return self


class SASRec(Backbone):
    """Causal self-attention blocks; scores are products with the input embedding (section III).

    As in the official code, layer normalisation is on the query and the residual starts from the normalised query;
    keys and values are not normalised. Deviations: positions count from the end, so that padding on the left changes
    nothing; queries, keys, values and heads are joined by linear maps; no dropout on attention weights.

    Args:
        n_items: V.
        config: Sizes.
        seed: Of the initial weights; the global random state is left alone.
    """

    def __init__(self, n_items: int, config: SASRecConfig, seed: int = 0) -> None:
        super().__init__()
        self.n_items, self.max_length = n_items, config.max_length
        self.config = config
        size = config.embedding_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.items = nn.Embedding(n_items + 1, size, padding_idx=0)
            self.positions = nn.Embedding(config.max_length, size)
            self.blocks = nn.ModuleList(_Block(config) for _ in range(config.n_layers))
            self.last_norm = nn.LayerNorm(size)
            self.dropout = Dropout(config.dropout)
            for table in (self.items, self.positions):
                nn.init.normal_(table.weight, std=_INITIAL_STD)
            with torch.no_grad():
                self.items.weight[0] = 0

    def forward(self, items: Tensor, users: Tensor | None = None) -> Tensor:
        """States of all columns, float [B, L, d]; see `Backbone.forward`."""
        length = items.shape[1]
        is_input = items != 0
        x = self.items(items) * self.config.embedding_size**0.5 + self.positions.weight[-length:]
        x = self.dropout(x)
        # A padding column may look at itself: in some attention kernels a softmax over nothing is not a number.
        causal = torch.ones(length, length, dtype=torch.bool, device=items.device).tril()
        itself = torch.eye(length, dtype=torch.bool, device=items.device)
        may_see = (causal & is_input[:, None, :]) | itself
        bias = torch.zeros(may_see.shape, dtype=x.dtype, device=x.device).masked_fill_(~may_see, float("-inf"))
        for block in self.blocks:
            x = block(x, bias[:, None])
        return self.last_norm(x)

    def output_table(self) -> Tensor:
        """The input embedding, float [V + 1, d]."""
        return self.items.weight


class _Block(nn.Module):
    def __init__(self, config: SASRecConfig) -> None:
        super().__init__()
        size = config.embedding_size
        self.n_heads = config.n_heads
        self.query_norm = nn.LayerNorm(size)
        self.query = nn.Linear(size, size)
        self.key_value = nn.Linear(size, 2 * size)
        self.join = nn.Linear(size, size)
        self.feed_norm = nn.LayerNorm(size)
        self.feed_in = nn.Linear(size, config.inner_size or size)
        self.feed_out = nn.Linear(config.inner_size or size, size)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        B, L, d = x.shape
        normed = self.query_norm(x)
        query = self.query(normed).view(B, L, self.n_heads, -1).transpose(1, 2)
        key, value = self.key_value(x).view(B, L, 2, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        x = normed + self.dropout(self.join(attended.transpose(1, 2).reshape(B, L, d)))
        normed = self.feed_norm(x)
        return normed + self.dropout(self.feed_out(nn.functional.relu(self.feed_in(normed))))
