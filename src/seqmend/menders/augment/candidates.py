"""Candidate pools: what may have come before a history, and what may come after it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch
from torch import Tensor

from seqmend.evaluation import MEMORY, Histories
from seqmend.interactions import PADDING, Sequences
from seqmend.menders.augment.config import Candidates
from seqmend.progress import Progress, silent
from seqmend.recommenders import Backbone

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

Scorer = Callable[[Int64], Tensor]
"""Numbers of m users -> scores of all items for each, float [m, V + 1]."""

_USERS_AT_ONCE = 256
_BYTES_PER_SCORE = 24  # the score itself and what blending it takes


@dataclass(frozen=True, eq=False)
class Pools:
    """One pool of candidates per user.

    Attributes:
        items: int32 [U, n], the best first; 0 = none.
        scores: What they were ranked by, float64 [U, n]; minus infinity where there is none.
    """

    items: Int32
    scores: Float64

    @property
    def sizes(self) -> Int64:
        """Candidates of every user, int64 [U]."""
        return (self.items != PADDING).sum(axis=1)

    @property
    def log_shares(self) -> Float64:
        """Scores as log-probabilities within the pool, float64 [U, n]."""
        most = self.scores.max(axis=1, keepdims=True, initial=-np.inf)
        shifted = self.scores - np.where(np.isfinite(most), most, 0.0)
        sums = np.exp(shifted).sum(axis=1, keepdims=True)
        return shifted - np.log(np.where(sums > 0, sums, 1.0))


def reversed_in_time(sequences: Sequences) -> Sequences:
    """Every user's items, the latest first; the times are positions.

    >>> reversed_in_time(Sequences.from_lists({"ann": ["a", "b", "c"], "bob": ["b"]})).items.tolist()
    [3, 2, 1, 2]
    """
    ends = np.repeat(sequences.offsets[1:], sequences.lengths)
    items = sequences.items[ends - 1 - sequences.positions]
    return Sequences(sequences.user_ids, sequences.offsets, items, sequences.positions, sequences.catalogue)


def with_prefix(sequences: Sequences, pseudo: Int32) -> Sequences:
    """Sequences with pseudo items before them.

    Args:
        sequences: Of U users.
        pseudo: int32 [U, M], column 0 next to the first item; 0 = none.

    >>> with_prefix(Sequences.from_lists({"ann": ["a", "b"]}), np.array([[2, 1, 0]])).items.tolist()
    [1, 2, 1, 2]
    """
    owners, places = np.nonzero(pseudo)
    users = np.concatenate([sequences.users, owners])
    order = np.lexsort((np.concatenate([sequences.positions, -1 - places]), users))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=len(sequences)))]).astype(np.int64)
    items = np.concatenate([sequences.items, pseudo[owners, places]])[order].astype(np.int32)
    positions = np.arange(len(items)) - np.repeat(offsets[:-1], np.diff(offsets))
    return Sequences(sequences.user_ids, offsets, items, positions, sequences.catalogue)


def by_backbone(backbone: Backbone, shown: Sequences) -> Scorer:
    """What a recommender finds likely next.

    Args:
        backbone: Trained; put into evaluation mode.
        shown: What it is shown of every user; its last `max_length` items are used.
    """
    device = next(backbone.parameters()).device
    histories = Histories.whole(shown, np.arange(len(shown), dtype=np.int32))
    backbone.eval()

    def score(numbers: Int64) -> Tensor:
        width = int(np.clip(shown.lengths[numbers].max(initial=1), 1, backbone.max_length))
        items = torch.from_numpy(histories.windows(numbers, width)).to(device)
        states = backbone(items, torch.from_numpy(numbers).to(device))[:, -1]
        return backbone.scores(states).float()

    return score


def by_control(kind: Candidates, sequences: Sequences, seed: int) -> Scorer:
    """Controls: at random, the most popular, or what shares most users with the user's items.

    Args:
        kind: "random", "popular" or "neighbours".
        sequences: The training part.
        seed: Of what is random.
    """
    size = len(sequences.catalogue) + 1
    if kind == "random":

        def draw(numbers: Int64) -> Tensor:
            rows = [np.random.default_rng([seed, number]).random(size) for number in numbers.tolist()]
            return torch.from_numpy(np.stack(rows)).float()

        return draw
    if kind == "popular":
        counts = torch.from_numpy(np.log1p(np.bincount(sequences.items, minlength=size))).float()
        return lambda numbers: counts.expand(len(numbers), size).clone()
    ones = np.ones(sequences.n_interactions, dtype=np.float32)
    chose = sp.csr_matrix((ones, (sequences.users, sequences.items)), shape=(len(sequences), size))
    chose.data[:] = 1  # however often
    together = sp.csr_matrix(chose.T @ chose)

    def met(numbers: Int64) -> Tensor:
        return torch.from_numpy(np.log1p((chose[numbers] @ together).toarray()))

    return met


def best(
    scorer: Scorer,
    users: Int64,
    n_users: int,
    n_items: int,
    n: int,
    left_out: Sequences | None = None,
    progress: Progress = silent,
    what: str = "ranking candidates",
) -> Pools:
    """The best-scored items of users; those of other users are empty.

    Args:
        scorer: Scores.
        users: Numbers of the users who get a pool, int64 [m].
        n_users: U.
        n_items: V.
        n: Size of a pool; smaller where the catalogue has no more.
        left_out: Items that are in no pool of their user; None = none.
        progress: Told how many users are done.
        what: Is being done.
    """
    items = np.zeros((n_users, n), dtype=np.int32)
    scores = np.full((n_users, n), -np.inf)
    chunk = max(1, min(_USERS_AT_ONCE, MEMORY // (_BYTES_PER_SCORE * (n_items + 1))))
    most = min(n, n_items)
    everyone = np.arange(n_users, dtype=np.int32)
    seen = None if left_out is None else Histories.whole(left_out, everyone)
    for begin in range(0, len(users), chunk):
        progress(what, begin, len(users))
        some = users[begin : begin + chunk]
        with torch.inference_mode():
            found = scorer(some)
            found[:, PADDING] = float("-inf")
            if seen is not None:
                places, met = seen.cells(some)
                found[
                    torch.from_numpy(places).to(found.device), torch.from_numpy(met).long().to(found.device)
                ] = -torch.inf
            values, chosen = (part.cpu().numpy() for part in found.topk(most, dim=1))
        items[some, :most] = np.where(np.isfinite(values), chosen, PADDING)
        scores[some, :most] = values
    return Pools(items, scores)


def generated(backbone: Backbone, sequences: Sequences, users: Int64, n: int, progress: Progress = silent) -> Int32:
    """What a reversed recommender writes before histories, one item after the other: greedy, nothing twice (ASReP).

    Args:
        backbone: Trained on reversed sequences.
        sequences: The histories, in the order of time.
        users: Numbers of the users who get items, int64 [m].
        n: Items per user.
        progress: Told the steps.

    Returns:
        int32 [U, n]; column 0 stands next to the user's first item; 0 = none.
    """
    pseudo = np.zeros((len(sequences), n), dtype=np.int32)
    for step in range(n):
        longer = with_prefix(sequences, pseudo)
        scorer = by_backbone(backbone, reversed_in_time(longer))
        pools = best(
            scorer, users, len(sequences), backbone.n_items, 1, longer, progress, f"writing earlier item {step + 1}/{n}"
        )
        pseudo[:, step] = pools.items[:, 0]
    return pseudo
