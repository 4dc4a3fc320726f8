"""What a log says about its items: popularity, co-occurrence, and vectors made from both and from titles."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.utils.extmath import randomized_svd

from seqmend.interactions import Sequences
from seqmend.llm import unit
from seqmend.menders.denoise.windows import Bool, Int32

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

_SMOOTHING = 5.0  # co-occurrences added to an item's total, so that one chance meeting is no evidence
_RIDGE = 10.0
_COUNT_LIMIT = 20.0  # an item's weight when titles learn to predict behaviour


@dataclass(frozen=True, eq=False)
class Counts:
    """Additive statistics of some users' interactions, so that any group of users can be left out by subtraction.

    Attributes:
        popularity: Interactions per item, float64 [V + 1].
        pairs: Interactions of two items within the context of each other, symmetric sparse [V + 1, V + 1], no diagonal.
    """

    popularity: Float64
    pairs: sp.csr_matrix

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.popularity + other.popularity, (self.pairs + other.pairs).tocsr())

    def __sub__(self, other: "Counts") -> "Counts":
        pairs = (self.pairs - other.pairs).tocsr()
        pairs.eliminate_zeros()
        return Counts(self.popularity - other.popularity, pairs)


def count(sequences: Sequences, users: Bool, context: int = 10) -> Counts:
    """Statistics of the chosen users.

    Args:
        sequences: Training data.
        users: Which users count, bool [U].
        context: Items that are at most this many places apart co-occur.
    """
    chosen = users[sequences.users]
    items, owners = sequences.items[chosen], sequences.users[chosen]
    size = len(sequences.catalogue) + 1
    pairs = sp.csr_matrix((size, size), dtype=np.float64)
    for distance in range(1, context + 1):
        same = owners[distance:] == owners[:-distance]
        left, right = items[:-distance][same], items[distance:][same]
        pairs = pairs + sp.csr_matrix((np.ones(len(left)), (left, right)), shape=(size, size))
    pairs = (pairs + pairs.T).tocsr()
    pairs.setdiag(0)
    pairs.eliminate_zeros()
    return Counts(np.bincount(items, minlength=size).astype(np.float64), pairs)


@dataclass(frozen=True, eq=False)
class ItemStatistics:
    """Everything the language-model-free witnesses know of items.

    Attributes:
        log_popularity: log(1 + interactions), float32 [V + 1].
        log_pairs: log(1 + co-occurrences), sparse [V + 1, V + 1].
        pmi: Positive pointwise mutual information of co-occurrence, sparse [V + 1, V + 1].
        vectors: Named unit item vectors, float32 [V + 1, d] each: `behaviour` (factorised co-occurrence), `title` (the
            encoder's), `title_behaviour` (behaviour predicted from the title, so that rare items have one), `blend`
            (behaviour where it is known, else predicted), and with a language model `language` and
            `language_behaviour`, the same two from its own representation of the titles.
    """

    log_popularity: Float32
    log_pairs: sp.csr_matrix
    pmi: sp.csr_matrix
    vectors: dict[str, Float32]


def describe(
    counts: Counts,
    title_vectors: Float32,
    language_vectors: Float32 | None = None,
    embedding_size: int = 48,
    seed: int = 0,
) -> ItemStatistics:
    """Item statistics from counts.

    Vectors are a truncated singular value decomposition of the positive pointwise mutual information (Levy & Goldberg
    2014); behaviour is predicted from titles by ridge regression on items weighted by their evidence.

    Args:
        counts: Statistics of the users that may be learned from.
        title_vectors: Unit vectors of the titles, float32 [V + 1, e]; zero where there is no title.
        language_vectors: The same by a language model, where there is one.
        embedding_size: d of the behaviour vectors.
        seed: Of the randomised decomposition.
    """
    totals = np.asarray(counts.pairs.sum(1)).ravel()
    entries = counts.pairs.tocoo()
    grand_total = max(totals.sum(), 1.0)
    information = np.log(
        entries.data * grand_total / ((totals[entries.row] + _SMOOTHING) * (totals[entries.col] + _SMOOTHING))
    )
    # A pair that meets no more often than by chance still differs from one that never meets.
    information = np.maximum(information, 0.01)
    pmi = sp.csr_matrix((information, (entries.row, entries.col)), shape=counts.pairs.shape)
    behaviour = _factorise(pmi, embedding_size, seed)
    evidence = np.minimum(totals, _COUNT_LIMIT)
    predicted = _predict(title_vectors, behaviour, evidence)
    trust = (totals / (totals + 2 * _SMOOTHING))[:, None]
    log_pairs = counts.pairs.copy()
    log_pairs.data = np.log1p(log_pairs.data)
    vectors = {
        "behaviour": behaviour,
        "title": title_vectors,
        "title_behaviour": predicted,
        "blend": unit(trust * behaviour + (1 - trust) * predicted),
    }
    if language_vectors is not None:
        vectors["language"] = language_vectors
        vectors["language_behaviour"] = _predict(language_vectors, behaviour, evidence)
    return ItemStatistics(np.log1p(counts.popularity).astype(np.float32), log_pairs, pmi, vectors)


def _factorise(pmi: sp.csr_matrix, embedding_size: int, seed: int) -> Float32:
    size = min(embedding_size, cast(tuple[int, int], pmi.shape)[0] - 1)
    svd = cast(Callable[..., tuple[Float64, Float64, Float64]], randomized_svd)
    left, values, _ = svd(pmi, size, n_iter=4, random_state=seed)
    return unit(left * np.sqrt(values))


def _predict(inputs: Float32, outputs: Float32, weights: Float64) -> Float32:
    weighted = inputs * weights[:, None].astype(np.float32)
    gram = weighted.T @ inputs + _RIDGE * np.eye(inputs.shape[1], dtype=np.float32)
    return unit(inputs @ np.linalg.solve(gram, weighted.T @ outputs))


def look_up(matrix: sp.csr_matrix, rows: Sequence[int] | Int32, columns: Sequence[int] | Int32) -> Float32:
    """matrix[rows[k], columns[k]] for every k, float32."""
    return np.asarray(matrix[rows, columns], dtype=np.float32).ravel()
