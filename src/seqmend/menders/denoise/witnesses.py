"""Witnesses: what each source of evidence says of every cell of a window.

A witness compares an item with the other items of its window under one relation (they co-occur, their titles are alike,
...) and reports the strongest, the second strongest and the mean relation, each also relative to the window's mean: an
item that is a stranger among friends stands out more than a stranger among strangers. Relations under a language
model's vectors come last, so that the evidence without a language model is a leading part.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from seqmend.menders.denoise.statistics import Float32, ItemStatistics, look_up
from seqmend.menders.denoise.windows import Int32

_COUNTED = ("pairs", "pmi")
_VECTORS = ("behaviour", "title", "title_behaviour", "blend")
_LANGUAGE_VECTORS = ("language", "language_behaviour")
_BLOCK = 2048

_POPULARITY = ("popularity", "popularity_relative", "window_popularity", "window_length")


def _names(relations: tuple[str, ...]) -> tuple[str, ...]:
    own = tuple(f"{relation}_{aggregate}" for relation in relations for aggregate in ("first", "second", "mean"))
    return (*own, *(f"{name}_relative" for name in own))


LLM_FREE_FEATURES: tuple[str, ...] = (*_POPULARITY, *_names((*_COUNTED, *_VECTORS)))
"""Names of the leading part of `features`' last axis, which no language model has a part in."""

LANGUAGE_FEATURES: tuple[str, ...] = _names(_LANGUAGE_VECTORS)
"""Names of the rest, where the statistics hold a language model's vectors."""

SINGLE_WITNESSES: dict[str, str] = {
    "popularity": "popularity",
    "co-occurrence": "pmi_mean",
    "title similarity": "title_first",
}
"""The one feature that stands for each witness when it speaks alone; the lower, the more suspicious."""

SIMPLE_FUSION = "counts and titles, logistic"
"""The plainest fusion of these three without a language model, which the mender's own is measured against."""


def features(items: Int32, statistics: ItemStatistics) -> Float32:
    """Evidence about every cell.

    Args:
        items: Windows, int32 [B, L], 0 = padding.
        statistics: What is known of the items.

    Returns:
        float32 [B, L, F], F features as named above; padding cells hold zeros.
    """
    blocks = (items[begin : begin + _BLOCK] for begin in range(0, max(len(items), 1), _BLOCK))
    return np.concatenate([_block(block, statistics) for block in blocks])


def _block(items: Int32, statistics: ItemStatistics) -> Float32:
    real = items > 0
    lengths = np.maximum(real.sum(1), 1)
    others = real[:, :, None] & real[:, None, :] & ~np.eye(items.shape[1], dtype=bool)
    popularity = statistics.log_popularity[items] * real
    mean_popularity = np.broadcast_to((popularity.sum(1) / lengths)[:, None], items.shape)
    window_lengths = np.broadcast_to(lengths[:, None], items.shape)
    parts = [np.stack([popularity, popularity - mean_popularity, mean_popularity, window_lengths], axis=-1)]
    for group in _relations(items, statistics):
        own = np.stack([values for relation in group for values in _aggregate(relation, others)], axis=-1)
        own *= real[:, :, None]
        parts += [own, own - own.sum(1, keepdims=True) / lengths[:, None, None]]
    return np.concatenate(parts, axis=-1).astype(np.float32) * real[:, :, None]


def _relations(items: Int32, statistics: ItemStatistics) -> Iterator[list[Float32]]:
    """How every two cells of a window relate, float32 [B, L, L] each: LLM-free, then by the language model."""
    shape = (*items.shape, items.shape[1])
    rows = np.broadcast_to(items[:, :, None], shape).ravel()
    columns = np.broadcast_to(items[:, None, :], shape).ravel()

    def alike(name: str) -> Float32:
        vectors = statistics.vectors[name][items]
        return vectors @ vectors.transpose(0, 2, 1)

    counted = [look_up(matrix, rows, columns).reshape(shape) for matrix in (statistics.log_pairs, statistics.pmi)]
    yield counted + [alike(name) for name in _VECTORS]
    if _LANGUAGE_VECTORS[0] in statistics.vectors:
        yield [alike(name) for name in _LANGUAGE_VECTORS]


def _aggregate(relation: Float32, others: npt.NDArray[np.bool_]) -> tuple[Float32, Float32, Float32]:
    counts = others.sum(2)
    present = np.where(others, relation, -np.inf)
    strongest = -np.partition(-present, min(1, present.shape[2] - 1), axis=2)[:, :, :2]
    first = np.where(counts >= 1, strongest[:, :, 0], 0.0)
    second = np.where(counts >= 2, strongest[:, :, -1], 0.0)
    mean = np.where(others, relation, 0.0).sum(2) / np.maximum(counts, 1)
    return first.astype(np.float32), second.astype(np.float32), mean.astype(np.float32)
