"""Full ranking: where in the whole catalogue does a recommender put the held-out target?"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor

from seqmend.errors import SeqMendError
from seqmend.interactions import PADDING, Sequences, Targets
from seqmend.recommenders import Backbone, left_padded

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

METRICS = ("hr@1", "hr@5", "hr@10", "hr@20", "ndcg@5", "ndcg@10", "ndcg@20", "mrr")
GROUP_CUTS = (5, 20)

_CHUNK_SCORES = 1 << 24  # scores held at once: 64 MB
_CHUNK_HISTORIES = 256


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


def rank_targets(model: Backbone, histories: Histories, targets: Int32, seen: Histories) -> Int64:
    """Rank of every target among the whole catalogue, the user's seen items left out.

    The target itself is always ranked, even where it was seen before. An item with the target's score counts as better.

    Arms are only comparable when they leave out the same items: `histories` may be mended, `seen` should be what the
    user really met, and the same for every arm.

    Args:
        model: Left in the mode (training or evaluation) that it was in.
        histories: What the model is shown of each user; its last `model.max_length` interactions are used.
        targets: int32 [M], item numbers 1..V.
        seen: Whose items are left out, in the order of `histories`.

    Returns:
        int64 [M], 1 = best.

    Raises:
        SeqMendError: A score is not a number.
    """
    if not len(histories) == len(targets) == len(seen):
        raise ValueError("histories, targets and seen must be of one length")
    device = next(model.parameters()).device
    chunk = min(_CHUNK_HISTORIES, max(1, _CHUNK_SCORES // (model.n_items + 1)))
    shown = np.minimum(histories.ends, model.max_length)
    order = np.argsort(shown, kind="stable")  # histories of like length together: little padding
    ranks = np.empty(len(targets), dtype=np.int64)
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(order), chunk):
            numbers = order[start : start + chunk]
            items = histories.windows(numbers, max(1, int(shown[numbers].max())))
            users = torch.from_numpy(histories.users[numbers].astype(np.int64)).to(device)
            scores = model.scores(model(torch.from_numpy(items).to(device), users)[:, -1]).float()
            ranks[numbers] = _ranks(scores, targets[numbers], seen, numbers)
    model.train(was_training)
    return ranks


def rank_scores(scores: npt.NDArray[np.float32], targets: Int32, seen: Histories) -> Int64:
    """Rank of every target by scores that were made elsewhere, under the rules of `rank_targets`.

    Args:
        scores: float32 [M, V + 1], may be memory-mapped; minus infinity for an item that its maker does not know, which
            makes such a target the last of the catalogue. Column 0 is ignored.
        targets: int32 [M], item numbers 1..V.
        seen: Whose items are left out, in the order of the scores.

    Returns:
        int64 [M], 1 = best.

    Raises:
        SeqMendError: A score is not a number.
    """
    if not len(scores) == len(targets) == len(seen):
        raise ValueError("scores, targets and seen must be of one length")
    chunk = min(_CHUNK_HISTORIES, max(1, _CHUNK_SCORES // scores.shape[1]))
    ranks = np.empty(len(targets), dtype=np.int64)
    for start in range(0, len(targets), chunk):
        numbers = np.arange(start, min(start + chunk, len(targets)))
        copied = torch.from_numpy(np.array(scores[start : start + chunk]))
        ranks[numbers] = _ranks(copied, targets[numbers], seen, numbers)
    return ranks


def _ranks(scores: Tensor, targets: Int32, seen: Histories, numbers: Int64) -> Int64:
    """Ranks of the targets of the given histories.

    Args:
        scores: float32 [m, V + 1]; overwritten.
        targets: int32 [m].
        seen: All histories whose items are left out.
        numbers: int64 [m], which of them belong to the scores.
    """
    if scores[:, 1:].isnan().any():
        raise SeqMendError("the model's scores are not numbers, so nothing can be ranked", fix="lower learning_rate")
    target = torch.from_numpy(targets.astype(np.int64)).to(scores.device)[:, None]
    target_scores = scores.gather(1, target)
    places, met = (torch.from_numpy(cell.astype(np.int64)).to(scores.device) for cell in seen.cells(numbers))
    scores[:, PADDING] = float("nan")  # not a number is neither above nor equal to any score
    scores[places, met] = float("nan")
    scores.scatter_(1, target, target_scores)
    return (scores >= target_scores).sum(1).cpu().numpy()


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
