"""What menders may ask of a language model, whoever runs it: closed questions, scores of texts, short texts."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

Capability = Literal["exact", "typed", "label", "written"]
Mode = Literal["one_of", "subset", "ranking", "trie", "first_token", "in_place"]
SchemaT = TypeVar("SchemaT", bound=BaseModel)


@dataclass(frozen=True)
class Question:
    """A closed question: which of these choices continues the prompt?

    Attributes:
        prompt: Text before the choice, as it is (white space included).
        choices: Texts that may follow; equal texts share their probability.
        mode: `one_of` and `ranking`: the choices compete and their probabilities sum to 1. `subset`: every choice is
            judged by itself: the probability of " yes" against " no" after prompt + choice + `verdict`. `trie`: the
            choices compete at every token where they part, and only there: the model's probabilities of the tokens
            that go on are scaled to sum to 1, and multiplied along a choice; no choice may be the beginning of
            another. `first_token`: the probability, among all tokens, of each choice's first token when it is
            tokenised by itself; these do not sum to 1. `in_place`: the choices stand one after the other behind the
            prompt, and each is judged where it ends: the probability of " yes" against " no" as what comes next. One
            short pass for all of them; what it says is worth little before the model is tuned to it (`adapt`).
        verdict: What `subset` puts between a choice and the yes or no.
        length_normalised: Compare competing choices by their mean log-likelihood per token instead of the sum, for
            choices of very different length.
    """

    prompt: str
    choices: tuple[str, ...]
    mode: Mode = "one_of"
    verdict: str = "\nDoes it belong, yes or no? Answer:"
    length_normalised: bool = False


@dataclass(frozen=True)
class Judged:
    """A question of the mode `in_place`, and whether each of its choices is to be answered with yes."""

    question: Question
    goes: tuple[bool, ...]

    def __post_init__(self) -> None:
        if self.question.mode != "in_place" or len(self.question.choices) != len(self.goes):
            raise ValueError("only questions of the mode in_place can be judged, choice by choice")


@dataclass(frozen=True, eq=False)
class Answer:
    """The answer to one `Question`.

    Attributes:
        probabilities: float64 [n_choices] in [0, 1].
        log_likelihoods: float64 [n_choices], natural log of p(choice | prompt), summed over the choice's tokens; None
            where the back end does not know it, and for `subset`, `in_place` and `trie`; for `first_token` that
            token's alone.
        missing_mass: Probability of the tokens that a back end did not report, 0 where all are known.
    """

    probabilities: npt.NDArray[np.float64]
    log_likelihoods: npt.NDArray[np.float64] | None
    missing_mass: float = 0.0


@dataclass(frozen=True)
class Passage:
    """A text in parts; the log-probabilities of the `scored` parts, given all text before each, are wanted."""

    parts: tuple[str, ...]
    scored: tuple[bool, ...]

    def __post_init__(self) -> None:
        if len(self.parts) != len(self.scored):
            raise ValueError(f"{len(self.parts)} parts, but {len(self.scored)} flags")


@dataclass(frozen=True, eq=False)
class PassageScore:
    """What a model says of one `Passage`.

    Attributes:
        log_probabilities: float64 [n scored parts], natural log, summed over the part's tokens.
        n_tokens: int32 [n scored parts]; 0 for a part that no token begins in (its log-probability is 0 then).
    """

    log_probabilities: npt.NDArray[np.float64]
    n_tokens: npt.NDArray[np.int32]


@dataclass
class Usage:
    """What a model has been asked so far: calls (questions, passages, prompts), tokens and seconds of work."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0

    def add(self, other: "Usage") -> None:
        """Count `other` in."""
        for entry in fields(other):
            setattr(self, entry.name, getattr(self, entry.name) + getattr(other, entry.name))

    def minus(self, other: "Usage") -> "Usage":
        """What was used since `other`."""
        return Usage(*(getattr(self, entry.name) - getattr(other, entry.name) for entry in fields(self)))

    @property
    def tokens(self) -> int:
        """Read and written."""
        return self.prompt_tokens + self.completion_tokens


@contextmanager
def metered(usage: Usage, spent: dict[str, Usage], stage: str) -> Generator[None]:
    """What a model is asked within counts as spent on a stage.

    Args:
        usage: The model's own.
        spent: By stage, added to.
        stage: Which.
    """
    before = replace(usage)
    yield
    spent.setdefault(stage, Usage()).add(usage.minus(before))


@dataclass(frozen=True)
class Failure:
    """A prompt whose answer could not be read as what was asked for; never stored, so that it may be asked again."""

    prompt: str
    reason: str
    text: str = field(default="", repr=False)


class LanguageModel(Protocol):
    """A model that answers closed questions about texts.

    Attributes:
        identity: Model, revision, adapter and number format: what stored answers are keyed by.
        capability: `exact` (log-probabilities of any text), `typed` (probabilities of given choices), `label` (of the
            next token only), `written` (none).
        usage: What has been asked so far.
    """

    identity: str
    capability: Capability
    usage: Usage

    def choose(self, questions: Sequence[Question]) -> list[Answer]:
        """The probability of every choice of every question."""
        ...

    def score(self, passages: Sequence[Passage]) -> list[PassageScore]:
        """The log-probabilities of every passage's scored parts."""
        ...

    def write(self, prompts: Sequence[str], max_new_tokens: int = 64, stop: str | None = None) -> list[str]:
        """The most likely continuation of every prompt, up to `stop`."""
        ...

    def write_objects(
        self, prompts: Sequence[str], schema: type[SchemaT], max_new_tokens: int = 256
    ) -> list[SchemaT | Failure]:
        """For every prompt a validated object, or what was wrong with the answer."""
        ...

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """The model's own representation of every text, float32 [n, d], not normalised."""
        ...


class Encoder(Protocol):
    """A model that turns texts into vectors whose cosine says how alike they are."""

    identity: str

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """L2-normalised vectors, float32 [n, d]."""
        ...
