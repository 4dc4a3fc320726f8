import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from seqmend.evaluation import calibration_error, detection_metrics, precision_recall_curve, reliability_bins

KEYS = ["auroc", "auprc", "precision", "recall", "f1", "top1", "ece", "n"]
# few distinct confidences: ties, bin edges and the threshold itself are met
positions = st.lists(
    st.tuples(st.booleans(), st.integers(0, 20).map(lambda n: n / 20), st.integers(0, 5)), min_size=1, max_size=40
)


def arrays(cells):
    is_noise, confidence, windows = zip(*cells, strict=True)
    return np.array(is_noise), np.array(confidence), np.array(windows)


@given(positions)
def test_metrics_are_those_of_sklearn_and_of_naive_loops(cells):
    is_noise, confidence, windows = arrays(cells)
    metrics = detection_metrics(is_noise, confidence, windows)

    assert list(metrics) == KEYS
    flagged = confidence >= 0.5
    assert metrics["precision"] == pytest.approx(sklearn_metrics.precision_score(is_noise, flagged, zero_division=0))
    assert metrics["f1"] == pytest.approx(sklearn_metrics.f1_score(is_noise, flagged, zero_division=0))
    assert metrics["n"] == len(cells)
    if not is_noise.any():
        assert [metrics[key] for key in ("auroc", "auprc", "recall", "top1")] == [None] * 4
        return
    assert metrics["recall"] == pytest.approx(sklearn_metrics.recall_score(is_noise, flagged))
    if not is_noise.all():
        assert metrics["auroc"] == pytest.approx(sklearn_metrics.roc_auc_score(is_noise, confidence))
    assert metrics["auprc"] == pytest.approx(sklearn_metrics.average_precision_score(is_noise, confidence))

    hits, with_noise = 0, 0
    for window in set(windows.tolist()):
        inside = [(c, noise) for noise, c, w in cells if w == window]
        if any(noise for _, noise in inside):
            with_noise += 1
            highest = max(c for c, _ in inside)
            hits += all(noise for c, noise in inside if c == highest)
    assert metrics["top1"] == pytest.approx(hits / with_noise)


@given(positions)
def test_calibration_error_is_that_of_a_naive_loop(cells):
    is_noise, confidence, _ = arrays(cells)
    error = 0.0
    for k in range(10):
        inside = [(c, noise) for noise, c, _ in cells if k * 2 <= round(c * 20) < k * 2 + 2 or (k == 9 and c == 1)]
        if inside:
            error += abs(sum(c for c, _ in inside) - sum(noise for _, noise in inside)) / len(cells)

    assert detection_metrics(is_noise, confidence, np.zeros(len(cells)))["ece"] == pytest.approx(error)
    bins = reliability_bins(is_noise, confidence)
    assert sum(b.n for b in bins) == len(cells)
    assert all(b.lower - 1e-9 <= b.confidence <= b.upper + 1e-9 for b in bins)


def test_calibration_error_above_a_confidence_leaves_the_easy_positions_out():
    confidence = np.array([0.0] * 98 + [0.9, 0.9])
    is_noise = np.zeros(100, dtype=bool)

    assert calibration_error(is_noise, confidence) == pytest.approx(0.018)
    assert calibration_error(is_noise, confidence, above=0.2) == pytest.approx(0.9)
    assert calibration_error(is_noise, confidence, above=0.95) is None


def test_curve_is_thinned_and_exact():
    rng = np.random.default_rng(0)
    is_noise = rng.random(5000) < 0.1
    confidence = np.clip(rng.random(5000) * 0.5 + is_noise * 0.3, 0, 1)

    curve = precision_recall_curve(is_noise, confidence, n_points=100)

    assert 50 < len(curve["recall"]) <= 100
    assert len(curve["recall"]) == len(curve["precision"]) == len(curve["threshold"])
    assert curve["recall"] == sorted(curve["recall"])
    assert curve["recall"][-1] == 1
    for threshold, precision, recall in zip(curve["threshold"], curve["precision"], curve["recall"], strict=True):
        flagged = confidence >= threshold
        assert precision == pytest.approx(is_noise[flagged].mean())
        assert recall == pytest.approx(flagged[is_noise].mean())


@pytest.mark.parametrize("confidence", [[0.5, 1.1], [-0.1, 0.5], [0.5, float("nan")], [0.5], []])
def test_confidences_that_are_none_are_refused(confidence: list[float]):
    with pytest.raises(ValueError, match="confidence"):
        detection_metrics(np.array([True, False]), np.array(confidence), np.array([0, 0]))
