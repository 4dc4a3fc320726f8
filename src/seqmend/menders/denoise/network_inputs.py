"""What a network is shown of a window: numbers of every item, and how every two of its items relate."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from seqmend.menders.denoise.statistics import Float32, Float64, ItemStatistics, look_up
from seqmend.menders.denoise.windows import Int32, Int64

_SHARED = ("title", "language")  # made from texts alone: the same whoever is counted
_FREE = ("behaviour", "title", "title_behaviour", "blend")
_LANGUAGE = ("language", "language_behaviour")
_BEHAVIOUR = ("blend", "title_behaviour", "language_behaviour")
_TEXT_SIZE = 64
_SPREAD = 5.0  # brings unit vectors of some 50 numbers to about the spread of the other inputs


@dataclass(frozen=True, eq=False)
class ItemTable:
    """What some users' interactions and the titles say about every item.

    Attributes:
        popularity: log(1 + interactions), float32 [V + 1].
        texts: Leading principal components of the titles' vectors, float32 [V + 1, T].
        vectors: Unit vectors by name, see `ItemStatistics`, float32 [V + 1, d] each.
        rotation: Turns behaviour vectors into the axes that all tables share, float32 [d, d].
        log_pairs: log(1 + co-occurrences), sparse [V + 1, V + 1].
        pmi: Pointwise mutual information of co-occurrence, sparse [V + 1, V + 1].
    """

    popularity: Float32
    texts: Float32
    vectors: dict[str, Float32]
    rotation: Float32
    log_pairs: sp.csr_matrix
    pmi: sp.csr_matrix

    @property
    def n_inputs(self) -> int:
        """C, numbers that describe an item."""
        return self._numbers.shape[1]

    @property
    def n_relations(self) -> int:
        """R, relations of a pair of items."""
        return 2 + len(self.vectors)

    def read(self, items: Int32) -> tuple[Float32, Float32]:
        """Numbers of every cell, float32 [B, L, C], and relations of every two, float32 [B, L, L, R]."""
        shape = (*items.shape, items.shape[1])
        rows = np.broadcast_to(items[:, :, None], shape).ravel()
        columns = np.broadcast_to(items[:, None, :], shape).ravel()
        relations = [look_up(matrix, rows, columns).reshape(shape) for matrix in (self.log_pairs, self.pmi)]
        for vectors in self.vectors.values():
            found = vectors[items]
            relations.append(found @ found.transpose(0, 2, 1))
        return self._numbers[items], np.stack(relations, axis=-1)

    def arrays(self, shared: bool) -> dict[str, npt.NDArray[Any]]:
        """Everything in it as named arrays; what all tables have in common only if `shared`."""
        arrays: dict[str, npt.NDArray[Any]] = {"popularity": self.popularity, "rotation": self.rotation}
        if shared:
            arrays["texts"] = self.texts
        arrays |= {
            f"vectors.{name}": vectors for name, vectors in self.vectors.items() if shared or name not in _SHARED
        }
        for name, matrix in (("log_pairs", self.log_pairs), ("pmi", self.pmi)):
            arrays |= {f"{name}.data": matrix.data, f"{name}.indices": matrix.indices, f"{name}.indptr": matrix.indptr}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[Any]]) -> "ItemTable":
        """The table that `arrays` was asked of."""
        size = len(arrays["popularity"])
        log_pairs, pmi = (
            sp.csr_matrix(
                (arrays[f"{name}.data"], arrays[f"{name}.indices"], arrays[f"{name}.indptr"]), shape=(size, size)
            )
            for name in ("log_pairs", "pmi")
        )
        names = [name for name in (*_FREE, *_LANGUAGE) if f"vectors.{name}" in arrays]
        return cls(
            arrays["popularity"],
            arrays["texts"],
            {name: arrays[f"vectors.{name}"] for name in names},
            arrays["rotation"],
            log_pairs,
            pmi,
        )

    @cached_property
    def _numbers(self) -> Float32:
        behaviour = [_SPREAD * self.vectors[name] @ self.rotation for name in _BEHAVIOUR if name in self.vectors]
        return np.concatenate([self.popularity[:, None], self.texts, *behaviour], axis=1).astype(np.float32)


def item_tables(everyone: ItemStatistics, others: list[ItemStatistics], language: bool) -> list[ItemTable]:
    """The table of all users, then those without each fold.

    Args:
        everyone: Statistics of all users.
        others: Statistics without the users of each fold.
        language: Whether the language model's vectors are among them, where the statistics have them.
    """
    names = [name for name in (*_FREE, *(_LANGUAGE if language else ())) if name in everyone.vectors]
    texts = np.concatenate([_leading(everyone.vectors[name]) for name in names if name in _SHARED], axis=1)
    return [
        ItemTable(
            statistics.log_popularity,
            texts,
            {name: statistics.vectors[name] for name in names},
            _rotation(statistics.vectors["behaviour"], everyone.vectors["behaviour"]),
            statistics.log_pairs,
            statistics.pmi,
        )
        for statistics in (everyone, *others)
    ]


def read_windows(tables: list[ItemTable], items: Int32, folds: Int64) -> tuple[Float32, Float32]:
    """`ItemTable.read`, of every window by the table without its user's fold; -1 = the table of all users."""
    inputs = np.zeros((*items.shape, tables[0].n_inputs), dtype=np.float32)
    relations = np.zeros((*items.shape, items.shape[1], tables[0].n_relations), dtype=np.float32)
    for fold in np.unique(folds):
        rows = folds == fold
        inputs[rows], relations[rows] = tables[fold + 1].read(items[rows])
    return inputs, relations


def _leading(vectors: Float32) -> Float32:
    """Coordinates along the leading principal axes, of spread 1 all in all, float32 [V + 1, <= _TEXT_SIZE]."""
    centred = vectors - vectors.mean(0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    found = centred @ axes[:, : -_TEXT_SIZE - 1 : -1]
    return (found / max(float(found.std()), 1e-6)).astype(np.float32)


def _rotation(vectors: Float32, reference: Float32) -> Float32:
    """The orthogonal map that brings vectors nearest to the reference (Procrustes), float32 [d, d].

    Factorisations of two co-occurrence matrices have axes of their own, even where they hardly differ.
    """
    left, _, right = np.linalg.svd(vectors.T.astype(np.float64) @ reference)
    rotation: Float64 = left @ right
    return rotation.astype(np.float32)
