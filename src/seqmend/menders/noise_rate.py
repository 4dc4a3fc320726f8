"""How much of a log is noise, told by what was put there on purpose, and what a classifier of that says of the log."""

import numpy as np
import numpy.typing as npt
from scipy.special import logit

Float64 = npt.NDArray[np.float64]


def to_confidence(probability: Float64, corrupted_share: float, noise_rate: float) -> Float64:
    """Turn P(corrupted) in the training mix into P(not the user's own) in the log.

    The "clean" cells that the classifier learned from hold the log's own noise, a share `noise_rate` of them. With f1
    and f0 the densities of noise and of clean cells, the classifier's odds are a f1 / ((1 - a) ((1 - r) f0 + r f1)),
    so that r f1 / ((1 - r) f0 + r f1) = odds r (1 - a) / a (positive-unlabelled learning: Elkan & Noto 2008).

    Args:
        probability: P(corrupted), float64 [P].
        corrupted_share: a, the share of corrupted cells among those learned from.
        noise_rate: r, the share of noise in the log.
    """
    odds = np.exp(logit(probability))
    return np.minimum(odds * noise_rate * (1 - corrupted_share) / corrupted_share, 1.0)


def estimate_noise_rate(corrupted: Float64, others: Float64) -> float:
    """Estimated share of noise among a log's own cells, in (0, 1).

    Among the cells that score above a threshold, the log shows r times the corrupted cells' share, plus what clean
    cells add. The ratio of the two shares therefore bounds r from above at every threshold (Garg et al., NeurIPS
    2021), and the less clean cells are left, the tighter: a line through the ratios of the strict thresholds, those
    that 5 to 50 % of the corrupted cells pass, is read off at 0. Where noise and clean cells overlap even at the top,
    the estimate is too high.

    Args:
        corrupted: Scores of the cells that were corrupted on purpose, held out from the classifier.
        others: Scores of the log's own cells.
    """
    passed = np.linspace(0.05, 0.5, 46)
    thresholds = np.quantile(corrupted, 1 - passed)
    ratios = (1 - np.searchsorted(np.sort(others), thresholds) / len(others)) / passed
    _, at_zero = np.polyfit(passed, ratios, 1)
    return float(np.clip(at_zero, 0.005, 0.9))
