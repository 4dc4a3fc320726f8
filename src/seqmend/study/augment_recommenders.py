"""The recommenders behind the augment mender: one reads histories backwards, one never saw what is hidden."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from seqmend.errors import InputError
from seqmend.evaluation import Histories, metric_values, rank_targets
from seqmend.files import write_atomic
from seqmend.interactions import Sequences
from seqmend.menders.augment import reversed_in_time
from seqmend.progress import Progress
from seqmend.recommenders import (
    Backbone,
    BackboneConfig,
    TrainingConfig,
    TrainingDivergedError,
    load_backbone,
    make_backbone,
    rows_from_sequences,
    save_backbone,
    train,
)
from seqmend.study.config import RunConfig
from seqmend.study.parallel import default_jobs, pool
from seqmend.study.stages import fingerprint

_VALIDATION_SHARE = 0.1


@dataclass(frozen=True, eq=False)
class AugmentRecommenders:
    """Trained recommenders; see `seqmend.menders.augment.Augmenter`."""

    backward: Backbone
    forward: Backbone
    backward_check: Backbone | None


@dataclass(frozen=True, eq=False)
class SequenceTraining:
    """A training of a recommender on sequences alone, so that it can happen in another process.

    The epoch is chosen on the last items of a tenth of the users, who are trained on without them.

    Attributes:
        name: For the progress.
        sequences: What to learn from.
        backbone: Which recommender.
        form: Of the rows.
        training: How.
        folder: Where the recommender is kept; the checkpoint and the key of what it was made of lie beside it.
    """

    name: str
    sequences: Sequences
    backbone: BackboneConfig
    form: Literal["auto", "sequence", "instance"]
    training: TrainingConfig
    folder: Path

    @property
    def key(self) -> str:
        """Stands for everything that decides the result."""
        return fingerprint(
            self.sequences.fingerprint, self.backbone.model_dump(), self.form, self.training.model_dump()
        )

    @property
    def is_done(self) -> bool:
        """Whether it was done before."""
        return (self.folder / "model.safetensors").exists() and _read(self._done) == self.key

    @property
    def _done(self) -> Path:
        return self.folder.with_suffix(".key")

    def run(self, progress: Progress) -> None:
        """Train and keep; a training that was stopped goes on."""
        sequences, lengths = self.sequences, self.sequences.lengths
        model = make_backbone(self.backbone, len(sequences.catalogue), len(sequences), self.training.seed)
        able = np.flatnonzero(lengths > 2)
        able = able if len(able) else np.flatnonzero(lengths > 1)
        if not len(able):
            raise InputError(
                "nothing can be learned of what comes before or after what",
                where=f"{len(sequences):,} users, the longest training part has {int(lengths.max(initial=0))} items",
                expected="users with three training interactions",
            )
        n_held_out = max(1, round(len(able) * _VALIDATION_SHARE))
        held_out = np.sort(np.random.default_rng(self.training.seed).permutation(able)[:n_held_out])
        ends = lengths.copy()
        ends[held_out] -= 1
        histories = Histories(sequences, held_out.astype(np.int32), ends[held_out])
        targets = sequences.items[sequences.offsets[held_out] + ends[held_out]]

        def validate(model: Backbone) -> float:
            return float(metric_values(rank_targets(model, histories, targets, histories), "ndcg@10").mean())

        def told(what: str, done: int, total: int) -> None:
            progress(f"{self.name}: {what}", done, total)

        form = model.forms[0] if self.form == "auto" else self.form
        rows = rows_from_sequences(sequences.up_to(ends), model.max_length, form)
        checkpoint = self.folder.with_name(f"{self.folder.name}-{self.key[:8]}.checkpoint.safetensors")
        try:
            train(model, rows, self.training, validate, checkpoint=checkpoint, progress=told)
        except TrainingDivergedError as error:
            raise error.naming(sequences.user_ids) from None
        save_backbone(self.folder, model, self.backbone, sequences)
        with write_atomic(self._done) as temporary:
            temporary.write_text(self.key)
        checkpoint.unlink(missing_ok=True)

    def load(self) -> Backbone:
        """What it made."""
        model, _ = load_backbone(self.folder, self.sequences)
        if type(model).prepare is not Backbone.prepare:  # what it takes from training rows is not among its weights
            form = model.forms[0] if self.form == "auto" else self.form
            model.prepare(rows_from_sequences(self.sequences, model.max_length, form))
        return model


def fit_recommenders(
    config: RunConfig, sequences: Sequences, folder: Path, progress: Progress, jobs: int | None = None
) -> AugmentRecommenders:
    """The recommenders that propose and check; those that lie in the folder are not trained again.

    Args:
        config: Of it the backbone, form, training and augment sections count.
        sequences: What may be seen: the training part.
        folder: Where they are kept.
        progress: Told what is being done.
        jobs: Trainings at once; by default as many as are fastest here.
    """
    shorter = sequences.up_to(np.maximum(sequences.lengths - 1, 0))
    training = config.training.model_copy(update={"seed": config.augment.seed})

    def job(name: str, what: str, learned_from: Sequences) -> SequenceTraining:
        return SequenceTraining(what, learned_from, config.backbone, config.form, training, folder / name)

    backward = job("backward", "reading backwards", reversed_in_time(sequences))
    forward = job("forward", "reading forwards", replace(shorter, source=None))
    trainings = [backward, forward]
    if config.augment.crossfit:
        trainings.append(job("backward-check", "reading backwards, without the last", reversed_in_time(shorter)))
    open_ = [training for training in trainings if not training.is_done]
    work = config.training.epochs * sequences.n_interactions * len(open_)
    with pool(min(jobs or default_jobs(work), max(len(open_), 1)), progress) as workers:
        for pending in [workers.submit(training) for training in open_]:
            pending.seconds()
    models = [training.load() for training in trainings]
    return AugmentRecommenders(models[0], models[1], models[2] if config.augment.crossfit else None)


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""
