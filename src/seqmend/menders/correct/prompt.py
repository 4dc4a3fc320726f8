"""The correction question in words: which of a person's choices go with the one that came next?

Titles and summaries are clean, of one line and without double quotes, and stand in double quotes or brackets, so that
none can end its place or pose as an instruction.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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


@dataclass(frozen=True)
class Prompt:
    """The parts of the question that can be reworded, each by itself.

    Attributes:
        profile: Who is asked.
        plan: How to decide.
        restriction: How strict to be; may be empty.
        example: A question with its answer; may be empty.
    """

    profile: str = "You know well what people choose, and why."
    plan: str = (
        "A person made some choices, one after the other, and then one more. Tell which of the earlier choices come "
        "from the same interest as the last one: the same kind of thing, the same theme, the same makers, a series."
    )
    restriction: str = ""
    example: str = ""

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that stand for these words."""
        parts = [self.profile, self.plan, self.restriction, self.example]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


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
        return f"{self._instance(inputs, target)}\n\nOne of the earlier choices: "

    def verdict(self, target: int) -> str:
        """What stands between an input and the yes or no."""
        return f"\nDoes it come from the same interest as {self.title(target)}, yes or no? Answer:"

    def for_numbers(self, inputs: Sequence[int], target: int) -> str:
        """The question, to be answered by JSON."""
        return f"{self._instance(inputs, target)}\n\n{_NUMBERS}\nAnswer: "

    def for_tags(self, inputs: Sequence[int], target: int) -> str:
        """The question, to be answered by titles in a tag."""
        return f"{self._instance(inputs, target)}\n\n{_TAGS}\nAnswer: "

    def _instance(self, inputs: Sequence[int], target: int) -> str:
        prompt = self.prompt
        told = [part for part in (f"{prompt.profile} {prompt.plan}", prompt.restriction, prompt.example) if part]
        listed = [f"{number}. {self._told(item)}" for number, item in enumerate(inputs, 1)]
        return "\n\n".join([*told, "\n".join(["Earlier choices:", *listed, f"Last choice: {self._told(target)}"])])

    def _told(self, item: int) -> str:
        summary = clean_title(self.memory.get(item), MAX_SUMMARY_LENGTH)
        return self.title(item) if summary == UNTITLED else f"{self.title(item)} ({summary})"
