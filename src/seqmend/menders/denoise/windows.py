"""Windows: at most L consecutive items of one user, as rows of a matrix."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqmend.interactions import Sequences

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Windows:
    """Left-padded windows of item numbers.

    Attributes:
        items: int32 [B, L], 0 = padding.
        users: User number of every window, int32 [B].
        starts: Position of column 0 in the user's sequence, int64 [B]; negative where the window is padded.
    """

    items: Int32
    users: Int32
    starts: Int64

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, rows: Int64 | Bool) -> "Windows":
        return Windows(self.items[rows], self.users[rows], self.starts[rows])

    @property
    def real(self) -> Bool:
        """Which cells hold an item, bool [B, L]."""
        return self.items > 0

    @property
    def positions(self) -> Int64:
        """Position of every cell in its user's sequence, int64 [B, L]; negative in padding."""
        return self.starts[:, None] + np.arange(self.items.shape[1])


def cut(sequences: Sequences, max_length: int, stride: int | None = None) -> Windows:
    """Windows that together hold every interaction.

    Windows begin at every `stride`-th position; the last one of a long sequence is aligned to its end, so that only
    sequences shorter than `max_length` are padded.

    Args:
        sequences: Any sequences.
        max_length: L, the width of a window.
        stride: Distance of window starts; `max_length` (no overlap but for the last window) where absent.
    """
    stride = stride or max_length
    lengths = sequences.lengths
    spare = np.maximum(lengths - max_length, 0)
    counts = np.where(lengths > 0, -(-spare // stride) + 1, 0)
    users = np.repeat(np.arange(len(sequences), dtype=np.int32), counts)
    index = np.arange(len(users)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = np.where(
        lengths[users] < max_length, lengths[users] - max_length, np.minimum(index * stride, spare[users])
    )
    cells = starts[:, None] + np.arange(max_length)
    rows = sequences.offsets[users][:, None] + np.maximum(cells, 0)
    items = np.where(cells >= 0, sequences.items[rows], 0).astype(np.int32)
    return Windows(items, users, starts.astype(np.int64))


def mean_by_position(
    values: npt.NDArray[np.float64], windows: Windows, sequences: Sequences
) -> npt.NDArray[np.float64]:
    """One value per interaction: the mean over the windows that hold it, float64 [N]; NaN where no window does.

    Args:
        values: float64 [B, L]; NaN cells do not count.
        windows: Windows of `sequences`.
        sequences: The sequences that the result is aligned with.
    """
    used = windows.real & ~np.isnan(values)
    rows = (sequences.offsets[windows.users][:, None] + windows.positions)[used]
    total = np.bincount(rows, weights=values[used], minlength=sequences.n_interactions)
    count = np.bincount(rows, minlength=sequences.n_interactions)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
