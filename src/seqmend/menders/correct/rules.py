"""Rules on attributes: an input that shares none with the target goes, one that shares many stays."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from seqmend.menders.correct.config import RulesConfig
from seqmend.menders.correct.labelled import Labelled
from seqmend.menders.correct.marks import Said, mark
from seqmend.menders.correct.uncertain import Bool

_DROP_BELOW = (1, 2, 3)
_ADD_FROM = (1, 2, 3, 4, 5, 6)


@dataclass(frozen=True, eq=False)
class AttributeRules:
    """What an answer becomes by the values that inputs share with the target.

    An input without attributes, or with a target without, is left as it is: nothing is known of what they share. (The
    official code drops it.)

    Attributes:
        keys: Values of every item, length V + 1 (see `Attributes.keys`).
        drop_below: An input that shares fewer is dropped; None = none is.
        add_from: An input that shares as many or more is added; None = none is.
    """

    keys: Sequence[frozenset[str]]
    drop_below: int | None = None
    add_from: int | None = None

    def shared(self, inputs: Sequence[int], target: int) -> list[int | None]:
        """Number of values that each input shares with the target; None where one of them has no attributes."""
        own = self.keys[target]
        return [len(own & self.keys[item]) if own and self.keys[item] else None for item in inputs]

    def after(self, goes: Sequence[bool], inputs: Sequence[int], target: int) -> tuple[bool, ...]:
        """An answer after the rules."""
        changed: list[bool] = []
        for named, n in zip(goes, self.shared(inputs, target), strict=True):
            if n is not None and self.add_from is not None and n >= self.add_from:
                named = True
            elif n is not None and self.drop_below is not None and n < self.drop_below:
                named = False
            changed.append(named)
        return tuple(changed)

    def alone(self, rows: Labelled) -> Bool:
        """The answers of the add rule to an empty answer, bool [R, L]: a corrector without a language model."""
        return np.array(
            [self.after([False] * len(q.inputs), q.inputs, q.target) for q in rows.questions()], dtype=bool
        ).reshape(rows.relevant.shape)


def pick_rules(config: RulesConfig, keys: Sequence[frozenset[str]], rows: Labelled, said: Said) -> AttributeRules:
    """The rules, of those that may be used, after which answers have the best mean F1.

    Of equally good ones the one with the fewest rules is taken, then the one that changes least.

    Args:
        config: Which rules may be used, and which thresholds are given.
        keys: See `AttributeRules`.
        rows: Instances whose answer is known; nothing else is to be measured on them.
        said: The model's answers to them; None where one could not be read.
    """
    best, best_f1 = AttributeRules(keys), -1.0
    for drop, add in product(_choices(config.drop, config.drop_below, _DROP_BELOW), _adds(config)):
        if drop is not None and add is not None and drop > add:
            continue
        rules = dataclasses.replace(best, drop_below=drop, add_from=add)
        answers = [
            None if goes is None else rules.after(goes, question.inputs, question.target)
            for goes, question in zip(said, rows.questions(), strict=True)
        ]
        f1 = mark(rows.inputs, answers, rows.relevant).means["f1"]
        if f1 > best_f1:
            best, best_f1 = rules, f1
    return best


def _adds(config: RulesConfig) -> list[int | None]:
    return _choices(config.add, config.add_from, _ADD_FROM[::-1])


def _choices(allowed: bool, given: int | None, range_: Sequence[int]) -> list[int | None]:
    """Thresholds to try, the mildest first; a given one is not tried but kept to."""
    if not allowed:
        return [None]
    return [given] if given is not None else [None, *range_]
