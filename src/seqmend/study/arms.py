"""Arms: one backbone trained on each version of the training data, and the ranks of the test targets under each."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from seqmend.evaluation import Histories, metric_values, rank_among, rank_targets
from seqmend.files import write_atomic
from seqmend.interactions import Sequences, Split, Targets
from seqmend.ledger import Mended
from seqmend.progress import Progress
from seqmend.recommenders import (
    Backbone,
    BackboneConfig,
    Channels,
    TrainingConfig,
    TrainingDivergedError,
    TrainingDynamics,
    dual_channel_rows,
    load_backbone,
    make_backbone,
    refuse_untrainable,
    rows_from_sequences,
    save_backbone,
    train,
    with_instance_edits,
)
from seqmend.study.config import RunConfig
from seqmend.study.stages import fingerprint

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

VALID = "valid"
"""Column of ranks that the epoch was chosen by."""

SAMPLED = "@sampled"
"""Behind the name of a test history: ranks among sampled negatives."""

DOUBTS = "doubts.parquet"
"""What a training showed of every instance."""


@dataclass(frozen=True, eq=False)
class ArmData:
    """One version of the data.

    Attributes:
        train: What the backbone learns from.
        weights: Loss weight of every training interaction, float32 [N].
        test_histories: What it is shown at test time, by name ("as_is", "mended"), one history per test target.
        mended: What a ledger made of the training part, where it may hold edits for single instances.
        channels: Another form of every training sequence that is learned from in the same step.
        valid: What it is shown before the validation targets that the epoch is chosen by, if not the log as it is.
    """

    train: Sequences
    weights: npt.NDArray[np.float32]
    test_histories: dict[str, Histories]
    mended: Mended | None = None
    channels: Channels | None = None
    valid: Histories | None = None

    @cached_property
    def identity(self) -> tuple[str, str, list[tuple[str, str]]]:
        """Fingerprints of all that is learned from and shown: equal for equal data."""
        shown = [(name, history.sequences.fingerprint) for name, history in self.test_histories.items()]
        edits = [] if self.mended is None else self.mended.instance_edits["edit_id"].to_list()
        if self.valid is not None:
            shown.append((VALID, self.valid.sequences.fingerprint))
        more: list[Any] = [edits] if edits else []
        if (second := self.channels) is not None:
            more += [second.augmented.fingerprint, second.weights.tolist(), second.pseudo_targets, second.mean_over]
        return self.train.fingerprint, fingerprint(self.weights.tolist(), *more), shown


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What every arm is measured on: the same targets, the same items left out of the ranking.

    Attributes:
        valid: Histories before the validation targets.
        valid_seen: Items that are left out of each validation ranking.
        valid_targets: int32 [M].
        valid_users: Whose the validation targets are, int32 [M].
        test_users: The same for the test targets, int32 [M].
        test_seen: Items that are left out of each test ranking.
        test_targets: int32 [M].
        test_negatives: What every test target is also ranked among, the same items for every arm, int32 [M, n].
    """

    valid: Histories
    valid_seen: Histories
    valid_targets: Int32
    valid_users: Int32
    test_users: Int32
    test_seen: Histories
    test_targets: Int32
    test_negatives: Int32 | None = None

    @classmethod
    def of(cls, split: Split, clean: Split) -> "HeldOut":
        """The held-out part of a split, and of the same split before noise was injected (or itself).

        Left out is what the user met in either: an arm that learned from restored items would otherwise be punished for
        ranking them high, though the user had really chosen them.
        """
        sequences = split.sequences

        def items(targets: Targets) -> Int32:
            return sequences.items[sequences.offsets[targets.users] + targets.positions]

        return cls(
            Histories.before(sequences, split.valid),
            _met(Histories.before(sequences, split.valid), Histories.before(clean.sequences, clean.valid)),
            items(split.valid),
            split.valid.users,
            split.test.users,
            _met(Histories.before(sequences, split.test), Histories.before(clean.sequences, clean.test)),
            items(split.test),
        )


def _met(one: Histories, other: Histories) -> Histories:
    """For every target the items of both histories, as a history of its own."""
    if one.sequences is other.sequences:
        return one
    everything = np.arange(len(one), dtype=np.int64)
    pairs = (one.cells(everything), other.cells(everything))
    places = np.concatenate([places for places, _ in pairs])
    items = np.concatenate([items for _, items in pairs])
    order = np.argsort(places, kind="stable")
    lengths = np.bincount(places, minlength=len(one))
    sequences = Sequences(
        pl.Series("target", everything.astype(str), dtype=pl.String),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        items[order],
        np.zeros(len(items), dtype=np.int64),
        one.sequences.catalogue,
    )
    return Histories.whole(sequences, everything.astype(np.int32))


def refuse_untrainable_backbone(config: RunConfig, sequences: Sequences) -> None:
    """Raise an `InputError` for a backbone that cannot be trained as configured, before anything is written."""
    model = make_backbone(config.backbone, len(sequences.catalogue), len(sequences))
    refuse_untrainable(model, model.forms[0] if config.form == "auto" else config.form, config.training)


@dataclass(frozen=True, eq=False)
class ArmTraining:
    """All that one training of one arm needs, so that it can happen in another process.

    Attributes:
        name: For the progress.
        data: What to learn from, and what is shown at test time.
        held_out: What is measured.
        backbone: Which recommender.
        form: Of the rows.
        training: How.
        ranks: File to write, one row per test target: `user, <history name>...`, the same with `@sampled` behind it
            where there are negatives, and the rank of the user's validation target as `valid` where the same users have
            one.
        checkpoint: File that the training's state is kept in.
        model: Folder to keep the trained backbone in, if it is to be kept.
        start: Folder of a trained backbone of the same kind whose weights to begin with; fresh ones where absent.
        watched: Whether to keep with the model what the training showed of every instance (`doubts.parquet`), where the
            backbone has no measure of its own.
    """

    name: str
    data: ArmData
    held_out: HeldOut
    backbone: BackboneConfig
    form: Literal["auto", "sequence", "instance"]
    training: TrainingConfig
    ranks: Path
    checkpoint: Path
    model: Path | None = None
    start: Path | None = None
    watched: bool = False

    def run(self, progress: Progress) -> None:
        """Train, rank the held-out targets, write.

        The epoch is chosen on validation targets, with their histories as the log has them, for every arm alike; an
        arm whose histories get items prepended wherever they are shown may have them there, too.
        """
        train_on, held_out = self.data.train, self.held_out
        shown_first = self.data.valid or held_out.valid
        model = make_backbone(self.backbone, len(train_on.catalogue), len(train_on), self.training.seed)
        if self.start is not None:
            model.load_state_dict(load_backbone(self.start, train_on)[0].state_dict())
        form = model.forms[0] if self.form == "auto" else self.form
        if self.data.channels is None:
            rows = rows_from_sequences(train_on, model.max_length, form, self.data.weights)
        else:
            rows = dual_channel_rows(train_on, self.data.channels, model.max_length, form, self.data.weights)
        if self.data.mended is not None:
            rows = with_instance_edits(rows, self.data.mended)

        def valid_ranks(model: Backbone) -> Int64:
            return rank_targets(model, shown_first, held_out.valid_targets, held_out.valid_seen)

        def validate(model: Backbone) -> float:
            return float(metric_values(valid_ranks(model), "ndcg@10").mean())

        def told(what: str, done: int, total: int) -> None:
            progress(f"{self.name}: {what}", done, total)

        dynamics = _dynamics(model, train_on, self.training) if self.watched else None
        try:
            train(model, rows, self.training, validate, checkpoint=self.checkpoint, dynamics=dynamics, progress=told)
        except TrainingDivergedError as error:
            raise error.naming(train_on.user_ids) from None
        if self.model:
            save_backbone(self.model, model, self.backbone, train_on)
        if self.model and dynamics:
            seen = dynamics.reliability()
            with write_atomic(self.model / DOUBTS) as temporary:
                pl.DataFrame({"row_id": dynamics.rows.row_id, **seen.signals}).write_parquet(temporary)
        columns = {
            name: rank_targets(model, histories, held_out.test_targets, held_out.test_seen)
            for name, histories in self.data.test_histories.items()
        }
        if held_out.test_negatives is not None:
            columns |= {
                f"{name}{SAMPLED}": rank_among(model, histories, held_out.test_targets, held_out.test_negatives)
                for name, histories in self.data.test_histories.items()
            }
        if np.array_equal(held_out.valid_users, held_out.test_users):
            columns[VALID] = valid_ranks(model)
        with write_atomic(self.ranks) as temporary:
            pl.DataFrame({"user": held_out.test_users, **columns}).write_parquet(temporary)


def _dynamics(model: Backbone, sequences: Sequences, training: TrainingConfig) -> TrainingDynamics | None:
    """Watches all instances while they are learned, unless the backbone has a measure of its own."""
    if type(model).reliability is not Backbone.reliability:
        return None
    rows = rows_from_sequences(sequences, model.max_length, "instance")
    n_looks = -(-training.epochs // training.validate_every)
    return TrainingDynamics(rows.select(rows.has_loss), warm_up=min(1, n_looks - 1))
