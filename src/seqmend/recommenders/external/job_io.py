"""What the scripts that run inside another framework's environment share: the job they read, the answer they write.

Knows NumPy and nothing of SeqMend: the other environment has neither it nor, maybe, a Python as new (3.9 will do).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

REFUSED, NOT_INSTALLED = 2, 3
SCORED_TOGETHER = 256


def run(train_and_score: Callable[[dict[str, Any]], None]) -> None:
    """Do the job that the command line names; a framework that is not there has an exit code of its own."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sys.argv = sys.argv[:1]  # RecBole reads the command line
    try:
        train_and_score(job)
    except ImportError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(NOT_INSTALLED)


def refuse(message: str) -> NoReturn:
    """End the job because it asks for what the framework does not have."""
    print(message, file=sys.stderr)
    sys.exit(REFUSED)


class EpochClock:
    """Seconds of every epoch, told to the adapter as they end."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._begin = 0.0

    def start(self) -> None:
        """An epoch begins."""
        self._begin = time.perf_counter()

    def stop(self) -> None:
        """An epoch ends."""
        self.seconds.append(time.perf_counter() - self._begin)
        print(f"seqmend epoch {len(self.seconds)}", flush=True)


def known_items(interactions: Iterable[tuple[str, str]], number_of: dict[str, int]) -> dict[str, list[int]]:
    """The items of every sequence in order, numbered; items without a number are left out.

    Args:
        interactions: Ids of sequence and item, of one sequence in order.
        number_of: The framework's number of every item id that it knows.
    """
    sequences: dict[str, list[int]] = {}
    for sequence, item in interactions:
        if item in number_of:
            sequences.setdefault(sequence, []).append(number_of[item])
    return sequences


class ScoreFile:
    """The scores of all histories, minus infinity where none is written.

    Args:
        job: The job.
        item_ids: Item id of every column of the framework's scores; an id that the catalogue lacks is left out.
    """

    def __init__(self, job: dict[str, Any], item_ids: Iterable[str]) -> None:
        column_of = {item: number for number, item in enumerate(job["item_ids"], 1)}
        pairs = [(place, column_of[item]) for place, item in enumerate(item_ids) if item in column_of]
        self._places, self._columns = (np.array(side, dtype=np.int64) for side in zip(*pairs))
        self._row_of = {history: row for row, history in enumerate(job["history_ids"])}
        shape = (len(self._row_of), len(column_of) + 1)
        self._scores = np.lib.format.open_memmap(job["scores"], mode="w+", dtype=np.float32, shape=shape)
        self._scores[:] = -np.inf

    def put(self, history_ids: list[str], scores: npt.NDArray[np.float32]) -> None:
        """Keep the scores of some histories, float32 [m, columns of the framework]."""
        rows = np.array([self._row_of[history] for history in history_ids], dtype=np.int64)
        kept = scores[:, self._places]
        if np.isnan(kept).any():
            raise FloatingPointError("the model's scores are not numbers: lower learning_rate")
        self._scores[rows[:, None], self._columns] = kept

    def close(self) -> None:
        """Write to disk."""
        self._scores.flush()


def together(histories: dict[str, list[int]]) -> Iterator[tuple[list[str], list[list[int]]]]:
    """Histories in portions that are scored together: their ids, their items."""
    ids = list(histories)
    for start in range(0, len(ids), SCORED_TOGETHER):
        portion = ids[start : start + SCORED_TOGETHER]
        yield portion, [histories[history] for history in portion]


def write_result(job: dict[str, Any], version: str, rows: int, clock: EpochClock, scoring_seconds: float) -> None:
    """Say how it went."""
    result = {
        "version": version,
        "rows": rows,
        "epoch_seconds": clock.seconds,
        "scoring_seconds": scoring_seconds,
    }
    Path(job["result"]).write_text(json.dumps(result), encoding="utf-8")
