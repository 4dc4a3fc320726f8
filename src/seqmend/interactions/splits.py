"""Which part of every sequence may be learned from, and which targets are held out."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from seqmend.errors import InputError
from seqmend.interactions.sequences import Int32, Int64, Sequences

View = Literal["train", "valid", "test"]


@dataclass(frozen=True, eq=False)
class Targets:
    """Held-out targets, each with the user it belongs to and its position in the user's sequence.

    Attributes:
        users: int32 [M].
        positions: int64 [M]; the history of target m is the user's interactions before positions[m].
    """

    users: Int32
    positions: Int64

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True, eq=False)
class Split:
    """One division of sequences into training part, validation targets and test targets.

    Attributes:
        name: "leave-one-out" or "global-time".
        sequences: The full data.
        train_ends: int64 [U]; training may use the positions before train_ends[u] and nothing else.
        valid: Targets for model selection.
        test: Targets for the final measurement.
    """

    name: Literal["leave-one-out", "global-time"]
    sequences: Sequences
    train_ends: Int64
    valid: Targets
    test: Targets

    @cached_property
    def train(self) -> Sequences:
        """The training part of every sequence."""
        return self.sequences.up_to(self.train_ends)

    def targets(self, view: Literal["valid", "test"]) -> Targets:
        """The held-out targets of a view."""
        return self.valid if view == "valid" else self.test


def leave_one_out(sequences: Sequences) -> Split:
    """Last interaction of every user for test, the one before for validation, the rest for training.

    Users with fewer than three interactions are trained on and not evaluated.
    """
    users = np.flatnonzero(sequences.lengths >= 3).astype(np.int32)
    lengths = sequences.lengths
    if not len(users):
        raise InputError(
            "no user has three interactions, so there is nothing to hold out",
            expected="at least one user with a history, a validation target and a test target",
            fix="bring a longer log, or split it by global time",
        )
    return Split(
        "leave-one-out",
        sequences,
        np.where(lengths >= 3, lengths - 2, lengths),
        Targets(users, lengths[users] - 2),
        Targets(users, lengths[users] - 1),
    )


def window_targets(lengths: Int64, max_length: int = 10) -> Targets:
    """Every position that LLM4DSR's window rule predicts (LLM4DSR, official data preparation).

    A user with more than `max_length` interactions yields one window per position from `max_length` on; a shorter one
    yields a single window that is the whole sequence.

    >>> window_targets(np.array([3, 12]), 10).positions.tolist()
    [2, 10, 11]
    """
    firsts = np.minimum(max_length, lengths - 1)
    counts = np.where(lengths > 1, lengths - firsts, 0)
    users = np.repeat(np.arange(len(lengths), dtype=np.int32), counts)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    return Targets(users, np.arange(len(users)) - starts + np.repeat(firsts, counts))


def global_time(sequences: Sequences, max_length: int = 10, shares: tuple[float, float] = (0.8, 0.1)) -> Split:
    """LLM4DSR's split: all windows sorted by the time of their target, 80 / 10 / 10 by rank.

    Args:
        sequences: Full data with real times.
        max_length: Longest history of a window.
        shares: Shares of the windows for training and for validation.

    Raises:
        InputError: The time column is a per-user position, so that no global order exists.
    """
    if sequences.times_are_positions:
        raise InputError(
            "a global-time split needs real times, but the time column is each user's position (0, 1, 2, ...)",
            fix="use the leave-one-out split, or bring the real times",
        )
    windows = window_targets(sequences.lengths, max_length)
    times = sequences.timestamps[sequences.offsets[windows.users] + windows.positions]
    order = np.argsort(times, kind="stable")
    first_valid = int(len(order) * shares[0])
    first_test = first_valid + int(len(order) * shares[1])
    if not 0 < first_valid < first_test < len(order):
        raise InputError(
            f"{len(order)} windows are too few to hold some out for validation and for test", fix="bring a longer log"
        )
    train, valid, test = order[:first_valid], np.sort(order[first_valid:first_test]), np.sort(order[first_test:])
    ends = np.zeros(len(sequences), dtype=np.int64)
    np.maximum.at(ends, windows.users[train], windows.positions[train] + 1)
    return Split(
        "global-time",
        sequences,
        ends,
        Targets(windows.users[valid], windows.positions[valid]),
        Targets(windows.users[test], windows.positions[test]),
    )
