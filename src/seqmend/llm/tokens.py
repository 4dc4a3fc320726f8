"""From texts in parts to token rows: which token belongs to which part, and where choices leave their prompt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seqmend.errors import InputError
from seqmend.llm.protocol import Passage

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class EncodedPassage:
    """Tokens of a passage, int64 [n], and for every token its scored part 0..k-1, or -1, int64 [n]."""

    tokens: Int64
    owners: Int64
    n_scored: int


class Tokens:
    """A fast tokenizer that always puts one token first, so that a text's first real token has something before it.

    Args:
        tokenizer: A fast transformers tokenizer.
        max_tokens: The longest text that the model reads, the first token included.
    """

    def __init__(self, tokenizer: Any, max_tokens: int) -> None:
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.first = first_token(tokenizer)

    def passages(self, passages: Sequence[Passage]) -> list[EncodedPassage]:
        """Every passage tokenised as one text.

        A token belongs to the part that its first character lies in, leading white space of the token not counted:
        tokens of most vocabularies carry the space before a word.
        """
        texts = ["".join(passage.parts) for passage in passages]
        if not texts:
            return []
        coded = self.tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        found: list[EncodedPassage] = []
        for passage, text, ids, offsets in zip(
            passages, texts, coded["input_ids"], coded["offset_mapping"], strict=True
        ):
            begins = np.array([_first_visible(text, begin, end) for begin, end in offsets], dtype=np.int64)
            ends = np.cumsum([len(part) for part in passage.parts])
            numbers = np.where(passage.scored, np.cumsum(passage.scored) - 1, -1)
            part = np.minimum(np.searchsorted(ends, begins, side="right"), len(ends) - 1)
            tokens = self._checked(ids, text)
            owners = np.concatenate([[-1], numbers[part]]) if len(ids) else np.array([-1])
            found.append(EncodedPassage(tokens, owners.astype(np.int64), sum(passage.scored)))
        return found

    def questions(self, questions: Sequence[tuple[str, list[str]]]) -> list[tuple[Int64, list[Int64]]]:
        """For every prompt and its continuations (at least one): the tokens its texts share, and each one's own.

        Every continuation is tokenised together with its prompt. The shared part ends where the first continuation
        changes the prompt's tokens: a tokenizer may join the prompt's end with what follows, and then the joined token
        is judged for all continuations alike.
        """
        texts = [text for prompt, added in questions for text in (prompt, *(prompt + one for one in added))]
        if not texts:
            return []
        coded = iter(self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"])
        found: list[tuple[Int64, list[Int64]]] = []
        for prompt, added in questions:
            alone = self._checked(next(coded), prompt)
            full = [self._checked(next(coded), prompt + one) for one in added]
            shared = min(_n_common(alone, tokens) for tokens in full)
            if any(len(tokens) <= shared for tokens in full):
                raise InputError("a choice is empty", where=f"after {prompt[-60:]!r}", expected="choices of some text")
            found.append((alone[:shared], [tokens[shared:] for tokens in full]))
        return found

    def in_place(self, questions: Sequence[tuple[str, Sequence[str]]]) -> list[tuple[Int64, Int64]]:
        """The tokens of every prompt and the choices behind it, and the place of each choice's last token, int64.

        Prompt and choices are tokenised one by one, so that every choice ends where a token does.
        """
        coded = iter(self._pieces([piece for prompt, choices in questions for piece in (prompt, *choices)]))
        found: list[tuple[Int64, Int64]] = []
        for prompt, choices in questions:
            pieces = [next(coded) for _ in range(len(choices) + 1)]
            if not all(pieces[1:]):
                raise InputError("a choice is empty", where=f"after {prompt[-60:]!r}", expected="choices of some text")
            tokens = self._checked([token for piece in pieces for token in piece], "".join((prompt, *choices)))
            found.append((tokens, np.cumsum([len(piece) for piece in pieces])[1:]))
        return found

    def yes_no(self) -> Int64:
        """The tokens by which " no" and " yes" differ first, int64 [2]."""
        no, yes = self._pieces([" no", " yes"])
        place = next(place for place, (a, b) in enumerate(zip(no, yes, strict=False)) if a != b)
        return np.array([no[place], yes[place]], dtype=np.int64)

    def texts(self, texts: Sequence[str]) -> list[Int64]:
        """Every text's tokens."""
        return [self._checked(ids, text) for ids, text in zip(self._pieces(texts), texts, strict=True)]

    def _pieces(self, texts: Sequence[str]) -> list[list[int]]:
        return self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"] if texts else []

    def _checked(self, ids: list[int], text: str) -> Int64:
        if len(ids) + 1 > self.max_tokens:
            raise InputError(
                f"a text of {len(ids) + 1} tokens is too long for the language model",
                where=f"{text[:60]!r}…",
                expected=f"at most {self.max_tokens} tokens",
                fix="ask about fewer items at a time or use a model with a longer context",
            )
        return np.array([self.first, *ids], dtype=np.int64)


def first_token(tokenizer: Any) -> int:
    """The token that texts of this model begin with: the tokenizer's own, else the one that ends texts.

    For SmolLM2-Instruct that is the chat marker <|im_start|>, after which it expects a role: lists of titles become
    more likely to it by .14 nats per token when a line break follows, and are then as likely as after <|endoftext|>.
    """
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id):
        if token is not None:
            return int(token)
    raise InputError("the model's tokenizer has neither a first nor a last token to begin a text with")


def _first_visible(text: str, begin: int, end: int) -> int:
    for place in range(begin, end):
        if not text[place].isspace():
            return place
    return begin


def _n_common(a: Int64, b: Int64) -> int:
    length = min(len(a), len(b))
    different = np.flatnonzero(a[:length] != b[:length])
    return int(different[0]) if len(different) else length
