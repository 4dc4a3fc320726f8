"""Trainings as stages: one version of the data under one seed, trained once and kept in the run directory."""

from dataclasses import dataclass
from typing import Literal

import polars as pl

from seqmend.files import write_atomic
from seqmend.recommenders import BackboneConfig, TrainingConfig
from seqmend.study.arms import ArmData, ArmTraining, HeldOut
from seqmend.study.parallel import Pending, Pool
from seqmend.study.stages import RunDirectory, fingerprint


@dataclass(frozen=True)
class Training:
    """A stage of the run: one arm under one seed. Nothing is pending where its ranks are kept from an earlier run."""

    name: str
    key: str
    file: str
    pending: Pending | None


def begin_training(
    directory: RunDirectory,
    workers: Pool,
    arm: str,
    data: ArmData,
    held_out: HeldOut,
    backbone: BackboneConfig,
    form: Literal["auto", "sequence", "instance"],
    training: TrainingConfig,
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
    """
    seed, path = training.seed, directory.path
    name, file = f"train {arm} {seed}", f"stages/ranks-{arm}-{seed}.parquet"
    key = fingerprint(*data.identity, backbone.model_dump(), form, training.model_dump())
    checkpoint = path / "checkpoints" / f"{backbone.name}-{arm}-{seed}.safetensors"
    known = checkpoint.with_suffix(".key")
    if not known.exists() or known.read_text() != key:
        checkpoint.unlink(missing_ok=True)  # of another configuration
        with write_atomic(known) as temporary:
            temporary.write_text(key)
    job = ArmTraining(f"{arm}, seed {seed}", data, held_out, backbone, form, training, path / file, checkpoint)
    return Training(name, key, file, None if directory.has(name, key, [file]) else workers.submit(job))


def finish_training(directory: RunDirectory, training: Training) -> pl.DataFrame:
    """Wait for a training; the ranks of the test targets: `user`, and one column per kind of test history."""
    return directory.stage(
        training.name,
        training.key,
        [training.file],
        lambda: training.pending.seconds() if training.pending else None,
        lambda: pl.read_parquet(directory.path / training.file),
    )
