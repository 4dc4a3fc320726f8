import numpy as np
from scipy.special import expit, logit

from seqmend.menders.denoise.fusion import (
    BoostedTrees,
    LogisticFusion,
    WindowFusion,
    best_trust,
    blend,
)


def test_trees_learn_what_no_straight_line_can():
    rng = np.random.default_rng(2)
    inputs = rng.normal(size=(4_000, 2)).astype(np.float32)
    labels = inputs[:, 0] * inputs[:, 1] > 0
    probability = BoostedTrees().fit(inputs, labels).probability(inputs)
    assert ((probability > 0.5) == labels).mean() > 0.9
    straight = LogisticFusion().fit(inputs, labels).probability(inputs)
    assert ((straight > 0.5) == labels).mean() < 0.6


def test_a_reading_that_says_nothing_is_not_trusted_and_one_that_tells_is():
    rng = np.random.default_rng(3)
    labels = rng.random(3_000) < 0.2
    verdict = expit(2 * rng.normal(np.where(labels, 1.0, -1.0), 1.0) + logit(0.2))  # calibrated: only news can help
    windows = np.repeat(np.arange(300), 10)
    silent = WindowFusion().fit(verdict, rng.normal(size=3_000), labels, windows)
    telling = WindowFusion().fit(verdict, rng.normal(np.where(labels, -1.5, 0.5), 1.0), labels, windows)
    assert silent.trust <= 0.5
    assert telling.trust >= 0.75


def test_blending_in_log_odds_ends_at_both_verdicts():
    one, other = np.array([0.2, 0.9]), np.array([0.6, 0.5])
    np.testing.assert_allclose(blend(one, other, 0.0), one)
    np.testing.assert_allclose(blend(one, other, 1.0), other)
    assert ((blend(one, other, 0.5) - one) * (other - one) > 0).all()


def test_trust_is_the_share_that_lowers_the_loss():
    labels = np.random.default_rng(4).random(500) < 0.3
    good, bad = np.where(labels, 0.9, 0.1), np.where(labels, 0.1, 0.9)
    assert best_trust(bad, good, labels) == 1.0
    assert best_trust(good, bad, labels) == 0.0
