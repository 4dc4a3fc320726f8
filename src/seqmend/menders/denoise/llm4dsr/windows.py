"""LLM4DSR's windows: a history of at most ten items and the target that follows it, one window per target."""

from dataclasses import dataclass

import numpy as np

from seqmend.interactions import Sequences, Targets, window_targets
from seqmend.menders.denoise.windows import Int64, Windows


def instances(sequences: Sequences, targets: Targets, max_length: int = 10) -> Windows:
    """The windows of the given targets, left-padded: the target is the last of max_length + 1 columns.

    Args:
        sequences: The sequences that the targets stand in.
        targets: Any targets; those of `window_targets` give LLM4DSR's windows, those of `global_time` its split.
        max_length: Most items of a history.

    Returns:
        Items int32 [B, max_length + 1], in the order of the targets.
    """
    starts = targets.positions - max_length
    positions = starts[:, None] + np.arange(max_length + 1)
    rows = sequences.offsets[targets.users][:, None] + np.maximum(positions, 0)
    items = np.where(positions >= 0, sequences.items[rows], 0).astype(np.int32)
    return Windows(items, targets.users, starts)


def all_instances(sequences: Sequences, max_length: int = 10) -> Windows:
    """Every window of the sequences; a user with one interaction has none."""
    return instances(sequences, window_targets(sequences.lengths, max_length), max_length)


def last_histories(sequences: Sequences, max_length: int = 10) -> Windows:
    """The last at most `max_length` items of every sequence: the history that a target after it is predicted from."""
    users = np.flatnonzero(sequences.lengths > 0).astype(np.int32)
    windows = instances(sequences, Targets(users, sequences.lengths[users] - 1), max_length - 1)
    return Windows(windows.items, windows.users, windows.starts)


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of windows that hold an item, in a row.

    Attributes:
        rows: Window of every cell, int64 [C].
        columns: Its column, int64 [C].
        interactions: Number of the interaction that stands there, int64 [C].
    """

    rows: Int64
    columns: Int64
    interactions: Int64

    @classmethod
    def of(cls, windows: Windows, sequences: Sequences) -> "Cells":
        """The cells of windows of these sequences."""
        rows, columns = np.nonzero(windows.real)
        interactions = sequences.offsets[windows.users[rows]] + windows.starts[rows] + columns
        return cls(rows, columns, interactions)
