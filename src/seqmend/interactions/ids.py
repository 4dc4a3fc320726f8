"""Identifiers: any column type to clean text, and text to numbers without holding every row's text."""

from pathlib import Path

import numpy as np
import polars as pl

from seqmend.errors import InputError
from seqmend.interactions.sequences import Int32

MISSING_IDS = ("", "nan", "NaN", "null", "NULL", "None", "<NA>")
"""Texts that stand for no id, as spread-sheets and data frames write them."""

_WHOLE_FLOAT = r"^(?:0|-?[1-9]\d*)\.0$"


def id_text(column: str, dtype: pl.DataType, where: Path) -> pl.Expr:
    """A column of ids as text: whole numbers without a fraction (12.0 is `12`), null where there is no number.

    Raises:
        InputError: The type holds no ids (lists, dates, yes/no, ...).
    """
    values = pl.col(column)
    if dtype.is_float():
        whole = values.is_finite() & (values == values.floor())
        as_integer = pl.when(whole).then(values).cast(pl.Int64, strict=False).cast(pl.String)
        return pl.when(values.is_finite()).then(as_integer.fill_null(values.cast(pl.String)))
    if dtype.is_integer() or isinstance(dtype, pl.String | pl.Categorical | pl.Enum | pl.Null):
        return values.cast(pl.String)
    raise InputError(
        f"the column {column!r} has the type {dtype}", where=str(where), expected="ids as text or whole numbers"
    )


def clean_ids(texts: pl.Series) -> pl.Series:
    """Ids without outer white space; null where one is missing (see `MISSING_IDS`).

    A column in which every id ends in `.0` was written from floating-point numbers and loses that ending.

    >>> clean_ids(pl.Series([" a", "nan", "", "b"])).to_list()
    ['a', None, None, 'b']
    >>> clean_ids(pl.Series(["12.0", None])).to_list()
    ['12', None]
    """
    clean = texts.str.strip_chars()
    clean = clean.set(clean.is_in(MISSING_IDS), None)
    present = clean.drop_nulls()
    if len(present) and present.str.contains(_WHOLE_FLOAT).all():
        clean = clean.str.strip_suffix(".0")
    return clean


def number_ids(column: pl.Series) -> tuple[pl.Series, Int32]:
    """Number the ids of a column in the order of their text, so that numbers do not depend on the order of rows.

    Args:
        column: Categorical [N]; only its distinct values are looked at as text.

    Returns:
        The clean ids in order, str [K], and the number of every row's id in them, int32 [N]; -1 where it is missing.
    """
    distinct = column.unique()
    clean = clean_ids(distinct.cast(pl.String))
    ids = clean.drop_nulls().unique().sort()
    numbers = pl.DataFrame({"id": clean}).join(
        pl.DataFrame({"id": ids}).with_row_index("number"), on="id", how="left", maintain_order="left"
    )["number"]
    codes = distinct.to_physical().fill_null(0).to_numpy()
    of_code = np.full(int(codes.max(initial=0)) + 1, -1, dtype=np.int32)
    of_code[codes[distinct.is_not_null().to_numpy()]] = numbers.filter(distinct.is_not_null()).fill_null(-1).to_numpy()
    missing = column.is_null().to_numpy()
    rows = of_code[column.to_physical().fill_null(0).to_numpy()]
    rows[missing] = -1
    return ids.alias("id"), rows
