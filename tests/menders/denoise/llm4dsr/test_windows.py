import numpy as np

from seqmend.interactions import Sequences, global_time
from seqmend.menders.denoise.llm4dsr import all_instances, instances
from seqmend.menders.denoise.llm4dsr.windows import Cells, last_histories


def log_of(*lengths):
    titles = {f"i{n}": f"title {n}" for n in range(30)}
    return Sequences.from_lists({f"u{u}": [f"i{n}" for n in range(k)] for u, k in enumerate(lengths)}, titles)


def test_the_paper_s_windows_by_hand():
    """Check 1: n >= 11 gives n - 10 windows of 11 items, a shorter sequence one window, one item none."""
    found = all_instances(log_of(3, 1, 12, 11, 10))
    by_hand = [
        (0, [1, 2, 3]),
        (2, list(range(1, 12))),
        (2, list(range(2, 13))),
        (3, list(range(1, 12))),
        (4, list(range(1, 11))),
    ]
    assert found.items.shape == (5, 11)
    assert [(u, row[row > 0].tolist()) for u, row in zip(found.users.tolist(), found.items, strict=True)] == by_hand
    assert found.items[0].tolist() == [0] * 8 + [1, 2, 3]
    targets = found.positions[:, -1]
    assert targets.tolist() == [2, 10, 11, 10, 9]


def test_the_split_goes_by_the_target_s_time():
    base = log_of(*[3] * 10)
    times = np.array([[n, n + 50, n + 100] for n in range(10)]).ravel() + 1000  # user n's target is at n + 1100
    split = global_time(Sequences(base.user_ids, base.offsets, base.items, times, base.catalogue))
    assert all_instances(split.train).users.tolist() == list(range(8))
    for targets, user in ((split.valid, 8), (split.test, 9)):
        windows = instances(split.sequences, targets)
        assert windows.users.tolist() == [user]
        assert windows.items[0, -3:].tolist() == [1, 2, 3]


def test_held_out_histories_are_the_last_ten():
    found = last_histories(log_of(3, 1, 12, 0))
    assert found.users.tolist() == [0, 1, 2]
    assert [row[row > 0].tolist() for row in found.items] == [[1, 2, 3], [1], list(range(3, 13))]
    assert found.items.shape[1] == 10
    assert found.positions[2].tolist() == list(range(2, 12))


def test_cells_know_their_interaction():
    sequences = log_of(3, 1, 12)
    windows = all_instances(sequences)
    cells = Cells.of(windows, sequences)
    np.testing.assert_array_equal(sequences.items[cells.interactions], windows.items[cells.rows, cells.columns])
    np.testing.assert_array_equal(sequences.users[cells.interactions], windows.users[cells.rows])
    assert len(cells.rows) == windows.real.sum()
