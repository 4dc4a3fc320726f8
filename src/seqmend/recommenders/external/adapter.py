"""Training a model of RecBole, RecTools or RePlay in its own environment, and reading back its scores."""

import json
import os
import shutil
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from seqmend.errors import InputError, ResourceError
from seqmend.interactions import Export, ExportFormat, Sequences, export_log
from seqmend.progress import Progress, silent

Framework = Literal["recbole", "rectools", "replay"]

_NAMES: dict[Framework, str] = {"recbole": "RecBole", "rectools": "RecTools", "replay": "RePlay"}
_INSTALL: dict[Framework, str] = {
    "recbole": 'recbole "numpy<2" "pandas<3"',
    "rectools": '"rectools[torch]"',
    "replay": '"replay-rec[torch]"',
}
_FORMATS: dict[Framework, ExportFormat] = {"recbole": "recbole", "rectools": "rectools-csv", "replay": "replay"}
_REFUSED, _NOT_INSTALLED = 2, 3  # as in job_io.py
_SHOWN_LINES = 12


class ExternalConfig(BaseModel):
    """A model of another framework; names as in the project's glossary.

    It learns from the training part alone, for a fixed number of epochs: no epoch is chosen, so none by peeking. All
    train with cross entropy over the whole catalogue and Adam, on the CPU; what is not named here is as the framework
    has it.

    Attributes:
        framework: Whose model it is.
        python: Interpreter of the environment that has the framework.
        model: The framework's name of it: "SASRec", "GRU4Rec", "BERT4Rec", ... of RecBole, "SASRec" or "BERT4Rec" of
            RecTools, "SASRec" of RePlay.
        max_length: Most items of a history that the model sees.
        n_threads: Threads of PyTorch; what it takes by itself if absent.
        timeout: Seconds after which the job is ended.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    framework: Framework
    python: Path
    model: str = Field(default="SASRec", pattern=r"^[A-Za-z]\w*$")
    embedding_size: int = Field(default=64, ge=1)
    n_layers: int = Field(default=2, ge=1)
    n_heads: int = Field(default=2, ge=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    max_length: int = Field(default=50, ge=1)
    epochs: int = Field(default=20, ge=1)
    batch_size: int = Field(default=128, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    seed: int = Field(default=0, ge=0)
    n_threads: int | None = Field(default=None, ge=1)
    timeout: float = Field(default=3600, gt=0)


class _Result(BaseModel):
    """`result.json`, as the job writes it."""

    version: str
    rows: int
    epoch_seconds: tuple[float, ...]
    scoring_seconds: float


@dataclass(frozen=True, eq=False)
class ExternalScores:
    """What a model of another framework says of every history.

    Attributes:
        scores: float32 [M, V + 1], memory-mapped; row m belongs to history m, column v to item v. Minus infinity in
            column 0, for items that the framework did not meet in training and has no vector for, and in all of a
            row whose history has no item that it knows.
        version: Of the framework.
        rows: Rows that it made of the training sequences.
        epoch_seconds: Of every epoch; the first includes warming up.
        scoring_seconds: From numbered histories to all scores.
    """

    scores: npt.NDArray[np.float32]
    version: str
    rows: int
    epoch_seconds: tuple[float, ...]
    scoring_seconds: float


def external_scores(
    train: Sequences,
    histories: Sequences,
    config: ExternalConfig,
    workdir: Path,
    *,
    weights: npt.NDArray[np.float32] | None = None,
    progress: Progress = silent,
) -> ExternalScores:
    """Train a model of another framework and let it score every item after every history.

    The job is given the training sequences and the histories as files, and nothing else: no held-out target reaches it.
    Users and items have their ids in these files, and its answer is put in order by id.

    Args:
        train: Training sequences.
        histories: One sequence per history, of the same catalogue (see `evaluation.Histories.cut`).
        config: The model.
        workdir: Folder of the job's files; made if absent. What an earlier job left in it is replaced.
        weights: Loss weights of the training interactions, float32 [N]; RecTools alone learns with them.
        progress: Told the epochs.

    Raises:
        InputError: The framework has no such model, or its files cannot hold the log or the weights.
        ResourceError: No such interpreter, no framework in its environment, or a job that failed or took too long.
    """
    python = _interpreter(config)
    if not histories.catalogue.item_ids.equals(train.catalogue.item_ids):
        raise ValueError("training sequences and histories must have one catalogue")
    if weights is not None and config.framework == "recbole":
        raise InputError("RecBole knows no loss weights", fix="let the mender replace or delete, or use RecTools")
    workdir = workdir.resolve()
    scores_file, result_file = workdir / "scores.npy", workdir / "result.json"
    for stale in (scores_file, result_file):
        stale.unlink(missing_ok=True)
    progress(f"writing files for {_NAMES[config.framework]}", 0, 0)
    format_ = _FORMATS[config.framework]
    job = workdir / "job.json"
    files = {
        "train": _paths(export_log(train, workdir / "train", format_, weights)),
        "histories": _paths(export_log(histories, workdir / "histories", format_)),
        "scores": str(scores_file),
        "result": str(result_file),
    }
    ids = {"item_ids": train.catalogue.item_ids[1:].to_list(), "history_ids": histories.user_ids.to_list()}
    job.write_text(json.dumps({**config.model_dump(mode="json"), **files, **ids}), encoding="utf-8")
    _run(python, job, config, progress)
    return _read(scores_file, result_file, (len(histories), len(train.catalogue) + 1), config)


def _paths(export: Export) -> dict[str, str]:
    return {"interactions": str(export.interactions), "items": str(export.items)}


def _interpreter(config: ExternalConfig) -> str:
    # A name is looked up; a path is kept as it is, as the link in a virtual environment says which one it is.
    python = shutil.which(str(config.python))
    if python is None:
        raise ResourceError(
            f"there is no Python interpreter for {_NAMES[config.framework]}",
            where=str(config.python),
            expected="the interpreter of an environment, such as /path/to/venv/bin/python",
            fix=f"python3 -m venv VENV && VENV/bin/pip install {_INSTALL[config.framework]}",
        )
    return str(Path(python).absolute())


def _run(python: str, job: Path, config: ExternalConfig, progress: Progress) -> None:
    """Run the framework's script to its end, showing the epochs that it tells of."""
    name = _NAMES[config.framework]
    script = Path(__file__).with_name(f"{config.framework}_job.py")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment |= {"CUDA_VISIBLE_DEVICES": "", "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    said = job.with_name("stderr.txt")
    is_late = threading.Event()
    with (
        said.open("wb") as errors,
        subprocess.Popen(
            [python, str(script), str(job)],
            cwd=job.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
            errors="replace",
        ) as process,
    ):

        def end() -> None:
            is_late.set()
            process.kill()

        clock = threading.Timer(config.timeout, end)
        clock.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("seqmend epoch "):
                    progress(f"training {name}'s {config.model}", int(line.split()[2]), config.epochs)
            code = process.wait()
        except BaseException:
            process.kill()
            raise
        finally:
            clock.cancel()
    lines = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-_SHOWN_LINES:]
    if is_late.is_set():
        raise ResourceError(
            f"{name} was not done after {config.timeout:,.0f} seconds, and was stopped",
            where=str(job.parent),
            fix="raise timeout, or lower epochs",
        )
    if code == _REFUSED:
        raise InputError(lines[-1] if lines else f"{name} refuses the job")
    if code == _NOT_INSTALLED:
        raise ResourceError(
            f"{name} cannot be imported: {lines[-1] if lines else 'no reason given'}",
            where=python,
            fix=f"{python} -m pip install {_INSTALL[config.framework]}",
        )
    if code:
        raise ResourceError(
            f"{name} failed with exit code {code}; it said last:\n" + "\n".join(f"    {line}" for line in lines),
            where=str(job.parent),
            fix=f"look at {said}; run it alone with: {python} {script} {job}",
        )


def _read(scores_file: Path, result_file: Path, shape: tuple[int, int], config: ExternalConfig) -> ExternalScores:
    """What the job wrote, checked."""
    try:
        result = _Result.model_validate_json(result_file.read_bytes())
        scores = np.load(scores_file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, ValidationError) as error:
        raise ResourceError(
            f"{_NAMES[config.framework]} left no scores that can be read: {str(error).splitlines()[0]}",
            where=str(scores_file.parent),
            fix=f"look at {scores_file.with_name('stderr.txt')}",
        ) from error
    if scores.shape != shape or scores.dtype != np.float32:
        raise ResourceError(
            f"{_NAMES[config.framework]} left scores {scores.dtype} {scores.shape}",
            where=str(scores_file),
            expected=f"float32 {shape}",
        )
    return ExternalScores(scores, result.version, result.rows, result.epoch_seconds, result.scoring_seconds)
