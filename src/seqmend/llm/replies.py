"""What OpenAI-compatible servers reply, and how their token lists are laid over the text that was asked about."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field

from seqmend.errors import ResourceError
from seqmend.llm.protocol import Usage

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

_BYTES_PER_TOKEN = 4  # where a server does not count
_HALF_CHARACTERS = ("�", "bytes:")  # how servers write tokens that are no whole character
_REACH = 12  # characters within which a whole token is looked for after such ones


class _Candidate(BaseModel):
    token: str
    logprob: float


class _Place(_Candidate):
    top_logprobs: list[_Candidate] = []


class _Logprobs(BaseModel):
    """Of completions (parallel lists) or of chats (`content`); llama.cpp replies to both with `content`."""

    tokens: list[str] = []
    token_logprobs: list[float | None] = []
    top_logprobs: list[dict[str, float] | None] | None = None
    content: list[_Place] | None = None


class _PromptToken(BaseModel):
    logprob: float
    decoded_token: str = ""


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    index: int = 0
    text: str | None = None
    message: _Message | None = None
    logprobs: _Logprobs | None = None
    prompt_logprobs: list[dict[str, _PromptToken] | None] | None = None


class _Vector(BaseModel):
    index: int = 0
    embedding: list[float]


class _Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Vectors(BaseModel):
    data: list[_Vector]
    usage: _Usage | None = None


class Reply(BaseModel):
    """A reply to one prompt or chat."""

    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None

    @classmethod
    def read(cls, text: str) -> "Reply":
        """A reply from JSON.

        Raises:
            ValueError: Not JSON, not a reply, or two different answers to the one prompt.
        """
        reply = cls.model_validate_json(text)
        first = [choice for choice in reply.choices if choice.index == 0]
        if not first or any(choice != first[0] for choice in first):
            raise ValueError(f"{len(first)} answers instead of one")
        return cls(choices=first[:1], usage=reply.usage)

    @property
    def text(self) -> str:
        """What was written."""
        choice = self.choices[0]
        return (choice.message.content if choice.message is not None else choice.text) or ""

    def used(self, asked: str) -> Usage:
        """Tokens as the server counts them, or by the length of what was asked and written."""
        if self.usage is not None:
            return Usage(0, self.usage.prompt_tokens, self.usage.completion_tokens)
        return Usage(0, rough_tokens(asked), rough_tokens(self.text))

    def next_token(self) -> dict[str, float]:
        """Log-probabilities of the likeliest first written tokens by their text; empty where the server tells none."""
        logprobs = self.choices[0].logprobs
        if logprobs is None:
            return {}
        if logprobs.content:
            return {place.token: place.logprob for place in logprobs.content[0].top_logprobs}
        return dict(logprobs.top_logprobs[0] or {}) if logprobs.top_logprobs else {}

    def prompt_tokens(self, n_written: int) -> list[tuple[str, float | None]]:
        """Text and log-probability of the prompt's tokens; empty where the server tells none."""
        choice = self.choices[0]
        if choice.prompt_logprobs is not None:
            entries = [next(iter(place.values())) if place else None for place in choice.prompt_logprobs]
            return [(entry.decoded_token, entry.logprob) if entry else ("", None) for entry in entries]
        if choice.logprobs is None:
            return []
        tokens = list(zip(choice.logprobs.tokens, choice.logprobs.token_logprobs, strict=False))
        return tokens[: len(tokens) - n_written]


@dataclass(frozen=True, eq=False)
class ReadText:
    """The tokens of a text, as a server reads it.

    Attributes:
        begins: First visible character of every token, int64 [n].
        ends: Character after every token, int64 [n].
        log_probabilities: float64 [n], 0 where the server gives none, as of a first token.
        known: Whether the server gave a token's log-probability, bool [n].
        texts: The tokens' own text.
    """

    begins: Int64
    ends: Int64
    log_probabilities: Float64
    known: npt.NDArray[np.bool_]
    texts: list[str]

    @classmethod
    def of(cls, text: str, tokens: Sequence[tuple[str, float | None]], where: str) -> "ReadText":
        """Lay a server's tokens over the text; what it put before and wrote after is left out.

        Raises:
            ResourceError: The tokens are not those of the text.
        """
        at, found = 0, list[tuple[int, int, float | None, str]]()
        for number, (token, value) in enumerate(tokens):
            if at == len(text):
                break
            if (place := _place(text, at, token)) is not None:
                begin, at = place
                visible = text[begin:at].lstrip()
                found.append((at - len(visible) if visible else begin, at, value, token))
            elif any(mark in token for mark in _HALF_CHARACTERS) or not token:
                if number or token:  # a first place without text is that of the server's own first token
                    found.append((at, at + 1, value, token))
            elif number:
                raise _misread(text, at, token, where)
        if at < len(text) and not (found and found[-1][1] > at):
            raise _misread(text, at, "the end", where)
        return cls(
            np.array([begin for begin, *_ in found], dtype=np.int64),
            np.array([end for _, end, *_ in found], dtype=np.int64),
            np.array([value or 0.0 for _, _, value, _ in found], dtype=np.float64),
            np.array([value is not None for _, _, value, _ in found], dtype=bool),
            [token for *_, token in found],
        )


def read_vectors(text: str, asked: Sequence[str]) -> tuple[list[list[float]], int]:
    """The embeddings of a reply in the order of the texts, whatever order they came in, and the tokens that were read.

    Raises:
        ValueError: One is missing, or two that differ are of the same text.
    """
    reply, n = _Vectors.model_validate_json(text), len(asked)
    found: dict[int, list[float]] = {}
    for vector in reply.data:
        if found.setdefault(vector.index, vector.embedding) != vector.embedding:
            raise ValueError(f"two embeddings of text {vector.index}")
    if sorted(found) != list(range(n)):
        raise ValueError(f"{len(found)} embeddings of {n} texts")
    n_tokens = reply.usage.prompt_tokens if reply.usage else sum(map(rough_tokens, asked))
    return [found[index] for index in range(n)], n_tokens


def rough_tokens(text: str) -> int:
    """Tokens of a text whose tokenizer is not here, by its bytes."""
    return -(-len(text.encode()) // _BYTES_PER_TOKEN)


def _place(text: str, at: int, token: str) -> tuple[int, int] | None:
    """Begin and end of a token that is expected at a place, or shortly after it; None if it is not there."""
    if not token or any(mark in token for mark in _HALF_CHARACTERS):
        return None
    for form in (token, token.strip()):  # servers add and drop spaces at the ends of tokens
        begin = text.find(form, at, at + len(form) + _REACH) if form else -1
        if begin >= 0:
            return begin, begin + len(form)
    return None


def _misread(text: str, at: int, token: str, where: str) -> ResourceError:
    return ResourceError(
        f"the server's tokens are not those of the text: {token!r} instead of {text[at : at + 20]!r}",
        where=where,
        fix='set capability = "written" (or "label"), or use another server',
    )
