"""Rows: what a backbone trains on, as fixed-width arrays cut from sequences."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from seqmend.interactions import PADDING, Sequences

Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]

Form = Literal["sequence", "instance"]


@dataclass(frozen=True, eq=False)
class Rows:
    """R rows of L columns, padded on the left: column c holds an input and the target that follows it.

    Attributes:
        row_id: int64 [R], unique; where the rows come from sequences, the number of the row's last target interaction.
        user: int32 [R], number of the user in the sequences.
        channel: int8 [R]; 0 = the log itself, further channels are a method's own (LLMSeR: 1 = augmented).
        form: "sequence" (a target at every real column) or "instance" (one target, in the last column).
        items: int32 [R, L], inputs; 0 = padding or a masked interaction.
        targets: int32 [R, L]; 0 = no loss here.
        weights: float32 [R, L], >= 0, what the loss of a target is multiplied by; 0 where there is no target.
        is_pseudo: bool [R, L], inputs that no user ever had.
        pair: int64 [R]; rows of one number >= 0 are always in the same batch; -1 = on its own.
    """

    row_id: Int64
    user: Int32
    channel: Int8
    form: Form
    items: Int32
    targets: Int32
    weights: Float32
    is_pseudo: Bool
    pair: Int64

    def __len__(self) -> int:
        """Number of rows R."""
        return len(self.row_id)

    @property
    def max_length(self) -> int:
        """Number of columns L."""
        return self.items.shape[1]

    @cached_property
    def lengths(self) -> Int64:
        """Columns from a row's first input to its end, int64 [R]; what lies before is padding."""
        is_input = self.items != PADDING
        return np.where(is_input.any(axis=1), self.max_length - is_input.argmax(axis=1), 0)

    @cached_property
    def has_loss(self) -> Bool:
        """Whether any target of a row counts, bool [R]."""
        return ((self.targets != PADDING) & (self.weights > 0)).any(axis=1)

    def select(self, rows: Int64 | Bool) -> "Rows":
        """The rows of the given numbers, or those that a mask keeps."""
        return replace(
            self,
            row_id=self.row_id[rows],
            user=self.user[rows],
            channel=self.channel[rows],
            items=self.items[rows],
            targets=self.targets[rows],
            weights=self.weights[rows],
            is_pseudo=self.is_pseudo[rows],
            pair=self.pair[rows],
        )


def left_padded(values: npt.NDArray[Any], starts: Int64, ends: Int64, width: int) -> npt.NDArray[Any]:
    """The last `width` of the values from starts[r] to ends[r] for every row r, zeros before them.

    >>> left_padded(np.array([5, 6, 7, 8]), np.array([0, 2]), np.array([3, 3]), 2).tolist()
    [[6, 7], [0, 7]]
    """
    if not len(values):
        return np.zeros((len(starts), width), dtype=values.dtype)
    index = ends[:, None] - width + np.arange(width)
    is_inside = index >= starts[:, None]
    return np.where(is_inside, values[np.where(is_inside, index, 0)], values.dtype.type(0))


def rows_from_sequences(
    sequences: Sequences,
    max_length: int,
    form: Form = "sequence",
    weights: Float32 | None = None,
    step: int | None = None,
) -> Rows:
    """Rows in which every interaction but a user's first is a target exactly once.

    In sequence form a user's inputs are cut into windows from their end backwards, so that only the earliest is short.
    With `step` < `max_length` windows overlap: all but the earliest then carry loss at their last `step` columns only,
    so that these targets have more than `max_length - step` inputs. In instance form every target has a row.

    An item number 0 inside a sequence is a masked interaction: it keeps its place and is neither input nor target.

    Args:
        sequences: Training sequences.
        max_length: Columns L of a row, > 0.
        form: See `Rows`.
        weights: float32 [N], >= 0, finite; loss weight of every interaction where it is the target. All 1 by default.
        step: Distance of neighbouring windows (sequence form), 1..max_length. By default `max_length`: no overlap.
    """
    step = 1 if form == "instance" else step or max_length
    if not 1 <= step <= max_length:
        raise ValueError(f"step {step} is not in 1..{max_length}")
    if weights is None:
        weights = np.ones(sequences.n_interactions, dtype=np.float32)
    elif len(weights) != sequences.n_interactions or not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError("weights must be finite, at least 0, and one per interaction")

    users, ends, first_targets = _windows(sequences, max_length, form, step)
    items = left_padded(sequences.items, sequences.offsets[users], ends, max_length)
    # A column's target is the interaction after its input; from masked items alone there is nothing to predict.
    targets = left_padded(sequences.items, first_targets, ends + 1, max_length)
    targets *= np.logical_or.accumulate(items != PADDING, axis=1)
    has_loss = targets != PADDING
    return Rows(
        row_id=ends,
        user=users,
        channel=np.zeros(len(users), dtype=np.int8),
        form=form,
        items=items,
        targets=targets,
        weights=left_padded(weights.astype(np.float32), first_targets, ends + 1, max_length) * has_loss,
        is_pseudo=np.zeros(items.shape, dtype=np.bool_),
        pair=np.full(len(users), -1, dtype=np.int64),
    )


def _windows(sequences: Sequences, max_length: int, form: Form, step: int) -> tuple[Int32, Int64, Int64]:
    """User, end of the inputs and first target of every window, as numbers of interactions; users and time ascend."""
    n_targets = np.maximum(sequences.lengths - 1, 0)
    if form == "instance":
        counts = n_targets
    else:
        counts = np.where(n_targets > 0, 1 + -(-np.maximum(n_targets - max_length, 0) // step), 0)
    users = np.repeat(np.arange(len(sequences), dtype=np.int32), counts)
    windows_before_end = np.repeat(np.cumsum(counts), counts) - np.arange(len(users)) - 1
    ends = sequences.offsets[users] + n_targets[users] - windows_before_end * step
    is_earliest = windows_before_end == counts[users] - 1
    first_targets = np.where(is_earliest, sequences.offsets[users] + 1, ends - step + 1)
    return users, ends, first_targets
