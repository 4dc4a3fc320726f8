import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seqmend.interactions import Sequences
from seqmend.menders.denoise.windows import cut, mean_by_position

lengths_and_cuts = st.tuples(st.lists(st.integers(0, 23), min_size=1, max_size=5), st.integers(2, 8), st.integers(1, 8))


def log_of(lengths):
    titles = {f"i{n}": None for n in range(30)}
    return Sequences.from_lists({f"u{u}": [f"i{n}" for n in range(k)] for u, k in enumerate(lengths)}, titles)


@given(lengths_and_cuts)
def test_windows_hold_every_interaction_at_its_position(case):
    lengths, max_length, stride = case
    sequences = log_of(lengths)
    windows = cut(sequences, max_length, min(stride, max_length))
    held = {(u, p) for u, row in zip(windows.users, windows.positions, strict=True) for p in row if p >= 0}
    assert held == {(u, p) for u, k in enumerate(lengths) for p in range(k)}
    for user, items, positions in zip(windows.users, windows.items, windows.positions, strict=True):
        for item, position in zip(items, positions, strict=True):
            assert item == (sequences[user][position] if position >= 0 else 0)


def test_only_short_sequences_are_padded():
    windows = cut(log_of([3, 10, 25]), 10)
    assert (~windows.real).sum() == 7
    assert windows.starts.tolist() == [-7, 0, 0, 10, 15]


@given(lengths_and_cuts)
def test_the_mean_by_position_is_that_of_the_windows_that_hold_it(case):
    lengths, max_length, stride = case
    sequences = log_of(lengths)
    windows = cut(sequences, max_length, min(stride, max_length))
    values = np.random.default_rng(0).random(windows.items.shape)
    values[values < 0.2] = np.nan
    found = mean_by_position(values, windows, sequences)
    for row, (user, position) in enumerate(zip(sequences.users, sequences.positions, strict=True)):
        cells = values[(windows.users == user)[:, None] & (windows.positions == position)]
        cells = cells[~np.isnan(cells)]
        np.testing.assert_allclose(found[row], cells.mean() if len(cells) else np.nan)
