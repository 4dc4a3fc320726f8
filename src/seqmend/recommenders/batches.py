"""Batches of one epoch: shuffled, of like length, pairs kept together."""

import numpy as np
import torch

from seqmend.recommenders.rows import Int64, Rows

_BATCHES_SORTED_TOGETHER = 16


def batches(rows: Rows, batch_size: int, generator: torch.Generator) -> list[Int64]:
    """Row numbers of every batch of one epoch; each row is in exactly one.

    The rows of one `pair` count as one: with a second channel for its rows a training has as many steps as without.

    Rows are shuffled, then sorted by length within stretches of 16 batches: on logs of short histories most columns
    would be padding otherwise. Batches come in random order.

    Args:
        rows: What to divide.
        batch_size: Rows per batch, those of one `pair` counted once.
        generator: Source of the order, on the CPU.
    """
    groups = _groups(rows)
    n_groups = int(groups.max(initial=-1)) + 1
    lengths = np.zeros(n_groups, dtype=np.int64)
    np.maximum.at(lengths, groups, rows.lengths)

    shuffled = torch.randperm(n_groups, generator=generator).numpy()
    stretch = np.arange(n_groups) // (batch_size * _BATCHES_SORTED_TOGETHER)
    shuffled = shuffled[np.lexsort((lengths[shuffled], stretch))]

    batch_of_group = np.empty(n_groups, dtype=np.int64)
    batch_of_group[shuffled] = np.arange(n_groups) // batch_size
    batch_of_row = batch_of_group[groups]
    in_order = np.argsort(batch_of_row, kind="stable")
    edges = np.flatnonzero(np.diff(batch_of_row[in_order])) + 1
    divided = np.split(in_order, edges)
    return [divided[number] for number in torch.randperm(len(divided), generator=generator).tolist()]


def n_batches(rows: Rows, batch_size: int) -> int:
    """Steps of one epoch; see `batches`."""
    return -(-len(np.unique(_groups(rows))) // batch_size)


def _groups(rows: Rows) -> Int64:
    """A number for every row, 0 and up, equal for rows that stay together."""
    alone = -1 - np.arange(len(rows))
    return np.unique(np.where(rows.pair < 0, alone, rows.pair), return_inverse=True)[1].astype(np.int64)
