"""Pools: what could have been the target of an instance."""

import numpy as np
import torch
from torch import Tensor, nn

from seqmend.recommenders.rows import Int32, Rows

_N_SUCCESSORS = 2
_LOW_32 = 0xFFFFFFFF


class TargetPool(nn.Module):
    """Candidate targets of every row: two that are likely, and uniform ones (BirDRec, official code).

    The likely ones are the user's next two targets; where the user has no more, items that most often follow the row's
    last input. The uniform ones are computed from the row's id whenever they are asked for: they are the same in every
    epoch, whatever other rows there are, and cost no memory.

    Args:
        rows: In instance form.
        n_items: V.
        n_pool: P > 2 candidates per row.
        seed: Of the uniform ones.
        device: Where pools are wanted.
    """

    likely: Tensor
    row_id: Tensor

    def __init__(self, rows: Rows, n_items: int, n_pool: int, seed: int, device: torch.device) -> None:
        super().__init__()
        self.n_items, self.n_pool, self.seed = n_items, n_pool, seed
        later, frequent = next_targets(rows, _N_SUCCESSORS), frequent_successors(rows, n_items, _N_SUCCESSORS)
        likely = np.where(later > 0, later, frequent[rows.items[:, -1]])
        self.register_buffer("likely", torch.from_numpy(likely).to(device), persistent=False)
        self.register_buffer("row_id", torch.from_numpy(rows.row_id).to(device), persistent=False)

    def forward(self, numbers: Tensor) -> Tensor:
        """Candidates, int64 [B, P] in 1..V, of the rows of the given numbers, int64 [B]."""
        places = torch.arange(self.n_pool, device=numbers.device)
        uniform = 1 + _mixed(self.row_id[numbers, None], places, self.seed) % self.n_items
        likely = self.likely[numbers].long()
        uniform[:, :_N_SUCCESSORS] = torch.where(likely > 0, likely, uniform[:, :_N_SUCCESSORS])
        return uniform


def next_targets(rows: Rows, n: int) -> Int32:
    """Targets of the user's next n rows, int32 [R, n]; 0 where there are fewer."""
    order = np.lexsort((rows.row_id, rows.channel, rows.user))
    targets, users, channels = rows.targets[order, -1], rows.user[order], rows.channel[order]
    later = np.zeros((len(rows), n), dtype=np.int32)
    for step in range(1, n + 1):
        is_same = (users[step:] == users[:-step]) & (channels[step:] == channels[:-step])
        later[order[:-step], step - 1] = targets[step:] * is_same
    return later


def frequent_successors(rows: Rows, n_items: int, n: int) -> Int32:
    """The targets that most often follow an item as the last input, int32 [V + 1, n]; 0 where there are fewer."""
    follows = rows.items[:, -1].astype(np.int64) * (n_items + 1) + rows.targets[:, -1]
    pairs, counts = np.unique(follows, return_counts=True)
    before, after = np.divmod(pairs, n_items + 1)
    order = np.lexsort((after, -counts, before))
    before, after = before[order], after[order]
    place = np.arange(len(before)) - np.searchsorted(before, before)
    table = np.zeros((n_items + 1, n), dtype=np.int32)
    table[before[place < n], place[place < n]] = after[place < n]
    return table


def _mixed(number: Tensor, place: Tensor, seed: int) -> Tensor:
    """Numbers below 2^32 that look random, int64, from numbers that do not (multiply, fold, twice)."""
    x = (number * 0x9E3779B1 + place * 0x85EBCA77 + seed * 0xC2B2AE3D) & _LOW_32
    for _ in range(2):
        x = ((x ^ (x >> 16)) * 0x45D9F3B) & _LOW_32
    return x ^ (x >> 16)
