import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqmend.recommenders import left_padded, rows_from_sequences

users = st.lists(st.lists(st.integers(1, 9), max_size=13), min_size=1, max_size=4)


def test_windows_are_cut_from_the_end(sequences_of):
    rows = rows_from_sequences(sequences_of([1, 2, 3, 4, 5, 6], [7], [8, 9]), max_length=3)

    assert rows.items.tolist() == [[0, 1, 2], [3, 4, 5], [0, 0, 8]]
    assert rows.targets.tolist() == [[0, 2, 3], [4, 5, 6], [0, 0, 9]]
    assert rows.user.tolist() == [0, 0, 2]
    assert rows.lengths.tolist() == [2, 3, 1]
    assert rows.has_loss.all()


def test_overlapping_windows_carry_loss_where_the_history_is_long(sequences_of):
    rows = rows_from_sequences(sequences_of([1, 2, 3, 4, 5, 6, 7]), max_length=4, step=2)

    assert rows.items.tolist() == [[1, 2, 3, 4], [3, 4, 5, 6]]
    assert rows.targets.tolist() == [[2, 3, 4, 5], [0, 0, 6, 7]]


def test_instances_have_their_target_in_the_last_column(sequences_of):
    rows = rows_from_sequences(sequences_of([1, 2, 3, 4], [5]), max_length=2, form="instance")

    assert rows.items.tolist() == [[0, 1], [1, 2], [2, 3]]
    assert rows.targets.tolist() == [[0, 2], [0, 3], [0, 4]]


def test_masked_interaction_is_neither_input_nor_target(sequences_of):
    rows = rows_from_sequences(sequences_of([0, 1, 0, 2, 3]), max_length=4)

    assert rows.items.tolist() == [[0, 1, 0, 2]]
    # 1 has nothing but a masked item before it
    assert rows.targets.tolist() == [[0, 0, 2, 3]]
    assert rows.weights.tolist() == [[0, 0, 1, 1]]
    assert rows.lengths.tolist() == [3]


def test_weights_follow_their_target(sequences_of):
    sequences = sequences_of([1, 2, 3], [4, 5])
    weights = np.array([9, 0.5, 0, 9, 2], dtype=np.float32)

    rows = rows_from_sequences(sequences, max_length=2, weights=weights)

    assert rows.weights.tolist() == [[0.5, 0], [0, 2]]
    without = rows_from_sequences(sequences, max_length=2, weights=np.array([1, 0, 0, 1, 1], dtype=np.float32))
    assert without.has_loss.tolist() == [False, True]
    assert without.select(without.has_loss).items.tolist() == [[0, 4]]


@pytest.mark.parametrize("weights", [[1, 1], [1, -1, 1], [1, np.nan, 1]])
def test_weights_that_make_no_sense_are_refused(sequences_of, weights: list[float]):
    with pytest.raises(ValueError, match="weights"):
        rows_from_sequences(sequences_of([1, 2, 3]), max_length=2, weights=np.array(weights, dtype=np.float32))


@given(users=users, max_length=st.integers(1, 6), data=st.data())
def test_every_interaction_but_the_first_is_a_target_once_after_what_precedes_it(sequences_of, users, max_length, data):
    form = data.draw(st.sampled_from(["sequence", "instance"]))
    step = data.draw(st.integers(1, max_length)) if form == "sequence" else None
    # items made unique tell which interaction a cell is
    numbered, count = [], 0
    for user in users:
        numbered.append(list(range(count + 1, count + 1 + len(user))))
        count += len(user)

    rows = rows_from_sequences(sequences_of(*numbered), max_length, form=form, step=step)

    expected = sorted(item for user in numbered for item in user[1:])
    assert sorted(rows.targets[rows.targets > 0].tolist()) == expected
    assert len(np.unique(rows.row_id)) == len(rows)
    for items, targets, user, number in zip(rows.items, rows.targets, rows.user, rows.row_id, strict=True):
        history = numbered[user]
        assert targets[-1] == number + 1  # row_id is the 0-based number of the last target
        end = history.index(targets[-1])
        assert items.tolist() == ([0] * max_length + history[:end])[-max_length:]
        for column in np.flatnonzero(targets):
            assert targets[column] == items[column] + 1
    if form == "instance":
        assert (rows.targets[:, :-1] == 0).all()


def test_no_target_gives_no_rows(sequences_of):
    assert len(rows_from_sequences(sequences_of([1], []), max_length=3)) == 0


def test_left_padded_of_nothing_is_padding():
    empty = np.zeros(0, dtype=np.int32)
    assert left_padded(empty, np.array([0]), np.array([0]), 2).tolist() == [[0, 0]]
