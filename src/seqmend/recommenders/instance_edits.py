"""Instance-scope edits of a ledger, carried out on rows: one target's history changes, and no other's."""

import dataclasses

import numpy as np

from seqmend.errors import InputError
from seqmend.interactions import PADDING
from seqmend.ledger import Mended
from seqmend.recommenders.rows import Int64, Rows

_KINDS = ("replace", "mask", "retarget")


def with_instance_edits(rows: Rows, mended: Mended) -> Rows:
    """The rows of mended sequences, with those edits that are for a single target.

    An edit of an input that lies outside its row, which is as long as the backbone reads, changes nothing.

    Args:
        rows: Made of `mended.sequences` by `rows_from_sequences`.
        mended: What a ledger made of the training part: its history-scope edits are carried out already.

    Raises:
        InputError: The rows are not in instance form, or an edit is of a kind that rows do not know.
    """
    edits = mended.instance_edits
    if not len(edits):
        return rows
    if rows.form != "instance":
        raise InputError("edits for single instances need a row for every target", fix='set form = "instance"')
    if odd := set(edits["kind"].to_list()) - set(_KINDS):
        raise InputError(f"rows cannot carry out {odd.pop()!r} for a single instance", expected=", ".join(_KINDS))
    sequences = mended.sequences
    numbers = {user: number for number, user in enumerate(sequences.user_ids.to_list())}
    users = np.array([numbers[user] for user in edits["user_id"].to_list()], dtype=np.int64)
    inputs, targets = (_interactions(mended, users, edits[name].to_numpy()) for name in ("position", "target_position"))
    at = np.minimum(np.searchsorted(rows.row_id, targets), len(rows) - 1)  # row ids ascend
    after = sequences.catalogue.index_of(edits["item_after"].fill_null("").to_list())
    is_target = (edits["kind"] == "retarget").to_numpy()
    columns = rows.max_length - (targets - inputs)
    there = (rows.row_id[at] == targets) & (is_target | (columns >= 0))
    items, goals = rows.items.copy(), rows.targets.copy()
    first = there & ~is_target
    items[at[first], columns[first]] = np.where(edits["kind"].to_numpy()[first] == "mask", PADDING, after[first])
    goals[at[there & is_target], -1] = after[there & is_target]
    return dataclasses.replace(rows, items=items, targets=goals)


def _interactions(mended: Mended, users: Int64, positions: Int64) -> Int64:
    """Numbers of the mended interactions that came from these original positions."""
    span = int(np.abs(mended.origins).max(initial=0) + positions.max(initial=0) + 1)
    places = mended.sequences.users * np.int64(2 * span) + mended.origins
    return np.searchsorted(places, users * np.int64(2 * span) + positions)
