"""Marks: how well answers to the correction question name the inputs that go with their targets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from seqmend.menders.correct.uncertain import Bool, Int32

Float64 = npt.NDArray[np.float64]
Said = Sequence[Sequence[bool] | None] | Bool
"""Which of its inputs each answer names; None where it cannot be read."""

_CERTAIN = 1e-6
_MOST_TRIED = 64


@dataclass(frozen=True, eq=False)
class Marks:
    """Precision, recall and F1 of every row, float64 [R] in [0, 1] each.

    Attributes:
        threshold: Probability from which inputs were named, where that was chosen by the rows.
    """

    precision: Float64
    recall: Float64
    f1: Float64
    threshold: float | None = None

    def __len__(self) -> int:
        return len(self.f1)

    @property
    def means(self) -> dict[str, float]:
        """The mean of each over the rows, 0 where there are none; and the threshold, if there is one."""
        named = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        means = {name: float(values.mean()) if len(values) else 0.0 for name, values in named.items()}
        return means if self.threshold is None else {**means, "threshold": self.threshold}


def mark(inputs: Int32, said: Said, relevant: Bool) -> Marks:
    """Marks of answers, row by row, over sets of items: one that stands twice among the inputs counts once.

    As LLM4RSR's evaluator has it: where neither the answer nor the truth names an input, all marks are 1; where they
    have none in common, all are 0. An answer that cannot be read has 0.

    Args:
        inputs: Item numbers, int32 [R, L]; 0 = padding, which nothing names.
        said: One answer per row.
        relevant: What is true, bool [R, L].

    >>> inputs = np.array([[7, 8, 9], [7, 8, 9]], dtype=np.int32)
    >>> relevant = np.array([[True, True, False], [False, False, False]])
    >>> mark(inputs, [[True, False, False], [False, False, False]], relevant).recall.tolist()
    [0.5, 1.0]
    """
    found = np.zeros((len(inputs), 3))
    for row, (items, answer, truth) in enumerate(zip(inputs.tolist(), said, relevant.tolist(), strict=True)):
        if answer is not None:
            found[row] = _marks_of(_named(items, answer), _named(items, truth))
    return Marks(found[:, 0], found[:, 1], found[:, 2])


def mark_at_best(inputs: Int32, probabilities: Float64, relevant: Bool) -> Marks:
    """Marks where the inputs are named from the probability on that gives the best mean F1.

    Args:
        inputs: As for `mark`.
        probabilities: That each input goes with its target, float64 [R, L].
        relevant: What is true, bool [R, L].

    >>> inputs, relevant = np.array([[7, 8, 9]], dtype=np.int32), np.array([[True, True, False]])
    >>> mark_at_best(inputs, np.array([[0.1, 0.06, 0.02]]), relevant).means
    {'precision': 1.0, 'recall': 1.0, 'f1': 1.0, 'threshold': 0.04}
    """
    said = np.unique(probabilities)
    between = np.concatenate([[said[0] / 2], (said[1:] + said[:-1]) / 2, [(said[-1] + 1) / 2]])
    between = between.clip(_CERTAIN, 1 - _CERTAIN)
    tried = between[np.unique(np.linspace(0, len(between) - 1, _MOST_TRIED).round().astype(int))]
    best: Marks | None = None
    for threshold in tried.tolist():
        marks = mark(inputs, probabilities >= threshold, relevant)
        if best is None or marks.f1.mean() > best.f1.mean():
            best = replace(marks, threshold=threshold)
    assert best is not None
    return best


def _named(items: Sequence[int], flags: Sequence[bool]) -> set[int]:
    return {item for item, named in zip(items, flags, strict=True) if named and item}


def _marks_of(named: set[int], true: set[int]) -> tuple[float, float, float]:
    if not named and not true:
        return 1.0, 1.0, 1.0
    if not (right := len(named & true)):
        return 0.0, 0.0, 0.0
    return right / len(named), right / len(true), 2 * right / (len(named) + len(true))
