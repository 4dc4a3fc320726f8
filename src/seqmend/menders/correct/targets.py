"""Which targets are noise: what a recommender's doubt and a target's company are worth, learned where noise is known.

A second recommender learns from the log with some of its items replaced by chance. How far it believes in the targets
that were replaced, and in the others, tells what the doubts of the first are worth: no language model is asked.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from seqmend.interactions import PADDING
from seqmend.menders.correct.evidence import Weights
from seqmend.menders.correct.judges import LearnedScore
from seqmend.menders.correct.uncertain import Bool, Float64, Int32
from seqmend.menders.noise_rate import estimate_noise_rate, to_confidence

_BLOCK = 1 << 14
_CERTAIN = 1e-4
_LEAST_KNOWN = 10  # replaced targets to learn from, and as many to tell the log's own noise by

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TargetNoise:
    """Tells how likely a target is noise.

    Attributes:
        company: What goes with what in the log.
        weights: Of what is seen of an instance, for P(replaced on purpose).
        replaced_share: Share of the instances that they were learned from whose target was replaced.
        noise_rate: Estimated share of noise among the log's own targets; never more than was put there. Where noise is
            hard to tell the estimate is only a bound from above, by which most targets would be doubted.
    """

    company: LearnedScore
    weights: Weights
    replaced_share: float
    noise_rate: float

    @classmethod
    def learn(
        cls, company: LearnedScore, seen: dict[str, Float64], is_noise: Bool, is_learned_from: Bool
    ) -> Self | None:
        """Learn from a log whose noise is known; None where so little of it is that nothing can be told.

        Args:
            company: What goes with what in the log that is to be judged.
            seen: Of the instances of the spoiled log, see `witnesses`.
            is_noise: Which of their targets were put there by chance, bool [R].
            is_learned_from: Instances to learn from; the others tell how much noise the log has of its own.
        """
        there = is_learned_from
        if min(is_noise[there].sum(), is_noise[~there].sum()) < _LEAST_KNOWN:
            return None
        weights = Weights.fit({name: values[there] for name, values in seen.items()}, is_noise[there])
        scores, is_replaced = weights.log_odds(seen)[~there], is_noise[~there]
        rate = estimate_noise_rate(scores[is_replaced], scores[~is_replaced])
        put_there = float(is_noise[there].mean())
        return cls(company, weights, put_there, min(rate, put_there))

    def probability(self, inputs: Int32, targets: Int32, reliability: Float32) -> Float64:
        """P(noise) of every target, float64 [R].

        Args:
            inputs: int32 [R, L], 0 = padding.
            targets: int32 [R].
            reliability: The recommender's, float32 [R]; see `Reliability`.
        """
        replaced = self.weights.probabilities(witnesses(inputs, targets, reliability, self.company))
        return to_confidence(np.clip(replaced, _CERTAIN, 1 - _CERTAIN), self.replaced_share, self.noise_rate)


def witnesses(inputs: Int32, targets: Int32, reliability: Float32, company: LearnedScore) -> dict[str, Float64]:
    """What tells whether a target belongs to its inputs, float64 [R] each.

    The recommender's belief and, as a logarithm, its doubt; how well the target goes with its inputs in the mean, with
    the best of them and with the second (the best again where there is one input); how often it was chosen.

    Args:
        inputs: int32 [R, L], 0 = padding or masked.
        targets: int32 [R].
        reliability: float32 [R], in [0, 1].
        company: What goes with what.
    """
    mean, best, second = (np.zeros(len(targets)) for _ in range(3))
    for begin in range(0, len(targets), _BLOCK):
        rows = slice(begin, begin + _BLOCK)
        is_input = inputs[rows] != PADDING
        of_inputs = np.broadcast_to(targets[rows, None], is_input.shape)[is_input].astype(np.int64)
        odds: Float64 = np.full(is_input.shape, -np.inf)
        odds[~is_input.any(axis=1)] = 0.0  # of a row all of whose inputs are masked nothing is known
        odds[is_input] = company.log_odds(inputs[rows][is_input].astype(np.int64), of_inputs)
        mean[rows] = np.where(is_input, odds, 0).sum(1) / np.maximum(is_input.sum(1), 1)
        odds.sort(axis=1)
        best[rows] = odds[:, -1]
        of_two = odds[:, -min(2, odds.shape[1])]
        second[rows] = np.where(np.isfinite(of_two), of_two, odds[:, -1])
    belief = reliability.astype(np.float64)
    chosen: Any = company.pairs.diagonal()
    return {
        "belief": belief,
        "doubt": np.log(np.clip(1 - belief, _CERTAIN, 1)),
        "company": mean,
        "best": best,
        "second": second,
        "popularity": np.log1p(chosen[targets]),
    }
