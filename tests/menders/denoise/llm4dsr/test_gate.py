import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import fbeta_score

from seqmend.menders.denoise.llm4dsr.gate import Gate, fit_threshold, flagged_items, pooled_quantile

NONE = np.zeros(6)
VALUES = np.array([0.5, 0.9, np.nan, 0.9, 0.2, 0.7])
GROUPS = np.array([0, 0, 0, 1, 1, 1])


def test_the_gate_by_hand():
    assert Gate(0.4, 1).passing(VALUES, NONE, GROUPS).tolist() == [False, True, False, True, False, False]
    assert Gate(0.4, 2).passing(VALUES, NONE, GROUPS).tolist() == [True, True, False, True, False, True]
    assert Gate(0.5, 2).passing(VALUES, NONE, GROUPS).tolist() == [False, True, False, True, False, True]  # strictly
    none = np.array([0, 0.95, 0, 0.9, 0, 0])
    assert Gate(0.4, 2).passing(VALUES, none, GROUPS).tolist() == [True, False, False, False, False, True]
    assert Gate(0.4, 2, above_none=False).passing(VALUES, none, GROUPS).sum() == 4


def test_no_edits_or_the_highest_quantile_pass_nothing():
    """Check 5."""
    assert not Gate(0.0, 0).passing(VALUES, NONE, GROUPS).any()
    assert not Gate(pooled_quantile(VALUES, 1.0), 9).passing(VALUES, NONE, GROUPS).any()
    items = np.array([1, 2, 3, 1, 2, 3], dtype=np.int32)
    assert not flagged_items(VALUES, items, GROUPS, pooled_quantile(VALUES, 1.0), 9).any()
    assert not flagged_items(VALUES, items, GROUPS, -np.inf, 0).any()


def test_by_item_all_of_its_places_in_the_window_and_none_elsewhere():
    items = np.array([7, 5, 7, 7, 5, 7], dtype=np.int32)
    groups = np.array([0, 0, 0, 0, 1, 1])
    values = np.array([0.1, 0.2, 0.9, np.nan, 0.3, 0.1])
    assert flagged_items(values, items, groups, 0.5, 1).tolist() == [True, False, True, True, False, False]
    # A repeated item takes two of the three candidates, so that K = 9 flags no third item (trap T10).
    items = np.array([7, 7, 5, 6], dtype=np.int32)
    same = np.zeros(4, dtype=np.int64)
    found = flagged_items(np.array([0.9, 0.8, 0.7, 0.6]), items, same, -np.inf, 9)
    assert found.tolist() == [True, True, True, False]


places = st.lists(
    st.tuples(st.floats(0, 1, width=16), st.booleans(), st.integers(0, 3), st.floats(0, 0.5, width=16)),
    min_size=1,
    max_size=25,
)


@given(places, st.integers(0, 3))
def test_the_fitted_threshold_has_the_best_f_half(cells, max_edits):
    values, truth, groups, none = (np.array(column) for column in zip(*cells, strict=True))

    def f_half(threshold):
        said = Gate(threshold, max_edits).passing(values, none, groups)
        return fbeta_score(truth, said, beta=0.5, zero_division=0.0)

    threshold = fit_threshold(values, none, truth, groups, max_edits)
    assert 0 <= threshold <= 1
    if not truth.any():
        assert threshold == 1.0
        return
    best = max(f_half(t) for t in (-1e-9, *values, 1.0))
    # A probability of exactly 0 cannot pass any threshold in [0, 1].
    assert f_half(threshold) == pytest.approx(best) or (values == 0).any()


def test_a_quantile_is_of_what_was_judged():
    assert pooled_quantile(np.array([1.0, np.nan, 3.0]), 0.5) == 2.0
    assert pooled_quantile(np.array([np.nan]), 0.5) == np.inf
