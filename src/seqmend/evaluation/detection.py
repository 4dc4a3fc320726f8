"""Detection: how well confidences tell known noise from real interactions."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn import metrics as sklearn_metrics

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

N_BINS = 10


@dataclass(frozen=True)
class ReliabilityBin:
    """Positions whose confidence lies in one interval.

    Attributes:
        lower: Included.
        upper: Left out, but for the last bin.
        n: Positions, > 0.
        confidence: Their mean confidence.
        noise_rate: Share of them that is noise.
    """

    lower: float
    upper: float
    n: int
    confidence: float
    noise_rate: float


def detection_metrics(
    is_noise: Bool, confidence: Float64, windows: Int64, threshold: float = 0.5
) -> dict[str, float | int | None]:
    """Ranking, decision and calibration quality of confidences over positions.

    `precision`, `recall` and `f1` are those of flagging every position with confidence >= `threshold`; precision is 0
    where nothing is flagged. `top1` is the share, among windows with noise, of those whose highest confidence is on
    noise; a clean position with the same confidence makes it a miss. `ece` is the calibration error over 10 equal-width
    bins, each weighted by its positions.

    Args:
        is_noise: bool [P], the truth.
        confidence: float [P] in [0, 1].
        windows: int64 [P], the window that a position belongs to.
        threshold: In [0, 1].

    Returns:
        `auroc, auprc, precision, recall, f1, top1, ece, n`. What has no meaning is None: auroc, auprc, recall and top1
        without any noise, auroc without any clean position.

    Raises:
        ValueError: No positions, or a confidence that is not in [0, 1].
    """
    _check(is_noise, confidence)
    has_noise, has_both = bool(is_noise.any()), bool(is_noise.any() and not is_noise.all())
    flagged = confidence >= threshold
    hits = int((flagged & is_noise).sum())
    n_flagged, n_noise = int(flagged.sum()), int(is_noise.sum())
    return {
        "auroc": float(sklearn_metrics.roc_auc_score(is_noise, confidence)) if has_both else None,
        "auprc": float(sklearn_metrics.average_precision_score(is_noise, confidence)) if has_noise else None,
        "precision": hits / n_flagged if n_flagged else 0.0,
        "recall": hits / n_noise if n_noise else None,
        "f1": 2 * hits / (n_flagged + n_noise) if n_flagged + n_noise else 0.0,
        "top1": _top1(is_noise, confidence, windows) if has_noise else None,
        "ece": calibration_error(is_noise, confidence),
        "n": len(confidence),
    }


def calibration_error(is_noise: Bool, confidence: Float64, above: float = 0.0) -> float | None:
    """Mean distance between confidence and noise rate over `reliability_bins`, weighted by positions.

    Args:
        is_noise: bool [P].
        confidence: float [P] in [0, 1].
        above: Only positions with a higher confidence than this (0 keeps all). Most positions are clean and easy, and
            hide how well the confidences are calibrated that decide anything.

    Returns:
        In [0, 1]; None where no position is left.
    """
    if above > 0:
        is_noise, confidence = is_noise[confidence > above], confidence[confidence > above]
    if not len(confidence):
        return None
    bins = reliability_bins(is_noise, confidence)
    return sum(b.n * abs(b.confidence - b.noise_rate) for b in bins) / len(confidence)


def reliability_bins(is_noise: Bool, confidence: Float64) -> list[ReliabilityBin]:
    """The reliability diagram: 10 equal-width bins of confidence, empty ones left out.

    Args:
        is_noise: bool [P], P > 0.
        confidence: float [P] in [0, 1].
    """
    _check(is_noise, confidence)
    number = np.minimum((confidence * N_BINS).astype(np.int64), N_BINS - 1)
    n = np.bincount(number, minlength=N_BINS)
    confidences = np.bincount(number, weights=confidence, minlength=N_BINS)
    noise = np.bincount(number, weights=is_noise, minlength=N_BINS)
    return [
        ReliabilityBin(k / N_BINS, (k + 1) / N_BINS, int(n[k]), confidences[k] / n[k], noise[k] / n[k])
        for k in np.flatnonzero(n).tolist()
    ]


def precision_recall_curve(is_noise: Bool, confidence: Float64, n_points: int = 200) -> dict[str, list[float]]:
    """Precision and recall at falling thresholds, thinned out for a chart.

    Args:
        is_noise: bool [P] with at least one True.
        confidence: float [P] in [0, 1].
        n_points: Most points; evenly spread over recall.

    Returns:
        `threshold`, `precision` and `recall`, lists of one length; recall ascends.
    """
    _check(is_noise, confidence)
    precision, recall, threshold = sklearn_metrics.precision_recall_curve(is_noise, confidence)
    # The last point (precision 1, recall 0) belongs to no threshold.
    precision, recall, threshold = precision[-2::-1], recall[-2::-1], threshold[::-1]
    kept = np.unique(np.searchsorted(recall, np.linspace(recall[0], recall[-1], n_points)))
    return {
        "threshold": threshold[kept].tolist(),
        "precision": precision[kept].tolist(),
        "recall": recall[kept].tolist(),
    }


def _top1(is_noise: Bool, confidence: Float64, windows: Int64) -> float:
    number = np.unique(windows, return_inverse=True)[1]
    best_noise, best_clean = np.full((2, int(number.max()) + 1), -np.inf)
    np.maximum.at(best_noise, number[is_noise], confidence[is_noise])
    np.maximum.at(best_clean, number[~is_noise], confidence[~is_noise])
    has_noise = best_noise >= 0
    return float((best_noise > best_clean)[has_noise].mean())


def _check(is_noise: Bool, confidence: Float64) -> None:
    if not len(is_noise) == len(confidence) > 0:
        raise ValueError("truth and confidences must be of one length above 0")
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise ValueError("a confidence is not in [0, 1]")
