"""A log in which every user stays within one kind of item, so that an item of another kind is noise."""

import numpy as np
import pytest

from seqmend.interactions import Catalogue, Sequences

KINDS = ("wooden train", "card game", "plush bear", "science kit")


def clustered_log(n_users: int = 160, length: int = 14, seed: int = 0) -> Sequences:
    rng = np.random.default_rng(seed)
    titles = {f"i{kind}{n:02}": f"{name} number {n}" for kind, name in enumerate(KINDS) for n in range(12)}
    ids = np.array(list(titles)).reshape(len(KINDS), 12)
    histories = {f"u{u}": [str(i) for i in rng.choice(ids[u % len(KINDS)], length)] for u in range(n_users)}
    return Sequences.from_lists(histories, titles)


def spoil(sequences: Sequences, rate: float = 0.1, seed: int = 1) -> tuple[Sequences, np.ndarray]:
    """Replace interactions by items of another kind; returns the noisy log and where, bool [N]."""
    rng = np.random.default_rng(seed)
    noisy = rng.random(sequences.n_interactions) < rate
    other = (sequences.items - 1 + 12 * rng.integers(1, len(KINDS), sequences.n_interactions)) % 48 + 1
    items = np.where(noisy, other, sequences.items).astype(np.int32)
    return Sequences(sequences.user_ids, sequences.offsets, items, sequences.timestamps, sequences.catalogue), noisy


class WordEncoder:
    """Bags of words as unit vectors: a real, if simple, encoder of titles."""

    identity = "words"

    def embed(self, texts):
        words = sorted({word for kind in KINDS for word in kind.split()} | {str(n) for n in range(12)})
        counts = np.array([[text.split().count(word) for word in words] for text in texts], dtype=np.float32) + 1e-6
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


@pytest.fixture(scope="session")
def clean() -> Sequences:
    return clustered_log()


@pytest.fixture(scope="session")
def spoiled(clean: Sequences) -> tuple[Sequences, np.ndarray]:
    return spoil(clean)


@pytest.fixture(scope="session")
def encoder() -> WordEncoder:
    return WordEncoder()


@pytest.fixture(scope="session")
def untitled(clean: Sequences) -> Sequences:
    catalogue = Catalogue.from_titles(dict.fromkeys(clean.catalogue.item_ids.to_list()[1:]))
    return Sequences(clean.user_ids, clean.offsets, clean.items, clean.timestamps, catalogue)
