"""Judging chosen items: their scores, and how many of the others score as well as a target."""

import torch
from torch import Tensor, nn

_DENSE_ITEMS = 20_000


def item_scores(states: Tensor, table: Tensor, items: Tensor) -> Tensor:
    """Scores of some items for every state, float32 [B, n].

    Of a catalogue of moderate size all scores are computed and the asked ones picked: one matrix product is cheaper
    than n item vectors per state, most of all in the backward pass.

    Args:
        states: float [B, d].
        table: float [V + 1, d].
        items: int64 [B, n].
    """
    with torch.autocast(states.device.type, enabled=False):  # in bfloat16 too many items tie
        states, table = states.float(), table.float()
        if len(table) <= _DENSE_ITEMS:
            return (states @ table.T).gather(1, items)
        return (nn.functional.embedding(items, table) @ states[..., None])[..., 0]


def share_above(target_scores: Tensor, scores: Tensor, is_other: Tensor) -> Tensor:
    """Share of the items that score at least as high as the target, float [B]; 0 = it is the best.

    Args:
        target_scores: float [B].
        scores: float [B, n].
        is_other: bool [B, n]; an item that is the target itself does not count.
    """
    is_above = (scores >= target_scores[:, None]) & is_other
    return is_above.sum(-1) / is_other.sum(-1).clamp(min=1)
