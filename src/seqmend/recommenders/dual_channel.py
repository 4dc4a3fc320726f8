"""Dual-channel training: a sequence with pseudo items before it, and the sequence itself, in one step (LLMSeR)."""

from dataclasses import dataclass, fields, replace
from typing import Literal, Self

import numpy as np

from seqmend.errors import InputError
from seqmend.interactions import PADDING, Sequences
from seqmend.ledger import Mended
from seqmend.recommenders.rows import Bool, Float32, Form, Int64, Rows, left_padded, rows_from_sequences

AUGMENTED = 1
"""The channel of rows with pseudo items; 0 is the log itself."""

MeanOver = Literal["users", "targets"]


@dataclass(frozen=True, eq=False)
class Channels:
    """A second form of every user's training sequence, and how much it counts.

    Attributes:
        augmented: The sequences with items prepended to those of some users.
        weights: w, float32 [U] in [0, 1]: a user's loss on the augmented sequence counts w, that on the original 1 - w.
        pseudo_targets: Whether pseudo items are predicted too (as the official code does), not only read.
        mean_over: "users": every sequence counts alike, its loss being the mean over its targets. "targets": every
            target counts alike, so that long sequences count more.
    """

    augmented: Sequences
    weights: Float32
    pseudo_targets: bool = False
    mean_over: MeanOver = "users"

    @classmethod
    def of(cls, mended: Mended, *, pseudo_targets: bool = False, mean_over: MeanOver = "users") -> Self:
        """The channels of a ledger of prepended items: a user's w is the weight of its edits, 0 where it has none.

        Raises:
            InputError: The items prepended for one user have different weights.
        """
        users, is_pseudo = mended.sequences.users, mended.origins < 0
        weights = np.zeros(len(mended.sequences), dtype=np.float32)
        weights[users[is_pseudo]] = mended.weights[is_pseudo]
        if odd := np.flatnonzero(is_pseudo & (weights[users] != mended.weights)).tolist():
            name = mended.sequences.user_ids[int(users[odd[0]])]
            raise InputError("the items prepended for one user have different weights", where=f"user {name}")
        return cls(mended.sequences, weights, pseudo_targets, mean_over)


def dual_channel_rows(
    original: Sequences,
    channels: Channels,
    max_length: int,
    form: Form = "sequence",
    interaction_weights: Float32 | None = None,
) -> Rows:
    """Rows of both channels: L = mean over users of w l(A + S) + (1 - w) l(S) (LLMSeR, dual-channel training).

    Windows of both channels are cut from their end, so that a real item is as far from it in either; the pseudo items
    are in the earliest window. Windows that end alike are a `pair`. A row without loss is left out: with w = 0 for
    every user the rows are those of the original sequences, with w = 1 those of the augmented ones.

    With pseudo items as context only, a user's first real item, which nothing precedes in the original channel, is a
    target of the augmented one. All items of a user's rows, pseudo items too, are no negatives for this user.

    Deviation from the official code: it weights the sum over positions (SASRec) or a batch's mean by the vector of w
    (GRU4Rec, BERT4Rec), so that w has no effect on the single user there.

    Args:
        original: Training sequences.
        channels: Their other form.
        max_length: Columns L of a row, > 0. Where a sequence and its pseudo items are longer, the pseudo items are in a
            row with the earliest items alone, or in none.
        form: See `Rows`.
        interaction_weights: float32 [N], loss weight of every original interaction where it is a target; all 1 by
            default.

    Raises:
        ValueError: The augmented sequences do not end with the original ones, or a weight is not in [0, 1].
    """
    is_pseudo = _pseudo_items(original, channels.augmented)
    w = channels.weights
    if len(w) != len(original) or not ((w >= 0) & (w <= 1)).all():
        raise ValueError("weights must be in [0, 1], and one per user")
    real = np.ones(original.n_interactions, np.float32) if interaction_weights is None else interaction_weights
    weights = np.ones(len(is_pseudo), dtype=np.float32)
    weights[~is_pseudo] = real

    plain = rows_from_sequences(original, max_length, form, real)
    other = rows_from_sequences(channels.augmented, max_length, form, weights)
    starts = channels.augmented.offsets[other.user]
    targets = other.targets
    if not channels.pseudo_targets:  # a column's target is the interaction after its input
        targets = targets * ~left_padded(is_pseudo, starts, other.row_id + 1, max_length)
    other = replace(
        other,
        row_id=other.row_id + original.n_interactions,
        channel=np.full(len(other), AUGMENTED, dtype=np.int8),
        targets=targets,
        weights=other.weights * (targets != PADDING),
        is_pseudo=left_padded(is_pseudo, starts, other.row_id, max_length),
        pair=_pairs(plain, other),
    )
    plain = replace(plain, pair=np.arange(len(plain), dtype=np.int64))
    if channels.mean_over == "users":
        n_targets = _targets_of_users(plain)
        mean = n_targets.sum() / max((n_targets > 0).sum(), 1)  # so that weights are 1 on average, whatever w is
        plain, other = (_averaged(rows, mean) for rows in (plain, other))
    both = _joined(_weighted(plain, 1 - w), _weighted(other, w))
    both = both.select(both.has_loss)
    pairs, sizes = np.unique(both.pair, return_counts=True)
    return replace(both, pair=np.where(np.isin(both.pair, pairs[sizes > 1]), both.pair, -1))


def _pseudo_items(original: Sequences, augmented: Sequences) -> Bool:
    """Which of the augmented interactions are prepended, bool [N']; the others are the original ones."""
    if len(original) != len(augmented) or (augmented.lengths < original.lengths).any():
        raise ValueError("the augmented sequences are not those of the same users with items prepended")
    is_pseudo = augmented.positions < np.repeat(augmented.lengths - original.lengths, augmented.lengths)
    if not np.array_equal(augmented.items[~is_pseudo], original.items):
        raise ValueError("the augmented sequences do not end with the original ones")
    return is_pseudo


def _pairs(plain: Rows, other: Rows) -> Int64:
    """Number of the plain row that ends as each augmented one does, int64; the user's first row where none does."""
    firsts, ends = (np.searchsorted(plain.user, other.user, side) for side in ("left", "right"))
    rows_after = np.searchsorted(other.user, other.user, "right") - 1 - np.arange(len(other))
    alone = len(plain) + other.user.astype(np.int64)  # of a user without a target in the original channel
    return np.where(ends > firsts, np.maximum(ends - 1 - rows_after, firsts), alone)


def _targets_of_users(rows: Rows) -> Int64:
    return np.bincount(rows.user, weights=(rows.targets != PADDING).sum(axis=1)).astype(np.int64)


def _averaged(rows: Rows, mean: float) -> Rows:
    """Rows whose targets share their user's weight, which is `mean`."""
    shares = (mean / np.maximum(_targets_of_users(rows), 1)).astype(np.float32)
    return _weighted(rows, shares)


def _weighted(rows: Rows, of_users: Float32) -> Rows:
    return replace(rows, weights=rows.weights * of_users[rows.user][:, None])


def _joined(one: Rows, other: Rows) -> Rows:
    arrays = (field.name for field in fields(Rows) if field.name != "form")
    return replace(one, **{name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in arrays})
