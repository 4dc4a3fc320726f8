"""BERT4Rec: bidirectional attention that fills in masked items (Sun et al., CIKM 2019)."""

from typing import ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from seqmend.recommenders.backbone import Backbone, Batch, Objective, with_bias, with_one
from seqmend.recommenders.dropout import Dropout

_INITIAL_STD = 0.02


class BERT4RecConfig(BaseModel):
    """Size of the model and its cloze task; names as in the project's glossary.

    Attributes:
        mask_ratio: Share of a row's targets that are masked and predicted at once.
        last_only: Share of the rows in which the last item alone is masked, as at prediction.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["bert4rec"] = "bert4rec"
    embedding_size: int = Field(default=64, ge=1)
    n_layers: int = Field(default=2, ge=1)
    n_heads: int = Field(default=2, ge=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    mask_ratio: float = Field(default=0.3, gt=0, le=1)
    last_only: float = Field(default=0.1, ge=0, le=1)
    max_length: int = Field(default=50, ge=1)

    @model_validator(mode="after")
    def _heads_divide(self) -> "BERT4RecConfig":
        if self.embedding_size % self.n_heads:
            raise ValueError("embedding_size must be a multiple of n_heads")
        return self


class BERT4Rec(Backbone):
    """Transformer encoder; prediction appends a mask and reads its state (section 3).

    Training masks real targets of a row that carry loss, so that held-out and pseudo items are never asked for, and
    weighs each by its own weight. In instance form the one target is masked. Deviations: positions count from the end,
    so that padding on the left changes nothing; normalisation before each part (the original's is after, and slower to
    train); no dropout on attention weights; masks are drawn afresh in every epoch instead of ten fixed times.

    Args:
        n_items: V.
        config: Sizes and task.
        seed: Of the initial weights; the global random state is left alone.
    """

    is_causal: ClassVar[bool] = False

    def __init__(self, n_items: int, config: BERT4RecConfig, seed: int = 0) -> None:
        super().__init__()
        self.n_items, self.max_length = n_items, config.max_length
        self.config = config
        size = config.embedding_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.items = nn.Embedding(n_items + 1, size, padding_idx=0)
            self.mask = nn.Parameter(torch.zeros(1, size))
            self.positions = nn.Embedding(config.max_length + 1, size)  # one more for the appended mask
            self.norm = nn.LayerNorm(size)
            self.dropout = Dropout(config.dropout)
            self.blocks = nn.ModuleList(_Block(config) for _ in range(config.n_layers))
            self.last_norm = nn.LayerNorm(size)
            self.project = nn.Linear(size, size)
            self.project_norm = nn.LayerNorm(size)
            self.output_bias = nn.Parameter(torch.zeros(n_items + 1))
            nn.init.normal_(self.mask, std=_INITIAL_STD)
            for module in self.modules():
                if isinstance(module, nn.Embedding | nn.Linear):
                    nn.init.normal_(module.weight, std=_INITIAL_STD)
            with torch.no_grad():
                self.items.weight[0] = 0

    def forward(self, items: Tensor, users: Tensor | None = None) -> Tensor:
        """States, float [B, L, d], of which the last, that of an appended mask, is a prediction."""
        sequence = nn.functional.pad(items, (0, 1))
        is_masked = torch.zeros_like(sequence, dtype=torch.bool)
        is_masked[:, -1] = True
        return self.fill_in(sequence, is_masked)[:, 1:]

    def fill_in(self, sequence: Tensor, is_masked: Tensor) -> Tensor:
        """States of all items of a sequence, some of them hidden.

        Args:
            sequence: int [B, L + 1], items; 0 = padding.
            is_masked: bool [B, L + 1], which are hidden; a hidden one is read whatever its number is.

        Returns:
            float [B, L + 1, d]; where hidden, to be multiplied with `output_table`.
        """
        is_real = (sequence != 0) | is_masked
        x = (
            torch.where(is_masked[..., None], self.mask, self.items(sequence))
            + self.positions.weight[-sequence.shape[1] :]
        )
        x = self.dropout(self.norm(x))
        itself = torch.eye(sequence.shape[1], dtype=torch.bool, device=sequence.device)
        may_see = is_real[:, None, :] | itself
        bias = torch.zeros(may_see.shape, dtype=x.dtype, device=x.device).masked_fill_(~may_see, float("-inf"))
        for block in self.blocks:
            x = block(x, bias[:, None])
        states = self.project_norm(nn.functional.gelu(self.project(self.last_norm(x))))
        return with_one(states)

    def training_loss(self, batch: Batch, objective: Objective) -> Tensor:
        """The cloze task: some targets of every row are hidden and predicted from all that is not hidden."""
        sequence = torch.cat([batch.items, batch.targets[:, -1:]], dim=1)
        is_asked = self._hide(batch.counts)
        is_masked = nn.functional.pad(is_asked, (1, 0))
        states = self.fill_in(sequence, is_masked)[:, 1:][is_asked]
        users = batch.users[:, None].expand_as(is_asked)[is_asked]
        return objective(states, self.output_table(), batch.targets[is_asked].long(), batch.weights[is_asked], users)

    def _hide(self, counts: Tensor) -> Tensor:
        """Which targets are asked for, bool [B, L]: a share of them, at least one, or the last alone."""
        draws = torch.rand(counts.shape, device=counts.device).masked_fill_(~counts, 2.0)
        share = draws < self.config.mask_ratio
        one = nn.functional.one_hot(draws.argmin(1), counts.shape[1]).bool() & counts
        asked = torch.where(share.any(1, keepdim=True), share, one)
        columns = torch.arange(counts.shape[1], device=counts.device)
        last = columns == torch.where(counts, columns, -1).amax(1, keepdim=True)
        is_last_only = torch.rand(len(counts), 1, device=counts.device) < self.config.last_only
        return torch.where(is_last_only, last, asked) & counts

    def output_table(self) -> Tensor:
        """The input embedding with a bias per item, float [V + 1, d]."""
        return with_bias(self.items.weight, self.output_bias)


class _Block(nn.Module):
    def __init__(self, config: BERT4RecConfig) -> None:
        super().__init__()
        size = config.embedding_size
        self.n_heads = config.n_heads
        self.attention_norm = nn.LayerNorm(size)
        self.query_key_value = nn.Linear(size, 3 * size)
        self.join = nn.Linear(size, size)
        self.feed_norm = nn.LayerNorm(size)
        self.feed_in = nn.Linear(size, 4 * size)
        self.feed_out = nn.Linear(4 * size, size)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        B, L, d = x.shape
        joined = self.query_key_value(self.attention_norm(x))
        query, key, value = joined.view(B, L, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        x = x + self.dropout(self.join(attended.transpose(1, 2).reshape(B, L, d)))
        fed = self.feed_out(nn.functional.gelu(self.feed_in(self.feed_norm(x))))
        return x + self.dropout(fed)
