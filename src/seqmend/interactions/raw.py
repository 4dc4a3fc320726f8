"""The rows of an interactions file as numbers, with the unusable ones set aside."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from seqmend.errors import InputError
from seqmend.interactions.columns import ColumnNames, find_column, require_column
from seqmend.interactions.ids import id_text, number_ids
from seqmend.interactions.quarantine import RowReasons
from seqmend.interactions.sequences import Int32
from seqmend.interactions.table import Table
from seqmend.interactions.times import DATES, FILE_ORDER, Ticks, TimeColumn, is_in_range, reread, time_column, unit_of


@dataclass(frozen=True)
class RawLog:
    """The N rows of an interactions file.

    Attributes:
        table: The file.
        columns: Column of the file for every role.
        reasons: Which rows are set aside so far, and why.
        user_ids: Distinct user ids in order.
        users: int32 [N], places in `user_ids`; -1 where the id is missing.
        item_ids: Distinct item ids in order.
        items: int32 [N], places in `item_ids`; -1 where the id is missing.
        titles: First title of every item of `item_ids`, where the file has titles; else all null.
        ticks: Times [N] in `time_unit`; arbitrary where set aside.
        time_unit: See `LogSummary`.
    """

    table: Table
    columns: dict[str, str]
    reasons: RowReasons
    user_ids: pl.Series
    users: Int32
    item_ids: pl.Series
    items: Int32
    titles: pl.Series
    ticks: Ticks
    time_unit: str


def read_raw(table: Table, names: ColumnNames, order: Literal["time", "file"], wants_titles: bool) -> RawLog:
    """Read the columns of a log in one pass.

    Args:
        table: The interactions file.
        names: The user's names of its columns.
        order: "file" = rows are in the order of time, and no time is read.
        wants_titles: Whether to look for titles.

    Raises:
        InputError: A column is missing or unusable, or there is no row.
    """
    columns = _columns(table, names, order, wants_titles)
    time = time_column(table, columns["timestamp"]) if order == "time" else None
    frame = table.collect(*_expressions(table, columns, time))
    if frame.is_empty():
        raise InputError("the file has a header and no rows", where=str(table.path), expected="a row per interaction")
    reasons = RowReasons(table, len(frame))
    reasons.set_aside(frame["surplus"].to_numpy(), "too many fields", None)
    user_ids, users = number_ids(frame["user_id"])
    reasons.set_aside(users < 0, "missing user id", columns["user_id"])
    item_ids, items = number_ids(frame["item_id"])
    reasons.set_aside(items < 0, "missing item id", columns["item_id"])
    if time is None:
        ticks, unit = np.arange(len(frame), dtype=np.int64), FILE_ORDER
    else:
        ticks, unit = _checked_times(table, time, frame["ticks"], reasons)
    titles = pl.Series([None] * len(item_ids), dtype=pl.String)
    if "title" in columns:
        titles, variation = _first_titles(frame["title"], np.where(reasons.kept, items, -1), len(item_ids))
        if variation > 0.5 and names.title is None:
            raise _not_item_titles(table, columns["title"])
    return RawLog(table, columns, reasons, user_ids, users, item_ids, items, titles, ticks, unit)


def _columns(table: Table, names: ColumnNames, order: Literal["time", "file"], wants_titles: bool) -> dict[str, str]:
    found = list(table.columns)
    columns = {
        "user_id": require_column("user_id", found, names, table.path),
        "item_id": require_column("item_id", found, names, table.path),
    }
    if order == "time":
        or_else = "; if the rows are in the order of time and there are no times, say so with --order file"
        columns["timestamp"] = require_column("timestamp", found, names, table.path, or_else)
    for role in ("rating", "title") if wants_titles else ("rating",):
        if (column := find_column(role, found, names, table.path)) is not None:
            columns[role] = column
    return columns


def _expressions(table: Table, columns: dict[str, str], time: TimeColumn | None) -> list[pl.Expr]:
    """Ids and titles as categories of their own, so that 10 million rows of text never lie in memory."""
    expressions = [
        id_text(columns[role], table.columns[columns[role]], table.path).cast(_own_categories()).alias(role)
        for role in ("user_id", "item_id")
    ]
    expressions.append(table.surplus.is_not_null().alias("surplus"))
    if time is not None:
        expressions.append(time.ticks.alias("ticks"))
    if "title" in columns:
        expressions.append(table.text(columns["title"]).cast(_own_categories()).alias("title"))
    return expressions


def _own_categories() -> pl.Categorical:
    return pl.Categorical(pl.Categories.random())


def _checked_times(table: Table, time: TimeColumn, column: pl.Series, reasons: RowReasons) -> tuple[Ticks, str]:
    """Times of all rows and their unit; those that are none, or lie outside the range, are set aside."""
    is_unread = column.is_null().to_numpy(writable=True)
    ticks = column.fill_null(0).to_numpy(writable=True)
    if time.is_text and is_unread.any():
        rows = np.flatnonzero(is_unread)
        again = reread(table.texts(pl.col(time.name), rows), time.is_moment)
        values = again.drop_nulls().to_numpy()
        if (values != np.floor(values)).any():
            ticks = ticks.astype(np.float64)
        rows = rows[again.is_not_null().to_numpy()]
        ticks[rows] = values
        is_unread[rows] = False
    reasons.set_aside(is_unread, "unreadable time", time.name)
    if is_unread.all():
        first = table.texts(pl.col(time.name), np.array([0]))[0]
        raise InputError(
            f"no value of the column {time.name!r} is a time",
            where=f"{table.path}, row 1 has {first!r}",
            expected="seconds since 1970, or ISO dates such as 2024-05-31 or 2024-05-31T18:30:00Z",
            fix="convert them, or name another column with --time-column",
        )
    unit = DATES if time.is_moment else unit_of(ticks[~is_unread], table.path, time.name)
    reasons.set_aside(~is_in_range(ticks, unit), "time out of range", time.name)
    return ticks, unit


def _first_titles(column: pl.Series, items: Int32, n_items: int) -> tuple[pl.Series, float]:
    """The first title of every item, and the share of the titled items that have several.

    Args:
        column: Titles, categorical [N], null where empty.
        items: int32 [N]; -1 where the row does not count.
        n_items: Number of items.
    """
    rows = np.flatnonzero((items >= 0) & column.is_not_null().to_numpy())
    items, codes = items[rows], column.to_physical().fill_null(0).to_numpy()[rows]
    first = np.full(n_items, -1, dtype=np.int64)
    first[items[::-1]] = rows[::-1]  # of several rows the one written last stays: the first of the file
    code_of = np.zeros(n_items, dtype=codes.dtype)
    code_of[items[::-1]] = codes[::-1]
    varied = np.unique(items[codes != code_of[items]])
    is_titled = pl.Series(first >= 0)
    titles = column.gather(np.maximum(first, 0)).cast(pl.String)
    return titles.set(~is_titled, None), len(varied) / max(1, int(is_titled.sum()))


def _not_item_titles(table: Table, column: str) -> InputError:
    return InputError(
        f"the column {column!r} does not hold the items' titles: it differs between the rows of most items",
        where=str(table.path),
        expected="one title per item",
        fix="bring the titles in an item file, or name their column with --title-column",
    )
