"""Which interactions are strangers among their user's: learned where noise is known.

A second recommender learns from the log with some of its items replaced by chance. How far it believes in the targets
that were replaced, and in the others, and how well they go with what stands around them, tells what the doubts of the
first recommender are worth: no language model is asked.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from seqmend.interactions import PADDING, Sequences
from seqmend.menders.correct.corrections import DOUBTED_ABOVE
from seqmend.menders.correct.judges import LearnedScore
from seqmend.menders.correct.labelled import Labelled, LabelledConfig, corrupted
from seqmend.menders.correct.uncertain import Bool, Float64, Int64
from seqmend.menders.noise_rate import estimate_noise_rate, to_confidence
from seqmend.menders.trees import BoostedTrees

SURROUNDINGS = 10
"""Interactions of the user before and after one that tell whether it is a stranger."""

_BLOCK = 1 << 14
_BEST = 3
_PATIENCE = 20
_CERTAIN = 1e-4
_LEAST_KNOWN = 10  # replaced interactions to learn from, and as many to tell the log's own noise by


@dataclass(frozen=True, eq=False)
class Strangers:
    """Tells how likely an interaction is noise.

    Attributes:
        company: What goes with what in the log.
        trees: P(replaced on purpose) from what is seen of an interaction.
        replaced_share: Share of the interactions that they were learned from which were replaced.
        noise_rate: Estimated share of noise among the log's own interactions; never more than was put there. Where
            noise is hard to tell the estimate is only a bound from above, by which most would be doubted.
    """

    company: LearnedScore
    trees: BoostedTrees
    replaced_share: float
    noise_rate: float

    def log_odds(self, sequences: Sequences, believed: Float64) -> Float64:
        """Log-odds that an interaction is one that was replaced on purpose, float64 [N].

        Args:
            sequences: Of the interactions.
            believed: See `witnesses`.
        """
        return _log_odds(self.trees, witnesses(sequences, believed, self.company))

    def probability(self, log_odds: Float64) -> Float64:
        """P(noise) in the log, of log-odds in the spoiled one."""
        return to_confidence(np.clip(expit(log_odds), _CERTAIN, 1 - _CERTAIN), self.replaced_share, self.noise_rate)


@dataclass(frozen=True, eq=False)
class KnownNoise:
    """A copy of a log whose noise is known, and what was learned from it.

    Attributes:
        strangers: Learned from some of its users.
        spoiled: The copy.
        is_noise: Which of its interactions were put there by chance, bool [N].
        believed: How reliable a recommender of the copy finds the instances whose targets they are, float64 [N]; NaN
            where there is none.
        log_odds: What the strangers' log-odds are in it, float64 [N].
        is_learned_from: Whose users they were learned from, bool [N].
    """

    strangers: Strangers
    spoiled: Sequences
    is_noise: Bool
    believed: Float64
    log_odds: Float64
    is_learned_from: Bool

    @classmethod
    def learn(
        cls,
        company: LearnedScore,
        there: LearnedScore,
        spoiled: Sequences,
        is_noise: Bool,
        believed: Float64,
        is_learned_from: Bool,
        seed: int = 0,
    ) -> Self | None:
        """Learn from a copy whose noise is known; None where so little of it is that nothing can be told.

        Args:
            company: What goes with what in the log that is to be judged.
            there: What does in the copy.
            spoiled: The copy.
            is_noise: Which of its interactions were put there by chance, bool [N].
            believed: By a recommender that was trained on it, see `witnesses`.
            is_learned_from: Interactions to learn from, of some of the users; the others tell how much noise the log
                has of its own.
            seed: Of the trees.
        """
        known, others = is_learned_from & (spoiled.items != PADDING), ~is_learned_from & (spoiled.items != PADDING)
        if min(is_noise[known].sum(), is_noise[others].sum()) < _LEAST_KNOWN:
            return None
        seen = witnesses(spoiled, believed, there)
        trees = BoostedTrees(seed, _PATIENCE).fit(seen[known], is_noise[known])
        odds, put_there = _log_odds(trees, seen), float(is_noise[known].mean())
        rate = min(estimate_noise_rate(odds[others & is_noise], odds[others & ~is_noise]), put_there)
        return cls(Strangers(company, trees, put_there, rate), spoiled, is_noise, believed, odds, is_learned_from)

    def rows(self, config: LabelledConfig, share: float, *, skip_doubted: bool) -> Labelled:
        """Instances of the other users: an input goes with its target where it was not replaced.

        They are those that would be asked about if the copy were the log. Where a user surprises the recommender the
        inputs look strange, too: weighed on any instances, that would be taken for noise too often.

        Args:
            config: How many, how long.
            share: Of the instances are uncertain, those that the recommender believes in least; more if they are fewer
                than wanted.
            skip_doubted: Without those whose target is noise more likely than not.
        """
        others = np.flatnonzero(~self.is_learned_from & ~np.isnan(self.believed))
        others = others[np.argsort(self.believed[others], kind="stable")]
        can_be = np.ones(len(others), dtype=bool)
        if skip_doubted:
            can_be = self.strangers.probability(self.log_odds[others]) <= DOUBTED_ABOVE
        n_uncertain = int(can_be[: round(share * len(others))].sum())
        allowed = np.zeros(len(self.believed), dtype=bool)
        allowed[others[can_be][: max(n_uncertain, config.rows)]] = True
        return corrupted(self.spoiled, self.is_noise, config, self.log_odds, allowed)


def witnesses(sequences: Sequences, believed: Float64, company: LearnedScore) -> Float64:
    """What tells whether an interaction is its user's own, float64 [N, 7]; NaN where a witness has nothing to say.

    The recommender's belief and, as a logarithm, its doubt; how well the item goes with those around it in the mean,
    with the best of them, the second and the third; how often it was chosen.

    Args:
        sequences: Of N interactions.
        believed: How reliable the recommender finds the instances whose targets they are, float64 [N] in [0, 1]; NaN
            where there is none.
        company: What goes with what.
    """
    n, users, items = sequences.n_interactions, sequences.users, sequences.items.astype(np.int64)
    around = np.array([*range(-SURROUNDINGS, 0), *range(1, SURROUNDINGS + 1)])
    seen = np.full((n, _BEST + 1), np.nan)
    for begin in range(0, n, _BLOCK):
        own = np.arange(begin, min(begin + _BLOCK, n))
        places = own[:, None] + around
        beside = np.clip(places, 0, n - 1)
        is_there = (places == beside) & (users[beside] == users[own, None]) & (items[beside] != PADDING)
        judged = np.broadcast_to(items[own, None], is_there.shape)
        odds = np.full(is_there.shape, np.nan)
        odds[is_there] = company.log_odds(judged[is_there], items[beside][is_there])
        n_there = is_there.sum(1)
        seen[own, 0] = np.where(n_there, np.nansum(odds, axis=1) / np.maximum(n_there, 1), np.nan)
        seen[own, 1:] = -np.sort(-odds, axis=1)[:, :_BEST]  # NaN comes last
    chosen: Any = company.pairs.diagonal()
    doubt = np.log(np.clip(1 - believed, _CERTAIN, 1))
    return np.column_stack([believed, doubt, seen, np.log1p(chosen[items])])


def _log_odds(trees: BoostedTrees, seen: Float64) -> Float64:
    return logit(np.clip(trees.probability(seen), _CERTAIN, 1 - _CERTAIN))


def of_interactions(n: int, numbers: Int64, values: npt.NDArray[np.floating]) -> Float64:
    """Values of some of n interactions, NaN for the others, float64 [n]."""
    found = np.full(n, np.nan)
    found[numbers] = values
    return found
