"""Full ranking: where in the whole catalogue does a recommender put the held-out target?"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from seqmend.errors import SeqMendError
from seqmend.interactions import PADDING, Sequences, Targets
from seqmend.recommenders import Backbone, left_padded

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

METRICS = ("hr@1", "hr@5", "hr@10", "hr@20", "ndcg@5", "ndcg@10", "ndcg@20", "mrr")
GROUP_CUTS = (5, 20)

MEMORY = 1 << 26
"""Bytes that scores may take at once, unless told otherwise."""

_BYTES_PER_SCORE = 8  # the score itself and what comparing it takes
_CHUNK_HISTORIES = 256
_CHUNK_RANKED = 256
_LEAST_BLOCK = 1024
_CACHED_SCORES = 1 << 20
_SHARD = 1 << 16  # targets whose states are held at once


@dataclass(frozen=True, eq=False)
class Histories:
    """One history per held-out target: the first `ends[m]` interactions of user `users[m]`.

    Attributes:
        sequences: Where the interactions are.
        users: int32 [M].
        ends: int64 [M].
    """

    sequences: Sequences
    users: Int32
    ends: Int64

    @classmethod
    def before(cls, sequences: Sequences, targets: Targets) -> Self:
        """What precedes each target."""
        return cls(sequences, targets.users, targets.positions)

    @classmethod
    def whole(cls, sequences: Sequences, users: Int32) -> Self:
        """All that the sequences hold of the given users: for sequences that were cut before the targets."""
        return cls(sequences, users, sequences.lengths[users])

    def __len__(self) -> int:
        """Number of histories M."""
        return len(self.users)

    def windows(self, numbers: Int64, max_length: int) -> Int32:
        """The last `max_length` items of the given histories, int32 [m, max_length], padded on the left."""
        starts = self.sequences.offsets[self.users[numbers]]
        return left_padded(self.sequences.items, starts, starts + self.ends[numbers], max_length)

    def cells(self, numbers: Int64) -> tuple[Int64, Int32]:
        """Every item of the given histories, as places in `numbers` and item numbers."""
        lengths = self.ends[numbers]
        places = np.repeat(np.arange(len(numbers)), lengths)
        within = np.arange(len(places)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        starts = self.sequences.offsets[self.users[numbers]]
        return places, self.sequences.items[starts[places] + within]

    def cut(self) -> Sequences:
        """The histories as sequences of their own, in order; their user ids are the numbers 0..M-1 as text."""
        offsets = np.concatenate([[0], np.cumsum(self.ends)]).astype(np.int64)
        starts = self.sequences.offsets[self.users]
        index = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], self.ends)
        return Sequences(
            pl.Series("user_id", np.arange(len(self)).astype(str), dtype=pl.String),
            offsets,
            self.sequences.items[index],
            self.sequences.timestamps[index],
            self.sequences.catalogue,
        )


def rank_targets(model: Backbone, histories: Histories, targets: Int32, seen: Histories, memory: int = MEMORY) -> Int64:
    """Rank of every target among the whole catalogue, the user's seen items left out.

    The target itself is always ranked, even where it was seen before. An item with the target's score counts as better.

    Arms are only comparable when they leave out the same items: `histories` may be mended, `seen` should be what the
    user really met, and the same for every arm.

    Args:
        model: Left in the mode (training or evaluation) that it was in.
        histories: What the model is shown of each user; its last `model.max_length` interactions are used.
        targets: int32 [M], item numbers 1..V.
        seen: Whose items are left out, in the order of `histories`.
        memory: Bytes that scores may take at once. A catalogue that is too large is scored in parts.

    Returns:
        int64 [M], 1 = best.

    Raises:
        SeqMendError: A score is not a number.
    """
    if not len(histories) == len(targets) == len(seen):
        raise ValueError("histories, targets and seen must be of one length")
    ranks = np.empty(len(targets), dtype=np.int64)
    for numbers, states in states_of(model, histories, order_by=targets):
        ranks[numbers] = _ranks_of(model, states, targets[numbers], seen, numbers, memory)
    return ranks


def rank_scores(scores: npt.NDArray[np.float32], targets: Int32, seen: Histories) -> Int64:
    """Ranks from scores that another program computed, by the rules of `rank_targets`.

    Args:
        scores: float32 [M, V + 1], may be mapped from a file; column 0 is not read.
        targets: int32 [M], item numbers 1..V.
        seen: Whose items are left out, in the order of the scores.

    Raises:
        SeqMendError: A score is not a number.
    """
    chunk = max(1, MEMORY // (_BYTES_PER_SCORE * scores.shape[1]))
    ranks = np.empty(len(targets), dtype=np.int64)
    for start in range(0, len(targets), chunk):
        numbers = np.arange(start, min(start + chunk, len(targets)))
        part = _checked(torch.from_numpy(np.array(scores[numbers], dtype=np.float32)))
        target = torch.from_numpy(targets[numbers].astype(np.int64))[:, None]
        ranks[numbers] = 1 + _count_better(part, part.gather(1, target), target, *seen.cells(numbers), 0).numpy()
    return ranks


def states_of(model: Backbone, histories: Histories, order_by: Int32) -> Generator[tuple[Int64, torch.Tensor]]:
    """Numbers of some targets and their states, float [m, d]; neighbours by `order_by` come together."""
    device = next(model.parameters()).device
    shown = np.minimum(histories.ends, model.max_length)
    in_order = np.argsort(order_by, kind="stable")
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for shard in range(0, len(in_order), _SHARD):
            numbers = in_order[shard : shard + _SHARD]
            by_length = np.argsort(shown[numbers], kind="stable")  # histories of like length together: little padding
            states = torch.empty(0)
            for start in range(0, len(numbers), _CHUNK_HISTORIES):
                at = by_length[start : start + _CHUNK_HISTORIES]
                some = numbers[at]
                items = torch.from_numpy(histories.windows(some, max(1, int(shown[some].max()))))
                users = torch.from_numpy(histories.users[some].astype(np.int64))
                last = model(items.to(device), users.to(device))[:, -1]
                if not len(states):
                    states = last.new_empty(len(numbers), last.shape[1])
                states[torch.from_numpy(at).to(device)] = last  # kept by itself, a view would hold all columns
            yield numbers, states
    model.train(was_training)


def _ranks_of(
    model: Backbone, states: torch.Tensor, targets: Int32, seen: Histories, numbers: Int64, memory: int
) -> Int64:
    """Ranks of the targets that the states predict; `numbers` are their places in `seen`."""
    n_columns, device = model.n_items + 1, states.device
    most = memory // _BYTES_PER_SCORE
    if device.type == "cpu" and most < _CHUNK_RANKED * n_columns:
        most = min(most, _CACHED_SCORES)  # parts that stay in the cache are ranked three times as fast
    block = min(n_columns, max(_LEAST_BLOCK, most // _CHUNK_RANKED))
    chunk = min(_CHUNK_RANKED, max(1, most // block))
    is_whole = block == n_columns
    table = None if is_whole else model.output_table().float()
    if table is not None:
        _checked(table[1:], None)
    _checked(states, None)

    def scores_from(first: int, rows: torch.Tensor) -> torch.Tensor:
        if table is None:
            return _checked(model.scores(rows).float())
        return rows.float() @ table[first : first + block].T

    ranks = np.empty(len(targets), dtype=np.int64)
    for start in range(0, len(targets), chunk):
        part = slice(start, start + chunk)
        rows = states[part]
        target = torch.from_numpy(targets[part].astype(np.int64)).to(device)[:, None]
        places, met = seen.cells(numbers[part])
        if is_whole:
            scores = scores_from(0, rows)
            ranks[part] = 1 + _count_better(scores, scores.gather(1, target), target, places, met, 0).cpu().numpy()
            continue
        # Targets are in the order of items, so few parts of the catalogue hold those of one chunk.
        target_scores = torch.empty(len(rows), 1, device=device)
        for first in np.unique(targets[part] // block * block).tolist():
            is_here = (target >= first) & (target < first + block)
            inside = (target - first).clamp(0, min(block, n_columns - first) - 1)
            target_scores = torch.where(is_here, scores_from(first, rows).gather(1, inside), target_scores)
        better = torch.zeros(len(rows), dtype=torch.int64, device=device)
        in_order = np.argsort(met, kind="stable")
        places, met = places[in_order], met[in_order]
        for first in range(0, n_columns, block):
            here = slice(*np.searchsorted(met, [first, first + block]))
            scores = scores_from(first, rows)
            better += _count_better(scores, target_scores, target, places[here], met[here], first)
        ranks[part] = 1 + better.cpu().numpy()
    return ranks


def _checked(values: torch.Tensor, padding: int | None = PADDING) -> torch.Tensor:
    """The values, float [m, n], none of which is not a number; what stands in the column of padding does not matter."""
    if (values if padding is None else values[:, padding + 1 :]).isnan().any():
        raise SeqMendError("the model's scores are not numbers, so nothing can be ranked", fix="lower learning_rate")
    return values


def _count_better(
    scores: torch.Tensor, target_scores: torch.Tensor, target: torch.Tensor, places: Int64, met: Int32, first: int
) -> torch.Tensor:
    """How many items of a part of the catalogue, from item number `first` on, are not below each target; int64 [m].

    Args:
        scores: float [m, block]; overwritten.
        target_scores: float [m, 1].
        target: int64 [m, 1].
        places: int64 [s], rows of the seen items of this part.
        met: int32 [s], their item numbers.
        first: See above.
    """
    device = scores.device
    nothing = float("nan")  # not a number is neither above nor equal to any score
    if first == 0:
        scores[:, PADDING] = nothing
    scores[torch.from_numpy(places).to(device), torch.from_numpy(met.astype(np.int64) - first).to(device)] = nothing
    here = ((target >= first) & (target < first + scores.shape[1])).nonzero()[:, 0]
    scores[here, target[here, 0] - first] = nothing
    return (scores >= target_scores).sum(1)


def metric_values(ranks: Int64, metric: str) -> Float64:
    """A metric of every target by itself, float64 [M]: 1 / rank, or what a rank is worth within the first k.

    Args:
        ranks: int64 [M], 1 = best.
        metric: One of `METRICS`.

    >>> metric_values(np.array([1, 3, 11]), "ndcg@10").tolist()
    [1.0, 0.5, 0.0]
    """
    if metric == "mrr":
        return 1 / ranks
    kind, _, cutoff = metric.partition("@")
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric}")
    worth = np.ones(len(ranks)) if kind == "hr" else 1 / np.log2(ranks + 1.0)
    return np.where(ranks <= int(cutoff), worth, 0.0)


def ranking_metrics(ranks: Int64) -> dict[str, float]:
    """Means of all `METRICS` over targets, and their number `n`.

    With one target per history HR@k equals recall@k, and the ideal DCG is 1.

    Args:
        ranks: int64 [M], 1 = best, M > 0.
    """
    if not len(ranks):
        raise ValueError("no ranks")
    return {metric: float(metric_values(ranks, metric).mean()) for metric in METRICS} | {"n": len(ranks)}


def length_groups(lengths: Int64, cuts: tuple[int, int] = GROUP_CUTS) -> dict[str, Bool]:
    """Which targets have a short, medium or long history.

    Args:
        lengths: int64 [M], interactions in each history as the log has it, mended or not.
        cuts: Longest short and longest medium history. By default 5 and 20 (as DiffuASR, CIKM 2023).

    >>> {name: mask.tolist() for name, mask in length_groups(np.array([5, 6, 21])).items()}
    {'short': [True, False, False], 'medium': [False, True, False], 'long': [False, False, True]}
    """
    return {
        "short": lengths <= cuts[0],
        "medium": (lengths > cuts[0]) & (lengths <= cuts[1]),
        "long": lengths > cuts[1],
    }


def metrics_by_group(ranks: Int64, lengths: Int64, cuts: tuple[int, int] = GROUP_CUTS) -> dict[str, dict[str, float]]:
    """`ranking_metrics` of every length group that has targets; see `length_groups`."""
    groups = length_groups(lengths, cuts)
    return {name: ranking_metrics(ranks[mask]) for name, mask in groups.items() if mask.any()}
