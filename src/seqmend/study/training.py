"""`seqmend train` and `seqmend evaluate`: backbones by themselves, on a log as it is or mended."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from seqmend.errors import InputError
from seqmend.evaluation import (
    MEMORY,
    Histories,
    metrics_by_group,
    rank_among,
    rank_targets,
    ranking_metrics,
    sampled_negatives,
)
from seqmend.files import write_atomic, write_json
from seqmend.interactions import Log, Split, Targets
from seqmend.progress import Progress, silent
from seqmend.recommenders import Backbone, BackboneConfig, load_backbone, rows_from_sequences
from seqmend.study.arms import ArmData, ArmTraining, HeldOut, refuse_untrainable_backbone
from seqmend.study.config import RunConfig
from seqmend.study.data import divided, read_data
from seqmend.study.parallel import default_jobs, pool
from seqmend.study.stages import RunDirectory, fingerprint

_Int64 = npt.NDArray[np.int64]


def train_backbone(
    config: RunConfig, out: Path, progress: Progress = silent, jobs: int | None = None
) -> dict[str, Any]:
    """Train one backbone under every seed on a log as it is, and measure it on held-out interactions.

    A killed training goes on where it stopped, and what is done is not done again.

    Args:
        config: Of it the data, split, backbone, form, training and seeds count; there is no noise and no mending.
        out: Folder for `metrics.json`, `manifest.json`, `config.toml`, `quarantine.parquet` and a folder
            `models/seed-N` per seed, which `evaluate_backbone` takes.
        progress: Told what is being done.
        jobs: Trainings at once; by default as many as are fastest here.

    Returns:
        What stands in `metrics.json`.

    Raises:
        InputError: The input, the settings or the folder cannot be used.
    """
    log = read_data(config.data, progress)
    split = _split(config, log)
    refuse_untrainable_backbone(config, log.sequences)
    directory = RunDirectory(out)
    directory.begin(
        {"data_id": log.sequences.fingerprint, **log.summary.to_dict()},
        config.seeds,
        {"device": config.training.device},
    )
    config.write(out / "config.toml")
    with write_atomic(out / "quarantine.parquet") as temporary:
        log.quarantine.write_parquet(temporary)

    held_out = HeldOut.of(split, split)
    weights = np.ones(split.train.n_interactions, dtype=np.float32)
    data = ArmData(split.train, weights, {"as_is": Histories.before(split.sequences, split.test)})
    work = config.training.epochs * split.train.n_interactions * len(config.seeds)
    arms: list[dict[str, Any]] = []
    with pool(jobs or default_jobs(work), progress) as workers:
        waiting: list[tuple[int, str, str, list[str], Any]] = []
        for seed in config.seeds:
            training = config.training.model_copy(update={"seed": seed})
            key = fingerprint(
                split.train.fingerprint, config.split, config.backbone.model_dump(), config.form, training.model_dump()
            )
            name, model = f"train {config.backbone.name} {seed}", f"models/seed-{seed}"
            files = [f"stages/ranks-{seed}.parquet", f"{model}/model.safetensors"]
            checkpoint = out / "checkpoints" / f"{config.backbone.name}-{seed}-{key[:8]}.safetensors"
            job = ArmTraining(
                name, data, held_out, config.backbone, config.form, training, out / files[0], checkpoint, out / model
            )
            done = directory.has(name, key, files)
            waiting.append((seed, name, key, files, None if done else workers.submit(job)))
        for seed, name, key, files, pending in waiting:
            ranks = directory.stage(
                name,
                key,
                files,
                lambda pending=pending: pending.seconds(),
                lambda file=files[0]: pl.read_parquet(out / file)["as_is"].to_numpy(),
            )
            arms.append(_arm(config.backbone, seed, config.split, ranks, split.test))
    metrics = _metrics(config, log, split, arms)
    write_json(out / "metrics.json", metrics)
    directory.finish({})
    return metrics


def evaluate_backbone(
    folder: Path,
    config: RunConfig,
    progress: Progress = silent,
    *,
    part: str = "test",
    negatives: int = 0,
    memory: int = MEMORY,
) -> dict[str, Any]:
    """Measure a trained backbone on the held-out interactions of a log.

    Args:
        folder: A model folder, or what `train_backbone` wrote, all of whose models are measured then.
        config: Of it the data and the split count.
        progress: Told what is being done.
        part: "valid" or "test".
        negatives: Rank also among so many sampled negatives per user, one fixed list each; reported apart.
        memory: Bytes that scores may take at once.

    Returns:
        Like `metrics.json`; an arm has `sampled` beside `metrics` where negatives were asked for.

    Raises:
        InputError: No trained backbone, one of another catalogue, or fewer items than negatives.
    """
    log = read_data(config.data, progress)
    split = _split(config, log)
    targets = split.valid if part == "valid" else split.test
    sequences = split.sequences
    histories = Histories.before(sequences, targets)
    items = sequences.items[sequences.offsets[targets.users] + targets.positions]
    folders = sorted((folder / "models").glob("seed-*")) or [folder]
    lists = sampled_negatives(histories, items, len(sequences.catalogue), negatives) if negatives else None
    arms: list[dict[str, Any]] = []
    for number, place in enumerate(folders):
        progress("ranking", number, len(folders))
        model, backbone = load_backbone(place, sequences)
        if type(model).prepare is not Backbone.prepare:  # what it takes from training rows is not among its weights
            form = model.forms[0] if config.form == "auto" else config.form
            model.prepare(rows_from_sequences(split.train, model.max_length, form))
        ranks = rank_targets(model, histories, items, histories, memory)
        arm = _arm(backbone, _seed_of(place), config.split, ranks, targets)
        if lists is not None:
            arm["sampled"] = {"negatives": negatives} | ranking_metrics(rank_among(model, histories, items, lists))
        arms.append(arm)
    return _metrics(config, log, split, arms)


def _split(config: RunConfig, log: Log) -> Split:
    split = divided(log.sequences, config.split)
    if not len(split.valid) or not len(split.test):
        raise InputError(
            "nothing can be held out: no user has enough interactions",
            expected="users with three interactions or more",
        )
    return split


def _seed_of(folder: Path) -> int:
    _, _, number = folder.name.rpartition("-")
    return int(number) if number.isdigit() else 0


def _arm(backbone: BackboneConfig, seed: int, split: str, ranks: _Int64, targets: Targets) -> dict[str, Any]:
    return {
        "arm": "raw",
        "backbone": backbone.name,
        "seed": seed,
        "split": split,
        "test_history": "as_is",
        "metrics": ranking_metrics(ranks),
        "groups": metrics_by_group(ranks, targets.positions),
    }


def _metrics(config: RunConfig, log: Log, split: Split, arms: list[dict[str, Any]]) -> dict[str, Any]:
    data = config.data
    dataset = {
        "name": data.corpus or (data.interactions.name if data.interactions else ""),
        "users": log.summary.users,
        "items": log.summary.items,
        "interactions": log.summary.interactions,
        "split": config.split,
        "valid_targets": len(split.valid),
        "test_targets": len(split.test),
    }
    return {"schema": 1, "dataset": dataset, "arms": arms, "comparisons": [], "recovered_share": [], "llm": {}}
