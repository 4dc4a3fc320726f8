"""Edits: sequences with items put in and left out, as arrays."""

from dataclasses import dataclass

import torch
from torch import Tensor

KEEP, DELETE, INSERT = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Edited:
    """Sequences after edits, W columns.

    Attributes:
        items: int64 [B, W], padded on the left.
        source: int64 [B, W], the column of the sequence that an item comes from; -1 where it was put in, or at padding.
    """

    items: Tensor
    source: Tensor

    def carried(self, values: Tensor) -> Tensor:
        """Values of the columns of the sequence, [B, L], at their new places, [B, W]; 0 where an item was put in."""
        return values.gather(1, self.source.clamp(min=0)) * (self.source >= 0)


def edit(sequence: Tensor, stays: Tensor, put_in: Tensor, width: int) -> Edited:
    """Leave items out and put others in.

    Args:
        sequence: int64 [B, L]; 0 = padding or masked, which leaves no gap.
        stays: bool [B, L].
        put_in: int64 [B, L, K], items to put in before every column, in order; 0 = none.
        width: Most columns of the result; the latest are kept.
    """
    B, L = sequence.shape
    slots = torch.cat([put_in, (sequence * stays)[..., None]], -1).view(B, -1)
    columns = torch.arange(L, device=sequence.device).view(1, L, 1).expand(B, L, 1)
    source = torch.cat([torch.full_like(put_in, -1), columns], -1).view(B, -1)
    order = (slots != 0).int().argsort(dim=1, stable=True)
    width = min(width, max(1, int((slots != 0).sum(1).max())))
    order = order[:, -width:]
    items = slots.gather(1, order)
    return Edited(items, torch.where(items != 0, source.gather(1, order), -1))


@dataclass(frozen=True, eq=False)
class Damage:
    """Sequences damaged at random, and what undoes it.

    Attributes:
        edited: The damaged sequences.
        repairs: int64 [B, W], KEEP, DELETE or INSERT at every column.
        missing: int64 [B, W, n], what INSERT puts before a column, the nearest first, then `end`; 0 behind that.
    """

    edited: Edited
    repairs: Tensor
    missing: Tensor


def damaged(
    sequence: Tensor, n_items: int, delete_ratio: float, insert_ratio: float, n_missing: int, end: int, width: int
) -> Damage:
    """Leave items out and put random ones in before others; the last item always stays.

    Args:
        sequence: int64 [B, L].
        n_items: V.
        delete_ratio: Share of items to leave out.
        insert_ratio: Share of items to put a random one before.
        n_missing: n, most items to put back at one place.
        end: What marks the end of a list of missing items.
        width: Most columns of the result.
    """
    L = sequence.shape[1]
    columns = torch.arange(L, device=sequence.device)
    draws = torch.rand(sequence.shape, device=sequence.device)
    is_real = sequence != 0
    is_gone = (draws < delete_ratio) & is_real & (columns < L - 1)
    is_disturbed = (draws >= delete_ratio) & (draws < delete_ratio + insert_ratio) & is_real
    noise = torch.randint(1, n_items + 1, sequence.shape, device=sequence.device) * is_disturbed
    edited = edit(sequence, ~is_gone, noise[..., None], width)

    # Left out just before a column are those after the last one that stayed.
    last_stayed = torch.where(is_gone, -1, columns).cummax(1).values
    n_gone = torch.where(is_gone, 0, columns - 1 - torch.nn.functional.pad(last_stayed[:, :-1], (1, 0), value=-1))
    steps = torch.arange(n_missing, device=sequence.device)
    before = (columns[:, None] - 1 - steps).clamp(min=0).expand(len(sequence), -1, -1)
    items = sequence.gather(1, before.reshape(len(sequence), -1)).view(before.shape)
    missing = torch.where(steps < n_gone[..., None], items, torch.where(steps == n_gone[..., None], end, 0))

    source = edited.source.clamp(min=0)
    is_put_in = (edited.source < 0) & (edited.items != 0)
    repairs = torch.where(is_put_in, DELETE, torch.where(edited.carried(n_gone) > 0, INSERT, KEEP))
    return Damage(edited, repairs, missing.gather(1, source[..., None].expand(-1, -1, n_missing)))
