"""Graphs of training rows, as sparse matrices that spread vectors over neighbours."""

from collections.abc import Callable

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from seqmend.recommenders.rows import Int64, Rows

Edges = tuple[Int64, Int64, Int64]
"""Sources, targets and counts, each int64 [E]."""

_CHUNK_NODES = 512
_CHUNK_ROWS = 1 << 15


def transitions(rows: Rows) -> tuple[Int64, Int64]:
    """Every step from an input to the item after it, as two int64 [E] of item numbers, each step once per user.

    Rows overlap, so that a step is in many of them; a user who takes it twice counts once.
    """
    n = int(max(rows.items.max(), rows.targets.max())) + 1

    def steps(part: slice) -> Int64:
        before = rows.items[part].astype(np.int64)
        after = np.concatenate([before[:, 1:], rows.targets[part, -1:]], axis=1)
        keys = (rows.user[part, None].astype(np.int64) * n + before) * n + after
        return keys[(before > 0) & (after > 0)]

    keys = _distinct(rows, steps)
    return keys // n % n, keys % n


def choices(rows: Rows) -> tuple[Int64, Int64]:
    """Who met what, as two int64 [E] of user and item numbers, each pair once."""
    n = int(max(rows.items.max(), rows.targets.max())) + 1

    def pairs(part: slice) -> Int64:
        met = np.concatenate([rows.items[part], rows.targets[part]], axis=1)
        return (rows.user[part, None].astype(np.int64) * n + met)[met > 0]

    keys = _distinct(rows, pairs)
    return keys // n, keys % n


def _distinct(rows: Rows, keys: Callable[[slice], Int64]) -> Int64:
    """Distinct keys of all rows, by chunks: rows of one user are near each other, so that most go at once."""
    starts = range(0, len(rows), _CHUNK_ROWS)
    return np.unique(np.concatenate([np.unique(keys(slice(start, start + _CHUNK_ROWS))) for start in starts]))


def strongest(sources: Int64, targets: Int64, n: int, n_per_node: int) -> Edges:
    """The n edges per source that occur most often: sources, targets and counts, each int64 [E'].

    Without a limit the edges of popular items are most of the cost of a graph and little of its use. Among edges of one
    count the choice looks random and is always the same.

    Args:
        sources: int64 [E], 0..n - 1.
        targets: int64 [E], 0..n - 1.
        n: Nodes.
        n_per_node: Most edges per source.
    """
    edges, counts = np.unique(sources * n + targets, return_counts=True)
    sources, targets = np.divmod(edges, n)
    return _largest(sources, targets, counts.astype(np.int64), n_per_node)


def alike(features: csr_array, n_per_node: int) -> Edges:
    """The nodes that share most features with each node, as edges with the number of shared ones.

    Args:
        features: 0 or 1, [n, F].
        n_per_node: Most edges per node.
    """
    return _pairs(features, features, None, n_per_node)


def incompatible(near: csr_array, features: csr_array, n_per_node: int) -> Edges:
    """The nodes that share most neighbours with each node, and yet no feature, as edges with the shared neighbours.

    Args:
        near: 0 or 1, [n, n].
        features: 0 or 1, [n, F].
        n_per_node: Most edges per node.
    """
    return _pairs(near, near, features, n_per_node)


def incidence(sources: Int64, targets: Int64, shape: tuple[int, int]) -> csr_array:
    """A matrix with a 1 at every edge."""
    return csr_array((np.ones(len(sources), dtype=np.float32), (sources, targets)), shape=shape)


def _pairs(left: csr_array, right: csr_array, apart: csr_array | None, n_per_node: int) -> Edges:
    """The largest entries per row of left @ right.T, off the diagonal and, if asked, where `apart` shares nothing."""
    n = len(left.indptr) - 1
    found: list[Edges] = []
    for start in range(0, n, _CHUNK_NODES):
        chunk = slice(start, start + _CHUNK_NODES)
        counts = (left[chunk] @ right.T).tocoo()
        sources, targets = counts.row.astype(np.int64), counts.col.astype(np.int64)
        kept = sources + start != targets
        if apart is not None:
            together = (apart[chunk] @ apart.T).tocoo()
            met = together.row.astype(np.int64) * n + together.col
            kept &= ~np.isin(sources * n + targets, met)
        found.append(_largest(sources[kept] + start, targets[kept], counts.data[kept].astype(np.int64), n_per_node))
    sources, targets, counts = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return sources, targets, counts


def _largest(sources: Int64, targets: Int64, counts: Int64, n_per_node: int) -> Edges:
    """The edges of the largest counts per source; ties in an order that looks random."""
    order = np.lexsort((targets * 0x9E3779B1 % 0xFFFFFFFB, -counts, sources))
    sources, targets, counts = sources[order], targets[order], counts[order]
    kept = np.arange(len(sources)) - np.searchsorted(sources, sources) < n_per_node
    return sources[kept], targets[kept], counts[kept]


def adjacency(edges: Edges, shape: tuple[int, int], device: torch.device) -> Tensor:
    """D_out^-1/2 A D_in^-1/2, sparse float32, with A[source, target] = count; D are its row and column sums."""
    sources, targets, values = edges
    out, into = (
        np.bincount(nodes, weights=values, minlength=n) for nodes, n in zip((sources, targets), shape, strict=True)
    )
    scaled = (values / np.sqrt(out[sources] * into[targets])).astype(np.float32)
    cells = torch.from_numpy(np.stack([sources, targets]))
    matrix = torch.sparse_coo_tensor(cells, torch.from_numpy(scaled), shape, device=device, check_invariants=True)
    return matrix.coalesce()
