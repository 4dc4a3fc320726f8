"""Measuring: ranking quality, detection quality, and whether a difference is more than chance."""

from seqmend.evaluation.detection import (
    ReliabilityBin,
    calibration_error,
    detection_metrics,
    precision_recall_curve,
    reliability_bins,
)
from seqmend.evaluation.ranking import (
    GROUP_CUTS,
    MEMORY,
    METRICS,
    Histories,
    length_groups,
    metric_values,
    metrics_by_group,
    rank_scores,
    rank_targets,
    ranking_metrics,
)
from seqmend.evaluation.sampled import rank_among, sampled_negatives
from seqmend.evaluation.significance import (
    Difference,
    RecoveredShare,
    mean_interval,
    paired_bootstrap,
    paired_bootstraps,
    paired_detection_bootstrap,
    recovered_share,
)

__all__ = [
    "GROUP_CUTS",
    "MEMORY",
    "METRICS",
    "Difference",
    "Histories",
    "RecoveredShare",
    "ReliabilityBin",
    "calibration_error",
    "detection_metrics",
    "length_groups",
    "mean_interval",
    "metric_values",
    "metrics_by_group",
    "paired_bootstrap",
    "paired_bootstraps",
    "paired_detection_bootstrap",
    "precision_recall_curve",
    "rank_among",
    "rank_scores",
    "rank_targets",
    "ranking_metrics",
    "recovered_share",
    "reliability_bins",
    "sampled_negatives",
]
