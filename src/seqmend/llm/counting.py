"""Counting what a language model would be asked, and measuring on a few of these questions what they take."""

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from seqmend.llm.answers import continuations
from seqmend.llm.protocol import (
    Answer,
    Capability,
    Failure,
    LanguageModel,
    Passage,
    PassageScore,
    Question,
    SchemaT,
    Usage,
)
from seqmend.llm.replies import rough_tokens
from seqmend.llm.trie import Trie

_WARM_UP = 2
_PROBED = {"embed": 512, "choose": 64, "score": 24, "write": 4, "write_objects": 4}
_PROBED_AFAR = 8  # of a served model: every question is sent, and may be paid for


@dataclass(frozen=True)
class Pace:
    """What a model takes for questions that were counted.

    Attributes:
        rate: Tokens per second, reading and writing together.
        read: Tokens read for every counted one; 1 where the model's own tokenizer counted.
        written: The same of tokens written.
    """

    rate: float
    read: float = 1.0
    written: float = 1.0

    def of(self, counted: Usage) -> Usage:
        """Calls as they were counted, and the tokens and seconds that they take."""
        used = Usage(
            counted.calls, round(self.read * counted.prompt_tokens), round(self.written * counted.completion_tokens)
        )
        used.seconds = used.tokens / self.rate
        return used


class CountingModel:
    """Stands where a model behind a journal would: counts every different question once, and answers nothing.

    Texts in parts are counted part by part, as tokenizers split at the white space that ends a part. A served model's
    tokenizer is not here: four bytes count as a token, which `pace` corrects, and what `ServerModel` reads again for
    every choice is counted again.

    Args:
        tokenizer: The fast tokenizer of the model that is meant; None where it is served.
        capability: Of that model.
    """

    identity = "counting"

    def __init__(self, tokenizer: Any, capability: Capability = "exact") -> None:
        self.usage = Usage()
        self.capability: Capability = capability
        self._asked: dict[str, dict[Hashable, tuple[Any, ...]]] = {method: {} for method in _PROBED}
        self._tokenizer = tokenizer
        self._length = lru_cache(maxsize=1_000_000)(self._tokenise)

    @classmethod
    def of(cls, model: LanguageModel) -> Self:
        """Counts in the place of a model."""
        return cls(getattr(model, "tokenizer", None), model.capability)

    @property
    def methods(self) -> list[str]:
        """By which something was asked."""
        return [method for method, asked in self._asked.items() if asked]

    def pace(self, model: LanguageModel, method: str, rate: float | None = None) -> Pace:
        """Ask a model a few of the questions that were counted, from all over.

        Args:
            model: The one that is meant.
            method: One of `methods`.
            rate: Tokens per second, where it is known: then a model whose tokenizer is here is asked nothing.
        """
        if rate and self._tokenizer:
            return Pace(rate)
        every = list(self._asked[method].values())
        n = min(len(every), _PROBED[method] if self._tokenizer else _PROBED_AFAR)
        some = [every[place * len(every) // n] for place in range(n)]
        _ask(model, method, every[:_WARM_UP])  # the first call is slower
        before, begin = replace(model.usage), time.perf_counter()
        _ask(model, method, some)
        used = model.usage.minus(before)
        used.seconds = time.perf_counter() - begin
        again = CountingModel(self._tokenizer, self.capability)
        _ask(again, method, some)
        pace = again.paced(used)
        return replace(pace, rate=rate) if rate else pace

    def paced(self, used: Usage) -> Pace:
        """What a model that was asked what was counted here, but for what it knew, has used, as a pace."""
        rate = max(used.tokens, 1) / max(used.seconds, 1e-6)
        if self._tokenizer or not used.calls:
            return Pace(rate)
        share = used.calls / self.usage.calls
        read, written = max(self.usage.prompt_tokens, 1), max(self.usage.completion_tokens, 1)
        return Pace(rate, used.prompt_tokens / (read * share), used.completion_tokens / (written * share))

    def choose(self, questions: Sequence[Question]) -> list[Answer]:
        """Every choice as likely as the others."""
        for question in questions:
            self._count("choose", question, self._read(question), written=self._tokenizer is None)
        sizes = [len(question.choices) for question in questions]
        return [Answer(np.full(size, 1 / size), None) for size in sizes]

    def score(self, passages: Sequence[Passage]) -> list[PassageScore]:
        """Zeros."""
        for passage in passages:
            self._count("score", passage, passage.parts)
        sizes = [sum(passage.scored) for passage in passages]
        return [PassageScore(np.zeros(size), np.ones(size, dtype=np.int32)) for size in sizes]

    def write(self, prompts: Sequence[str], max_new_tokens: int = 64, stop: str | None = None) -> list[str]:
        """Nothing; counted as if all that may be written were."""
        for prompt in prompts:
            self._count("write", prompt, (prompt,), max_new_tokens, (max_new_tokens, stop))
        return [""] * len(prompts)

    def write_objects(
        self, prompts: Sequence[str], schema: type[SchemaT], max_new_tokens: int = 256
    ) -> list[SchemaT | Failure]:
        """Failures; counted as if all that may be written were."""
        for prompt in prompts:
            self._count("write_objects", prompt, (prompt,), max_new_tokens, (schema, max_new_tokens))
        return [Failure(prompt, "only counted") for prompt in prompts]

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Zeros, float32 [n, 1]."""
        for text in texts:
            self._count("embed", text, (text,))
        return np.zeros((len(texts), 1), dtype=np.float32)

    def _count(
        self, method: str, question: Hashable, parts: Sequence[str], written: int = 0, settings: tuple[Any, ...] = ()
    ) -> None:
        if question in self._asked[method]:
            return
        self._asked[method][question] = (question, *settings)
        self.usage.add(Usage(1, 1 + sum(map(self._length, parts)), written))

    def _read(self, question: Question) -> list[str]:
        """What is read for it, in parts."""
        if self._tokenizer is None:
            if self.capability == "exact":
                return [question.prompt + choice for choice in dict.fromkeys(continuations(question))]
            if question.mode == "subset":
                return [question.prompt + choice + question.verdict for choice in dict.fromkeys(question.choices)]
            return [question.prompt, *(dict.fromkeys(question.choices) if self.capability == "typed" else ())]
        # Of choices that compete where they part, only the ways there are read.
        is_tree = question.mode == "trie"
        return [question.prompt, *(self._ways(question.choices) if is_tree else dict.fromkeys(continuations(question)))]

    def _ways(self, choices: Sequence[str]) -> list[str]:
        coded = self._tokenizer(list(dict.fromkeys(choices)), add_special_tokens=False, verbose=False)["input_ids"]
        trie = Trie.of([np.array(tokens, dtype=np.int64) for tokens in coded])
        return [self._tokenizer.decode(branch.path) for branch in trie.branches]

    def _tokenise(self, text: str) -> int:
        if self._tokenizer is None:
            return rough_tokens(text)
        return len(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _ask(model: LanguageModel, method: str, questions: Sequence[tuple[Any, ...]]) -> None:
    """Ask as it was counted; those of one method are asked with the same settings."""
    first = [question for question, *_ in questions]
    getattr(model, method)(first, *questions[0][1:])
