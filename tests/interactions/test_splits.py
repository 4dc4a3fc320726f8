import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqmend.errors import InputError
from seqmend.interactions import Sequences, global_time, leave_one_out, window_targets

lengths = st.lists(st.integers(0, 40), min_size=1, max_size=30)


def sequences_of(lengths, rng=None):
    base = Sequences.from_lists({f"u{n}": [f"i{k % 7}" for k in range(length)] for n, length in enumerate(lengths)})
    if rng is None:
        return base
    times = 1_000_000 + np.sort(rng.integers(0, 10_000, base.n_interactions))
    owners = rng.permutation(base.users)  # one clock, users in turn
    order = np.argsort(owners, kind="stable")
    return Sequences(base.user_ids, base.offsets, base.items, times[order], base.catalogue)


def test_leave_one_out_by_hand():
    split = leave_one_out(sequences_of([1, 2, 3, 5]))
    assert split.train_ends.tolist() == [1, 2, 1, 3]
    assert (split.valid.users.tolist(), split.valid.positions.tolist()) == ([2, 3], [1, 3])
    assert (split.test.users.tolist(), split.test.positions.tolist()) == ([2, 3], [2, 4])
    assert split.train.lengths.tolist() == [1, 2, 1, 3]
    assert split.train.data_id == split.sequences.fingerprint
    assert split.targets("valid") is split.valid


def test_leave_one_out_needs_three_interactions_of_somebody():
    with pytest.raises(InputError, match="no user has three interactions"):
        leave_one_out(sequences_of([1, 2, 2]))


@given(lengths)
def test_leave_one_out_holds_the_last_two_out(lengths):
    if max(lengths) < 3:
        return
    split = leave_one_out(sequences_of(lengths))
    for targets, from_end in ((split.test, 1), (split.valid, 2)):
        assert targets.users.tolist() == [user for user, length in enumerate(lengths) if length >= 3]
        assert targets.positions.tolist() == [length - from_end for length in lengths if length >= 3]
    assert (split.valid.positions >= split.train_ends[split.valid.users]).all()


@given(lengths, st.integers(1, 12))
def test_windows_follow_the_rule_user_by_user(lengths, max_length):
    found = window_targets(np.array(lengths), max_length)
    expected = [
        (user, position)
        for user, length in enumerate(lengths)
        for position in (range(max_length, length) if length > max_length else range(length - 1, length))
        if position > 0
    ]
    assert list(zip(found.users.tolist(), found.positions.tolist(), strict=True)) == expected


def test_windows_of_llm4dsr_by_hand():
    # 5 interactions: the whole sequence; 11: one window of 10 + target; 13: three of them; 1: nothing to predict.
    found = window_targets(np.array([5, 11, 13, 1]), 10)
    assert found.users.tolist() == [0, 1, 2, 2, 2]
    assert found.positions.tolist() == [4, 10, 10, 11, 12]


def test_global_time_by_hand():
    base = sequences_of([3] * 10)
    # The last interaction of user n is at 100 + n: users 0-7 train, user 8 validates, user 9 tests.
    times = np.array([[n, n + 50, n + 100] for n in range(10)]).ravel() + 1000
    split = global_time(Sequences(base.user_ids, base.offsets, base.items, times, base.catalogue))
    assert split.train_ends.tolist() == [3] * 8 + [0, 0]
    assert (split.valid.users.tolist(), split.valid.positions.tolist()) == ([8], [2])
    assert (split.test.users.tolist(), split.test.positions.tolist()) == ([9], [2])


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(2, 40), min_size=12, max_size=30))
def test_global_time_never_trains_on_what_is_held_out(seed, lengths):
    sequences = sequences_of(lengths, np.random.default_rng(seed))
    split = global_time(sequences)
    windows = window_targets(sequences.lengths)
    assert len(split.test) == len(windows) - int(len(windows) * 0.8) - int(len(windows) * 0.1)
    assert len(split.valid) == int(len(windows) * 0.1)
    for targets in (split.valid, split.test):
        assert (targets.positions >= split.train_ends[targets.users]).all()

    def time_of(targets):
        return sequences.timestamps[sequences.offsets[targets.users] + targets.positions]

    assert time_of(split.valid).max() <= time_of(split.test).min()
    assert split.train.n_interactions == 0 or split.train.timestamps.max() <= time_of(split.valid).min()


def test_global_time_refuses_positions():
    with pytest.raises(InputError, match="needs real times, but the time column is each user's position"):
        global_time(sequences_of([12, 15, 20]))


def test_global_time_refuses_too_few_windows_to_hold_any_out():
    base = sequences_of([3] * 9)
    times = np.arange(27) + 1000
    with pytest.raises(InputError, match="9 windows are too few"):
        global_time(Sequences(base.user_ids, base.offsets, base.items, times, base.catalogue))
