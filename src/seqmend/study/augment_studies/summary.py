"""From ranks to figures: quality of every arm by group, history shown and protocol, paired over users and seeds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from seqmend.evaluation import Difference, metric_values, paired_bootstraps
from seqmend.study.arms import SAMPLED
from seqmend.study.augment_studies.arms import AS_IS, MENDED, RAW, Ranks

METRICS = ("ndcg@10", "hr@10")
PROTOCOLS = {"full": "", "sampled": SAMPLED}

Bool = npt.NDArray[np.bool_]


def quality(ranks: Ranks, members: Mapping[str, Bool]) -> list[dict[str, Any]]:
    """Ranking quality of every arm.

    Args:
        ranks: Of the test targets.
        members: Which targets are of which group, bool [M] by name.

    Returns:
        One row per backbone, arm, test history, protocol ("full" = the whole catalogue, "sampled" = 100 negatives) and
        group: `n`, and for every metric `mean, ci95, difference` (to the raw arm: `difference, ci95, p_value`).
    """
    rows: list[dict[str, Any]] = []
    for backbone in dict.fromkeys(place[0] for place in ranks):
        for protocol, suffix in PROTOCOLS.items():
            shown = [
                (arm, history)
                for (name, arm, column) in ranks
                for history in (AS_IS, MENDED)
                if name == backbone and column == f"{history}{suffix}"
            ]
            for group, mask in members.items():
                if shown:
                    found = [ranks[backbone, arm, f"{history}{suffix}"][:, mask] for arm, history in shown]
                    base = ranks[backbone, RAW, f"{AS_IS}{suffix}"][:, mask]
                    place = {"backbone": backbone, "ranking": protocol, "group": group, "n": int(mask.sum())}
                    by_metric = {metric: _figures(found, base, metric) for metric in METRICS}
                    rows += [
                        {"arm": arm, "test_history": history, **place}
                        | {metric: by_metric[metric][number] for metric in METRICS}
                        for number, (arm, history) in enumerate(shown)
                    ]
    return rows


def beside_ours(ranks: Ranks, members: Mapping[str, Bool], name: str) -> list[dict[str, Any]]:
    """The mender's arm minus every other one, each shown the histories that it is made for.

    Args:
        ranks: Of the test targets.
        members: Which targets are of which group.
        name: The mender's arm.

    Returns:
        One row per backbone, other arm, protocol, group and metric: `mean_ours, mean, difference, ci95, p_value`.
    """
    rows: list[dict[str, Any]] = []
    for backbone in dict.fromkeys(place[0] for place in ranks):
        others = [arm for arm in dict.fromkeys(place[1] for place in ranks if place[0] == backbone) if arm != name]
        for protocol, suffix in PROTOCOLS.items():
            for group, mask in members.items():
                for metric in METRICS:
                    at = [_headline(ranks, backbone, arm, suffix) for arm in (*others, name)]
                    if any(found is None for found in at):
                        continue
                    *values, own = [_values(found[:, mask], metric) for found in at if found is not None]
                    found = paired_bootstraps(np.stack(values), own, np.random.default_rng(0))
                    place = {"backbone": backbone, "ranking": protocol, "group": group, "metric": metric}
                    rows += [
                        {
                            "other": arm,
                            **place,
                            "mean_ours": one.mean_b,
                            "mean": one.mean_a,
                            "difference": -one.difference,
                            "ci95": [-one.ci95[1], -one.ci95[0]],
                            "p_value": one.p_value,
                        }
                        for arm, one in zip(others, found, strict=True)
                    ]
    return rows


def _headline(ranks: Ranks, backbone: str, arm: str, suffix: str) -> npt.NDArray[np.int64] | None:
    """Ranks with the histories that an arm is made for: with its pseudo items, where it has any."""
    found = ranks.get((backbone, arm, f"{MENDED}{suffix}"))
    return ranks.get((backbone, arm, f"{AS_IS}{suffix}")) if found is None else found


def _figures(ranks: Sequence[npt.NDArray[np.int64]], base: npt.NDArray[np.int64], metric: str) -> list[dict[str, Any]]:
    values, unmended = np.stack([_values(one, metric) for one in ranks]), _values(base, metric)
    means = paired_bootstraps(values, np.zeros_like(unmended), np.random.default_rng(0))
    differences = paired_bootstraps(values, unmended, np.random.default_rng(0))
    return [
        {"mean": mean.mean_a, "ci95": list(mean.ci95), "difference": _plain(difference)}
        for mean, difference in zip(means, differences, strict=True)
    ]


def _plain(found: Difference) -> dict[str, Any]:
    return {"difference": found.difference, "ci95": list(found.ci95), "p_value": found.p_value}


def _values(ranks: npt.NDArray[np.int64], metric: str) -> npt.NDArray[np.float64]:
    return np.stack([metric_values(row, metric) for row in ranks])
