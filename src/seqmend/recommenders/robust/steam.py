"""STEAM: a corrector that learns to undo random damage, and a recommender that reads both versions (WWW 2023)."""

import math
from typing import ClassVar, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from seqmend.recommenders.backbone import Backbone, Batch, Objective
from seqmend.recommenders.losses import cross_entropy
from seqmend.recommenders.reliability import Reliability, per_row, share_below
from seqmend.recommenders.robust.attention import DoubtfulAttention
from seqmend.recommenders.robust.edits import DELETE, INSERT, Edited, damaged, edit
from seqmend.recommenders.rows import Rows

_INITIAL_STD = 0.02
_N_REPAIRS = 3


class STEAMConfig(BaseModel):
    """Sizes, the damage that the corrector learns from, and the cloze task; defaults as the official code.

    Attributes:
        n_extra: Columns that a corrected sequence may have beyond `max_length`.
        n_inserted: Most items put in before one input.
        delete_ratio: Share of items that the damage leaves out.
        insert_ratio: Share of items that the damage puts a random one before.
        mask_ratio: Share of the targets that are hidden and predicted at once.
        last_only: Share of rows in which the last target alone is hidden, as at prediction.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["steam"] = "steam"
    embedding_size: int = Field(default=64, ge=1)
    n_layers: int = Field(default=1, ge=1)
    n_heads: int = Field(default=1, ge=1)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    max_length: int = Field(default=50, ge=1)
    n_extra: int = Field(default=10, ge=0)
    n_inserted: int = Field(default=5, ge=1)
    delete_ratio: float = Field(default=0.5, ge=0, lt=1)
    insert_ratio: float = Field(default=0.1, ge=0, lt=1)
    mask_ratio: float = Field(default=0.5, gt=0, le=1)
    last_only: float = Field(default=0.1, ge=0, le=1)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.embedding_size % self.n_heads:
            raise ValueError("embedding_size must be a multiple of n_heads")
        if self.delete_ratio + self.insert_ratio > 1:
            raise ValueError("delete_ratio and insert_ratio must not sum to more than 1")
        return self


class STEAM(Backbone):
    """One encoder for a corrector (keep, delete, insert before) and a recommender that fills in masks.

    Prediction corrects the inputs, appends a mask and reads its state. The loss is the sum of four: the cloze task on
    the raw and on the corrected sequence, the repairs of a damaged one, and the items to put back. The first two ask
    for targets with their own weights and never for an item that was put in; the last two are means over a row, times
    the sum of its weights, so that a row of weight 0 teaches nothing.

    Inferred by us or different from the official code: the inserter is a recurrent network that starts from the state
    of the item it inserts before; positions count from the end; the last item is never deleted or left out.

    Args:
        n_items: V.
        config: Sizes and tasks.
        n_users: Ignored: the model knows no users.
        seed: Of the initial weights; the global random state is left alone.
    """

    is_causal: ClassVar[bool] = False

    def __init__(self, n_items: int, config: STEAMConfig, n_users: int = 0, seed: int = 0) -> None:
        super().__init__()
        del n_users
        self.n_items, self.max_length, self.config = n_items, config.max_length, config
        self.mask_item = self.end = n_items + 1  # a mask is only read, the end of an insertion only written
        size, self.width = config.embedding_size, config.max_length + config.n_extra + 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.items = nn.Embedding(n_items + 1, size)
            self.mask = nn.Parameter(torch.empty(1, size))
            self.end_of_insertion = nn.Parameter(torch.empty(1, size))
            for weight in (self.items.weight, self.mask, self.end_of_insertion):
                nn.init.normal_(weight, std=_INITIAL_STD)
            self.norm = nn.LayerNorm(size)
            width = self.width + 1  # the mask that prediction appends
            self.attention = DoubtfulAttention(size, config.n_layers, config.n_heads, config.dropout, width)
            self.repair = nn.Linear(size, _N_REPAIRS)
            self.begin_insertion = nn.Linear(size, size)
            self.inserter = nn.GRU(size, size, batch_first=True)

    def forward(self, items: Tensor, users: Tensor | None = None) -> Tensor:
        """The prediction, float [B, L, d], the same in all columns: only the last one is computed."""
        corrected = self._corrected(items.long(), self.width).items
        state = self._states(nn.functional.pad(corrected, (0, 1), value=self.mask_item))[:, -1:]
        return state.expand(-1, items.shape[1], -1)

    def output_table(self) -> Tensor:
        """The input embedding, float [V + 1, d]."""
        return self.items.weight

    def training_loss(self, batch: Batch, objective: Objective) -> Tensor:
        """The four losses; the objective is that of the cloze tasks."""
        sequence = torch.cat([batch.items, batch.targets[:, -1:]], 1).long()
        weights = nn.functional.pad(batch.weights * batch.counts, (1, 0))
        with torch.no_grad():
            corrected = self._corrected(sequence, self.width)
        loss = self._cloze(sequence, weights, batch.users, objective)
        loss = loss + self._cloze(corrected.items, corrected.carried(weights), batch.users, objective)
        return loss + self._repair_loss(sequence, weights.sum(1))

    def _states(self, sequence: Tensor) -> Tensor:
        """States of items and masks, float [B, W, d]."""
        # embedding, not indexing: the gradient of an index is summed in whatever order threads come
        vectors = self.norm(nn.functional.embedding(sequence, torch.cat([self.items.weight, self.mask])))
        return self.attention(vectors, (sequence != 0).to(vectors.dtype))

    def _cloze(self, sequence: Tensor, weights: Tensor, users: Tensor, objective: Objective) -> Tensor:
        """Loss of hidden items of weight > 0: a share of them, or the last one alone."""
        may_ask = (weights > 0) & (sequence != 0)
        columns = torch.arange(sequence.shape[1], device=sequence.device)
        last = columns == torch.where(may_ask, columns, -1).amax(1, keepdim=True)
        share = (torch.rand(sequence.shape, device=sequence.device) < self.config.mask_ratio) & may_ask
        is_last_only = torch.rand(len(sequence), 1, device=sequence.device) < self.config.last_only
        asked = torch.where(is_last_only | ~share.any(1, keepdim=True), last, share)
        states = self._states(torch.where(asked, self.mask_item, sequence))[asked]
        of_user = users[:, None].expand_as(asked)[asked]
        return objective(states, self.output_table(), sequence[asked], weights[asked], of_user)

    def _repair_loss(self, sequence: Tensor, row_weights: Tensor) -> Tensor:
        """Loss of the repairs of a damaged sequence and of the items to put back."""
        config = self.config
        damage = damaged(
            sequence, self.n_items, config.delete_ratio, config.insert_ratio, config.n_inserted, self.end, self.width
        )
        states, is_real = self._states(damage.edited.items), damage.edited.items != 0
        logits = self.repair(states).float().transpose(1, 2)
        errors = nn.functional.cross_entropy(logits, damage.repairs, reduction="none") * is_real
        loss = (row_weights * errors.sum(1) / is_real.sum(1).clamp(min=1)).sum()

        is_open = (damage.repairs == INSERT) & is_real
        rows, missing = is_open.nonzero()[:, 0], damage.missing[is_open]
        is_asked = missing != 0
        previous = self._read(nn.functional.pad(missing[:, :-1] % self.end, (1, 0)))
        written = self.inserter(previous, self._beginning(states[is_open]))[0][is_asked]
        rows = rows[:, None].expand_as(missing)[is_asked]
        n_in_row = torch.bincount(rows, minlength=len(sequence))
        weights = (row_weights / n_in_row.clamp(min=1))[rows]
        return loss + cross_entropy(written.float(), self._insertion_table().float(), missing[is_asked], weights)

    def _beginning(self, states: Tensor) -> Tensor:
        """State of the inserter before it writes, float [1, N, d]."""
        return self.begin_insertion(states).tanh()[None]

    def _read(self, items: Tensor) -> Tensor:
        """What the inserter reads: item vectors, 0 for none."""
        return self.items(items) * (items != 0)[..., None]

    def _insertion_table(self) -> Tensor:
        return torch.cat([self.items.weight, self.end_of_insertion])

    def _corrected(self, sequence: Tensor, width: int) -> Edited:
        """Sequences as the corrector would have them."""
        states = self._states(sequence)
        repairs = self.repair(states).argmax(-1)
        is_last = torch.arange(sequence.shape[1], device=sequence.device) == sequence.shape[1] - 1
        put_in = sequence.new_zeros(*sequence.shape, self.config.n_inserted)
        is_open = (repairs == INSERT) & (sequence != 0)
        put_in[is_open] = self._written(states[is_open]).flip(1)  # the nearest was written first
        return edit(sequence, (repairs != DELETE) | is_last, put_in, width)

    def _written(self, states: Tensor) -> Tensor:
        """Items to put in before N items, the nearest first, int64 [N, n]; 0 behind the end."""
        state, table = self._beginning(states), self._insertion_table()
        item = torch.zeros(len(states), dtype=torch.long, device=states.device)
        is_writing = torch.ones_like(item, dtype=torch.bool)
        written: list[Tensor] = []
        for _ in range(self.config.n_inserted):
            out, state = self.inserter(self._read(item)[:, None], state)
            item = (out[:, 0] @ table[1:].T).argmax(-1) + 1
            is_writing = is_writing & (item != self.end)
            item = item * is_writing
            written.append(item)
        return torch.stack(written, 1)

    def reliability(self, rows: Rows) -> Reliability:
        """The rank percentile of the target; uncertain where the corrector cannot decide what to do with the inputs.

        The uncertainty is the entropy of the three-way decision, divided by log 3, averaged over inputs. The corrector
        is shown the target behind the inputs.

        Signals: `rank_percentile` [R]; `delete` and `insert` [R, L], the probabilities of these repairs, 0 at padding.
        """

        def judge(items: Tensor, users: Tensor, targets: Tensor) -> dict[str, Tensor]:
            is_input = items != 0
            sequence = torch.cat([items.long(), targets[:, None]], 1)
            log_p = self.repair(self._states(sequence)).float().log_softmax(-1)[:, :-1] * is_input[..., None]
            entropy = -(log_p.exp() * log_p).sum(-1) / math.log(_N_REPAIRS)
            return {
                "rank_percentile": share_below(self.scores(self(items, users)[:, -1]).float(), targets),
                "entropy": entropy.sum(1) / is_input.sum(1).clamp(min=1),
                "delete": log_p[..., DELETE].exp() * is_input,
                "insert": log_p[..., INSERT].exp() * is_input,
            }

        signals = per_row(self, rows, judge)
        uncertainty = signals.pop("entropy").clip(0, 1)
        return Reliability(signals["rank_percentile"], uncertainty, signals)
