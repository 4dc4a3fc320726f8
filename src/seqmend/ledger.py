"""The ledger: every edit of a run, with its confidence, its reason and its status.

A ledger belongs to the data that it was proposed for (`data_id`). Applying it gives mended sequences; undoing it gives
the original ones back, exactly.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.parquet as pq

from seqmend.errors import InputError
from seqmend.files import write_atomic
from seqmend.interactions import PADDING, Catalogue, Sequences, Targets, View

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
_PLACE = ["user_id", "view", "target_position", "position"]
_METADATA_KEY = b"seqmend_data_id"


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
        starts = before.offsets[_numbers(after.instance_edits["user_id"], before)]
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


@dataclass(frozen=True, eq=False)
class Ledger:
    """All edits proposed for one data set.

    Attributes:
        edits: One row per edit, columns and types as in `COLUMNS`.
        data_id: Fingerprint of the full data that positions refer to.
    """

    edits: pl.DataFrame
    data_id: str

    def __len__(self) -> int:
        return len(self.edits)

    @property
    def result_id(self) -> str:
        """What tells the data that the accepted edits make of the ledger's own: the `data_id` of the next ledger."""
        accepted = self.edits.filter(pl.col("status") == "accepted")["edit_id"].sort().to_list()
        return hashlib.sha256(json.dumps([self.data_id, accepted]).encode()).hexdigest()

    @classmethod
    def propose(cls, edits: pl.DataFrame, data: Sequences, mender: str) -> "Ledger":
        """A ledger of fresh proposals.

        Args:
            edits: At least `user_id, view, position, kind`; anything absent is filled in: history scope, a group of its
                own for every edit, status "proposed", the item and time that stand at the position now.
            data: The sequences that the edits were proposed for, or a leading part of them.
            mender: Name of the proposer.

        Raises:
            InputError: A value is not allowed, a confidence lies outside [0, 1], or an edit points outside the data.
        """
        defaults = {"scope": "history", "status": "proposed", "mender": mender, "evidence": "{}", "reason": ""}
        edits = edits.with_columns(
            **{name: pl.lit(value) for name, value in defaults.items() if name not in edits.columns},
        ).with_columns(
            **{name: pl.lit(None, dtype) for name, dtype in COLUMNS.items() if name not in {*edits.columns, *defaults}},
        )
        standing = _standing(edits, data)
        edits = edits.with_columns(
            item_before=pl.coalesce("item_before", standing["item_id"]), timestamp=standing["timestamp"]
        )
        ids = [_digest(row) for row in edits.select("mender", *_PLACE, "kind", "item_before", "item_after").rows()]
        edits = edits.with_columns(edit_id=pl.Series(ids, dtype=pl.String)).with_columns(
            group_id=pl.coalesce("group_id", "edit_id")
        )
        edits = edits.select(pl.col(name).cast(dtype) for name, dtype in COLUMNS.items())
        _validate(edits)
        return cls(edits, data.data_id)

    # ------------------------------------------------------------------------------------------------ choosing edits

    def filter(
        self,
        *,
        threshold: float | None = None,
        max_edits: int | None = None,
        mender: str | None = None,
        view: View | None = None,
        status: str | None = None,
    ) -> "Ledger":
        """The groups of edits that pass every given condition; a group passes whole or not at all.

        Args:
            threshold: Least confidence of every edit of the group, in [0, 1]; an edit without one never passes.
            max_edits: Most edits per user and view, the surest groups first; a group that no longer fits is left out.
            mender: Name of the mender.
            view: Use of the sequence that is edited.
            status: "proposed", "accepted" or "rejected".
        """
        keep = pl.lit(True)
        if threshold is not None:
            keep &= (pl.col("confidence").fill_null(-1.0).min() >= threshold).over("group_id")
        for column, value in (("mender", mender), ("view", view), ("status", status)):
            if value is not None:
                keep &= (pl.col(column) == value).all().over("group_id")
        edits = self.edits.filter(keep)
        if max_edits is not None:
            edits = edits.join(_surest_groups(edits, max_edits), on="group_id", how="semi")
        return Ledger(edits, self.data_id)

    def accept(
        self,
        threshold: float = 0.0,
        max_edits: int | None = None,
        reviewer: str = "threshold",
        decided_at: str | None = None,
    ) -> "Ledger":
        """Decide every proposed edit: those that pass `filter` are accepted, the others are rejected.

        Where several proposals stand at one position, the surest passing group is accepted.

        Args:
            threshold: Least confidence, in [0, 1].
            max_edits: Most edits per user and view.
            reviewer: Who or what decides.
            decided_at: ISO time of the decision; now where absent.
        """
        passing = self.filter(status="proposed", threshold=threshold).edits
        best = _group_order(passing).unique(_PLACE, keep="first", maintain_order=True)
        whole = passing.join(best, on="edit_id", how="anti").select("group_id").unique()
        passing = passing.join(whole, on="group_id", how="anti")
        if max_edits is not None:
            passing = passing.join(_surest_groups(passing, max_edits), on="group_id", how="semi")
        decided_at = decided_at or datetime.now(UTC).isoformat(timespec="seconds")
        accepted = pl.col("group_id").is_in(passing["group_id"].unique().to_list())
        proposed = pl.col("status") == "proposed"
        edits = self.edits.with_columns(
            status=pl.when(proposed)
            .then(pl.when(accepted).then(pl.lit("accepted")).otherwise(pl.lit("rejected")))
            .otherwise("status"),
            reviewer=pl.when(proposed).then(pl.lit(reviewer)).otherwise("reviewer"),
            decided_at=pl.when(proposed).then(pl.lit(decided_at)).otherwise("decided_at"),
        )
        _validate(edits)
        return Ledger(edits, self.data_id)

    def merge(self, other: "Ledger", precedence: Sequence[str] | None = None) -> "Ledger":
        """Both ledgers' edits in one.

        Two ledgers conflict where both accept an edit at one place, or decide one edit differently.

        Args:
            other: A ledger proposed for the same data.
            precedence: Mender names, the strongest first: in a conflict the weaker mender's whole group is rejected.
                One edit that was decided differently keeps this ledger's decision.

        Raises:
            InputError: Other data, or a conflict that `precedence` does not settle.
        """
        _same_data(self.data_id, other.data_id)
        strength = {name: rank for rank, name in enumerate(precedence or ())}
        shared = self.edits.join(other.edits, on="edit_id", suffix="_other").filter(
            pl.col("status") != pl.col("status_other")
        )
        if len(shared) and precedence is None:
            raise _conflict(shared)
        ours, theirs = self.edits, other.edits.join(self.edits, on="edit_id", how="anti")
        clash = (
            ours.filter(pl.col("status") == "accepted")
            .join(theirs.filter(pl.col("status") == "accepted"), on=_PLACE, suffix="_other", nulls_equal=True)
            .select(*_PLACE, "mender", "mender_other", "group_id", "group_id_other")
        )
        if len(clash):
            if precedence is None or not set(clash["mender"]) | set(clash["mender_other"]) <= set(strength):
                raise _conflict(clash)
            rank, rank_other = (
                clash[name].replace_strict(strength, return_dtype=pl.Int64) for name in ("mender", "mender_other")
            )
            losers = pl.concat(
                [
                    clash.filter(rank > rank_other)["group_id"],
                    clash.filter(rank <= rank_other)["group_id_other"].rename("group_id"),
                ]
            ).unique()
            ours, theirs = (_reject(edits, losers, "merge") for edits in (ours, theirs))
        edits = pl.concat([ours, theirs])
        _validate(edits)
        return Ledger(edits, self.data_id)

    def diff(self, other: "Ledger") -> pl.DataFrame:
        """How `other` differs: `edit_id, change` (added | removed | changed), then both statuses and confidences."""
        _same_data(self.data_id, other.data_id)
        columns = ["edit_id", "status", "confidence"]
        both = self.edits.select(columns).join(
            other.edits.select(columns), on="edit_id", how="full", suffix="_other", coalesce=True
        )
        change = (
            pl.when(pl.col("status").is_null())
            .then(pl.lit("added"))
            .when(pl.col("status_other").is_null())
            .then(pl.lit("removed"))
            .when(
                pl.col("status").ne_missing(pl.col("status_other"))
                | pl.col("confidence").ne_missing(pl.col("confidence_other"))
            )
            .then(pl.lit("changed"))
        )
        return both.with_columns(change=change).drop_nulls("change").sort("edit_id")

    # --------------------------------------------------------------------------------------------- carrying edits out

    def apply(self, sequences: Sequences, view: View = "train") -> Mended:
        """Carry out the accepted edits of one view.

        Args:
            sequences: The data that the ledger was proposed for, or the leading part of it that the view may use.
            view: Which use of the sequences to mend.

        Raises:
            InputError: Other data, or an edit that lies outside the given part (a held-out target, say).
        """
        _same_data(self.data_id, sequences.data_id)
        chosen = self.edits.filter((pl.col("status") == "accepted") & (pl.col("view") == view))
        histories = chosen.filter(pl.col("scope") == "history")
        standing = _standing(histories, sequences)
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
                items[at] = _known(edits["item_after"], sequences.catalogue)
            elif kind == "delete":
                keep[at] = False
            elif kind == "mask":
                items[at] = PADDING
            else:
                weights[at] = edits["weight"].to_numpy()
        users = _numbers(inserted["user_id"], sequences)
        if len(inserted) and (sequences.lengths[users] == 0).any():
            raise InputError("an item is prepended to an empty sequence")
        firsts = sequences.timestamps[sequences.offsets[users]]
        return Mended(
            *_assemble(
                sequences,
                np.concatenate([sequences.users[keep], users]),
                np.concatenate([sequences.positions[keep], inserted["position"].to_numpy()]),
                np.concatenate([items[keep], _known(inserted["item_after"], sequences.catalogue)]),
                np.concatenate([sequences.timestamps[keep], firsts]),
                np.concatenate([weights[keep], inserted["weight"].fill_null(1.0).to_numpy()]),
            ),
            instance_edits=chosen.filter(pl.col("scope") == "instance"),
        )

    def undo(self, mended: Mended, view: View = "train") -> Sequences:
        """The original sequences, exactly, from what `apply` made of them.

        Raises:
            InputError: The sequences were not made by this ledger.
        """
        edits = self.edits.filter(
            (pl.col("status") == "accepted") & (pl.col("view") == view) & (pl.col("scope") == "history")
        )
        sequences, real = mended.sequences, mended.origins >= 0
        deleted = edits.filter(pl.col("kind") == "delete")
        changed = edits.filter(pl.col("kind").is_in(["replace", "mask"]))
        items = sequences.items.copy()
        row_of = {
            (user, position): row
            for row, (user, position) in enumerate(zip(sequences.users.tolist(), mended.origins.tolist(), strict=True))
        }
        places = zip(_numbers(changed["user_id"], sequences).tolist(), changed["position"].to_list(), strict=True)
        try:
            rows = np.array([row_of[place] for place in places], dtype=np.int64)
        except KeyError as error:
            raise InputError("the mended data lack an edited position", fix="undo with the ledger applied") from error
        after = sequences.catalogue.index_of(changed["item_after"].fill_null("").to_list())
        if (items[rows] != after).any():
            raise InputError("the mended data hold other items than the ledger put there")
        items[rows] = _known(changed["item_before"], sequences.catalogue)
        restored, _, _ = _assemble(
            sequences,
            np.concatenate([sequences.users[real], _numbers(deleted["user_id"], sequences)]),
            np.concatenate([mended.origins[real], deleted["position"].to_numpy()]),
            np.concatenate([items[real], _known(deleted["item_before"], sequences.catalogue)]),
            np.concatenate([sequences.timestamps[real], deleted["timestamp"].to_numpy()]),
            np.ones(int(real.sum()) + len(deleted), dtype=np.float32),
        )
        if restored.fingerprint == self.data_id:
            return restored
        return Sequences(
            restored.user_ids, restored.offsets, restored.items, restored.timestamps, restored.catalogue, self.data_id
        )

    # --------------------------------------------------------------------------------------------------------- files

    def write(self, path: Path) -> None:
        """Write the ledger as Parquet, atomically, with `data_id` in the file's metadata."""
        table = self.edits.to_arrow()
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), _METADATA_KEY: self.data_id.encode()})
        with write_atomic(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")

    @classmethod
    def read(cls, path: Path) -> "Ledger":
        """Read a ledger.

        Raises:
            InputError: No such file, or not a ledger.
        """
        try:
            table = pq.read_table(path)
        except FileNotFoundError:
            raise InputError("there is no such ledger", where=str(path), fix="check the name and the folder") from None
        except (OSError, ValueError) as error:
            raise InputError("cannot read the ledger", where=str(path), expected="a Parquet file") from error
        data_id = (table.schema.metadata or {}).get(_METADATA_KEY)
        missing = [name for name in COLUMNS if name not in table.column_names]
        if data_id is None or missing:
            raise InputError(
                "this file is not a ledger",
                where=str(path),
                expected=f"columns {', '.join(missing)}" if missing else None,
            )
        edits = pl.DataFrame(table).select(pl.col(name).cast(dtype) for name, dtype in COLUMNS.items())
        _validate(edits)
        return cls(edits, data_id.decode())


def _digest(values: tuple[object, ...]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]


def _validate(edits: pl.DataFrame) -> None:
    for column, allowed in _ALLOWED.items():
        odd = edits.filter(~pl.col(column).is_in(allowed) | pl.col(column).is_null())
        if len(odd):
            raise InputError(f"{column} {odd[column][0]!r} is not known", expected=", ".join(allowed))
    if not edits["confidence"].drop_nulls().is_between(0.0, 1.0).all():
        raise InputError("a confidence lies outside [0, 1]")
    if edits["edit_id"].is_duplicated().any():
        raise InputError("one edit is listed twice")
    if edits.filter(pl.col("status") == "accepted").select(_PLACE).is_duplicated().any():
        raise InputError("two accepted edits stand at one position")
    if edits.group_by("group_id").agg(pl.col("status").n_unique())["status"].gt(1).any():
        raise InputError("edits of one group have different statuses")


def _standing(edits: pl.DataFrame, data: Sequences) -> pl.DataFrame:
    """Row, item and time that stand at every edit's position; nulls for prepended items."""
    users = _numbers(edits["user_id"], data)
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


def _numbers(user_ids: pl.Series, data: Sequences) -> npt.NDArray[np.int64]:
    numbers = {user: number for number, user in enumerate(data.user_ids.to_list())}
    try:
        return np.array([numbers[user] for user in user_ids.to_list()], dtype=np.int64)
    except KeyError as error:
        raise InputError(f"an edit names user {error.args[0]!r}, whom the data lack") from None


def _known(item_ids: pl.Series, catalogue: Catalogue) -> npt.NDArray[np.int32]:
    items = catalogue.index_of(item_ids.fill_null("").to_list())
    if (items == PADDING).any():
        raise InputError("an edit names an item that the catalogue lacks")
    return items


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


def _group_order(edits: pl.DataFrame) -> pl.DataFrame:
    """Edits with the surest groups first (a group is as sure as its least sure edit), ties by group id."""
    return edits.with_columns(sureness=pl.col("confidence").fill_null(-1.0).min().over("group_id")).sort(
        "sureness", "group_id", descending=[True, False], maintain_order=True
    )


def _surest_groups(edits: pl.DataFrame, max_edits: int) -> pl.DataFrame:
    """Group ids that fit when every user and view takes its surest groups while they fit."""
    taken: dict[tuple[str, str], int] = {}
    kept: list[str] = []
    groups = _group_order(edits).group_by("group_id", maintain_order=True).agg("user_id", "view")
    for group_id, users, views in groups.iter_rows():
        need: dict[tuple[str, str], int] = {}
        for place in zip(users, views, strict=True):
            need[place] = need.get(place, 0) + 1
        if all(taken.get(place, 0) + count <= max_edits for place, count in need.items()):
            kept.append(group_id)
            for place, count in need.items():
                taken[place] = taken.get(place, 0) + count
    return pl.DataFrame({"group_id": pl.Series(kept, dtype=pl.String)})


def _reject(edits: pl.DataFrame, groups: pl.Series, reviewer: str) -> pl.DataFrame:
    lost = pl.col("group_id").is_in(groups.to_list())
    return edits.with_columns(
        status=pl.when(lost).then(pl.lit("rejected")).otherwise("status"),
        reviewer=pl.when(lost).then(pl.lit(reviewer)).otherwise("reviewer"),
    )


def _same_data(expected: str, found: str) -> None:
    if expected != found:
        raise InputError(
            "the ledger was proposed for other data",
            where=f"data {found[:12]}",
            expected=f"data {expected[:12]}",
            fix="apply it to the log that it was made from",
        )


def _conflict(clash: pl.DataFrame) -> InputError:
    first = clash.row(0, named=True)
    return InputError(
        f"{len(clash)} edits of the two ledgers conflict",
        where=f"user {first['user_id']}, position {first['position']}",
        fix="name a precedence of menders, or decide the edits by hand",
    )
