"""The arms of a run as points of a chart: means over seeds, intervals, and what each seed gave."""

from dataclasses import dataclass
from statistics import fmean

from seqmend.report.record import Arm, Interval, Metrics, TestHistory
from seqmend.report.wording import ARMS

GROUPS = ("short", "medium", "long")


@dataclass(frozen=True)
class ArmPoint:
    """One arm on one kind of test histories.

    Attributes:
        arm: Its key, say "raw".
        test_history: What it was tested on.
        mean: Over seeds.
        ci95: Interval of the mean; None where the run recorded none.
        by_seed: The figure of every seed.
    """

    arm: str
    test_history: TestHistory
    mean: float
    ci95: Interval | None
    by_seed: list[float]


@dataclass(frozen=True)
class GroupPoint:
    """One arm on the targets with a short, medium or long history; mean over seeds."""

    group: str
    arm: str
    mean: float
    n: int


def arm_points(metrics: Metrics, metric: str, backbone: str) -> list[ArmPoint]:
    """All arms of a backbone, ordered as in `ARMS`, histories as they are before mended ones."""
    by_seed: dict[tuple[str, TestHistory], list[float]] = {}
    for arm in metrics.tested:
        if arm.backbone == backbone and metric in arm.metrics:
            by_seed.setdefault((arm.arm, arm.test_history), []).append(arm.metrics[metric])
    recorded = {
        (found.arm, found.test_history): found
        for found in metrics.arm_intervals
        if (found.backbone, found.metric) == (backbone, metric)
    }
    points = [
        ArmPoint(*key, found.mean, found.ci95, values)
        if (found := recorded.get(key))
        else ArmPoint(*key, fmean(values), None, values)
        for key, values in by_seed.items()
    ]
    return sorted(points, key=lambda point: (_order(point.arm), point.test_history))


def group_points(metrics: Metrics, metric: str, backbone: str) -> list[GroupPoint]:
    """Every length group of every arm, test histories as they are; short histories first, arms ordered as in `ARMS`."""
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for arm in metrics.tested:
        if arm.backbone == backbone and arm.test_history == "as_is":
            for group, figures in arm.groups.items():
                if metric in figures:
                    found.setdefault((group, arm.arm), []).append(figures)
    points = [
        GroupPoint(group, arm, fmean(figures[metric] for figures in seeds), round(seeds[0].get("n", 0)))
        for (group, arm), seeds in found.items()
    ]
    return sorted(points, key=lambda point: (_group_order(point.group), _order(point.arm)))


def metrics_of(arms: list[Arm], wanted: tuple[str, ...]) -> list[str]:
    """Those of the wanted metrics that any arm has."""
    return [metric for metric in wanted if any(metric in arm.metrics for arm in arms)]


def _order(arm: str) -> int:
    return list(ARMS).index(arm) if arm in ARMS else len(ARMS)


def _group_order(group: str) -> int:
    return GROUPS.index(group) if group in GROUPS else len(GROUPS)
