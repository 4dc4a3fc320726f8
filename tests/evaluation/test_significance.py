import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from seqmend.evaluation import (
    mean_interval,
    paired_bootstrap,
    paired_detection_bootstrap,
    recovered_share,
    significance,
)


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_interval_is_that_of_a_naive_two_way_bootstrap():
    a, b = rng().random((4, 60)), rng().random((4, 60)) * 0.9
    a += np.arange(4)[:, None] * 0.3  # seeds differ
    source, means = np.random.default_rng(1), []
    for _ in range(4000):
        seeds, users = source.integers(4, size=4), source.integers(60, size=60)
        means.append((a - b)[np.ix_(seeds, users)].mean())

    result = paired_bootstrap(a, b, rng(), n_resamples=4000)

    assert (result.mean_a, result.mean_b) == (pytest.approx(a.mean()), pytest.approx(b.mean()))
    assert result.difference == pytest.approx(a.mean() - b.mean())
    assert result.seeds == 4
    width = np.subtract(*np.percentile(means, [97.5, 2.5]))
    np.testing.assert_allclose(result.ci95, np.percentile(means, [2.5, 97.5]), atol=0.06 * width)


def test_users_with_several_targets_come_and_go_together():
    """Ten copies of every target are no more evidence than one."""
    once = rng().normal(0.05, 1, (2, 80))
    users = np.arange(80, dtype=np.int32)
    zeros = np.zeros_like(once)

    single = paired_bootstrap(once, zeros, rng())
    naive = paired_bootstrap(np.repeat(once, 10, axis=1), np.repeat(zeros, 10, axis=1), rng())
    by_user = paired_bootstrap(
        np.repeat(once, 10, axis=1), np.repeat(zeros, 10, axis=1), rng(), users=np.repeat(users, 10)
    )

    assert by_user.ci95 == pytest.approx(single.ci95)
    assert np.diff(naive.ci95) < 0.6 * np.diff(single.ci95)


def test_p_value_is_small_for_a_real_difference_and_uniform_without_one():
    source = np.random.default_rng(3)
    base = source.random((5, 300))
    assert paired_bootstrap(base + 0.05, base, rng()).p_value < 0.01
    assert paired_bootstrap(base, base, rng()).p_value == 1
    p_values = [
        paired_bootstrap(source.normal(size=(1, 100)), np.zeros((1, 100)), source, n_resamples=500).p_value
        for _ in range(200)
    ]
    assert 0.01 <= np.mean(np.array(p_values) < 0.1) <= 0.2


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=6), st.integers(1, 3))
def test_interval_holds_the_difference(cells, n_resamples):
    a, b = (np.array([[cell[k] for cell in cells]], dtype=np.float64) for k in (0, 1))
    result = paired_bootstrap(a, b, rng(), n_resamples=n_resamples)

    assert result.ci95[0] <= result.difference <= result.ci95[1]
    assert result.difference == result.mean_a - result.mean_b
    assert 0 < result.p_value <= 1
    low, high = mean_interval(a, rng(), n_resamples=n_resamples)
    assert low <= a.mean() <= high


def test_memory_is_bounded_without_changing_the_kind_of_answer(monkeypatch: pytest.MonkeyPatch):
    a, b = rng().random((3, 50)), np.full((3, 50), 0.4)
    whole = paired_bootstrap(a, b, rng())
    monkeypatch.setattr(significance, "_CHUNK_CELLS", 200)  # four resamples at a time
    parts = paired_bootstrap(a, b, rng())

    assert parts.ci95 == pytest.approx(whole.ci95, abs=0.01)


def test_recovered_share_of_half_a_gain_is_a_half():
    raw = rng().random((3, 400))
    gain = np.abs(rng().normal(0.1, 0.2, (3, 400)))

    share = recovered_share(raw, raw + gain / 2, raw + gain, rng())
    assert share.value == pytest.approx(0.5)
    assert share.ci95 == pytest.approx((0.5, 0.5))
    assert share.reason is None

    noisy = recovered_share(raw, raw + gain / 2 + rng().normal(0, 0.1, (3, 400)), raw + gain, rng())
    assert noisy.value is not None
    assert noisy.ci95 is not None
    assert noisy.ci95[0] < noisy.value < noisy.ci95[1]


def test_nothing_to_recover_has_no_share_but_a_reason():
    raw = rng().random((3, 100))
    share = recovered_share(raw, raw + 0.1, np.random.default_rng(8).random((3, 100)), rng())

    assert (share.value, share.ci95) == (None, None)
    assert share.reason is not None
    assert "includes 0" in share.reason


def naive_auroc(is_noise: np.ndarray, scores: np.ndarray) -> float:
    pairs = scores[is_noise][:, None] - scores[~is_noise]
    return ((pairs > 0) + (pairs == 0) / 2).mean()


def test_detection_difference_is_that_of_resampling_users_one_by_one():
    source = np.random.default_rng(2)
    is_noise, users = source.random(600) < 0.3, source.integers(40, size=600)
    score_a = np.round(source.random(600) + is_noise * 0.4, 1)  # many ties
    score_b = source.random(600) + is_noise * 0.1
    differences = []
    for _ in range(1000):
        drawn = np.concatenate([np.flatnonzero(users == user) for user in source.integers(40, size=40)])
        differences.append(naive_auroc(is_noise[drawn], score_a[drawn]) - naive_auroc(is_noise[drawn], score_b[drawn]))

    result = paired_detection_bootstrap(is_noise, score_a, score_b, users, rng(), n_resamples=1000)

    assert result.mean_a == pytest.approx(roc_auc_score(is_noise, score_a))
    assert result.mean_b == pytest.approx(roc_auc_score(is_noise, score_b))
    width = np.subtract(*np.percentile(differences, [97.5, 2.5]))
    np.testing.assert_allclose(result.ci95, np.percentile(differences, [2.5, 97.5]), atol=0.12 * width)
    same = paired_detection_bootstrap(is_noise, score_a, score_a, users, rng(), n_resamples=50)
    assert (same.difference, same.ci95, same.p_value) == (0, (0, 0), 1)


def test_detection_difference_survives_resamples_of_one_class():
    is_noise, scores, users = np.array([True, False]), np.array([0.9, 0.1]), np.array([0, 1])
    result = paired_detection_bootstrap(is_noise, scores, scores[::-1], users, rng(), n_resamples=50)
    assert result.ci95 == (1, 1)
    with pytest.raises(ValueError, match="noise and clean"):
        paired_detection_bootstrap(np.array([True]), scores[:1], scores[:1], users[:1], rng())
