"""Who answers the correction question without a language model: what a model costs has to be worth more than these."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from seqmend.interactions import Sequences
from seqmend.menders.correct.question import Asked, Verdict
from seqmend.menders.correct.uncertain import Float64, Int64, co_occurrence, pair_counts
from seqmend.progress import Progress, silent
from seqmend.recommenders import rows_from_sequences

Score = Callable[[Int64, Int64], Float64]
"""(inputs int64 [n], targets int64 [n]) -> how well each input goes with its target, float64 [n] in [0, 1]."""

AskedScore = Callable[[Sequence[Asked]], list[Float64]]
"""(questions) -> how well every input goes with its target, float64 [n inputs] in [0, 1] each."""

_PAIRS = 20_000
_TIE = 1e-9


class Judge(Protocol):
    """Whoever answers the correction question."""

    def ask(self, questions: Sequence[Asked], progress: Progress = silent, what: str = "") -> list[Verdict | None]:
        """A verdict on every question in turn; None where there is none."""
        ...


class SilentJudge:
    """Has no verdict on anything: the budget does not pay for knowing what a language model's answers are worth."""

    def ask(self, questions: Sequence[Asked], progress: Progress = silent, what: str = "") -> list[Verdict | None]:
        """See `Judge.ask`."""
        del progress, what
        return [None] * len(questions)


@dataclass(frozen=True)
class ScoreJudge:
    """An input goes with its target where their score is high enough."""

    score: AskedScore
    threshold: float

    def ask(self, questions: Sequence[Asked], progress: Progress = silent, what: str = "") -> list[Verdict | None]:
        """See `Judge.ask`."""
        del progress, what
        verdicts: list[Verdict | None] = []
        for scores in self.score(questions):
            verdicts.append(Verdict(tuple((scores >= self.threshold).tolist()), tuple(scores.tolist())))
        return verdicts

    @classmethod
    def at_rate(cls, score: AskedScore, questions: Sequence[Asked], rate: float) -> Self:
        """A judge that finds the given share of all inputs of some questions foreign.

        Args:
            score: What it goes by; equal scores are told apart by chance, the same pair always alike.
            questions: At least one.
            rate: In [0, 1].
        """

        def untied(questions: Sequence[Asked]) -> list[Float64]:
            chance = pairwise(_by_chance)(questions)
            return [(own + _TIE * other) / (1 + _TIE) for own, other in zip(score(questions), chance, strict=True)]

        values = np.sort(np.concatenate(untied(questions)))
        n_foreign = round(rate * len(values))
        return cls(untied, float(values[n_foreign]) if n_foreign < len(values) else np.inf)


@dataclass(frozen=True, eq=False)
class RuledJudge:
    """Another judge, whose answers are changed afterwards.

    Attributes:
        judge: Asked first.
        after: (whether each input goes with the target, inputs, target) -> the same after the rules.
    """

    judge: Judge
    after: Callable[[Sequence[bool], Sequence[int], int], tuple[bool, ...]]

    def ask(self, questions: Sequence[Asked], progress: Progress = silent, what: str = "") -> list[Verdict | None]:
        """See `Judge.ask`."""
        verdicts = self.judge.ask(questions, progress, what)
        return [
            verdict
            if verdict is None or verdict.goes is None
            else replace(verdict, goes=self.after(verdict.goes, asked.inputs, asked.target))
            for verdict, asked in zip(verdicts, questions, strict=True)
        ]


def pairwise(score: Score) -> AskedScore:
    """Every input with its target by itself."""

    def scores_of(questions: Sequence[Asked]) -> list[Float64]:
        if not questions:
            return []
        sizes = [len(asked.inputs) for asked in questions]
        inputs = np.concatenate([asked.inputs for asked in questions]).astype(np.int64)
        targets = np.repeat([asked.target for asked in questions], sizes).astype(np.int64)
        return np.split(score(inputs, targets), np.cumsum(sizes)[:-1])

    return scores_of


def by_strangeness(questions: Sequence[Asked]) -> list[Float64]:
    """How little of a stranger every input is, whatever the target; an `AskedScore`."""
    return [expit(-np.array(asked.strange)) for asked in questions]


def by_title(vectors: npt.NDArray[np.float32]) -> Score:
    """How alike the titles are: their cosine, from 0 up.

    Args:
        vectors: Of all titles, of length 1, float32 [V + 1, d].
    """
    return lambda inputs, targets: np.clip((vectors[inputs] * vectors[targets]).sum(1), 0, 1).astype(np.float64)


def by_co_occurrence(pairs: sp.csr_matrix) -> Score:
    """How many other users chose both, c, as c / (c + 1): the one who is asked about always has.

    Args:
        pairs: From `co_occurrence`.
    """

    def score(inputs: Int64, targets: Int64) -> Float64:
        others = _others(pairs, inputs, targets)
        return others / (others + 1)

    return score


def by_chance(seed: int) -> Score:
    """A number that has nothing to do with the items, the same for the same pair."""
    return lambda inputs, targets: _by_chance(inputs, targets, seed)


@dataclass(frozen=True, eq=False)
class LearnedScore:
    """Logistic regression over what is known of two items without a language model.

    It learns from pairs of the log and from pairs of which one was put there by chance, so that nothing of it is
    defined by what it is judged with. Features: the scores that it is given, how many other users chose both, how
    often each item was chosen.

    Attributes:
        pairs: From `co_occurrence`.
        scores: Further features by name.
        classifier: Fitted.
    """

    pairs: sp.csr_matrix
    scores: Mapping[str, Score]
    classifier: Pipeline

    @classmethod
    def fit(cls, train: Sequences, max_length: int, scores: Mapping[str, Score], seed: int = 0) -> Self:
        """Learn from the training part, half of the pairs being corrupted.

        Args:
            train: Training sequences, with at least one instance.
            max_length: L, inputs of an instance.
            scores: Features, say the likeness of titles.
            seed: Of everything random.
        """
        rng = np.random.default_rng(seed)
        pairs = co_occurrence(train)
        rows = rows_from_sequences(train, max_length, "instance")
        places = np.argwhere((rows.items > 0) & (rows.targets[:, -1:] > 0))
        places = places[rng.permutation(len(places))[:_PAIRS]]
        inputs, targets = rows.items[places[:, 0], places[:, 1]].astype(np.int64), rows.targets[places[:, 0], -1]
        targets = targets.astype(np.int64)
        is_foreign = rng.random(len(inputs)) < 0.5
        inputs[is_foreign] = rng.choice(np.unique(train.items), int(is_foreign.sum()))
        # The user who was asked about has chosen both items of a real pair, and as a rule not those of a made-up one.
        others = _counts(pairs, inputs, targets) - ~is_foreign
        classifier = make_pipeline(StandardScaler(), LogisticRegression())
        classifier.fit(_features(pairs, scores, inputs, targets, np.maximum(others, 0)), ~is_foreign)
        return cls(pairs, scores, classifier)

    def __call__(self, inputs: Int64, targets: Int64) -> Float64:
        """Probability that an input is one of the user's own, float64 [n]."""
        return expit(self.log_odds(inputs, targets))

    def log_odds(self, inputs: Int64, targets: Int64) -> Float64:
        """The same as log-odds."""
        if not len(inputs):
            return np.zeros(0)
        others = _others(self.pairs, inputs, targets)
        return self.classifier.decision_function(_features(self.pairs, self.scores, inputs, targets, others))


def _features(
    pairs: sp.csr_matrix, scores: Mapping[str, Score], inputs: Int64, targets: Int64, others: Float64 | Int64
) -> Float64:
    users: Any = pairs.diagonal()
    columns = [np.log1p(others), np.log1p(users[inputs]), np.log1p(users[targets])]
    return np.stack([*columns, *(score(inputs, targets) for score in scores.values())], axis=1)


def _counts(pairs: sp.csr_matrix, inputs: Int64, targets: Int64) -> Int64:
    return pair_counts(pairs, inputs.astype(np.int32)[:, None], targets.astype(np.int32))[:, 0]


def _others(pairs: sp.csr_matrix, inputs: Int64, targets: Int64) -> Float64:
    return np.maximum(_counts(pairs, inputs, targets) - 1, 0).astype(np.float64)


def _by_chance(inputs: Int64, targets: Int64, seed: int = 0) -> Float64:
    """A number in [0, 1) for every pair, by a multiplicative hash (SplitMix64's finaliser)."""
    mixed = (inputs.astype(np.uint64) << np.uint64(32)) ^ targets.astype(np.uint64) ^ np.uint64(seed * 0x9E3779B9)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(11)) / 2.0**53
