import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqmend.interactions.ordering import order_by_user_and_time, renumber, repeats

rows = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(-3, 3)), max_size=40)


def columns(rows, dtype=np.int64):
    users, items, ticks = zip(*rows, strict=True) if rows else ((), (), ())
    return np.array(users, np.int32), np.array(items, np.int32), np.array(ticks, dtype)


@pytest.mark.parametrize(("dtype", "scale"), [(np.int64, 1), (np.int64, 2**58), (np.float64, 0.5)])
@given(rows)
def test_order_is_by_user_then_time_then_row(dtype, scale, rows):
    users, _, ticks = columns(rows, dtype)
    order = order_by_user_and_time(users, (ticks * scale).astype(dtype))
    assert order.tolist() == sorted(range(len(rows)), key=lambda row: (users[row], ticks[row], row))


@given(rows)
def test_a_repeat_is_a_later_row_of_the_same_user_item_and_time(rows):
    users, items, ticks = columns(rows)
    order = order_by_user_and_time(users, ticks)
    found = set(order[repeats(users[order], items[order], ticks[order])].tolist())
    assert found == {row for row, triple in enumerate(rows) if triple in rows[:row]}


@given(st.lists(st.integers(0, 9)))
def test_renumbering_leaves_no_gaps(numbers):
    used, places = renumber(np.array(numbers, np.int32), 10)
    assert used.tolist() == sorted(set(numbers))
    assert used[places].tolist() == numbers
