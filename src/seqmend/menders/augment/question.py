"""A language model that is asked which candidates came before, or after, a history."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqmend.errors import BudgetExceeded, InputError
from seqmend.llm import Encoder, Failure, LanguageModel, Question
from seqmend.menders.augment.config import AnswerForm
from seqmend.menders.augment.parsing import Chosen, read_chosen, read_lines
from seqmend.menders.augment.prompt import Asked, Renderer
from seqmend.progress import Progress, silent

_AT_ONCE = 64


@dataclass(frozen=True)
class Said:
    """What the model says of one question.

    Attributes:
        ranking: Places of the candidates that it picks, the likeliest first; empty where the answer cannot be read.
        probabilities: Of every candidate, summing to 1; None where the model only writes.
    """

    ranking: tuple[int, ...]
    probabilities: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Teacher:
    """A language model, and how it is asked.

    Attributes:
        model: The model.
        renderer: Words of the question.
        answers: How it answers (see `AugmentConfig`).
        encoder: Matches written names with titles; for the form "names" alone.
        vectors: Of all titles by the encoder, float32 [V + 1, d]; for the form "names" alone.
        max_new_tokens: Longest written answer.
    """

    model: LanguageModel
    renderer: Renderer
    answers: AnswerForm = "auto"
    encoder: Encoder | None = None
    vectors: npt.NDArray[np.float32] | None = None
    max_new_tokens: int = 64

    @property
    def form(self) -> AnswerForm:
        """How the model answers, "auto" resolved."""
        if self.answers != "auto":
            return self.answers
        return "branches" if self.model.capability == "exact" else "numbers"

    def ask(self, questions: Sequence[Asked], progress: Progress = silent, what: str = "asking") -> list[Said | None]:
        """What the model says of every question in turn, until a budget is spent; None from there on.

        Args:
            questions: The most important first.
            progress: Told how many are answered.
            what: Is being done.
        """
        found: list[Said | None] = []
        for begin in range(0, len(questions), _AT_ONCE):
            progress(what, begin, len(questions))
            try:
                found += self._answers(questions[begin : begin + _AT_ONCE])
            except BudgetExceeded:
                break
        return found + [None] * (len(questions) - len(found))

    def _answers(self, questions: Sequence[Asked]) -> list[Said]:
        match self.form:
            case "numbers":
                return self._by_numbers(questions)
            case "names":
                return self._by_names(questions)
            case _:
                return self._by_probability(questions)

    def _by_probability(self, questions: Sequence[Asked]) -> list[Said]:
        words, is_whole = self.renderer, self.form == "titles"
        mode = "one_of" if is_whole else "trie"
        closed = [
            Question(words.to_continue(asked), words.choices(asked), mode, length_normalised=is_whole)
            for asked in questions
        ]
        said: list[Said] = []
        for answer in self.model.choose(closed):
            order = np.argsort(-answer.probabilities, kind="stable")
            said.append(Said(tuple(order.tolist()), tuple(answer.probabilities.tolist())))
        return said

    def _by_numbers(self, questions: Sequence[Asked]) -> list[Said]:
        prompts = [self.renderer.numbered(asked) for asked in questions]
        answers = self.model.write_objects(prompts, Chosen, self.max_new_tokens)
        said: list[Said] = []
        for asked, answer in zip(questions, answers, strict=True):
            titles = self._titles(asked)
            is_text = isinstance(answer, Failure)
            said.append(Said(read_lines(answer.text, titles) if is_text else read_chosen(answer, titles)))
        return said

    def _by_names(self, questions: Sequence[Asked]) -> list[Said]:
        """The reply as one text against every candidate's title (paper): a ranking of all of them."""
        if self.encoder is None or self.vectors is None:
            raise InputError('answers = "names" need a sentence encoder', fix='set language.encoder = "minilm-l6"')
        titled = self.renderer.catalogue.has_title
        texts = self.model.write([self.renderer.named(asked) for asked in questions], self.max_new_tokens)
        said: list[Said] = []
        for asked, text, reply in zip(questions, texts, self.encoder.embed(texts), strict=True):
            order = np.argsort(-(self.vectors[list(asked.candidates)] @ reply), kind="stable").tolist()
            told = tuple(place for place in order if titled[asked.candidates[place]])
            said.append(Said(told if text.strip() else ()))
        return said

    def _titles(self, asked: Asked) -> list[str]:
        return [self.renderer.title(item) for item in asked.candidates]
