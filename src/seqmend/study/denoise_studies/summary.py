"""From repetitions to figures: means with intervals over seeds, over users, and over both."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from seqmend.evaluation import (
    calibration_error,
    detection_metrics,
    mean_interval,
    metric_values,
    paired_bootstrap,
    paired_detection_bootstrap,
    recovered_share,
)
from seqmend.study.denoise_studies.setting import Bool, Case, Float64

METRICS = ("ndcg@10", "ndcg@20")
"""Ranking quality that the studies report."""

Ranks = npt.NDArray[np.int64]


def over_seeds(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean and Student's 95 % interval over repetitions, which one alone does not have; None where a value is None."""
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return {"mean": None, "ci95": None}
    mean = float(np.mean(known))
    if len(known) == 1:
        return {"mean": mean, "ci95": None}
    reach = float(stats.t.ppf(0.975, len(known) - 1) * np.std(known, ddof=1) / np.sqrt(len(known)))
    return {"mean": mean, "ci95": [mean - reach, mean + reach]}


def all_over_seeds(figures: Sequence[Mapping[str, float | None]]) -> dict[str, dict[str, Any]]:
    """`over_seeds` of every figure."""
    return {name: over_seeds([figure[name] for figure in figures]) for name in figures[0]}


def found_noise(case: Case, confidence: Float64, threshold: float) -> dict[str, float | None]:
    """How well a confidence finds the noise of the training part.

    Returns:
        `auroc, auprc, ece, ece_above_0.2, precision, recall, f1, share_edited`; None where there is nothing to measure
        (precision: nothing was flagged).
    """
    truth, heard = case.is_noise("train"), ~np.isnan(confidence)
    truth, confidence = truth[heard], confidence[heard]
    figures = detection_metrics(truth, confidence, case.groups[heard], threshold)
    flagged = float((confidence >= threshold).mean())
    return {
        **{name: figures[name] for name in ("auroc", "auprc", "ece", "recall", "f1")},
        "ece_above_0.2": calibration_error(truth, confidence, above=0.2),
        "precision": figures["precision"] if flagged else None,
        "share_edited": flagged,
    }


def auroc_difference(
    truths: Sequence[Bool], ours: Sequence[Float64], theirs: Sequence[Float64], users: Sequence[npt.NDArray[Any]]
) -> dict[str, Any] | None:
    """Difference of two AUROCs over the positions of all repetitions, resampling users; None without noise."""
    truth = np.concatenate(truths)
    if not 0 < truth.sum() < len(truth):
        return None
    found = paired_detection_bootstrap(
        truth,
        np.concatenate(ours),
        np.concatenate(theirs),
        np.concatenate(users).astype(np.int64),
        np.random.default_rng(0),
        n_resamples=500,
    )
    return {"difference": found.difference, "ci95": list(found.ci95), "p_value": found.p_value}


def ranking_figures(ranks: Ranks, raw: Ranks, oracle: Ranks | None) -> dict[str, dict[str, Any]]:
    """Ranking quality of an arm by metric, paired with the raw arm over users and seeds.

    Args:
        ranks: Of the test targets, int64 [S, M].
        raw: The same without mending.
        oracle: The same with all noise undone, where there was noise.

    Returns:
        For every metric `mean, ci95, difference` (to raw: `difference, ci95, p_value`) and `recovered_share` (`value,
        ci95, reason`), which is None without an oracle.
    """
    figures: dict[str, dict[str, Any]] = {}
    for metric in METRICS:
        values, unmended = metric_values(ranks, metric), metric_values(raw, metric)
        found = paired_bootstrap(values, unmended, np.random.default_rng(0))
        share = None
        if oracle is not None:
            said = recovered_share(unmended, values, metric_values(oracle, metric), np.random.default_rng(0))
            share = {"value": said.value, "ci95": list(said.ci95) if said.ci95 else None, "reason": said.reason}
        figures[metric] = {
            "mean": float(values.mean()),
            "ci95": list(mean_interval(values, np.random.default_rng(0))),
            "difference": {"difference": found.difference, "ci95": list(found.ci95), "p_value": found.p_value},
            "recovered_share": share,
        }
    return figures
