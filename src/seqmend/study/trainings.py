"""Trainings as stages: one version of the data under one seed, trained once and kept in the run directory."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from seqmend.files import write_atomic
from seqmend.interactions import Sequences
from seqmend.recommenders import BackboneConfig, TrainingConfig, make_backbone, rows_from_sequences
from seqmend.recommenders.batches import n_batches
from seqmend.study.arms import ArmData, ArmTraining, HeldOut
from seqmend.study.parallel import Pending, Pool
from seqmend.study.stages import RunDirectory, fingerprint

_WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Training:
    """A stage of the run: one arm under one seed. Nothing is pending where its ranks are kept from an earlier run."""

    name: str
    key: str
    files: list[str]
    pending: Pending | None


def equal_steps(
    training: TrainingConfig,
    backbone: BackboneConfig,
    form: Literal["auto", "sequence", "instance"],
    train: Sequences,
) -> TrainingConfig:
    """The training of every arm, with as many steps per epoch as a pass over the rows of the raw log takes.

    Steps that the settings name are left as they are.

    Args:
        training: As configured.
        backbone: Which recommender.
        form: Of the rows.
        train: The training part as it is: what edits leave out or add changes no arm's number of steps.
    """
    if training.steps_per_epoch is not None:
        return training
    model = make_backbone(backbone, len(train.catalogue), len(train))
    rows = rows_from_sequences(train, model.max_length, model.forms[0] if form == "auto" else form)
    steps = n_batches(rows.select(rows.has_loss), training.batch_size)
    return training.model_copy(update={"steps_per_epoch": steps})


def begin_training(
    directory: RunDirectory,
    workers: Pool,
    arm: str,
    data: ArmData,
    held_out: HeldOut,
    backbone: BackboneConfig,
    form: Literal["auto", "sequence", "instance"],
    training: TrainingConfig,
    *,
    watched: bool = False,
    start: Path | None = None,
) -> Training:
    """Give one training to the workers, unless its ranks are there already.

    Args:
        directory: Where ranks and checkpoints are kept.
        workers: Who trains.
        arm: Name of the version of the data; with the seed unique in the run.
        data: That version.
        held_out: What is measured.
        backbone: Which recommender.
        form: Of the rows.
        training: How, and under which seed.
        watched: Keep the trained backbone, and what its training showed of every instance (see `kept_model`).
        start: Folder of a trained backbone to begin with.
    """
    seed, path = training.seed, directory.path
    name, file = f"train {arm} {seed}", f"stages/ranks-{arm}-{seed}.parquet"
    key = fingerprint(*data.identity, backbone.model_dump(), form, training.model_dump(), *_begun_with(start))
    checkpoint = path / "checkpoints" / f"{backbone.name}-{arm}-{seed}.safetensors"
    known = checkpoint.with_suffix(".key")
    if not known.exists() or known.read_text() != key:
        checkpoint.unlink(missing_ok=True)  # of another configuration
        with write_atomic(known) as temporary:
            temporary.write_text(key)
    model = kept_model(directory, arm, seed) if watched else None
    job = ArmTraining(
        f"{arm}, seed {seed}",
        data,
        held_out,
        backbone,
        form,
        training,
        path / file,
        checkpoint,
        model,
        start,
        watched,
    )
    files = [file, str((model / _WEIGHTS).relative_to(path))] if model else [file]
    return Training(name, key, files, None if directory.has(name, key, files) else workers.submit(job))


def kept_model(directory: RunDirectory, arm: str, seed: int) -> Path:
    """Folder of the backbone of a training that was watched."""
    return directory.path / "models" / f"{arm}-{seed}"


def _begun_with(start: Path | None) -> list[str]:
    if start is None:
        return []
    with (start / _WEIGHTS).open("rb") as weights:
        return [hashlib.file_digest(weights, "sha256").hexdigest()]


def finish_training(directory: RunDirectory, training: Training) -> pl.DataFrame:
    """Wait for a training; the ranks of the test targets: `user`, and one column per kind of test history."""
    return directory.stage(
        training.name,
        training.key,
        training.files,
        lambda: training.pending.seconds() if training.pending else None,
        lambda: pl.read_parquet(directory.path / training.files[0]),
    )
