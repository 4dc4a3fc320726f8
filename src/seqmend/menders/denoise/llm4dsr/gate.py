"""The gate: which judged places are sure enough to be edited."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqmend.menders.denoise.statistics import Float64
from seqmend.menders.denoise.windows import Bool, Int64

_CANDIDATES = 3  # LLM4DSR looks at the three highest scores of a window, whatever K


@dataclass(frozen=True)
class Gate:
    """A threshold and a budget.

    Attributes:
        threshold: A place passes strictly above it; in the unit of the values that are given to `passing`.
        max_edits: K, most places of a group that pass.
        above_none: A place passes only if it is likelier than that nothing is noisy.
    """

    threshold: float
    max_edits: int
    above_none: bool = True

    def passing(self, values: Float64, p_none: Float64, groups: Int64) -> Bool:
        """Which places pass, bool [P].

        Args:
            values: Score of every place, float64 [P]; NaN never passes.
            p_none: Probability that nothing around the place is noisy, float64 [P]; only read if `above_none`, where
                the values are probabilities.
            groups: Which places share a budget (those of a window), int64 [P].
        """
        heard = ~np.isnan(values)
        passes = heard & (_ranks(values, groups) < self.max_edits)
        passes[heard] &= values[heard] > self.threshold
        return passes & (values > p_none) if self.above_none else passes


def fit_threshold(
    values: Float64, p_none: Float64, truth: Bool, groups: Int64, max_edits: int, above_none: bool = True
) -> float:
    """The threshold of the best F0.5 on windows whose noise is known, in [0, 1].

    It lies halfway between the last probability that shall pass and the next one. Precision counts more than recall,
    because a wrong edit takes a true interaction away.

    Args:
        values: Probability of every place, float64 [P]; NaN where not judged.
        p_none: See `Gate.passing`.
        truth: Which places are noise, bool [P].
        groups: See `Gate.passing`.
        max_edits: K of the gate.
        above_none: See `Gate`.

    Returns:
        The threshold; 1 (nothing passes) where no threshold finds any noise.
    """
    candidates = np.flatnonzero(Gate(-np.inf, max_edits, above_none).passing(values, p_none, groups))
    order = candidates[np.argsort(-values[candidates], kind="stable")]
    found = np.cumsum(truth[order])
    if not len(order) or not found[-1]:
        return 1.0
    chosen = np.arange(1, len(order) + 1)
    f_half = 1.25 * found / (chosen + 0.25 * truth.sum())
    sorted_values = np.append(values[order], 0.0)
    f_half[sorted_values[:-1] == sorted_values[1:]] = -1  # no threshold lies between equal values
    best = int(np.argmax(f_half))
    return float((sorted_values[best] + sorted_values[best + 1]) / 2)


def pooled_quantile(values: Float64, quantile: float) -> float:
    """LLM4DSR's "probability threshold": a quantile of all log-scores of the data that it is then applied to (T6)."""
    heard = values[~np.isnan(values)]
    return float(np.quantile(heard, quantile)) if len(heard) else np.inf


def flagged_items(
    values: Float64, items: npt.NDArray[np.int32], groups: Int64, threshold: float, max_edits: int
) -> Bool:
    """LLM4DSR's own rule (SASRec_code/dataloader.py): every place of a window that holds a flagged item, bool [P].

    The three best places of a window are its candidates (a repeated item may take several of them: T10); those among
    the first K of them that lie strictly above the threshold flag their item, wherever in the window it stands.

    Args:
        values: Log-score of every place, float64 [P]; NaN where not judged.
        items: Item of every place, int32 [P].
        groups: Window of every place, int64 [P].
        threshold: See `pooled_quantile`.
        max_edits: K.
    """
    named = Gate(threshold, min(max_edits, _CANDIDATES), above_none=False).passing(values, values, groups)
    places = groups * (int(items.max(initial=0)) + 1) + items
    return np.isin(places, places[named])


def _ranks(values: Float64, groups: Int64) -> Int64:
    """Rank of every place in its group, 0 = the highest value; among equal values the first comes first; NaN last."""
    ordered = np.where(np.isnan(values), -np.inf, values)
    order = np.lexsort((np.arange(len(values)), -ordered, groups))
    _, firsts, sizes = np.unique(groups[order], return_index=True, return_counts=True)
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[order] = np.arange(len(values)) - np.repeat(firsts, sizes)
    return ranks
