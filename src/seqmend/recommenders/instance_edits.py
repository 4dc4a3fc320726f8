"""Instance-scope edits of a ledger, carried out on rows: one target's history changes, and no other's."""

import dataclasses

import numpy as np

from seqmend.errors import InputError
from seqmend.interactions import PADDING
from seqmend.ledger import Mended
from seqmend.recommenders.rows import Bool, Int64, Rows

_OF_TARGET = ("retarget", "drop_instance")
_OF_INPUT = ("replace", "mask", "drop_input")


def with_instance_edits(rows: Rows, mended: Mended) -> Rows:
    """The rows of mended sequences, with those edits that are for a single target.

    An input that is dropped leaves no gap: what was before it moves up, and the row is padded on the left. A masked one
    keeps its place. A row that edits leave without inputs goes, as one does whose instance is dropped; loss weights of
    the others stay as they are. An edit of an input that lies outside its row, which is as long as the backbone reads,
    changes nothing, and neither does one whose input or target a history-scope edit has deleted.

    Args:
        rows: Made of `mended.sequences` by `rows_from_sequences`.
        mended: What a ledger made of the training part: its history-scope edits are carried out already.

    Raises:
        InputError: The rows are not in instance form, or an edit is of a kind that rows do not know.
    """
    edits = mended.instance_edits
    if not len(edits) or not len(rows):
        return rows
    if rows.form != "instance":
        raise InputError("edits for single instances need a row for every target", fix='set form = "instance"')
    if odd := set(edits["kind"].to_list()) - {*_OF_TARGET, *_OF_INPUT}:
        expected = ", ".join((*_OF_INPUT, *_OF_TARGET))
        raise InputError(f"rows cannot carry out {odd.pop()!r} for a single instance", expected=expected)
    sequences = mended.sequences
    numbers = {user: number for number, user in enumerate(sequences.user_ids.to_list())}
    users = np.array([numbers[user] for user in edits["user_id"].to_list()], dtype=np.int64)
    inputs, targets = (_interactions(mended, users, edits[name].to_numpy()) for name in ("position", "target_position"))
    at = np.minimum(np.searchsorted(rows.row_id, targets), len(rows) - 1)  # row ids ascend
    after = sequences.catalogue.index_of(edits["item_after"].fill_null("").to_list())
    kinds = edits["kind"].to_numpy()
    columns = rows.max_length - (targets - inputs)
    there = (rows.row_id[at] == targets) & (np.isin(kinds, _OF_TARGET) | ((inputs >= 0) & (columns >= 0)))

    items, goals = rows.items.copy(), rows.targets.copy()
    for kind, value in (("replace", after), ("mask", np.full_like(after, PADDING))):
        here = there & (kinds == kind)
        items[at[here], columns[here]] = value[here]
    here = there & (kinds == "retarget")
    goals[at[here], -1] = after[here]
    edited = dataclasses.replace(rows, items=items, targets=goals)
    here = there & (kinds == "drop_input")
    edited = _without(edited, at[here], columns[here])
    stays = np.ones(len(rows), dtype=bool)
    stays[at[there]] = (edited.items[at[there]] != PADDING).any(axis=1)
    stays[at[there & (kinds == "drop_instance")]] = False
    return edited if stays.all() else edited.select(stays)


def _without(rows: Rows, numbers: Int64, columns: Int64) -> Rows:
    """Rows whose named cells are gone: what stood before them moves to the right, padding comes in on the left."""
    if not len(numbers):
        return rows
    gone: Bool = np.zeros(rows.items.shape, dtype=bool)
    gone[numbers, columns] = True
    changed = np.unique(numbers)
    order = np.argsort(~gone[changed], axis=1, kind="stable")  # those that go first, the others in their order
    items, is_pseudo = rows.items.copy(), rows.is_pseudo.copy()
    items[changed] = np.take_along_axis(np.where(gone, PADDING, items)[changed], order, axis=1)
    is_pseudo[changed] = np.take_along_axis((is_pseudo & ~gone)[changed], order, axis=1)
    return dataclasses.replace(rows, items=items, is_pseudo=is_pseudo)


def _interactions(mended: Mended, users: Int64, positions: Int64) -> Int64:
    """Numbers of the mended interactions that came from these original positions; -1 where one is deleted."""
    span = int(np.abs(mended.origins).max(initial=0) + positions.max(initial=0) + 1)
    places = mended.sequences.users * np.int64(2 * span) + mended.origins
    wanted = users * np.int64(2 * span) + positions
    found = np.minimum(np.searchsorted(places, wanted), len(places) - 1)
    return np.where(places[found] == wanted, found, -1)
