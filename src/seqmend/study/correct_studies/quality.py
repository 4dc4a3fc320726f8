"""How well corrections undo known noise: dropped inputs, changed targets, for rare and for common company apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from seqmend.evaluation import calibration_error
from seqmend.interactions import Noisy
from seqmend.menders.correct import Correction

Bool = npt.NDArray[np.bool_]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

GROUPS = ("all", "low", "high")
"""All uncertain instances; those whose mco is at most the median over all instances; those above."""

_RESAMPLES = 1000


@dataclass(frozen=True, eq=False)
class Truth:
    """The noise in U uncertain instances of L inputs.

    Attributes:
        users: int64 [U].
        asked: Inputs that could be judged, bool [U, L].
        inputs: Which inputs are noise, bool [U, L].
        targets: Whether the target is, bool [U].
        before: The target before the noise, int32 [U].
        groups: By name of `GROUPS`, bool [U].
    """

    users: Int64
    asked: Bool
    inputs: Bool
    targets: Bool
    before: Int32
    groups: dict[str, Bool]

    @classmethod
    def of(cls, corrections: Sequence[Correction], noisy: Noisy, median: float) -> "Truth":
        """The truth about uncertain instances of the training part.

        Args:
            corrections: One per instance.
            noisy: The noise.
            median: mco up to which an instance counts as of rare company.
        """
        train, whole = noisy.split.train, noisy.split.sequences
        users = np.array([one.user for one in corrections], dtype=np.int64)
        rows = np.array([one.row_id for one in corrections], dtype=np.int64)
        asked = np.array([one.asked for one in corrections], dtype=bool)
        asked &= np.array([one.inputs for one in corrections]) > 0
        numbers = whole.offsets[users] + rows - train.offsets[users]
        inputs = numbers[:, None] - asked.shape[1] + np.arange(asked.shape[1])
        closest = np.array([one.closest for one in corrections])
        groups = {"all": np.ones(len(rows), dtype=bool), "low": closest <= median, "high": closest > median}
        is_noise = noisy.mask[np.maximum(inputs, 0)] & (np.array([one.inputs for one in corrections]) > 0)
        return cls(users, asked, is_noise, noisy.mask[numbers], noisy.items_before[numbers], groups)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What corrections did to the same U instances.

    Attributes:
        dropped: Inputs that went, bool [U, L]; none of an instance that went whole, for its target's sake.
        changed: Targets that went, bool [U].
        after: Targets that came, int32 [U]; 0 where none did.
        foreign: Probability that an input does not go with its own target, float64 [U, L]; NaN where none was given.
    """

    dropped: Bool
    changed: Bool
    after: Int32
    foreign: Float64

    @classmethod
    def of(cls, corrections: Sequence[Correction]) -> "Outcome":
        """What was done."""
        dropped = np.zeros((len(corrections), len(corrections[0].inputs)), dtype=bool)
        foreign = np.full(dropped.shape, np.nan)
        for row, one in enumerate(corrections):
            dropped[row, one.dropped] = True
            if one.verdict is not None and one.verdict.probabilities is not None:
                foreign[row, np.flatnonzero(one.asked)] = 1 - np.array(one.verdict.probabilities)
        changed = np.array([one.action in ("retarget", "drop") for one in corrections])
        after = np.array([one.item_after or 0 for one in corrections], dtype=np.int32)
        return cls(dropped, changed, after, foreign)


def quality(truth: Truth, outcome: Outcome, candidates: Int32) -> dict[str, dict[str, float | None]]:
    """Figures by group.

    Args:
        truth: The noise.
        outcome: What was done.
        candidates: The recommender's, int32 [U, n].

    Returns:
        By group `instances, noise_inputs, noise_targets` (counts), `precision, recall, f1` of dropped inputs, `auroc`
        of their probabilities where the target is the user's own, `confidence` (mean probability that a dropped input
        is noise), `ece` (calibration error of all these probabilities), `target_precision, target_recall` of changed
        targets, `hit_rate`: noise targets that gave way to the true item, `reachable`: those whose true item was among
        the candidates, `changed`: instances that were changed. None where there is nothing to measure.
    """
    found: dict[str, dict[str, float | None]] = {}
    is_hit = truth.targets & (outcome.after == truth.before)
    within = truth.targets & (candidates == truth.before[:, None]).any(axis=1)
    for name, here in truth.groups.items():
        noise, dropped = truth.inputs[here], outcome.dropped[here]
        targets, changed = truth.targets[here], outcome.changed[here]
        both = int((noise & dropped).sum())
        found[name] = {
            "instances": int(here.sum()),
            "noise_inputs": int(noise.sum()),
            "noise_targets": int(targets.sum()),
            "precision": _share(both, int(dropped.sum())),
            "recall": _share(both, int(noise.sum())),
            "f1": _share(2 * both, int(dropped.sum() + noise.sum())),
            "auroc": _auroc(truth, outcome, here & ~truth.targets),
            "confidence": _mean(outcome.foreign[here][dropped]),
            "ece": _calibration_error(truth, outcome, here),
            "target_precision": _share(int((targets & changed).sum()), int(changed.sum())),
            "target_recall": _share(int((targets & changed).sum()), int(targets.sum())),
            "hit_rate": _share(int(is_hit[here].sum()), int(targets.sum())),
            "reachable": _share(int(within[here].sum()), int(targets.sum())),
            "changed": _share(int((dropped.any(axis=1) | changed).sum()), int(here.sum())),
        }
    return found


def counts_by_user(truth: Truth, outcome: Outcome, n_users: int) -> dict[str, dict[str, list[float]]]:
    """What intervals are resampled from: by group, sums over each user's instances.

    Returns:
        By group `rights, dropped, noise` (inputs) and `caught, changed, hits, targets`, each of length `n_users`.
    """
    parts = {
        "rights": (truth.inputs & outcome.dropped).sum(1),
        "dropped": outcome.dropped.sum(1),
        "noise": truth.inputs.sum(1),
        "caught": truth.targets & outcome.changed,
        "changed": outcome.changed,
        "hits": truth.targets & (outcome.after == truth.before),
        "targets": truth.targets,
    }
    return {
        group: {
            name: np.bincount(truth.users[here], weights=values[here], minlength=n_users).tolist()
            for name, values in parts.items()
        }
        for group, here in truth.groups.items()
    }


def difference(ours: dict[str, Float64], theirs: dict[str, Float64], key: str) -> dict[str, Any]:
    """Our figure minus theirs, with a 95 % interval over resampled users.

    Args:
        ours: See `counts_by_user`, summed over repetitions.
        theirs: Of the same instances.
        key: "precision", "recall", "f1", "target_precision", "target_recall" or "hit_rate".

    Returns:
        `difference, ci95`; None where there is nothing to measure.
    """
    n_users = len(ours["noise"])
    rng = np.random.default_rng(0)
    weights = rng.multinomial(n_users, np.full(n_users, 1 / n_users), size=_RESAMPLES).astype(np.float64)
    everyone = np.ones((1, n_users))
    with np.errstate(divide="ignore", invalid="ignore"):
        point = float((_figure(ours, everyone, key) - _figure(theirs, everyone, key))[0])
        resampled = _figure(ours, weights, key) - _figure(theirs, weights, key)
    resampled = resampled[np.isfinite(resampled)]
    if not np.isfinite(point) or not len(resampled):
        return {"difference": None, "ci95": None}
    low, high = np.percentile(resampled, [2.5, 97.5]).tolist()
    return {"difference": point, "ci95": [min(low, point), max(high, point)]}


def _figure(counts: dict[str, Float64], weights: Float64, key: str) -> Float64:
    total = {name: weights @ values for name, values in counts.items()}
    match key:
        case "precision":
            return total["rights"] / total["dropped"]
        case "recall":
            return total["rights"] / total["noise"]
        case "f1":
            return 2 * total["rights"] / (total["dropped"] + total["noise"])
        case "target_precision":
            return total["caught"] / total["changed"]
        case "target_recall":
            return total["caught"] / total["targets"]
        case _:
            return total["hits"] / total["targets"]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(values: Float64) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _calibration_error(truth: Truth, outcome: Outcome, here: Bool) -> float | None:
    heard = ~np.isnan(outcome.foreign) & here[:, None]
    return calibration_error(truth.inputs[heard], outcome.foreign[heard])


def _auroc(truth: Truth, outcome: Outcome, here: Bool) -> float | None:
    heard = ~np.isnan(outcome.foreign) & here[:, None]
    noise = truth.inputs[heard]
    return float(roc_auc_score(noise, outcome.foreign[heard])) if 0 < noise.sum() < len(noise) else None
