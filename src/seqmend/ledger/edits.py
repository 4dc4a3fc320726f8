"""Rows of edits: their columns, what makes them valid, where they stand, and which of them are surest."""

import hashlib
import json

import numpy as np
import numpy.typing as npt
import polars as pl

from seqmend.errors import InputError
from seqmend.interactions import PADDING, Catalogue, Sequences

COLUMNS: dict[str, type[pl.DataType]] = {
    "edit_id": pl.String,
    "group_id": pl.String,
    "user_id": pl.String,
    "view": pl.String,
    "position": pl.Int64,
    "scope": pl.String,
    "target_position": pl.Int64,
    "kind": pl.String,
    "item_before": pl.String,
    "item_after": pl.String,
    "confidence": pl.Float64,
    "weight": pl.Float64,
    "mender": pl.String,
    "status": pl.String,
    "reviewer": pl.String,
    "decided_at": pl.String,
    "reason": pl.String,
    "evidence": pl.String,
    "timestamp": pl.Float64,  # of the interaction before the edit: what an exact undo of a deletion needs
}
_ALLOWED = {
    "view": ("train", "valid", "test"),
    "scope": ("history", "instance"),
    "kind": ("replace", "delete", "mask", "reweight", "prepend", "retarget", "drop_input", "drop_instance"),
    "status": ("proposed", "accepted", "rejected"),
}
PLACE = ["user_id", "view", "target_position", "position"]
"""Two accepted edits never share a place."""

IS_CHANGE = pl.col("kind") != "reweight"
"""Edits that leave another sequence behind: the others only make a target count less."""


def digest(values: tuple[object, ...]) -> str:
    """Name of an edit: 16 hexadecimal digits of what it is made of."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]


def validate(edits: pl.DataFrame) -> None:
    """Refuse edits that no ledger may hold.

    Raises:
        InputError: A value that is not known, a confidence outside [0, 1], an edit listed twice, two accepted edits at
            one position, or a group that is decided in part.
    """
    for column, allowed in _ALLOWED.items():
        odd = edits.filter(~pl.col(column).is_in(allowed) | pl.col(column).is_null())
        if len(odd):
            raise InputError(f"{column} {odd[column][0]!r} is not known", expected=", ".join(allowed))
    if not edits["confidence"].drop_nulls().is_between(0.0, 1.0).all():
        raise InputError("a confidence lies outside [0, 1]")
    if edits["edit_id"].is_duplicated().any():
        raise InputError("one edit is listed twice")
    if edits.filter(pl.col("status") == "accepted").select(PLACE).is_duplicated().any():
        raise InputError("two accepted edits stand at one position")
    if edits.group_by("group_id").agg(pl.col("status").n_unique())["status"].gt(1).any():
        raise InputError("edits of one group have different statuses")


def standing_at(edits: pl.DataFrame, data: Sequences) -> pl.DataFrame:
    """Row, item and time that stand at every edit's position; nulls for prepended items."""
    users = user_numbers(edits["user_id"], data)
    positions = edits["position"].cast(pl.Int64).to_numpy()
    prepended = (edits["kind"] == "prepend").to_numpy()
    if ((positions >= data.lengths[users]) & ~prepended).any() or ((positions < 0) != prepended).any():
        raise InputError(
            "an edit points outside the sequence that may be edited", fix="edit only what the view may use"
        )
    rows = data.offsets[users] + np.maximum(positions, 0)
    real = pl.Series(~prepended)
    safe = np.where(prepended, 0, rows)
    if not len(edits) or not data.n_interactions:
        safe = safe[:0]
    frame = pl.DataFrame(
        {
            "row": pl.Series(rows, dtype=pl.Int64),
            "item_id": data.catalogue.item_ids.gather(data.items[safe]),
            "timestamp": pl.Series(data.timestamps[safe]).cast(pl.Float64),
        }
    )
    return frame.with_columns(pl.when(real).then(pl.col("item_id", "timestamp")))


def user_numbers(user_ids: pl.Series, data: Sequences) -> npt.NDArray[np.int64]:
    """Number of every named user, int64 [E].

    Raises:
        InputError: The data lack a user.
    """
    numbers = {user: number for number, user in enumerate(data.user_ids.to_list())}
    try:
        return np.array([numbers[user] for user in user_ids.to_list()], dtype=np.int64)
    except KeyError as error:
        raise InputError(f"an edit names user {error.args[0]!r}, whom the data lack") from None


def known_items(item_ids: pl.Series, catalogue: Catalogue) -> npt.NDArray[np.int32]:
    """Number of every named item, int32 [E].

    Raises:
        InputError: The catalogue lacks an item.
    """
    items = catalogue.index_of(item_ids.fill_null("").to_list())
    if (items == PADDING).any():
        raise InputError("an edit names an item that the catalogue lacks")
    return items


def group_order(edits: pl.DataFrame) -> pl.DataFrame:
    """Edits with the surest groups first (a group is as sure as its least sure edit), ties by group id."""
    return edits.with_columns(sureness=pl.col("confidence").fill_null(-1.0).min().over("group_id")).sort(
        "sureness", "group_id", descending=[True, False], maintain_order=True
    )


def surest_groups(edits: pl.DataFrame, max_edits: int) -> pl.DataFrame:
    """Group ids that fit when every user and view takes its surest groups while they fit."""
    taken: dict[tuple[str, str], int] = {}
    kept: list[str] = []
    groups = group_order(edits).group_by("group_id", maintain_order=True).agg("user_id", "view")
    for group_id, users, views in groups.iter_rows():
        need: dict[tuple[str, str], int] = {}
        for place in zip(users, views, strict=True):
            need[place] = need.get(place, 0) + 1
        if all(taken.get(place, 0) + count <= max_edits for place, count in need.items()):
            kept.append(group_id)
            for place, count in need.items():
                taken[place] = taken.get(place, 0) + count
    return pl.DataFrame({"group_id": pl.Series(kept, dtype=pl.String)})


def reject(edits: pl.DataFrame, groups: pl.Series, reviewer: str) -> pl.DataFrame:
    """Whole groups rejected."""
    lost = pl.col("group_id").is_in(groups.to_list())
    return edits.with_columns(
        status=pl.when(lost).then(pl.lit("rejected")).otherwise("status"),
        reviewer=pl.when(lost).then(pl.lit(reviewer)).otherwise("reviewer"),
    )
