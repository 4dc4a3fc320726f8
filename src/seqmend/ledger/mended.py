"""Sequences as a ledger's edits make them, and back again."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from seqmend.errors import InputError
from seqmend.interactions import PADDING, Sequences, Targets, View
from seqmend.ledger.edits import COLUMNS, known_items, standing_at, user_numbers

if TYPE_CHECKING:
    from seqmend.ledger.ledger import Ledger


@dataclass(frozen=True, eq=False)
class Mended:
    """Sequences with a ledger's history-scope edits carried out.

    Attributes:
        sequences: The mended data; item 0 where an interaction is masked.
        weights: Loss weight of every interaction where it is a target, float32 [N].
        origins: Position of every interaction in the original sequence, int64 [N]; negative for prepended items.
        instance_edits: The accepted instance-scope edits of the view, for the rows to carry out.
    """

    sequences: Sequences
    weights: npt.NDArray[np.float32]
    origins: npt.NDArray[np.int64]
    instance_edits: pl.DataFrame

    @classmethod
    def of(cls, sequences: Sequences) -> "Mended":
        """Sequences that nothing was done to."""
        n = sequences.n_interactions
        return cls(sequences, np.ones(n, dtype=np.float32), sequences.positions, pl.DataFrame(schema=COLUMNS))

    def then(self, ledger: "Ledger", view: View = "train") -> "Mended":
        """Carry out the accepted edits of a further ledger, which was proposed for what the ones before made.

        Origins, and the places of edits for single instances, stay positions in the sequences that all began with.
        Loss weights are multiplied. The result's `data_id` tells which ledgers made it, and is one for all views.

        Raises:
            InputError: See `Ledger.apply`.
        """
        before, after = self.sequences, ledger.apply(self.sequences, view)
        users, is_old = after.sequences.users, after.origins >= 0
        rows = np.where(is_old, before.offsets[users] + after.origins, 0)
        firsts = np.zeros(len(before), dtype=np.int64)  # the lowest place taken so far: what comes before goes below
        np.minimum.at(firsts, before.users, self.origins)
        origins, weights = firsts[users] + after.origins, after.weights.copy()
        origins[is_old] = self.origins[rows[is_old]]
        weights[is_old] *= self.weights[rows[is_old]]
        starts = before.offsets[user_numbers(after.instance_edits["user_id"], before)]
        edits = after.instance_edits.with_columns(
            pl.Series(name, self.origins[starts + after.instance_edits[name].to_numpy()], dtype=pl.Int64)
            for name in ("position", "target_position")
        )
        sequences = replace(after.sequences, source=ledger.result_id)
        return Mended(sequences, weights, origins, pl.concat([self.instance_edits, edits]))

    def lengths_before(self, targets: Targets) -> npt.NDArray[np.int64]:
        """How many mended interactions of its user precede each target, int64 [M]."""
        span = int(np.abs(self.origins).max(initial=0) + targets.positions.max(initial=0) + 1)
        places = self.sequences.users * np.int64(2 * span) + self.origins
        ends = np.searchsorted(places, targets.users * np.int64(2 * span) + targets.positions)
        return ends - self.sequences.offsets[targets.users]

    def to_frame(self) -> pl.DataFrame:
        """One row per interaction, with its original `position` and its loss `weight`; masked ones have no item."""
        frame = self.sequences.to_frame().with_columns(
            pl.Series("position", self.origins), pl.Series("weight", self.weights)
        )
        return frame.with_columns(pl.when(pl.col("item_id") != "").then(pl.col("item_id")))


def carry_out(chosen: pl.DataFrame, sequences: Sequences) -> Mended:
    """The sequences with the accepted edits of one view carried out.

    Raises:
        InputError: An edit lies outside the sequences, or names another item than they hold.
    """
    histories = chosen.filter(pl.col("scope") == "history")
    standing = standing_at(histories, sequences)
    if (standing["item_id"] != histories["item_before"]).any():  # null (prepended) compares as null
        raise InputError("an edit names another item than the data hold", fix="apply the ledger to its own data")
    inserted = histories.filter(pl.col("kind") == "prepend").sort("user_id", "position")
    items, weights = sequences.items.copy(), np.ones(sequences.n_interactions, dtype=np.float32)
    keep = np.ones(sequences.n_interactions, dtype=bool)
    rows = standing["row"].to_numpy()
    for kind in ("replace", "delete", "mask", "reweight"):
        here = (histories["kind"] == kind).to_numpy()
        at, edits = rows[here], histories.filter(here)
        if kind == "replace":
            items[at] = known_items(edits["item_after"], sequences.catalogue)
        elif kind == "delete":
            keep[at] = False
        elif kind == "mask":
            items[at] = PADDING
        else:
            weights[at] = edits["weight"].to_numpy()
    users = user_numbers(inserted["user_id"], sequences)
    if len(inserted) and (sequences.lengths[users] == 0).any():
        raise InputError("an item is prepended to an empty sequence")
    firsts = sequences.timestamps[sequences.offsets[users]]
    return Mended(
        *_assemble(
            sequences,
            np.concatenate([sequences.users[keep], users]),
            np.concatenate([sequences.positions[keep], inserted["position"].to_numpy()]),
            np.concatenate([items[keep], known_items(inserted["item_after"], sequences.catalogue)]),
            np.concatenate([sequences.timestamps[keep], firsts]),
            np.concatenate([weights[keep], inserted["weight"].fill_null(1.0).to_numpy()]),
        ),
        instance_edits=chosen.filter(pl.col("scope") == "instance"),
    )


def take_back(edits: pl.DataFrame, mended: Mended, data_id: str) -> Sequences:
    """The sequences that the accepted history-scope edits of one view were carried out on.

    Raises:
        InputError: The edits did not make these sequences.
    """
    sequences, real = mended.sequences, mended.origins >= 0
    deleted = edits.filter(pl.col("kind") == "delete")
    changed = edits.filter(pl.col("kind").is_in(["replace", "mask"]))
    items = sequences.items.copy()
    row_of = {
        (user, position): row
        for row, (user, position) in enumerate(zip(sequences.users.tolist(), mended.origins.tolist(), strict=True))
    }
    places = zip(user_numbers(changed["user_id"], sequences).tolist(), changed["position"].to_list(), strict=True)
    try:
        rows = np.array([row_of[place] for place in places], dtype=np.int64)
    except KeyError as error:
        raise InputError("the mended data lack an edited position", fix="undo with the ledger applied") from error
    after = sequences.catalogue.index_of(changed["item_after"].fill_null("").to_list())
    if (items[rows] != after).any():
        raise InputError("the mended data hold other items than the ledger put there")
    items[rows] = known_items(changed["item_before"], sequences.catalogue)
    restored, _, _ = _assemble(
        sequences,
        np.concatenate([sequences.users[real], user_numbers(deleted["user_id"], sequences)]),
        np.concatenate([mended.origins[real], deleted["position"].to_numpy()]),
        np.concatenate([items[real], known_items(deleted["item_before"], sequences.catalogue)]),
        np.concatenate([sequences.timestamps[real], deleted["timestamp"].to_numpy()]),
        np.ones(int(real.sum()) + len(deleted), dtype=np.float32),
    )
    if restored.fingerprint == data_id:
        return restored
    return Sequences(
        restored.user_ids, restored.offsets, restored.items, restored.timestamps, restored.catalogue, data_id
    )


def _assemble(
    like: Sequences,
    users: npt.NDArray[np.integer],
    origins: npt.NDArray[np.int64],
    items: npt.NDArray[np.int32],
    timestamps: npt.NDArray[np.float64 | np.int64],
    weights: npt.NDArray[np.float32],
) -> tuple[Sequences, npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    order = np.lexsort((origins, users))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=len(like)))]).astype(np.int64)
    times = timestamps[order].astype(like.timestamps.dtype)
    sequences = Sequences(like.user_ids, offsets, items[order].astype(np.int32), times, like.catalogue)
    return sequences, weights[order].astype(np.float32), origins[order].astype(np.int64)
