"""Choices as a prefix tree of tokens: where they part, and what the model says there, make their probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

from seqmend.errors import InputError

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Branch:
    """A place where choices part.

    Attributes:
        path: Tokens between the prompt's end and here, int64 [k], k >= 0.
        children: The different tokens that go on from here, int64 [c].
    """

    path: Int64
    children: Int64


@dataclass(frozen=True, eq=False)
class Trie:
    """The branching places of a set of choices, and which of their children lead to each.

    Attributes:
        branches: In the order in which the choices meet them.
        turns: For every choice, (branch, child) pairs along its tokens.
    """

    branches: list[Branch]
    turns: list[list[tuple[int, int]]]

    @classmethod
    def of(cls, choices: Sequence[Int64]) -> "Trie":
        """The tree of different choices, at least one token each.

        Raises:
            InputError: One choice is the beginning of another.
        """
        children: dict[tuple[int, ...], dict[int, int]] = {}
        lists: list[list[int]] = [choice.tolist() for choice in choices]
        ends = {tuple(tokens) for tokens in lists}
        for tokens in lists:
            for depth, token in enumerate(tokens):
                path = tuple(tokens[:depth])
                if path in ends:
                    raise InputError(
                        "one choice is the beginning of another", expected="choices that end in a common delimiter"
                    )
                known = children.setdefault(path, {})
                known.setdefault(token, len(known))
        places = {path: number for number, path in enumerate(p for p, next_ in children.items() if len(next_) > 1)}
        branches = [
            Branch(np.array(path, dtype=np.int64), np.array(list(children[path]), dtype=np.int64)) for path in places
        ]
        turns: list[list[tuple[int, int]]] = []
        for tokens in lists:
            paths = [tuple(tokens[:depth]) for depth in range(len(tokens))]
            turns.append(
                [(places[p], children[p][token]) for p, token in zip(paths, tokens, strict=True) if p in places]
            )
        return cls(branches, turns)

    def log_probabilities(self, values: Sequence[Float64]) -> Float64:
        """Log-probability of every choice, float64 [n]; their exponentials sum to 1.

        Args:
            values: Log-probabilities of every branch's children among all tokens, float64 [c] each.
        """
        shares = [log_softmax(children) for children in values]
        return np.array([sum(shares[branch][child] for branch, child in turns) for turns in self.turns], dtype=float)
