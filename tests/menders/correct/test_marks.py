import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support

from seqmend.menders.correct import mark

ROWS = st.lists(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=4, max_size=4), min_size=1, max_size=20)


@given(ROWS)
def test_marks_are_those_of_an_independent_library_where_something_is_in_common(rows):
    said, relevant = (np.array([*rows, rows[0]])[:, :, k] for k in (0, 1))  # one row alone is no multi-label problem
    found = mark(np.broadcast_to(np.arange(1, 5, dtype=np.int32), said.shape), said, relevant)
    both_empty = ~said.any(1) & ~relevant.any(1)
    # As labels of four samples, the rows are what the library gives marks of.
    expected = precision_recall_fscore_support(relevant.T, said.T, average=None, zero_division=0)[:3]
    for own, other in zip((found.precision, found.recall, found.f1), expected, strict=True):
        assert own == pytest.approx(np.where(both_empty, 1.0, other))
    assert found.means["f1"] == pytest.approx(found.f1.mean())


def test_items_count_once_padding_never_and_unreadable_answers_nothing():
    inputs = np.array([[0, 5, 5, 6], [0, 0, 5, 6], [1, 2, 3, 4]], dtype=np.int32)
    relevant = np.array([[False, True, True, False], [False] * 4, [False] * 4])
    found = mark(inputs, [[True, True, False, True], [True, True, False, False], None], relevant)
    assert found.precision.tolist() == [0.5, 1, 0]
    assert found.recall.tolist() == [1, 1, 0]
    assert found.f1.tolist() == [pytest.approx(2 / 3), 1, 0]


def test_no_rows_have_no_marks():
    nothing = np.zeros((0, 5), dtype=np.int32)
    found = mark(nothing, [], nothing.astype(bool))
    assert len(found) == 0
    assert found.means == {"precision": 0.0, "recall": 0.0, "f1": 0.0}
