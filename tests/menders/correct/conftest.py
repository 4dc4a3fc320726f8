"""A log whose users stay within one kind of item each, a recommender that knows the kinds, teachers of all sorts."""

import re
from collections.abc import Callable

import numpy as np
import pytest

from seqmend.interactions import Sequences
from seqmend.llm import Answer, Usage
from seqmend.menders.correct import Labelled

KINDS = ("wooden train", "card game", "plush bear", "science kit")
PER_KIND = 12
TITLES = {f"i{kind}{n:02}": f"{name} number {n}" for kind, name in enumerate(KINDS) for n in range(PER_KIND)}


def kind_of(items):
    return (np.asarray(items) - 1) // PER_KIND


class Chooser:
    """Answers with a probability per input: `goes(title of the input, title of the target)`."""

    identity = "chooser"
    capability = "exact"

    def __init__(self, goes: Callable[[str, str], float]) -> None:
        self.goes, self.usage, self.questions = goes, Usage(), []

    def choose(self, questions):
        self.questions += questions
        answers = []
        for question in questions:
            target = re.findall('"([^"]*)"', question.verdict)[0]
            answers.append(Answer(np.array([self.goes(c.strip('"'), target) for c in question.choices]), None))
        return answers


def same_kind(title: str, target: str) -> float:
    return 0.9 if title.split()[:2] == target.split()[:2] else 0.2


def listed(prompt: str) -> tuple[list[str], str]:
    """Titles of the inputs and of the target, as a prompt tells them."""
    return re.findall(r'^\d+\. "(.*)"$', prompt, re.M), re.findall(r'^Last choice: "(.*)"$', prompt, re.M)[0]


@pytest.fixture(scope="session")
def make_chooser():
    return Chooser


@pytest.fixture(scope="session")
def by_parity():
    """Makes rows of three inputs each, items 1 to 12, of which those of the target's parity go with it."""

    def made(n, seed=0):
        rng = np.random.default_rng(seed)
        inputs = rng.integers(1, 13, (n, 3)).astype(np.int32)
        targets = rng.integers(1, 13, n).astype(np.int32)
        return Labelled(np.arange(n), inputs, targets, inputs % 2 == targets[:, None] % 2)

    return made


@pytest.fixture(scope="session")
def read_prompt():
    return listed


@pytest.fixture
def oracle() -> Chooser:
    return Chooser(same_kind)


@pytest.fixture(scope="session")
def by_kind():
    return same_kind


@pytest.fixture(scope="session")
def make_backbone(make_kind_backbone):
    def made(n_items: int = len(TITLES)):
        return make_kind_backbone(n_items, PER_KIND, max_length=8)

    return made


@pytest.fixture(scope="session")
def backbone(make_backbone):
    return make_backbone()


@pytest.fixture(scope="session")
def titles() -> dict[str, str]:
    return dict(TITLES)


def log_of(n_users: int) -> Sequences:
    rng = np.random.default_rng(0)
    ids = np.array(list(TITLES)).reshape(len(KINDS), PER_KIND)
    return Sequences.from_lists(
        {f"u{u}": [str(i) for i in rng.choice(ids[u % len(KINDS)], 12)] for u in range(n_users)}, TITLES
    )


@pytest.fixture(scope="session")
def clean() -> Sequences:
    return log_of(60)


@pytest.fixture(scope="session")
def many() -> Sequences:
    """Of so many users that small shares can be told."""
    return log_of(600)


@pytest.fixture(scope="session")
def spoiled(clean: Sequences) -> Sequences:
    """Every tenth interaction is replaced by one of another kind."""
    rng = np.random.default_rng(1)
    noisy = rng.random(clean.n_interactions) < 0.1
    other = (clean.items - 1 + PER_KIND * rng.integers(1, len(KINDS), clean.n_interactions)) % len(TITLES) + 1
    items = np.where(noisy, other, clean.items).astype(np.int32)
    return Sequences(clean.user_ids, clean.offsets, items, clean.timestamps, clean.catalogue)


@pytest.fixture(scope="session")
def kinds_of():
    return kind_of
