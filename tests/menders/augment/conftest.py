"""Users of few interactions who keep to one kind of item, a recommender that knows the kinds, models of all sorts."""

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from seqmend.interactions import Sequences
from seqmend.llm import Answer, Failure, Usage
from seqmend.recommenders import Backbone

KINDS = ("wooden train", "card game", "plush bear", "science kit")
PER_KIND = 30
TITLES = {f"i{kind}{n:02}": f"{name} number {n}" for kind, name in enumerate(KINDS) for n in range(PER_KIND)}


class KindBackbone(Backbone):
    """Recommends what is of the kind of the latest item, the highest number first."""

    max_length = 12

    def __init__(self, n_items: int = len(TITLES)) -> None:
        super().__init__()
        self.n_items = n_items
        table = torch.zeros(n_items + 1, 2 + n_items // PER_KIND)
        numbers = torch.arange(1, n_items + 1)
        table[numbers, (numbers - 1) // PER_KIND] = 1.0
        table[:, -1] = torch.arange(n_items + 1) / 1000
        self.table = torch.nn.Parameter(table, requires_grad=False)

    def forward(self, items, users=None):
        states = self.table[items.long()].clone()
        states[..., -1] = 1.0
        return states

    def output_table(self):
        return self.table


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


class Writer:
    """Writes what `text` makes of a prompt."""

    identity = "writer"
    capability = "written"

    def __init__(self, text: Callable[[str], str]) -> None:
        self.text, self.usage, self.prompts = text, Usage(), []

    def write(self, prompts, max_new_tokens=64, stop=None):
        self.prompts += prompts
        return [self.text(prompt) for prompt in prompts]

    def write_objects(self, prompts, schema, max_new_tokens=256):
        found = []
        for prompt, text in zip(prompts, self.write(prompts), strict=True):
            try:
                found.append(schema.model_validate_json(text))
            except ValidationError as error:
                found.append(Failure(prompt, str(error), text))
        return found


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
def backbone() -> KindBackbone:
    return KindBackbone()


@pytest.fixture(scope="session")
def make_backbone():
    return KindBackbone


@pytest.fixture(scope="session")
def make_chooser():
    return Chooser


@pytest.fixture(scope="session")
def make_writer():
    return Writer


@pytest.fixture(scope="session")
def words() -> BagOfWords:
    return BagOfWords()


@pytest.fixture
def low_numbers() -> Chooser:
    """Prefers titles with low numbers."""
    return Chooser(lambda _, title: 1 / (1 + int(re.findall(r"\d+", title)[0])))
