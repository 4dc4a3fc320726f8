"""Reading a log: interactions and items in, sequences, quarantine and summary out."""

from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from seqmend.errors import InputError
from seqmend.interactions.columns import BY_ALIAS, ColumnNames
from seqmend.interactions.delimited import DELIMITERS
from seqmend.interactions.formats import open_table
from seqmend.interactions.items import ItemList, catalogue_of, read_items
from seqmend.interactions.log import Log, summarise
from seqmend.interactions.ordering import order_by_user_and_time, renumber, repeats
from seqmend.interactions.raw import RawLog, read_raw
from seqmend.interactions.sequences import Int64, Sequences
from seqmend.interactions.times import FILE_ORDER, to_seconds
from seqmend.progress import Progress, silent


def read_log(
    interactions: Path,
    items: Path | None = None,
    *,
    columns: ColumnNames = BY_ALIAS,
    delimiter: str | None = None,
    encoding: str | None = None,
    order: Literal["time", "file"] = "time",
    keep_repeats: bool = False,
    progress: Progress = silent,
) -> Log:
    """Read, check and number a log, and put every user's interactions in the order of time.

    Users and items are numbered in the order of their ids, so that the same rows in another order give the same
    sequences; interactions of one user at the same time keep the order of the file.

    Args:
        interactions: Delimited text, RecBole `.inter`, JSON lines or Parquet (see `formats.FORMATS`).
        items: Ids and titles, in any of these; None = titles come from a title column of the interactions, if any.
        columns: Names of columns that no alias matches.
        delimiter: Of delimited interactions; None = detected. That of the items is detected.
        encoding: Of delimited text; None = detected.
        order: "file" = the rows are in the order of time, and a time column is not looked at.
        keep_repeats: Keep exact repeats of user, item and time; by default the first row of each stays.
        progress: Told the stages.

    Raises:
        InputError: A file, a column or an option is unusable, or no row is left.
    """
    listing = None
    if items is not None:
        progress("reading items", 0, 0)
        listing = read_items(
            items, columns=columns, delimiter=None if delimiter in DELIMITERS else delimiter, encoding=encoding
        )
    progress("reading interactions", 0, 0)
    raw = read_raw(open_table(interactions, delimiter, encoding), columns, order, wants_titles=listing is None)
    if listing is not None:
        is_unknown = listing.catalogue.index_of(raw.item_ids.to_list()) == 0
        has_id = raw.items >= 0
        raw.reasons.set_aside(has_id & is_unknown[raw.items], "item not in the item file", raw.columns["item_id"])
    n_rows = len(raw.users)
    progress("ordering interactions", 0, n_rows)
    rows = _rows_in_order(raw, keep_repeats)
    if not len(rows):
        counts = ", ".join(f"{reason}: {count}" for reason, count in raw.reasons.counts().items())
        raise InputError(
            f"no interaction is left: all {n_rows} rows are set aside ({counts})",
            where=str(interactions),
            fix="see that the columns hold what their names say, and that both files use the same item ids",
        )
    sequences = _sequences(raw, rows, listing)
    progress("ordering interactions", n_rows, n_rows)
    quarantine = raw.reasons.quarantine()
    if listing is not None:
        quarantine = pl.concat([quarantine, listing.quarantine])
    return Log(sequences, quarantine, summarise(sequences, raw, listing, quarantine))


def _rows_in_order(raw: RawLog, keep_repeats: bool) -> Int64:
    """Kept rows by user, time and row; repeats are set aside here."""
    rows = np.flatnonzero(raw.reasons.kept)
    rows = rows[order_by_user_and_time(raw.users[rows], raw.ticks[rows])]
    if keep_repeats:
        return rows
    is_repeat = repeats(raw.users[rows], raw.items[rows], raw.ticks[rows])
    if not is_repeat.any():
        return rows
    repeated = np.zeros(len(raw.users), dtype=bool)
    repeated[rows[is_repeat]] = True
    raw.reasons.set_aside(repeated, "repeat", raw.columns["item_id"])
    return rows[~is_repeat]


def _sequences(raw: RawLog, rows: Int64, listing: ItemList | None) -> Sequences:
    """Sequences of the given rows, which are sorted; users and unlisted items without a row are left out."""
    used_users, users = renumber(raw.users[rows], len(raw.user_ids))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(users))]).astype(np.int64)
    if listing is not None:
        catalogue = listing.catalogue
        items = catalogue.index_of(raw.item_ids.to_list())[raw.items[rows]]
    else:
        used_items, places = renumber(raw.items[rows], len(raw.item_ids))
        catalogue = catalogue_of(raw.item_ids.gather(used_items), raw.titles.gather(used_items))
        items = places + np.int32(1)
    if raw.time_unit == FILE_ORDER:
        timestamps = np.arange(len(rows), dtype=np.int64) - np.repeat(offsets[:-1], np.diff(offsets))
    else:
        timestamps = to_seconds(raw.ticks[rows], raw.time_unit)
    return Sequences(raw.user_ids.gather(used_users).alias("user_id"), offsets, items, timestamps, catalogue)
