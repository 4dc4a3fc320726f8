"""Uncertain instances: those that the recommender cannot judge, and the targets that it would rather see there."""

from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from torch import Tensor

from seqmend.errors import InputError
from seqmend.interactions import PADDING, Sequences
from seqmend.menders.correct.config import Signal
from seqmend.recommenders import Backbone, Reliability, Rows, rows_from_sequences
from seqmend.recommenders.reliability import dropout_variance, per_row, rank_percentile, rank_share

Bool = npt.NDArray[np.bool_]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

_BLOCK = 1 << 16
_ROUNDING = 9  # decimals of q * R, which must not round 0.07 * 100 up to 8


def co_occurrence(sequences: Sequences) -> sp.csr_matrix:
    """cooc(i, j): users in whose sequence both items stand, int32 [V + 1, V + 1] in sparse form."""
    real = sequences.items != PADDING
    size = (len(sequences), len(sequences.catalogue) + 1)
    chose = sp.csr_matrix((real[real].astype(np.int32), (sequences.users[real], sequences.items[real])), shape=size)
    chose.data[:] = 1  # however often
    return sp.csr_matrix(chose.T @ chose)


def pair_counts(pairs: sp.csr_matrix, inputs: Int32, targets: Int32) -> Int64:
    """cooc of every input with its target, int64 [R, L]; 0 at padding.

    Args:
        pairs: From `co_occurrence`.
        inputs: int32 [R, L].
        targets: int32 [R].
    """
    found = np.zeros(inputs.shape, dtype=np.int64)
    for begin in range(0, len(inputs), _BLOCK):
        rows = slice(begin, begin + _BLOCK)
        columns = np.broadcast_to(targets[rows, None], inputs[rows].shape)
        values: Any = pairs[inputs[rows].ravel(), columns.ravel()]
        found[rows] = np.asarray(values).reshape(columns.shape)
    return np.where(inputs == PADDING, 0, found)


def uncertainty(
    signal: Signal,
    backbone: Backbone,
    rows: Rows,
    closest: Int64,
    reliability: Reliability | None = None,
    seed: int = 0,
) -> Float64:
    """How little the recommender knows of every instance, float64 [R] in [0, 1]; high = uncertain.

    "native": the backbone's own measure, that of its method where it is a robust one, or what was observed while it
    learned, where `reliability` is given. "reliability": the least reliable by that measure. "deviation": of the
    target's rank over epochs, which needs `reliability` from `TrainingDynamics`. "rank": 1 - the target's rank
    percentile. "dropout": the variance of the target's score under dropout, as a rank. "co-occurrence" (the rarest
    first) and "random" ask no recommender: they are controls.

    A plain backbone is over-confident of the instances that it has learned: give it what was observed in training, or
    one that was trained without them.

    Args:
        signal: Which measure.
        backbone: A trained recommender.
        rows: The instances, as long as the backbone reads.
        closest: mco of every instance, int64 [R].
        reliability: Of the same instances in the same order, from elsewhere.
        seed: Of what is random in the measure.

    Raises:
        InputError: The reliability is of other instances, or lacks what the signal is made of.
    """
    if reliability is not None and len(reliability.reliability) != len(rows):
        raise InputError(
            f"the reliability is of {len(reliability.reliability)} instances",
            expected=f"of the {len(rows)} instances of the sequences",
        )
    match signal:
        case "native":
            values = (reliability or backbone.reliability(rows)).uncertainty
        case "reliability":
            values = 1 - (reliability or backbone.reliability(rows)).reliability
        case "deviation":
            if reliability is None or "deviation" not in reliability.signals:
                raise InputError(
                    "nothing tells how the ranks changed from epoch to epoch", fix="observe the training that makes it"
                )
            values = 2 * reliability.signals["deviation"]  # of values in [0, 1] at most 1/2
        case "rank":
            values = 1 - rank_percentile(backbone, rows)
        case "dropout":
            values = rank_share(dropout_variance(backbone, rows, seed=seed))
        case "co-occurrence":
            values = 1 / (1 + closest)
        case "random":
            values = np.random.default_rng(seed).random(len(rows))
    return np.clip(values.astype(np.float64), 0.0, 1.0)


def select(uncertainty: Float64, closest: Int64, row_id: Int64, share: float, allowed: Bool) -> Int64:
    """Numbers of the ceil(q R) most uncertain instances, the most uncertain first; ties by smaller mco, then by id.

    Args:
        uncertainty: float64 [R].
        closest: mco of every instance, int64 [R].
        row_id: int64 [R].
        share: q in [0, 1].
        allowed: Instances that can be asked about, bool [R]; the others are passed over.
    """
    order = np.lexsort((row_id, closest, -uncertainty))
    return order[allowed[order]][: ceil(round(share * len(row_id), _ROUNDING))]


def candidates(backbone: Backbone, sequences: Sequences, row_id: Int64, max_length: int, n: int) -> Int32:
    """The items that the recommender ranks highest as targets of instances, int32 [R, n], the best first.

    Never an input, the target itself, padding or an item without a title. Items that the user chose later are not left
    out: that would tell which they are. 0 where the catalogue has no more.

    Args:
        backbone: A trained recommender.
        sequences: The sequences of the instances.
        row_id: Numbers of their target interactions, int64 [R].
        max_length: L, inputs of an instance.
        n: Candidates per instance.
    """
    if not n or not len(row_id):
        return np.zeros((len(row_id), n), dtype=np.int32)
    rows = rows_from_sequences(sequences, max(max_length, backbone.max_length), "instance")
    numbers = np.searchsorted(rows.row_id, row_id)
    untitled = np.flatnonzero(~sequences.catalogue.has_title)
    n_found = min(n, backbone.n_items)

    def best(items: Tensor, users: Tensor, targets: Tensor) -> dict[str, Tensor]:
        scores = backbone.scores(backbone(items[:, -backbone.max_length :], users)[:, -1]).float()
        scores[:, untitled] = float("-inf")
        scores.scatter_(1, items[:, -max_length:].long(), float("-inf"))
        scores.scatter_(1, targets[:, None], float("-inf"))
        values, found = scores.topk(n_found, dim=1)
        # Numbers of items are exact in the float32 of `per_row` up to 16 million.
        return {str(place): found[:, place] * values[:, place].isfinite() for place in range(n_found)}

    found = per_row(backbone, rows.select(numbers), best)
    columns = [found[str(place)].astype(np.int32) for place in range(n_found)]
    columns += [np.zeros(len(row_id), dtype=np.int32)] * (n - n_found)
    return np.stack(columns, axis=1)
