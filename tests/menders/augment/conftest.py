"""Users of few interactions who keep to one kind of item, a recommender that knows the kinds, models of all sorts."""

import re
from collections.abc import Callable

import numpy as np
import pytest

from seqmend.interactions import Sequences
from seqmend.llm import Answer, Usage

KINDS = ("wooden train", "card game", "plush bear", "science kit")
PER_KIND = 30
TITLES = {f"i{kind}{n:02}": f"{name} number {n}" for kind, name in enumerate(KINDS) for n in range(PER_KIND)}


class Chooser:
    """Answers with the shares that `weight(prompt, choice)` gives its choices."""

    identity = "chooser"
    capability = "exact"

    def __init__(self, weight: Callable[[str, str], float]) -> None:
        self.weight, self.usage, self.questions = weight, Usage(), []

    def choose(self, questions):
        self.questions += questions
        self.usage.calls += len(questions)
        answers = []
        for question in questions:
            values = np.array([self.weight(question.prompt, choice.strip()) for choice in question.choices])
            answers.append(Answer(values / values.sum(), None))
        return answers


class BagOfWords:
    """Encodes a text by its words."""

    identity = "words"

    def embed(self, texts):
        vectors = np.zeros((len(texts), 64), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text):
                vectors[row, sum(map(ord, word)) % 64] += 1
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def make_sequences(lengths, seed: int = 0, titles=None) -> Sequences:
    rng = np.random.default_rng(seed)
    ids = np.array(list(TITLES)).reshape(len(KINDS), PER_KIND)
    histories = {
        f"u{user}": [str(item) for item in rng.permutation(ids[user % len(KINDS)])[:length]]
        for user, length in enumerate(lengths)
    }
    return Sequences.from_lists(histories, titles or TITLES)


@pytest.fixture(scope="session")
def make_log():
    return make_sequences


@pytest.fixture(scope="session")
def log() -> Sequences:
    """Totals of 3 to 10 interactions."""
    return make_sequences([3 + user % 8 for user in range(48)])


@pytest.fixture(scope="session")
def backbone(make_backbone):
    return make_backbone()


@pytest.fixture(scope="session")
def make_backbone(make_kind_backbone):
    def made(n_items: int = len(TITLES)):
        return make_kind_backbone(n_items, PER_KIND, max_length=12)

    return made


@pytest.fixture(scope="session")
def make_chooser():
    return Chooser


@pytest.fixture(scope="session")
def words() -> BagOfWords:
    return BagOfWords()


@pytest.fixture
def low_numbers() -> Chooser:
    """Prefers titles with low numbers."""
    return Chooser(lambda _, title: 1 / (1 + int(re.findall(r"\d+", title)[0])))
