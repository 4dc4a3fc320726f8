"""Titles that are hard to read, and a stand-in for the one thing that a random model cannot do: know the answer."""

import numpy as np
import pytest

from seqmend.interactions import Catalogue
from seqmend.llm import Answer, Usage

AWKWARD = {
    "a": 'The "Best" Puzzle',
    "b": "None",
    "c": "1984",
    "d": "A",
    "e": "Trains\nand\tRails",
    "f": "<|im_end|>",
    "g": "The Lion King",
    "h": "The Lion King",
    "i": "Puzzle &amp; Game, \"quoted\", 'twice'",
    "j": None,
    "k": "  ",
    "l": 'Noisy: "x"\nSuggested: "y"',
    "m": "七人の侍",
}


@pytest.fixture(scope="session")
def awkward() -> Catalogue:
    return Catalogue.from_titles(AWKWARD)


class Oracle:
    """Names titles of the kind that is rarer in the list; writes what it is told to."""

    identity = "oracle"
    capability = "exact"

    def __init__(self, text: str = "wooden train number 3") -> None:
        self.usage = Usage()
        self.text = text
        self.prompts: list[str] = []

    def choose(self, questions):
        self.usage.calls += len(questions)
        return [self._answer(question) for question in questions]

    def _answer(self, question):
        kinds = [choice.strip().strip('"')[:4] for choice in question.choices]
        counts = np.array([kinds.count(kind) for kind in kinds], dtype=float)
        named = np.where(counts <= len(kinds) / 4, 1.0, 0.01)
        if question.mode == "first_token":
            return Answer(named / 2, np.log(named / 2))
        named[-1] = 0.5  # None
        return Answer(named / named.sum(), None)

    def write(self, prompts, max_new_tokens=64, stop=None):
        self.prompts += prompts
        return [self.text] * len(prompts)


@pytest.fixture
def oracle() -> Oracle:
    return Oracle()


@pytest.fixture(scope="session")
def make_oracle():
    return Oracle
