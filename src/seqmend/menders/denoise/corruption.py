"""Self-supervision: noise whose truth is known, because it was put there (LLM4DSR, section on the tuning set)."""

import numpy as np

from seqmend.menders.denoise.windows import Bool, Int32


def corrupt(items: Int32, universe: Int32, rate: float, rng: np.random.Generator) -> tuple[Int32, Bool]:
    """Replace cells by items drawn uniformly from the universe.

    Cells are corrupted independently with probability `rate`; an intruder that already stands in its window is drawn
    again once and otherwise the cell is left alone, so that a label is never wrong.

    Args:
        items: int32 [B, L], 0 = padding, never corrupted.
        universe: Item numbers that intruders come from, int32.
        rate: Probability of corruption per cell, in (0, 1).
        rng: Randomness.

    Returns:
        The corrupted windows int32 [B, L], and which cells are corrupted, bool [B, L].
    """
    chosen = (rng.random(items.shape) < rate) & (items > 0)
    intruders = rng.choice(universe, size=items.shape)
    for _ in range(2):
        present = (intruders[:, :, None] == items[:, None, :]).any(2)
        intruders = np.where(present, rng.choice(universe, size=items.shape), intruders)
    chosen &= ~(intruders[:, :, None] == items[:, None, :]).any(2)
    return np.where(chosen, intruders, items).astype(np.int32), chosen
