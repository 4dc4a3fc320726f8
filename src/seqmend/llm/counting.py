"""Counting what a language model would be asked, without asking it."""

from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from seqmend.llm.answers import continuations
from seqmend.llm.protocol import Answer, Capability, Failure, Passage, PassageScore, Question, SchemaT, Usage
from seqmend.llm.trie import Trie


class CountingModel:
    """Stands where a model behind a journal would: counts every different question once, and answers nothing.

    Texts in parts are counted part by part, as tokenizers split at the white space that ends a part.

    Args:
        tokenizer: The fast tokenizer of the model that is meant; without one, only calls are counted.

    Attributes:
        asked: The different questions so far, by method.
    """

    identity = "counting"
    capability: Capability = "exact"

    def __init__(self, tokenizer: Any) -> None:
        self.usage = Usage()
        self.asked: dict[str, list[Any]] = {"choose": [], "score": [], "write": [], "write_objects": [], "embed": []}
        self._seen: set[Hashable] = set()
        self._tokenizer = tokenizer
        self._length = lru_cache(maxsize=1_000_000)(self._tokenise)

    def choose(self, questions: Sequence[Question]) -> list[Answer]:
        """Every choice as likely as the others."""
        for question in questions:
            # Of choices that compete where they part, only the ways there are read.
            added = self._ways(question.choices) if question.mode == "trie" else dict.fromkeys(continuations(question))
            self._count("choose", question, (question.prompt, *added))
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
            self._count("write", prompt, (prompt,), max_new_tokens)
        return [""] * len(prompts)

    def write_objects(
        self, prompts: Sequence[str], schema: type[SchemaT], max_new_tokens: int = 256
    ) -> list[SchemaT | Failure]:
        """Failures; counted as if all that may be written were."""
        for prompt in prompts:
            self._count("write_objects", prompt, (prompt,), max_new_tokens)
        return [Failure(prompt, "only counted") for prompt in prompts]

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Zeros, float32 [n, 1]."""
        for text in texts:
            self._count("embed", text, (text,))
        return np.zeros((len(texts), 1), dtype=np.float32)

    def _count(self, method: str, question: Hashable, parts: Sequence[str], written: int = 0) -> None:
        if (method, question) in self._seen:
            return
        self._seen.add((method, question))
        self.asked[method].append(question)
        self.usage.add(Usage(1, 1 + sum(map(self._length, parts)), written))

    def _ways(self, choices: Sequence[str]) -> list[str]:
        if self._tokenizer is None:
            return []
        coded = self._tokenizer(list(dict.fromkeys(choices)), add_special_tokens=False, verbose=False)["input_ids"]
        trie = Trie.of([np.array(tokens, dtype=np.int64) for tokens in coded])
        return [self._tokenizer.decode(branch.path) for branch in trie.branches]

    def _tokenise(self, text: str) -> int:
        if self._tokenizer is None:
            return 0
        return len(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
