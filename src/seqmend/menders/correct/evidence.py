"""Evidence on pairs of items, weighed by logistic regression on instances whose answer is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from seqmend.menders.correct.attributes import Attributes
from seqmend.menders.correct.judges import Score
from seqmend.menders.correct.labelled import Labelled
from seqmend.menders.correct.uncertain import Bool, Float64, Int64

_LEAST_SPREAD = 1e-9

STRANGE = "strange"


@dataclass(frozen=True)
class Weights:
    """How much each of F features says, and how likely a pair is without any: fitted by logistic regression.

    Attributes:
        names: Of the features.
        means: Of every feature where it was fitted.
        spreads: Their standard deviations.
        weights: Of the standardised features.
        bias: What is added.
    """

    names: tuple[str, ...]
    means: tuple[float, ...]
    spreads: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float

    @classmethod
    def fit(cls, features: Mapping[str, Float64], relevant: Bool) -> Self:
        """Weigh features by known answers; without two kinds of answers, or any feature, only the share counts.

        Args:
            features: float64 [R, L] each.
            relevant: bool [R, L].
        """
        columns = np.stack([values.ravel() for values in features.values()], axis=1)
        means, spreads = columns.mean(0), np.maximum(columns.std(0), _LEAST_SPREAD)
        truth = relevant.ravel()
        if 0 < truth.sum() < len(truth):
            fitted = LogisticRegression(max_iter=1000).fit((columns - means) / spreads, truth)
            weights, bias = fitted.coef_[0], float(fitted.intercept_[0])
        else:
            share = (truth.sum() + 1) / (len(truth) + 2)
            weights, bias = np.zeros(len(means)), float(np.log(share / (1 - share)))
        return cls(tuple(features), tuple(means.tolist()), tuple(spreads.tolist()), tuple(weights.tolist()), bias)

    def log_odds(self, features: Mapping[str, Float64]) -> Float64:
        """Log-odds that pairs go together, float64, in the shape of the features."""
        found: Any = self.bias
        for name, mean, spread, weight in zip(self.names, self.means, self.spreads, self.weights, strict=True):
            found = found + weight * (features[name] - mean) / spread
        return found

    def probabilities(self, features: Mapping[str, Float64]) -> Float64:
        """The same as probabilities."""
        return expit(self.log_odds(features))


def features_of(rows: Labelled, scores: Mapping[str, Score]) -> dict[str, Float64]:
    """Every score of every input with its target, and how strange it is if that is known, float64 [R, L] each."""
    strange = {} if rows.strange is None else {STRANGE: rows.strange}
    inputs = rows.inputs.astype(np.int64)
    targets = np.broadcast_to(rows.targets[:, None], inputs.shape).astype(np.int64)
    return strange | {
        name: score(inputs.ravel(), targets.ravel()).reshape(inputs.shape).astype(np.float64)
        for name, score in scores.items()
    }


def by_attributes(attributes: Attributes) -> dict[str, Score]:
    """For every attribute: what share of the values of the item that has fewer the two have in common, and how many.

    Two features each, since one shared author is all that authors can share, and one shared tag of ten is little.
    """
    columns = sorted({column for own in attributes.of for column in own})
    found: dict[str, Score] = {}
    for column in columns:
        sets = [frozenset(value.casefold() for value in own.get(column, ())) for own in attributes.of]
        found[f"{column}, shared values"] = _shared(sets, as_share=False)
        found[f"{column}, shared share"] = _shared(sets, as_share=True)
    return found


def _shared(sets: Sequence[frozenset[str]], as_share: bool) -> Score:
    def score(inputs: Int64, targets: Int64) -> Float64:
        pairs = [(sets[a], sets[b]) for a, b in zip(inputs.tolist(), targets.tolist(), strict=True)]
        common = np.array([len(a & b) for a, b in pairs], dtype=np.float64)
        if not as_share:
            return np.log1p(common)
        return common / np.maximum([min(len(a), len(b)) for a, b in pairs], 1)

    return score


def best_sets(probabilities: Float64) -> Bool:
    """The inputs to name for the best expected F1, where each goes with its target by itself; maybe none of them.

    For every number of inputs the likeliest are the best to name. Naming none is right where none goes along (F1 = 1).

    Args:
        probabilities: That an input goes with its target, float64 [R, L].

    Returns:
        bool [R, L].

    >>> best_sets(np.array([[0.9, 0.5, 0.1], [0.2, 0.1, 0.1]])).tolist()
    [[True, True, False], [False, False, False]]
    """
    n_rows, length = probabilities.shape
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ordered = np.take_along_axis(probabilities, order, axis=1)
    named, others = _counts(ordered), _counts(ordered[:, ::-1])[::-1]
    right, missed = np.arange(length + 1)[:, None], np.arange(length + 1)
    expected = np.empty((n_rows, length + 1))
    expected[:, 0] = others[0][:, 0]
    for size in range(1, length + 1):
        f1 = 2 * right / (size + right + missed)
        expected[:, size] = np.einsum("ri,ij,rj->r", named[size], f1, others[size])
    found = np.zeros(probabilities.shape, dtype=np.bool_)
    np.put_along_axis(found, order, np.arange(length) < expected.argmax(1)[:, None], axis=1)
    return found


def _counts(probabilities: Float64) -> list[Float64]:
    """For the first 0, 1, ..., L columns: how likely 0, 1, ..., L of them happen, float64 [R, L + 1] each."""
    n_rows, length = probabilities.shape
    counts = [np.eye(1, length + 1).repeat(n_rows, axis=0)]
    for column in probabilities.T[:, :, None]:
        before = counts[-1]
        counts.append(before * (1 - column) + np.pad(before[:, :-1], ((0, 0), (1, 0))) * column)
    return counts
