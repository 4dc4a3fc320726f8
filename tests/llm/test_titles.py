import numpy as np

from seqmend.interactions import Catalogue
from seqmend.llm import title_vectors, whiten


class Lengths:
    """Reads how long a text is."""

    identity = "lengths"

    def embed(self, texts):
        assert texts
        return np.array([[len(text), 1.0] for text in texts], dtype=np.float32)


def test_items_without_a_title_have_no_vector():
    catalogue = Catalogue.from_titles({"a": "Ran", "b": None, "c": "Alien"})
    assert title_vectors(Lengths(), catalogue).tolist() == [[0, 0], [3, 1], [0, 0], [5, 1]]
    assert not title_vectors(Lengths(), Catalogue.from_titles({"a": None})).any()


def test_whitened_vectors_have_equal_spread_and_keep_missing_titles():
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(400, 6)) * [9, 4, 2, 1, 1, 1] + 50).astype(np.float32)
    vectors[0] = vectors[7] = 0
    white = whiten(vectors, 4)
    assert white.shape == (400, 4)
    assert not white[[0, 7]].any()
    spread = white[np.abs(white).sum(1) > 0].std(0)
    assert spread.max() / spread.min() < 1.3


def test_what_cannot_be_told_apart_is_whitened_to_nothing():
    assert not np.isnan(whiten(np.ones((3, 4), dtype=np.float32))).any()
    assert not whiten(np.zeros((3, 4), dtype=np.float32)).any()
