"""A gradient for small models: the local model is tuned by LoRA to the correction question, on rows with known answers.

A small model cannot criticise a prompt, but it can learn the question. It is asked in the shortest form that there is:
the target, then the inputs one after the other, and behind each of them the probability of yes against no. An instance
is one pass over some sixty tokens, where the long form costs hundreds. What an input's place could give away is taken
from it: rows are shown in several orders, and asked about in several.

The answer is weighed with what is known of the items without a language model, if that is wanted. Rows that were
labelled by such knowledge cannot weigh it: what they are weighed on is the caller's choice (see `weigh`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import cast

import numpy as np
from scipy.special import expit, logit

from seqmend.errors import BudgetExceeded, InputError
from seqmend.interactions import Catalogue
from seqmend.llm import Adaptation, Judged, LanguageModel, LocalModel, Question, adapt
from seqmend.menders.correct.attributes import Attributes
from seqmend.menders.correct.config import CorrectTuningConfig
from seqmend.menders.correct.evidence import STRANGE, Weights, best_sets, features_of
from seqmend.menders.correct.judges import Score
from seqmend.menders.correct.labelled import Labelled
from seqmend.menders.correct.question import Asked, Verdict
from seqmend.menders.correct.strangers import Strangers
from seqmend.menders.correct.uncertain import Float64, Int64
from seqmend.progress import Progress, silent

_BATCH = 64
_CERTAIN = 1e-6
_USUAL = (0.01, 0.5, 0.99)
_MAX_TOLD = 160
"""Characters of an item's attributes in a question, which is to stay short."""

MODEL, EVIDENCE = "model", "evidence"


@dataclass(frozen=True)
class InPlace:
    """The question in its shortest form.

    Attributes:
        catalogue: The titles.
        attributes: What is told of an item beside its title.
    """

    catalogue: Catalogue
    attributes: Attributes | None = None

    def question(self, inputs: Sequence[int], target: int) -> Question:
        """Which inputs go with the target? A yes or no is read where each of them ends."""
        choices = tuple(f"\n{self._told(item)}:" for item in inputs)
        return Question(f"{self._told(target)}\nWhich of these go with it, yes or no?", choices, "in_place")

    def _told(self, item: int) -> str:
        title = f'"{self.catalogue.prompt_titles[item]}"'
        told = "" if self.attributes is None else self.attributes.text(item)[:_MAX_TOLD]
        return f"{title} ({told})" if told else title


@dataclass(frozen=True)
class Tuned:
    """What tuning has found beside the adapter.

    Attributes:
        answers: Weights of the model's log-odds and, where it has a say, the evidence's.
        usual: The model's log-odds: lowest, middle and highest of all but the most extreme 2 %.
        evidence: Weights of what is known without a language model; None where it has no say.
    """

    answers: Weights
    usual: tuple[float, float, float]
    evidence: Weights | None = None

    def log_odds(self, model: Float64, features: Mapping[str, Float64]) -> Float64:
        """The answers, float64 in the shape of the features."""
        evidence = {} if self.evidence is None else {EVIDENCE: self.evidence.log_odds(features)}
        return self.answers.log_odds({MODEL: model, **evidence})


@dataclass(frozen=True)
class TunedJudge:
    """The tuned model, as it answers the correction question; a `Judge`.

    Attributes:
        model: With its adapter.
        words: The question.
        tuned: How its answers are weighed.
        scores: The evidence, by the names that were weighed.
        orders: In which the inputs are asked about.
        strangers: What the log's noise is by, where the weights were learned from known noise; the likeliest are named
            then, not those that promise the best F1.
        threshold: Least probability of an input that goes with its target, there.
        asks_all: Ask there even where no usual answer could change which inputs go with the target; otherwise such a
            question is answered as if the model had said what it says in the middle.
    """

    model: LanguageModel
    words: InPlace
    tuned: Tuned
    scores: Mapping[str, Score] = field(default_factory=dict[str, Score])
    orders: int = 2
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
                answers = iter(log_odds(self.model, self.words, list(compress(some, is_open)), self.orders))
            except BudgetExceeded:
                break
            middle = self.tuned.usual[1]
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
        low, _, high = (self._probabilities(np.array(said), features) >= self.threshold for said in self.tuned.usual)
        return [bool(differs.any()) for differs in np.split(low != high, ends)]

    def _probabilities(self, said: Float64, features: Mapping[str, Float64]) -> Float64:
        odds = self.tuned.log_odds(said, features)
        return expit(odds) if self.strangers is None else 1 - self.strangers.probability(-odds)


def log_odds(model: LanguageModel, words: InPlace, questions: Sequence[Asked], orders: int) -> list[Float64]:
    """The model's log-odds that each input goes with its target, float64 [n inputs] per question.

    Args:
        model: Any that answers questions in place.
        words: The question.
        questions: Any number.
        orders: The mean is over so many orders of the inputs: as they stand, reversed, and turned around.
    """
    placed = [list(_orders(len(asked.inputs), orders)) for asked in questions]
    asked_in_orders = [
        words.question([asked.inputs[at] for at in order], asked.target)
        for asked, own in zip(questions, placed, strict=True)
        for order in own
    ]
    answers = iter(model.choose(asked_in_orders))
    found: list[Float64] = []
    for asked, own in zip(questions, placed, strict=True):
        total = np.zeros(len(asked.inputs))
        for order in own:
            total[order] += logit(np.clip(next(answers).probabilities, _CERTAIN, 1 - _CERTAIN))
        found.append(total / len(own))
    return found


def _orders(n: int, orders: int) -> Iterator[list[int]]:
    for number in range(orders):
        turned = [(at + number // 2) % n for at in range(n)]
        yield turned[::-1] if number % 2 else turned


def tune(
    model: LocalModel,
    rows: Labelled,
    words: InPlace,
    folder: Path,
    config: CorrectTuningConfig,
    progress: Progress = silent,
) -> tuple[Adaptation, Labelled, Labelled]:
    """Fit an adapter that knows the question; one that was made of the same is returned as it is.

    Args:
        model: The untuned model.
        rows: Instances whose answer is known.
        words: The question.
        folder: Where the adapter is put.
        config: How to fit.
        progress: Told the steps.

    Returns:
        The adapter, the rows that it was tuned on, and the rows of other targets that stopped the fit.

    Raises:
        InputError: There are too few targets to hold some out.
    """
    validation, train = rows.parted([round(config.validation_share * len(rows))], config.seed)
    if not len(train) or not len(validation):
        raise InputError(
            f"{len(rows)} instances with known answers are too few to tune the language model",
            expected="rows of several targets, so that some can be held out",
        )
    rng = np.random.default_rng([config.seed, 1])
    examples = [one for _ in range(config.copies) for one in _judged(train, words, rng)]
    held_out = _judged(validation, words, rng)
    return adapt(model, examples, held_out, folder, config.lora, progress), train, validation


def _judged(rows: Labelled, words: InPlace, rng: np.random.Generator) -> list[Judged]:
    """Every row as an example, its inputs in a random order."""
    found: list[Judged] = []
    for asked, relevant in zip(rows.questions(), rows.relevant.tolist(), strict=True):
        order = rng.permutation(len(asked.inputs)).tolist()
        question = words.question([asked.inputs[at] for at in order], asked.target)
        found.append(Judged(question, tuple(relevant[at] for at in order)))
    return found


def weigh(
    model: LanguageModel,
    words: InPlace,
    train: Labelled,
    validation: Labelled,
    scores: Mapping[str, Score],
    config: CorrectTuningConfig,
) -> Tuned:
    """How the tuned model's answers are weighed with the evidence.

    Args:
        model: With its adapter.
        words: The question.
        train: Rows that the evidence is weighed on.
        validation: Rows that the model was not tuned on, on which it is weighed beside the evidence; may be the same.
        scores: The evidence; none, or `config.evidence` off, leaves the model alone.
        config: See `CorrectTuningConfig`.
    """
    said = np.stack(log_odds(model, words, validation.questions(), config.orders))
    usual = cast("tuple[float, float, float]", tuple(np.quantile(said, _USUAL).tolist()))
    if not config.evidence or (train.strange is None and not scores):
        return Tuned(Weights.fit({MODEL: said}, validation.relevant), usual)
    evidence = Weights.fit(features_of(train, scores), train.relevant)
    known = evidence.log_odds(features_of(validation, scores))
    return Tuned(Weights.fit({MODEL: said, EVIDENCE: known}, validation.relevant), usual, evidence)
