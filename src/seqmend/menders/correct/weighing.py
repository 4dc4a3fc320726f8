"""A language model's answers, weighed with what is known of the items without it.

Rows that were labelled by such knowledge cannot weigh it; which rows do is the caller's choice (see `weigh`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import cast

import numpy as np
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from seqmend.errors import BudgetExceeded
from seqmend.menders.correct.evidence import STRANGE, Weights, best_sets, features_of
from seqmend.menders.correct.judges import Score
from seqmend.menders.correct.labelled import Labelled
from seqmend.menders.correct.question import Asked, Verdict
from seqmend.menders.correct.strangers import Strangers
from seqmend.menders.correct.uncertain import Float64, Int64
from seqmend.progress import Progress, silent

_BATCH = 64
_USUAL = (0.01, 0.5, 0.99)

MODEL, EVIDENCE = "model", "evidence"

Said = Callable[[Sequence[Asked]], Sequence[Float64]]
"""Asks a language model: its log-odds that each input goes with its target, float64 [n inputs] per question."""


@dataclass(frozen=True)
class Weighed:
    """How the answers of a language model are weighed.

    Attributes:
        answers: Weights of the model's log-odds and, where it has a say, the evidence's.
        usual: The model's log-odds: lowest, middle and highest of all but the most extreme 2 %.
        evidence: Weights of what is known without a language model; None where it has no say.
        auroc: How well the rows' inputs that go with their target are told from the others, by "model", "evidence" and
            both "together"; nothing where all or none go.
    """

    answers: Weights
    usual: tuple[float, float, float]
    evidence: Weights | None = None
    auroc: Mapping[str, float] = field(default_factory=dict[str, float])

    def log_odds(self, model: Float64, features: Mapping[str, Float64]) -> Float64:
        """The answers, float64 in the shape of the features."""
        evidence = {} if self.evidence is None else {EVIDENCE: self.evidence.log_odds(features)}
        return self.answers.log_odds({MODEL: model, **evidence})


@dataclass(frozen=True)
class WeighedJudge:
    """A language model whose answers are weighed with what else is known; a `Judge`.

    Attributes:
        said: Asks it.
        weighed: How its answers are weighed.
        scores: The evidence, by the names that were weighed.
        strangers: What the log's noise is by, where the weights were learned from known noise; the likeliest are named
            then, not those that promise the best F1.
        threshold: Least probability of an input that goes with its target, there.
        asks_all: Ask there even where no usual answer could change which inputs go with the target; otherwise such a
            question is answered as if the model had said what it says in the middle.
    """

    said: Said
    weighed: Weighed
    scores: Mapping[str, Score] = field(default_factory=dict[str, Score])
    strangers: Strangers | None = None
    threshold: float = 0.5
    asks_all: bool = False

    def ask(
        self, questions: Sequence[Asked], progress: Progress = silent, what: str = "asking which inputs fit"
    ) -> list[Verdict | None]:
        """See `Judge.ask`; None from where a budget is spent."""
        found: list[Verdict | None] = []
        for begin in range(0, len(questions), _BATCH):
            progress(what, begin, len(questions))
            some = questions[begin : begin + _BATCH]
            features, ends = self._features(some), np.cumsum([len(asked.inputs) for asked in some])[:-1]
            is_open = self._is_open(features, ends)
            try:
                answers = iter(self.said(list(compress(some, is_open))))
            except BudgetExceeded:
                break
            middle = self.weighed.usual[1]
            said = [
                next(answers) if is_asked else [middle] * len(one.inputs)
                for one, is_asked in zip(some, is_open, strict=True)
            ]
            probabilities = np.split(self._probabilities(np.concatenate(said), features), ends)
            for p, is_asked in zip(probabilities, is_open, strict=True):
                goes = best_sets(p[None])[0] if self.strangers is None else p >= self.threshold
                found.append(Verdict(tuple(goes.tolist()), tuple(p.tolist()), asked=is_asked))
        return found + [None] * (len(questions) - len(found))

    def _features(self, questions: Sequence[Asked]) -> dict[str, Float64]:
        """Of the inputs of all questions, float64 [n inputs] by name."""
        inputs = np.concatenate([asked.inputs for asked in questions]).astype(np.int64)
        targets = np.repeat([asked.target for asked in questions], [len(asked.inputs) for asked in questions])
        features = {name: score(inputs, targets) for name, score in self.scores.items()}
        strange = np.concatenate([asked.strange for asked in questions])
        return features | ({STRANGE: strange} if len(strange) else {})

    def _is_open(self, features: Mapping[str, Float64], ends: Int64) -> list[bool]:
        """Of every question, whether a usual answer could change which inputs go with its target."""
        if self.asks_all or self.strangers is None:
            return [True] * (len(ends) + 1)
        low, _, high = (self._probabilities(np.array(said), features) >= self.threshold for said in self.weighed.usual)
        return [bool(differs.any()) for differs in np.split(low != high, ends)]

    def _probabilities(self, said: Float64, features: Mapping[str, Float64]) -> Float64:
        odds = self.weighed.log_odds(said, features)
        return expit(odds) if self.strangers is None else 1 - self.strangers.probability(-odds)


def weigh(said: Said, train: Labelled, validation: Labelled, scores: Mapping[str, Score], evidence: bool) -> Weighed:
    """How a language model's answers are weighed with the evidence.

    Args:
        said: Asks it.
        train: Rows that the evidence is weighed on.
        validation: Rows that the model was not tuned on, on which it is weighed beside the evidence; may be the same.
        scores: The evidence.
        evidence: Whether it is weighed; without any the model is alone.
    """
    answers = np.stack(said(validation.questions()))
    usual = cast("tuple[float, float, float]", tuple(np.quantile(answers, _USUAL).tolist()))
    told: dict[str, Float64] = {MODEL: answers}
    weights = None
    if evidence and (train.strange is not None or scores):
        weights = Weights.fit(features_of(train, scores), train.relevant)
        told[EVIDENCE] = weights.log_odds(features_of(validation, scores))
    fitted = Weights.fit(told, validation.relevant)
    auroc: dict[str, float] = {}
    if 0 < validation.relevant.mean() < 1:
        by = told | ({} if weights is None else {"together": fitted.log_odds(told)})
        auroc = {name: float(roc_auc_score(validation.relevant.ravel(), odds.ravel())) for name, odds in by.items()}
    return Weighed(fitted, usual, weights, auroc)
