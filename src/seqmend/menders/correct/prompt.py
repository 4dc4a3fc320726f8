"""The correction question in words: which of a person's choices go with the one that came next?

Titles and summaries are clean, of one line and without double quotes, and stand in double quotes or brackets, so that
none can end its place or pose as an instruction.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict

from seqmend.interactions import UNTITLED, Catalogue, clean_title

MAX_SUMMARY_LENGTH = 500
"""Characters of a summary that a prompt shows (LLM4RSR, official code)."""

_NUMBERS = (
    'Answer with JSON that lists the numbers of the choices that go with it, like {"relevant": [1, 3]}, and nothing '
    'else. If none does: {"relevant": []}'
)
_TAGS = (
    "Answer with the titles of the choices that go with it between <answer> and </answer>, separated by semicolons, "
    "and nothing else. If none does: <answer>NONE</answer>"
)
_ONE = "One of the earlier choices: "
_BEFORE_EXAMPLE = "An example:"
_AFTER_EXAMPLE = (
    "That was an example. Its titles are none of the choices that you are asked about, so do not answer with them. "
    "Now to these choices:"
)


class Example(BaseModel):
    """An instance of the corpus with its answer.

    Attributes:
        inputs: Titles.
        target: Title.
        goes: Whether each input goes with the target.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: tuple[str, ...]
    target: str
    goes: tuple[bool, ...]


class Prompt(BaseModel):
    """The parts of the question that can be reworded, each by itself.

    Attributes:
        profile: Who is asked.
        plan: How to decide.
        restriction: How strict to be; may be empty.
        example: An instance with its answer, shown in the form in which the answer is wanted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: str = "You know well what people choose, and why."
    plan: str = (
        "A person made some choices, one after the other, and then one more. Tell which of the earlier choices come "
        "from the same interest as the last one: the same kind of thing, the same theme, the same makers, a series."
    )
    restriction: str = ""
    example: Example | None = None

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that stand for these words."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Renderer:
    """Puts instances into words, afresh at every call.

    Attributes:
        prompt: The wording.
        catalogue: The titles.
        memory: Summaries of items, by item number; what changes here shows in the next question.
    """

    prompt: Prompt
    catalogue: Catalogue
    memory: Mapping[int, str] = field(default_factory=dict[int, str])

    def title(self, item: int) -> str:
        """The title in double quotes."""
        return f'"{self.catalogue.prompt_titles[item]}"'

    def for_each(self, inputs: Sequence[int], target: int) -> str:
        """The question up to where one of the inputs is named, for a yes or no."""
        return f"{self._question(inputs, target, _shown_each)}\n\n{_ONE}"

    def verdict(self, target: int) -> str:
        """What stands between an input and the yes or no."""
        return _verdict(self.title(target))

    def for_numbers(self, inputs: Sequence[int], target: int) -> str:
        """The question, to be answered by JSON."""
        return f"{self._question(inputs, target, _shown_numbers)}\n\n{_NUMBERS}\nAnswer: "

    def for_tags(self, inputs: Sequence[int], target: int) -> str:
        """The question, to be answered by titles in a tag."""
        return f"{self._question(inputs, target, _shown_tags)}\n\n{_TAGS}\nAnswer: "

    def _question(self, inputs: Sequence[int], target: int, shown: Callable[[Example], str]) -> str:
        prompt = self.prompt
        told = [f"{prompt.profile} {prompt.plan}", prompt.restriction]
        if (example := prompt.example) is not None:
            listed = _listed([f'"{title}"' for title in example.inputs], f'"{example.target}"')
            told.append(f"{_BEFORE_EXAMPLE}\n\n{listed}\n{shown(example)}\n\n{_AFTER_EXAMPLE}")
        told.append(_listed([self._told(item) for item in inputs], self._told(target)))
        return "\n\n".join(part for part in told if part.strip())

    def _told(self, item: int) -> str:
        summary = clean_title(self.memory.get(item), MAX_SUMMARY_LENGTH)
        return self.title(item) if summary == UNTITLED else f"{self.title(item)} ({summary})"


def _listed(inputs: Sequence[str], target: str) -> str:
    numbered = [f"{number}. {text}" for number, text in enumerate(inputs, 1)]
    return "\n".join(["Earlier choices:", *numbered, f"Last choice: {target}"])


def _verdict(target: str) -> str:
    return f"\nDoes it come from the same interest as {target}, yes or no? Answer:"


def _shown_each(example: Example) -> str:
    verdict = _verdict(f'"{example.target}"')
    return "\n".join(
        f'{_ONE}"{title}"{verdict} {"yes" if goes else "no"}'
        for title, goes in zip(example.inputs, example.goes, strict=True)
    )


def _shown_numbers(example: Example) -> str:
    numbers = [number for number, goes in enumerate(example.goes, 1) if goes]
    return "Answer: " + json.dumps({"relevant": numbers})


def _shown_tags(example: Example) -> str:
    named = [title for title, goes in zip(example.inputs, example.goes, strict=True) if goes]
    return f"Answer: <answer>{'; '.join(named) or 'NONE'}</answer>"
