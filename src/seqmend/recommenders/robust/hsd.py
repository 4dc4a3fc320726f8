"""HSD: an input is dropped where the sequence and the user's interest both speak against it (CIKM 2022)."""

import math
from typing import ClassVar, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from seqmend.recommenders.backbone import Backbone, Batch, Objective
from seqmend.recommenders.reliability import Reliability, per_row, share_below
from seqmend.recommenders.robust.attention import DoubtfulAttention, straight_through
from seqmend.recommenders.rows import Form, Rows

_INITIAL_STD = 0.02
_INITIAL_KEEP = 2.0  # log odds: a fresh model keeps nearly everything


class DenoisingConfig(BaseModel):
    """Sizes and the denoising, for HSD and what is built on it.

    Attributes:
        temperature: Of the soft decisions in the first epoch.
        temperature_decay: Per epoch; the temperature is multiplied with exp(-decay). The official code anneals per 40
            batches, which depends on the batch size.
        least_temperature: Where that ends.
        reconstruction_weight: Of the auto-encoder's loss.
        filter_weight: Of the loss that brings the user's interest near the target.
        hard_share: Share of a batch, those hardest to reconstruct, that the first epoch leaves out.
        hard_epochs: Epochs over which that share falls to 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    embedding_size: int = Field(default=64, ge=1)
    n_layers: int = Field(default=2, ge=1)
    n_heads: int = Field(default=2, ge=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    max_length: int = Field(default=50, ge=1)
    temperature: float = Field(default=0.5, gt=0)
    temperature_decay: float = Field(default=0.02, ge=0)
    least_temperature: float = Field(default=1e-3, gt=0)
    reconstruction_weight: float = Field(default=1.0, ge=0)
    filter_weight: float = Field(default=1.0, ge=0)
    hard_share: float = Field(default=0.2, ge=0, lt=1)
    hard_epochs: int = Field(default=10, ge=1)

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.embedding_size % self.n_heads:
            raise ValueError("embedding_size must be a multiple of n_heads")
        return self


class HSDConfig(DenoisingConfig):
    """HSD as such; see `DenoisingConfig`."""

    name: Literal["hsd"] = "hsd"


class HSD(Backbone):
    """Attention over the inputs that two judges leave; the state of the last column predicts.

    The sequence's judge reconstructs every input from what is before and after it and sees how far off that is. The
    item's judge compares it with the target in training, and with the user's interest where the target is not known.
    An input goes if both say so; one always stays.

    Inferred by us or different from the official code: "tied" means that one LSTM reads both directions; what it
    reconstructs is a fixed aim, else vectors shrink; the interest is a map of the mean input plus the user's vector, so
    that users without one have an interest too; the recommender is bidirectional attention.

    Args:
        n_items: V.
        config: Sizes and denoising.
        n_users: Users with a vector of their own; 0 for none.
        seed: Of the initial weights; the global random state is left alone.
    """

    forms: ClassVar[tuple[Form, ...]] = ("instance",)
    is_causal: ClassVar[bool] = False

    def __init__(self, n_items: int, config: DenoisingConfig, n_users: int = 0, seed: int = 0) -> None:
        super().__init__()
        self.n_items, self.n_users, self.max_length = n_items, n_users, config.max_length
        self.config = config
        size = config.embedding_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.items = nn.Embedding(n_items + 1, size)
            self.users = nn.Embedding(n_users, size) if n_users else None
            for table in (self.items, self.users):
                if table:
                    nn.init.normal_(table.weight, std=_INITIAL_STD)
            self.norm = nn.LayerNorm(size)
            self.reader = nn.LSTM(size, size, batch_first=True)
            self.reconstruct = nn.Linear(2 * size, size)
            self.near = nn.Conv1d(2 * size, size, kernel_size=3, padding=1)
            self.judge_sequence = nn.Linear(size, 1)
            self.interest = nn.Linear(size, size)
            self.compare = nn.Linear(3 * size, size)
            self.judge_item = nn.Linear(size, 1)
            self.attention = DoubtfulAttention(size, config.n_layers, config.n_heads, config.dropout, self.max_length)
            nn.init.constant_(self.judge_sequence.bias, _INITIAL_KEEP)
            nn.init.constant_(self.judge_item.bias, _INITIAL_KEEP)

    def forward(self, items: Tensor, users: Tensor | None = None) -> Tensor:
        """The prediction, float [B, L, d], the same in all columns: only the last one is computed."""
        is_input = items != 0
        x = self._vectors(items, self.output_table())
        _, by_sequence = self._judged_by_sequence(x, is_input)
        by_item = self._judged_by_item(x, self._interest(x, is_input, users))
        state = self.attention(x, _kept(by_sequence, by_item, is_input, None))[:, -1:]
        return state.expand(-1, items.shape[1], -1)

    def output_table(self) -> Tensor:
        """The input embedding, float [V + 1, d]."""
        return self.items.weight

    def training_loss(self, batch: Batch, objective: Objective) -> Tensor:
        """The objective on the denoised inputs, the reconstruction and the interest, without the hardest rows."""
        targets, weights = batch.targets[:, -1].long(), batch.weights[:, -1]
        table, temperature = self.output_table(), self._temperature(batch.epoch)
        x, is_input = self._training_inputs(batch.items, table, temperature)
        rebuilt, by_sequence = self._judged_by_sequence(x, is_input)
        by_item = self._judged_by_item(x, self.norm(nn.functional.embedding(targets, table)))
        kept = _kept(by_sequence, by_item, is_input, temperature)
        states = self.attention(x, kept)[:, -1]

        errors = ((rebuilt - x.detach()).float().square().mean(-1) * is_input).sum(1) / is_input.sum(1).clamp(min=1)
        share = self.config.hard_share * max(0.0, 1 - batch.epoch / self.config.hard_epochs)
        is_hard = torch.zeros_like(is_input[:, 0])
        is_hard[errors.topk(int(share * len(errors))).indices] = True
        weights = weights * ~is_hard

        interest = self._interest(self._vectors(batch.items, table), batch.items != 0, batch.users).float()
        others = torch.randint(1, self.n_items + 1, targets.shape, device=targets.device)
        margins = (
            interest * (nn.functional.embedding(targets, table) - nn.functional.embedding(others, table)).float()
        ).sum(-1)
        of_interest = nn.functional.softplus(-margins) * (others != targets)
        own = self.config.reconstruction_weight * errors + self.config.filter_weight * of_interest
        return objective(states, table, targets, weights, batch.users) + (weights * own).sum()

    def _temperature(self, epoch: int) -> float:
        config = self.config
        return max(config.least_temperature, config.temperature * math.exp(-config.temperature_decay * epoch))

    def _vectors(self, items: Tensor, table: Tensor) -> Tensor:
        """Normalised item vectors, float [B, L, d], 0 at padding."""
        return self.norm(nn.functional.embedding(items, table)) * (items != 0)[..., None]

    def _user_vectors(self) -> Tensor | None:
        """Vectors of users that have one, float [U, d]."""
        return None if self.users is None else self.users.weight

    def _training_inputs(self, items: Tensor, table: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """Vectors, float [B, L', d], and where they are, bool [B, L'], that a training step denoises."""
        del temperature
        return self._vectors(items, table), items != 0

    def _interest(self, x: Tensor, is_input: Tensor, users: Tensor | None) -> Tensor:
        """What the user likes, as a vector, float [B, d]."""
        interest = self.interest(x.sum(1) / is_input.sum(1, keepdim=True).clamp(min=1))
        vectors = None if users is None else self._user_vectors()
        return interest if vectors is None else interest + vectors[users]

    def _judged_by_sequence(self, x: Tensor, is_input: Tensor) -> tuple[Tensor, Tensor]:
        """Every input rebuilt from its neighbours, float [B, L, d], and its log odds of belonging, float [B, L]."""
        rebuilt = self.reconstruct(self._read(x, is_input))
        signs = torch.cat([(rebuilt - x).square(), rebuilt * x], -1) * is_input[..., None]
        near = nn.functional.relu(self.near(signs.transpose(1, 2)).transpose(1, 2))
        return rebuilt, self.judge_sequence(near)[..., 0].float()

    def _judged_by_item(self, x: Tensor, aim: Tensor) -> Tensor:
        """Log odds of every input to belong to an aim, float [B, L]; the aim is float [B, d]."""
        aims = aim[:, None].expand_as(x)
        return self.judge_item(nn.functional.relu(self.compare(torch.cat([x, aims, x * aims], -1))))[..., 0].float()

    def _read(self, x: Tensor, is_input: Tensor) -> Tensor:
        """What is before every column and what is behind it, float [B, L, 2d]; padding on the left is not read."""
        B, L, d = x.shape
        has_begun = is_input.cumsum(1) > 0
        columns = torch.arange(L, device=x.device)
        n_padding = (~has_begun).sum(1, keepdim=True)
        to_left = ((columns + n_padding) % L)[..., None].expand(-1, -1, d)
        back = ((columns - n_padding) % L)[..., None].expand(-1, -1, d)
        read = self.reader(torch.cat([x.gather(1, to_left), x.flip(1)]))[0]
        before = read[:B].gather(1, back) * has_begun[..., None]
        behind = read[B:].flip(1)
        pad = nn.functional.pad
        return torch.cat([pad(before[:, :-1], (0, 0, 1, 0)), pad(behind[:, 1:], (0, 0, 0, 1))], -1)

    def reliability(self, rows: Rows) -> Reliability:
        """The rank percentile of the target; uncertain where it is open which inputs belong to it.

        The uncertainty is the entropy, in bits, of the decision to keep an input (1 unless both judges say no, each
        with its probability), averaged over inputs. The item's judge is shown the target, as in training.

        Signals: `rank_percentile` [R]; `keep_by_sequence` and `keep_by_item` [R, L], the two probabilities, 0 at
        padding; `disagreement` [R, L], the distance between them.
        """

        def judge(items: Tensor, users: Tensor, targets: Tensor) -> dict[str, Tensor]:
            is_input, table = items != 0, self.output_table()
            x = self._vectors(items, table)
            by_sequence = self._judged_by_sequence(x, is_input)[1].sigmoid() * is_input
            by_item = self._judged_by_item(x, self.norm(nn.functional.embedding(targets, table))).sigmoid() * is_input
            keep = (1 - (1 - by_sequence) * (1 - by_item)).clamp(1e-6, 1 - 1e-6)
            entropy = -(keep * keep.log2() + (1 - keep) * (1 - keep).log2()) * is_input
            return {
                "rank_percentile": share_below(self.scores(self(items, users)[:, -1]).float(), targets),
                "entropy": entropy.sum(1) / is_input.sum(1).clamp(min=1),
                "keep_by_sequence": by_sequence,
                "keep_by_item": by_item,
                "disagreement": (by_sequence - by_item).abs(),
            }

        signals = per_row(self, rows, judge)
        uncertainty = signals.pop("entropy")
        return Reliability(signals["rank_percentile"], uncertainty, signals)


def _kept(by_sequence: Tensor, by_item: Tensor, is_input: Tensor, temperature: float | None) -> Tensor:
    """Which inputs stay, float 0 or 1 [B, L]: all that one judge at least wants, or the best of none.

    Args:
        by_sequence: float [B, L], log odds.
        by_item: float [B, L], log odds.
        is_input: bool [B, L].
        temperature: See `straight_through`.
    """
    goes = (1 - straight_through(by_sequence, temperature)) * (1 - straight_through(by_item, temperature))
    kept = (1 - goes) * is_input
    best = (by_sequence + by_item).masked_fill(~is_input, float("-inf")).argmax(1)
    only_best = nn.functional.one_hot(best, is_input.shape[1]) * is_input
    return torch.where(kept.detach().sum(1, keepdim=True) > 0, kept, only_best.to(kept.dtype))
