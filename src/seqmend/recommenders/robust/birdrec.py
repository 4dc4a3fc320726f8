"""BirDRec: inputs and targets that the averaged model doubts are rectified (NeurIPS 2023)."""

from typing import ClassVar, Literal, Self, cast

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from seqmend.recommenders.backbone import Backbone, Batch, Objective
from seqmend.recommenders.losses import bpr
from seqmend.recommenders.plain import PlainConfig, make_plain
from seqmend.recommenders.reliability import Reliability, generic_reliability
from seqmend.recommenders.robust.judging import item_scores, share_above
from seqmend.recommenders.robust.pools import TargetPool
from seqmend.recommenders.rows import Form, Rows
from seqmend.recommenders.sasrec import SASRecConfig

_WARM_UP_NEGATIVES = 2
_INITIAL_STD = 0.02


class BirDRecConfig(BaseModel):
    """The encoder, and how much is doubted; defaults as the official code for MovieLens-1M and Beauty.

    A ratio is a share of the negatives: a target passes if a smaller share of them scores as well as it does.

    Attributes:
        encoder: The plain backbone inside; the official setting has `max_length` 5.
        warm_up: Epochs before anything is rectified.
        n_negatives: Uniform negatives per instance that targets are compared with.
        n_hardest: Of these, the best scored ones that the loss is made of.
        n_pool: Candidates per instance that may replace its target.
        input_ratio: The last input is left out where the target does not pass this.
        replace_ratio: The target is replaced by the best of its pool where it does not pass this.
        delete_ratio: The instance is left out of the step where its target does not pass this.
        paper: Test for deletion with the replaced target, as the official code, which so deletes whatever it replaces.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["birdrec"] = "birdrec"
    encoder: PlainConfig = SASRecConfig()
    warm_up: int = Field(default=10, ge=0)
    n_negatives: int = Field(default=250, ge=1)
    n_hardest: int = Field(default=8, ge=1)
    n_pool: int = Field(default=125, ge=3)
    input_ratio: float = Field(default=0.1, gt=0, le=1)
    replace_ratio: float = Field(default=0.5, gt=0, le=1)
    delete_ratio: float = Field(default=0.1, gt=0, le=1)
    paper: bool = False

    @model_validator(mode="after")
    def _ratios_are_in_order(self) -> Self:
        if self.n_hardest > self.n_negatives:
            raise ValueError("n_hardest must not be above n_negatives")
        if self.delete_ratio > self.replace_ratio:
            raise ValueError("delete_ratio must not be above replace_ratio")
        return self


class BirDRec(Backbone):
    """A plain encoder taught with rectified instances.

    Train it with `ema_decay` (0.999 in the official code): the averaged weights are the judge, and without them the
    model judges itself. The training's `loss` is not used. Deviations from the official code: the deletion test is
    about the target that is taught, replaced or not (see `paper`); pools and negatives never hold id 0.

    Args:
        n_items: V.
        config: Encoder and ratios.
        n_users: Users with a vector of their own, added to the state; 0 for none.
        seed: Of the initial weights and of the pools; the global random state is left alone.
    """

    forms: ClassVar[tuple[Form, ...]] = ("instance",)
    is_causal: ClassVar[bool] = False

    def __init__(self, n_items: int, config: BirDRecConfig, n_users: int = 0, seed: int = 0) -> None:
        super().__init__()
        self.config, self.seed = config, seed
        self.encoder = make_plain(config.encoder, n_items, seed=seed)
        self.n_items, self.n_users, self.max_length = n_items, n_users, self.encoder.max_length
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 1)
            self.users = nn.Embedding(n_users, self.encoder.output_table().shape[1]) if n_users else None
            if self.users:
                nn.init.normal_(self.users.weight, std=_INITIAL_STD)
        self.pool: TargetPool | None = None

    def forward(self, items: Tensor, users: Tensor | None = None) -> Tensor:
        """States of the encoder plus the user's vector, float [B, L, d], of which the last is a prediction."""
        states = self.encoder(items, users)
        return states if users is None or self.users is None else states + self.users(users)[:, None]

    def output_table(self) -> Tensor:
        """The encoder's."""
        return self.encoder.output_table()

    def prepare(self, rows: Rows) -> None:
        """Find the likely candidates of every row's pool."""
        self.encoder.prepare(rows)
        device = next(self.parameters()).device
        self.pool = TargetPool(rows, self.n_items, self.config.n_pool, self.seed, device)

    def training_loss(self, batch: Batch, objective: Objective) -> Tensor:
        """BPR with 2 negatives while warming up; then the hardest negatives against the rectified target."""
        del objective
        items, targets, weights = batch.items, batch.targets[:, -1].long(), batch.weights[:, -1]
        is_warm_up = batch.epoch < self.config.warm_up
        n_negatives = _WARM_UP_NEGATIVES if is_warm_up else self.config.n_negatives
        negatives = torch.randint(1, self.n_items + 1, (len(items), n_negatives), device=items.device)
        if is_warm_up:
            states = self(items, batch.users)[:, -1].float()
            table = self.output_table().float()
            return bpr(states, table, targets, weights, negatives, negatives != targets[:, None])
        with torch.no_grad():
            items, targets, is_kept = self._rectified(batch, negatives)
        states = self(items, batch.users)[:, -1]
        scores = item_scores(states, self.output_table(), torch.cat([targets[:, None], negatives], 1))
        margins = (scores[:, :1] - scores[:, 1:]).masked_fill(negatives == targets[:, None], float("inf"))
        hardest = margins.topk(self.config.n_hardest, largest=False).values
        return (weights * is_kept * nn.functional.softplus(-hardest).sum(-1)).sum()

    def _rectified(self, batch: Batch, negatives: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs [B, L] and targets [B] to teach instead, and which rows [B] to teach at all."""
        if self.pool is None:
            raise RuntimeError("prepare() comes before training")
        judge = cast(BirDRec, batch.teacher or self)
        was_training = judge.training
        judge.eval()
        items, targets = batch.items, batch.targets[:, -1].long()
        pool = self.pool(batch.numbers)
        asked = torch.cat([targets[:, None], negatives, pool], 1)
        table = judge.output_table()
        scores = item_scores(judge(items, batch.users)[:, -1], table, asked)
        n, is_other = negatives.shape[1], negatives != targets[:, None]

        above = share_above(scores[:, 0], scores[:, 1 : n + 1], is_other)
        is_shortened = (above >= self.config.input_ratio) & (items[:, :-1] != 0).any(1)
        if is_shortened.any():
            shorter = nn.functional.pad(items[is_shortened, :-1], (1, 0))
            items = items.masked_scatter(is_shortened[:, None], shorter)
            states = judge(shorter, batch.users[is_shortened])[:, -1]
            scores[is_shortened] = item_scores(states, table, asked[is_shortened])
            above = share_above(scores[:, 0], scores[:, 1 : n + 1], is_other)

        best_score, place = scores[:, n + 1 :].max(-1)
        best = pool.gather(1, place[:, None])
        is_replaced = above >= self.config.replace_ratio
        if not self.config.paper:
            best_above = share_above(best_score, scores[:, 1 : n + 1], negatives != best)
            above = torch.where(is_replaced, best_above, above)
        judge.train(was_training)
        return items, torch.where(is_replaced, best[:, 0], targets), above < self.config.delete_ratio

    def reliability(self, rows: Rows) -> Reliability:
        """The rank percentile r of the target; most uncertain halfway between what is kept and what is replaced.

        u = 1 - |r - t| / max(t, 1 - t) with t = 1 - (delete_ratio + replace_ratio) / 2. Taking the deletion threshold
        itself for t would call an instance at the very top less certain than one that is nearly replaced.

        Signals, float32 [R]: `rank_percentile`; `target_probability`; `above_delete` and `above_replace`, the distance
        of r from the two thresholds, negative where it does not pass.
        """
        generic = generic_reliability(self, rows)
        rank, config = generic.reliability, self.config
        middle = 1 - (config.delete_ratio + config.replace_ratio) / 2
        signals = generic.signals | {
            "above_delete": rank - (1 - config.delete_ratio),
            "above_replace": rank - (1 - config.replace_ratio),
        }
        return Reliability(rank, 1 - abs(rank - middle) / max(middle, 1 - middle), signals)
