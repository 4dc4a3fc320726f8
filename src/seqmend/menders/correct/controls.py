"""Corrections that nobody judged: what the mender's own must be better than."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from seqmend.interactions import PADDING
from seqmend.menders.correct.corrections import Action, Correction, Trial
from seqmend.menders.correct.question import Verdict
from seqmend.menders.correct.uncertain import Int32

_CHANGES = ("filter", "retarget", "drop")


def at_random(corrections: Sequence[Correction], proposed: Int32, rng: np.random.Generator) -> list[Correction]:
    """As many instances changed in as many ways, but other ones, and other inputs of them.

    Every change is dealt to an instance that has as many inputs, so that as many inputs go.

    Args:
        corrections: Of the mender.
        proposed: The recommender's candidates for every instance, int32 [U, n]; a retarget takes one of them by chance.
        rng: Source of the deal.
    """
    found = [_untouched(one) for one in corrections]
    sizes = np.array([sum(item > 0 for item in one.inputs) for one in corrections])
    for size in np.unique(sizes).tolist():
        own = np.flatnonzero(sizes == size)
        for source, place in zip(own.tolist(), rng.permutation(own).tolist(), strict=True):
            given, one = corrections[source], corrections[place]
            if given.action not in _CHANGES:
                continue
            offered = proposed[place][proposed[place] != PADDING]
            action: Action = given.action if given.action != "retarget" or len(offered) else "filter"
            columns = np.flatnonzero(np.array(one.inputs) > 0)
            gone = rng.permutation(columns)[: len(given.dropped)]
            kept = tuple(bool(item > 0 and c not in gone) for c, item in enumerate(one.inputs))
            new = int(rng.choice(offered)) if action == "retarget" else None
            found[place] = _changed(one, action, kept, new)
    return found


def retargeted_to_first(corrections: Sequence[Correction], proposed: Int32) -> list[Correction]:
    """Every instance gets the recommender's first candidate for a target, and keeps its inputs.

    Args:
        corrections: Of the mender; its answers do not count.
        proposed: Candidates, int32 [U, n], n > 0.
    """
    return [
        _changed(one, "retarget", tuple(item > 0 for item in one.inputs), first)
        if first != PADDING
        else _untouched(one)
        for one, first in zip(corrections, proposed[:, 0].tolist(), strict=True)
    ]


def dropped(corrections: Sequence[Correction]) -> list[Correction]:
    """Every instance goes."""
    return [_changed(one, "drop", (), None) for one in corrections]


def doubted_dropped(corrections: Sequence[Correction]) -> list[Correction]:
    """The instances whose target is noise more likely than not go, the others stay as they are: no model is heard."""
    return [_changed(one, "drop", (), None) if one.is_doubted else _untouched(one) for one in corrections]


def least_sure_dropped(corrections: Sequence[Correction]) -> list[Correction]:
    """As many instances go, but the most uncertain ones.

    Args:
        corrections: Of the mender, the most uncertain first.
    """
    n_doubted = sum(one.is_doubted for one in corrections)
    return dropped(corrections[:n_doubted]) + [_untouched(one) for one in corrections[n_doubted:]]


def of_known_noise(
    corrections: Sequence[Correction], is_noise: Sequence[Sequence[bool]], targets: Sequence[int | None]
) -> list[Correction]:
    """What a judge who knows the noise would do; an instance of which nothing true is left goes.

    Args:
        corrections: Of the mender; its answers do not count.
        is_noise: Which of the L inputs are, by instance.
        targets: The target before the noise; None where it is none.
    """
    found: list[Correction] = []
    for one, noise, target in zip(corrections, is_noise, targets, strict=True):
        kept = tuple(item > 0 and not foreign for item, foreign in zip(one.inputs, noise, strict=True))
        if not any(kept):
            found.append(_changed(one, "drop", (), None))
        elif target is not None:
            found.append(_changed(one, "retarget", kept, target))
        else:
            found.append(_changed(one, "filter", kept, None) if any(noise) else _untouched(one))
    return found


def _untouched(one: Correction) -> Correction:
    return dataclasses.replace(one, action="keep", verdict=None, trials=(), kept=(), item_after=None)


def _changed(one: Correction, action: Action, kept: tuple[bool, ...], item_after: int | None) -> Correction:
    """With answers that say nothing but what was done: there are no probabilities."""
    nothing = Verdict((False,) * len(one.questioned))
    trials = () if item_after is None else (Trial(item_after, Verdict((True,) * len(one.questioned))),)
    return dataclasses.replace(one, action=action, verdict=nothing, trials=trials, kept=kept, item_after=item_after)
