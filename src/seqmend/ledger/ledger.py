"""The ledger: every edit of a run, with its confidence, its reason and its status.

A ledger belongs to the data that it was proposed for (`data_id`). Applying it gives mended sequences; undoing it gives
the original ones back, exactly.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from seqmend.errors import InputError
from seqmend.files import write_atomic
from seqmend.interactions import Sequences, View
from seqmend.ledger.edits import COLUMNS, PLACE, digest, group_order, reject, standing_at, surest_groups, validate
from seqmend.ledger.mended import Mended, carry_out, take_back

_METADATA_KEY = b"seqmend_data_id"


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
        standing = standing_at(edits, data)
        edits = edits.with_columns(
            item_before=pl.coalesce("item_before", standing["item_id"]), timestamp=standing["timestamp"]
        )
        ids = [digest(row) for row in edits.select("mender", *PLACE, "kind", "item_before", "item_after").rows()]
        edits = edits.with_columns(edit_id=pl.Series(ids, dtype=pl.String)).with_columns(
            group_id=pl.coalesce("group_id", "edit_id")
        )
        edits = edits.select(pl.col(name).cast(dtype) for name, dtype in COLUMNS.items())
        validate(edits)
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
            edits = edits.join(surest_groups(edits, max_edits), on="group_id", how="semi")
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
            threshold: Least confidence, in [0, 1]; only 0 accepts edits without a confidence, too.
            max_edits: Most edits per user and view.
            reviewer: Who or what decides.
            decided_at: ISO time of the decision; now where absent.
        """
        passing = self.filter(status="proposed", threshold=threshold or None).edits
        best = group_order(passing).unique(PLACE, keep="first", maintain_order=True)
        whole = passing.join(best, on="edit_id", how="anti").select("group_id").unique()
        passing = passing.join(whole, on="group_id", how="anti")
        if max_edits is not None:
            passing = passing.join(surest_groups(passing, max_edits), on="group_id", how="semi")
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
        validate(edits)
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
            .join(theirs.filter(pl.col("status") == "accepted"), on=PLACE, suffix="_other", nulls_equal=True)
            .select(*PLACE, "mender", "mender_other", "group_id", "group_id_other")
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
            ours, theirs = (reject(edits, losers, "merge") for edits in (ours, theirs))
        edits = pl.concat([ours, theirs])
        validate(edits)
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
        return carry_out(self._accepted(view), sequences)

    def undo(self, mended: Mended, view: View = "train") -> Sequences:
        """The original sequences, exactly, from what `apply` made of them.

        Raises:
            InputError: The sequences were not made by this ledger.
        """
        return take_back(self._accepted(view).filter(pl.col("scope") == "history"), mended, self.data_id)

    def _accepted(self, view: View) -> pl.DataFrame:
        return self.edits.filter((pl.col("status") == "accepted") & (pl.col("view") == view))

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
        validate(edits)
        return cls(edits, data_id.decode())


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
