"""The correction question: which inputs of an instance go with this target? Asked in closed form, or read back."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from seqmend.errors import BudgetExceeded
from seqmend.llm import Answer, Failure, LanguageModel, Question
from seqmend.menders.correct.config import AnswerForm
from seqmend.menders.correct.parsing import Relevant, read_numbers, read_tags
from seqmend.menders.correct.prompt import Renderer
from seqmend.menders.correct.uncertain import Float64
from seqmend.progress import Progress, silent

_BATCH = 32
_CERTAIN = 1e-6
_TAG_END = "</answer>"


@dataclass(frozen=True)
class Asked:
    """One question.

    Attributes:
        inputs: Numbers of items that have a title, in order, repeats and all; at least one.
        target: Number of an item that has a title.
        strange: Log-odds that each input is a stranger whatever the target (see `Strangers`); empty where nobody knows.
    """

    inputs: tuple[int, ...]
    target: int
    strange: tuple[float, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What the model says of one question.

    Attributes:
        goes: Whether each input goes with the target; None where the answer cannot be read.
        probabilities: Of each input that it does, in [0, 1]; None where the model only writes.
        text: What could not be read.
        asked: Whether the model was asked; else what else is known left nothing open.
    """

    goes: tuple[bool, ...] | None
    probabilities: tuple[float, ...] | None = None
    text: str = ""
    asked: bool = True

    @property
    def is_none(self) -> bool:
        """Whether the answer says that no input goes with the target."""
        return self.goes is not None and not any(self.goes)

    @property
    def strongest(self) -> float | None:
        """Highest probability of any input; None where the model only writes."""
        return None if self.probabilities is None else max(self.probabilities)


@dataclass(frozen=True)
class Teacher:
    """A language model that is asked the correction question.

    Attributes:
        model: The model.
        renderer: Words of the question.
        answers: How it answers (see `CorrectConfig`).
        threshold: Least probability of an input that goes with its target.
        unreadable_is_none: Take an answer that cannot be read for one that names no input (paper).
        max_new_tokens: Longest written answer.
        bias: Taken off the log-odds of every yes.
    """

    model: LanguageModel
    renderer: Renderer
    answers: AnswerForm = "auto"
    threshold: float = 0.5
    unreadable_is_none: bool = False
    max_new_tokens: int = 64
    bias: float = 0.0

    @property
    def writes(self) -> bool:
        """Whether answers are written, and so come without probabilities."""
        return self._form != "probabilities"

    def ask(
        self, questions: Sequence[Asked], progress: Progress = silent, what: str = "asking which inputs fit"
    ) -> list[Verdict | None]:
        """A verdict on every question in turn, until a budget is spent; None from there on.

        Args:
            questions: The most important first.
            progress: Told how many have their verdict.
            what: Is being done.
        """
        found: list[Verdict | None] = []
        for begin in range(0, len(questions), _BATCH):
            progress(what, begin, len(questions))
            try:
                found += self._verdicts(questions[begin : begin + _BATCH])
            except BudgetExceeded:
                break
        return found + [None] * (len(questions) - len(found))

    def _verdicts(self, questions: Sequence[Asked]) -> list[Verdict]:
        if self._form == "probabilities":
            return self._by_probability(questions)
        return self._by_numbers(questions) if self._form == "numbers" else self._by_tags(questions)

    @property
    def _form(self) -> AnswerForm:
        if self.answers != "auto":
            return self.answers
        return "numbers" if self.model.capability == "written" else "probabilities"

    def _by_probability(self, questions: Sequence[Asked]) -> list[Verdict]:
        verdicts: list[Verdict] = []
        for answer in self._asked_of_each(questions):
            probabilities = answer.probabilities
            if self.bias:
                probabilities = expit(log_odds_of(probabilities) - self.bias)
            goes = probabilities >= self.threshold
            verdicts.append(Verdict(tuple(goes.tolist()), tuple(probabilities.tolist())))
        return verdicts

    def _asked_of_each(self, questions: Sequence[Asked]) -> list[Answer]:
        words = self.renderer
        closed = [
            Question(
                words.for_each(asked.inputs, asked.target),
                tuple(words.title(item) for item in asked.inputs),
                "subset",
                words.verdict(asked.target),
            )
            for asked in questions
        ]
        return self.model.choose(closed)

    def log_odds(self, questions: Sequence[Asked]) -> list[Float64]:
        """The model's log-odds that each input goes with its target, float64 [n inputs] per question.

        Raises:
            BudgetExceeded: Some questions could not be asked.
        """
        return [log_odds_of(answer.probabilities) for answer in self._asked_of_each(questions)]

    def _by_numbers(self, questions: Sequence[Asked]) -> list[Verdict]:
        prompts = [self.renderer.for_numbers(asked.inputs, asked.target) for asked in questions]
        written = self.model.write_objects(prompts, Relevant, self.max_new_tokens)
        verdicts: list[Verdict] = []
        for asked, answer in zip(questions, written, strict=True):
            if isinstance(answer, Failure):
                verdicts.append(self._read(asked, None, answer.text or answer.reason))
            else:
                verdicts.append(self._read(asked, read_numbers(answer, self._titles(asked)), answer.model_dump_json()))
        return verdicts

    def _by_tags(self, questions: Sequence[Asked]) -> list[Verdict]:
        prompts = [self.renderer.for_tags(asked.inputs, asked.target) for asked in questions]
        written = self.model.write(prompts, self.max_new_tokens, stop=_TAG_END)
        return [
            self._read(asked, read_tags(text, self._titles(asked)), text)
            for asked, text in zip(questions, written, strict=True)
        ]

    def _read(self, asked: Asked, named: list[bool] | None, text: str) -> Verdict:
        if named is None and self.unreadable_is_none:
            named = [False] * len(asked.inputs)
        return Verdict(None, text=text) if named is None else Verdict(tuple(named))

    def _titles(self, asked: Asked) -> list[str]:
        return [self.renderer.catalogue.prompt_titles[item] for item in asked.inputs]


def log_odds_of(probabilities: Float64) -> Float64:
    """Of probabilities, which are taken for a little less than certain."""
    return logit(np.clip(probabilities, _CERTAIN, 1 - _CERTAIN))
