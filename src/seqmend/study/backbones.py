"""`seqmend bench backbones`: what an epoch and a full ranking of SASRec cost, here and elsewhere, in one run."""

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from pydantic import BaseModel, ConfigDict, Field

from seqmend.errors import InputError
from seqmend.evaluation import Histories, metric_values, rank_scores, rank_targets
from seqmend.interactions import Catalogue, Sequences, Split, leave_one_out
from seqmend.progress import Progress, silent
from seqmend.recommenders import Backbone, Rows, SASRec, SASRecConfig, TrainingConfig, rows_from_sequences, train
from seqmend.recommenders.external import ExternalConfig, Framework, external_scores
from seqmend.study.config import DataConfig
from seqmend.study.data import read_data
from seqmend.study.machine import describe_machine
from seqmend.study.plain_sasrec import plain_scores, train_plain

_RANKING_REPEATS = 3
_SCALING_EPOCHS = 4
_SCALES: dict[str, tuple[int, ...]] = {
    "users": (500, 1000, 2000),
    "items": (1000, 4000, 16000),
    "length": (25, 50, 100),
}
_SCALING_BASE = {"users": 1000, "items": 2000, "length": 50}


class BackbonesConfig(BaseModel):
    """What `bench backbones` measures.

    Attributes:
        corpus_folder: Folder with interactions.parquet and items.parquet; MovieLens-100K if absent.
        pythons: Interpreters of the environments that have a framework.
        epochs: Of every side.
        recbole_epochs: Of RecBole instead, as its epochs take minutes.
        n_threads: Of every side.
        timeout: Seconds for one framework.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    corpus_folder: Path | None = None
    pythons: dict[Framework, Path] = {}
    sizes: SASRecConfig = SASRecConfig()
    epochs: int = Field(default=20, ge=2)
    recbole_epochs: int | None = Field(default=None, ge=2)
    batch_size: int = Field(default=128, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    n_threads: int = Field(default=2, ge=1)
    seed: int = 0
    timeout: float = 7200

    def training(self, **changes: Any) -> TrainingConfig:
        """The same as settings of our training loop."""
        shared = self.model_dump(include={"epochs", "batch_size", "learning_rate", "seed"})
        return TrainingConfig.model_validate({**shared, "patience": 1_000_000, "device": "cpu", **changes})


def bench_backbones(config: BackbonesConfig, progress: Progress = silent) -> dict[str, Any]:
    """Train SASRec of one size on one log on every side, and rank the validation targets of all by one evaluator.

    Every side trains with cross entropy over the whole catalogue for the same number of epochs, one side after the
    other. The first epoch is warm-up: seconds are the median of the others.

    Returns:
        `corpus, settings, machine` and `sides`: per side `version, rows, epochs, seconds_per_epoch,
        evaluation_seconds, ndcg@10, note`. Evaluation is scoring every item after every validation history, and
        ranking; reading files and starting up are not timed.

    Raises:
        InputError: The corpus folder cannot be used.
        ResourceError: The corpus cannot be fetched, or a framework cannot be run.
    """
    split, corpus = _corpus(config.corpus_folder, progress)
    everything = rows_from_sequences(split.train, config.sizes.max_length)
    last = last_windows(everything)
    sides: dict[str, Any] = {}
    with _threads(config.n_threads), tempfile.TemporaryDirectory() as folder:
        judge = _Judge(split)
        ours = version("seqmend")
        for name, rows, precision, note in (
            ("seqmend, last windows", last, "auto", "what RecTools and RePlay train on"),
            ("seqmend, last windows, float32", last, "float32", "no bfloat16 for products with the catalogue"),
            ("seqmend, all windows", everything, "auto", "every interaction but a user's first is a target once"),
        ):
            sides[name] = {"version": ours, **_ours(rows, config, precision, judge, progress), "note": note}
        sides["plain PyTorch, last windows"] = {
            "version": torch.__version__,
            **_plain(last, config, judge, progress),
            "note": "a short script with PyTorch's own layers: the floor",
        }
        for framework, python in config.pythons.items():
            sides[framework] = _peer(framework, python, Path(folder) / framework, config, split, judge, progress)
    return {
        "corpus": corpus,
        "settings": config.model_dump(mode="json", exclude={"pythons", "corpus_folder"}),
        "machine": {**describe_machine(), "torch": torch.__version__, "threads": config.n_threads},
        "sides": sides,
    }


def bench_scaling(config: BackbonesConfig, progress: Progress = silent) -> dict[str, Any]:
    """Seconds per epoch on generated logs of growing size.

    Returns:
        Per dimension (users, items, length) `sizes, seconds_per_epoch` and `exponent`, the slope of a least-squares
        line through the logarithms: 1 = twice the size takes twice the time.
    """
    found: dict[str, Any] = {}
    with _threads(config.n_threads):
        for dimension, sizes in _SCALES.items():
            seconds = [
                _epoch_seconds_at({**_SCALING_BASE, dimension: size}, config, f"{size:,} {dimension}", progress)
                for size in sizes
            ]
            slope = float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
            found[dimension] = {
                "sizes": list(sizes),
                "seconds_per_epoch": [round(value, 3) for value in seconds],
                "exponent": round(slope, 2),
            }
    return found


def _epoch_seconds_at(size: dict[str, int], config: BackbonesConfig, what: str, progress: Progress) -> float:
    sequences = generate(size["users"], size["items"], size["length"] + 1, config.seed)
    sizes = config.sizes.model_copy(update={"max_length": size["length"]})
    rows = rows_from_sequences(sequences, size["length"])
    training = config.training(epochs=_SCALING_EPOCHS)
    _, seconds = _train_ours(rows, size["items"], sizes, training, what, progress)
    return statistics.median(seconds[1:])


def generate(n_users: int, n_items: int, length: int, seed: int = 0) -> Sequences:
    """Users of one length who prefer popular items."""
    popularity = 1 / np.arange(1, n_items + 1) ** 0.8
    rng = np.random.default_rng(seed)
    items = rng.choice(n_items, size=n_users * length, p=popularity / popularity.sum()).astype(np.int32) + 1
    return Sequences(
        pl.Series("user_id", [f"u{number}" for number in range(n_users)], dtype=pl.String),
        np.arange(n_users + 1, dtype=np.int64) * length,
        items,
        np.tile(np.arange(length), n_users),
        Catalogue.from_titles({f"i{number}": None for number in range(1, n_items + 1)}),
    )


def last_windows(rows: Rows) -> Rows:
    """The last row of every user, of rows in the order of users and time."""
    return rows.select(np.flatnonzero(np.diff(rows.user, append=-1)))


class _Judge:
    """Ranks the validation targets of a split, the same way for every side."""

    def __init__(self, split: Split) -> None:
        sequences, valid = split.sequences, split.valid
        self.histories = Histories.before(sequences, valid)
        self.targets = sequences.items[sequences.offsets[valid.users] + valid.positions]

    def figures(self, ranks: npt.NDArray[np.int64]) -> dict[str, float]:
        return {"ndcg@10": round(float(metric_values(ranks, "ndcg@10").mean()), 4)}

    def model(self, model: Backbone) -> dict[str, float]:
        ranks, seconds = _timed(lambda: rank_targets(model, self.histories, self.targets, self.histories))
        return {"evaluation_seconds": seconds, **self.figures(ranks)}

    def scores(self, make: Callable[[], npt.NDArray[np.float32]]) -> dict[str, float]:
        ranks, seconds = _timed(lambda: rank_scores(make(), self.targets, self.histories))
        return {"evaluation_seconds": seconds, **self.figures(ranks)}


def _timed(rank: Callable[[], npt.NDArray[np.int64]]) -> tuple[npt.NDArray[np.int64], float]:
    """Ranks, and the median of the seconds they take after a warm-up."""
    ranks, seconds = rank(), list[float]()
    for _ in range(_RANKING_REPEATS):
        begin = time.perf_counter()
        rank()
        seconds.append(time.perf_counter() - begin)
    return ranks, round(statistics.median(seconds), 3)


def _epochs(rows: int, seconds: list[float]) -> dict[str, Any]:
    return {"rows": rows, "epochs": len(seconds), "seconds_per_epoch": round(statistics.median(seconds[1:]), 3)}


def _ours(
    rows: Rows,
    config: BackbonesConfig,
    precision: str,
    judge: _Judge,
    progress: Progress,
) -> dict[str, Any]:
    n_items = len(judge.histories.sequences.catalogue)
    training = config.training(precision=precision)
    model, seconds = _train_ours(rows, n_items, config.sizes, training, f"{len(rows):,} rows", progress)
    return {**_epochs(len(rows), seconds), **judge.model(model)}


def _train_ours(
    rows: Rows, n_items: int, sizes: SASRecConfig, training: TrainingConfig, what: str, progress: Progress
) -> tuple[SASRec, list[float]]:
    """The model of the last epoch, and the seconds of every epoch, validation left out."""
    model, clock = SASRec(n_items, sizes, training.seed), [time.perf_counter()]

    def after_epoch(_: Backbone) -> float:
        clock.append(time.perf_counter())
        progress(f"training seqmend on {what}", len(clock) - 1, training.epochs)
        return float(len(clock))  # ever better, so that the last weights stay

    train(model, rows, training, after_epoch)
    return model, [end - begin for begin, end in itertools.pairwise(clock)]


def _plain(rows: Rows, config: BackbonesConfig, judge: _Judge, progress: Progress) -> dict[str, Any]:
    n_items = len(judge.histories.sequences.catalogue)
    model, seconds = train_plain(rows, n_items, config.sizes, config.training(), progress)

    def scores() -> npt.NDArray[np.float32]:
        everyone = np.arange(len(judge.histories), dtype=np.int64)
        return plain_scores(model, judge.histories.windows(everyone, config.sizes.max_length))

    return {**_epochs(len(rows), seconds), **judge.scores(scores)}


_NOTES: dict[Framework, str] = {
    "recbole": "one row for every target, with all that precedes it: the same targets as all windows, many more rows",
    "rectools": "rows are the last windows",
    "replay": "rows are the last windows",
}


def _peer(
    framework: Framework,
    python: Path,
    workdir: Path,
    config: BackbonesConfig,
    split: Split,
    judge: _Judge,
    progress: Progress,
) -> dict[str, Any]:
    epochs = (config.recbole_epochs if framework == "recbole" else None) or config.epochs
    settings = ExternalConfig(
        framework=framework,
        python=python,
        epochs=epochs,
        timeout=config.timeout,
        n_threads=config.n_threads,
        **config.sizes.model_dump(include={"embedding_size", "n_layers", "n_heads", "dropout", "max_length"}),
        **config.model_dump(include={"batch_size", "learning_rate", "seed"}),
    )
    done = external_scores(split.train, judge.histories.cut(), settings, workdir, progress=progress)
    ranked = judge.scores(lambda: done.scores)
    return {
        "version": done.version,
        **_epochs(done.rows, list(done.epoch_seconds)),
        **ranked,
        "evaluation_seconds": round(done.scoring_seconds + ranked["evaluation_seconds"], 3),
        "note": _NOTES[framework],
    }


def _corpus(folder: Path | None, progress: Progress) -> tuple[Split, dict[str, Any]]:
    if folder is None:
        data = DataConfig(corpus="movielens-100k")
    elif (folder / "interactions.parquet").is_file():
        items = folder / "items.parquet"
        data = DataConfig(interactions=folder / "interactions.parquet", items=items if items.is_file() else None)
    else:
        raise InputError("no interactions.parquet in the folder", where=str(folder), fix="name another --corpus-folder")
    sequences = read_data(data, progress).sequences
    counts = {"users": len(sequences), "items": len(sequences.catalogue), "interactions": sequences.n_interactions}
    split = leave_one_out(sequences)
    return split, {"name": folder.name if folder else "movielens-100k", **counts, "validation_users": len(split.valid)}


@contextmanager
def _threads(n_threads: int) -> Generator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
