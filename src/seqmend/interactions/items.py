"""The item file: ids and titles."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from seqmend.errors import InputError
from seqmend.interactions.columns import BY_ALIAS, ColumnNames, require_column
from seqmend.interactions.formats import open_table
from seqmend.interactions.ids import clean_ids, id_text
from seqmend.interactions.quarantine import RowReasons
from seqmend.interactions.sequences import Catalogue


@dataclass(frozen=True)
class ItemList:
    """An item file that was read.

    Attributes:
        path: The file.
        catalogue: Its items, in the order of their ids.
        quarantine: Rows without an id, and those that list an item again: `file, row, column, value, reason`.
        columns: Column of the file for "item_id" and "title".
    """

    path: Path
    catalogue: Catalogue
    quarantine: pl.DataFrame
    columns: dict[str, str]


def read_items(
    path: Path, *, columns: ColumnNames = BY_ALIAS, delimiter: str | None = None, encoding: str | None = None
) -> ItemList:
    """Read item ids and titles; an item that is listed again keeps its first row and the first title it has.

    Args:
        path: Delimited text, RecBole `.item`, JSON lines or Parquet.
        columns: Names of the item and title columns, where no alias matches; an item column that the file lacks is
            taken for the log's name of it, and then the aliases decide.
        delimiter: Of delimited text; None = detected.
        encoding: Of delimited text; None = detected.

    Raises:
        InputError: The file cannot be used, or no row has an id.
    """
    table = open_table(path, delimiter, encoding)
    names = list(table.columns)
    if columns.item_id not in names:  # then it is the name that the log has for them
        columns = dataclasses.replace(columns, item_id=None)
    item = require_column("item_id", names, columns, path)
    title = require_column("title", names, columns, path)
    frame = table.collect(
        id_text(item, table.columns[item], path).alias("item_id"),
        table.text(title).alias("title"),
        table.surplus.is_not_null().alias("surplus"),
    ).with_columns(pl.col("item_id").map_batches(clean_ids, return_dtype=pl.String))
    if frame.is_empty():
        raise InputError("the file has a header and no rows", where=str(path), expected="one row per item")
    reasons = RowReasons(table, len(frame))
    reasons.set_aside(frame["surplus"].to_numpy(), "too many fields", None)
    reasons.set_aside(frame["item_id"].is_null().to_numpy(), "missing item id", item)
    listed = frame.filter(reasons.kept)
    first = listed["item_id"].is_first_distinct().to_numpy()
    again = np.zeros(len(frame), dtype=bool)
    again[np.flatnonzero(reasons.kept)[~first]] = True
    reasons.set_aside(again, "item listed again", item)
    if not reasons.kept.any():
        raise InputError(
            "no row of the item file has an item id", where=f"{path}, column {item!r}", fix="name another --item-column"
        )
    catalogue = listed.group_by("item_id").agg(pl.col("title").drop_nulls().first()).sort("item_id")
    return ItemList(
        path,
        catalogue_of(catalogue["item_id"], catalogue["title"]),
        reasons.quarantine(),
        {"item_id": item, "title": title},
    )


def read_item_columns(
    path: Path,
    wanted: Sequence[str],
    *,
    columns: ColumnNames = BY_ALIAS,
    delimiter: str | None = None,
    encoding: str | None = None,
) -> pl.DataFrame:
    """Further columns of the item file, as they are, beside `item_id`; rows without an id or of a listed item left out.

    Args:
        path: See `read_items`, as for the options.
        wanted: Names of columns.
        columns: Names of the item column, where no alias matches.
        delimiter: Of delimited text; None = detected.
        encoding: Of delimited text; None = detected.

    Raises:
        InputError: The file cannot be used, or lacks a column.
    """
    table = open_table(path, delimiter, encoding)
    names = list(table.columns)
    if missing := [name for name in wanted if name not in names]:
        raise InputError(f"no column {missing[0]!r}", where=str(path), expected=f"one of {', '.join(names)}")
    if columns.item_id not in names:
        columns = dataclasses.replace(columns, item_id=None)
    item = require_column("item_id", names, columns, path)
    frame = table.collect(id_text(item, table.columns[item], path).alias("item_id"), *map(pl.col, wanted))
    frame = frame.with_columns(pl.col("item_id").map_batches(clean_ids, return_dtype=pl.String))
    return frame.drop_nulls("item_id").unique("item_id", keep="first", maintain_order=True)


def catalogue_of(item_ids: pl.Series, titles: pl.Series) -> Catalogue:
    """Catalogue of clean ids and their titles, with the padding entry put before them."""
    return Catalogue(
        pl.concat([pl.Series([""], dtype=pl.String), item_ids], rechunk=True).alias("item_id"),
        pl.concat([pl.Series([None], dtype=pl.String), titles], rechunk=True).alias("title"),
    )
