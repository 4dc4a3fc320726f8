"""Cascade: the language model reads the windows where it is expected to change most, until a budget is spent."""

import contextlib
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from seqmend.errors import BudgetExceeded
from seqmend.menders.denoise.config import DenoiseConfig
from seqmend.menders.denoise.statistics import Float64
from seqmend.menders.denoise.windows import Int64
from seqmend.progress import Progress, silent

T = TypeVar("T")

_BATCH = 32


def by_expected_change(confidence: Float64) -> Int64:
    """Rows of windows, those first whose confidences a reading is expected to move furthest.

    A reading that moves a cell's log-odds by d moves its confidence p by about p (1 - p) d, so that the sum of
    p (1 - p) over a window ranks windows whatever the size of d.

    Args:
        confidence: Of every cell, float64 [B, L]; NaN in padding.
    """
    return np.argsort(-np.nansum(confidence * (1 - confidence), axis=1), kind="stable")


def most_windows(config: DenoiseConfig, n_windows: int, limit: int | None = None) -> int:
    """How many of so many windows may be read.

    Args:
        config: Limits by number and by share; the lower holds.
        n_windows: All windows.
        limit: Replaces the limit by number, where that is not 0.
    """
    if config.language_windows == 0:
        return 0
    limits = [n_windows, config.language_windows if limit is None else limit]
    if config.language_share is not None:
        limits.append(int(np.ceil(config.language_share * n_windows)))
    return min(most for most in limits if most is not None)


def ask_while_paid(
    rows: Int64, ask: Callable[[Int64], Sequence[T]], progress: Progress = silent, what: str = "reading windows"
) -> dict[int, T]:
    """Answers about rows, in their order, until a budget is spent; every row that was paid for has its answer.

    Args:
        rows: What to ask about, the most important first.
        ask: Answers about some rows.
        progress: Told how many rows have their answer.
        what: Is being done.
    """
    found: dict[int, T] = {}
    for begin in range(0, len(rows), _BATCH):
        progress(what, begin, len(rows))
        batch = rows[begin : begin + _BATCH]
        try:
            found.update(zip(batch.tolist(), ask(batch), strict=True))
        except BudgetExceeded:
            for row in batch:  # those whose answers a journal has by now
                with contextlib.suppress(BudgetExceeded):
                    found[int(row)] = ask(np.array([row]))[0]
            break
    return found
