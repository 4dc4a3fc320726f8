"""Times: any column type to seconds, with the unit found for the whole column and what cannot be one set apart."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from seqmend.errors import InputError
from seqmend.interactions.table import Table

Ticks = npt.NDArray[np.int64 | np.float64]

END_OF_TIME = 7_258_118_400
"""The year 2200 in seconds since 1970; times lie between 0 and this."""

DATES, FILE_ORDER = "dates", "file order"
_EPOCH_UNITS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
_PER_SECOND = {**_EPOCH_UNITS, DATES: 10**6}
_DATE_FORMATS = tuple(
    f"%Y-%m-%d{time}"
    for time in (
        *("", " %H:%M:%S%.f", "T%H:%M:%S%.f", "T%H:%M:%S%.fZ", " %H:%M:%S%.fZ", " %H:%M:%S%.f UTC"),
        *("T%H:%M:%S%.f%z", " %H:%M:%S%.f%z", " %H:%M", "T%H:%M"),
    )
)
_SAMPLE = 1000


@dataclass(frozen=True)
class TimeColumn:
    """How the times of a column are read.

    Attributes:
        name: The column.
        ticks: Times as int64 or float64; null where one cannot be read.
        is_moment: Whether these are dates (microseconds since 1970 in UTC) and not numbers of a unit still unknown.
        is_text: Whether what could not be read is worth a second look (see `reread`).
    """

    name: str
    ticks: pl.Expr
    is_moment: bool
    is_text: bool


def time_column(table: Table, name: str) -> TimeColumn:
    """Decide how to read a column of times: by its type, or, where it is text, by its first values.

    Dates are ISO 8601 (`2024-05-31`, `2024-05-31T18:30:00.5+02:00`, ...), UTC where no zone is given.

    Raises:
        InputError: The type holds no times.
    """
    dtype, values = table.columns[name], pl.col(name)
    if dtype.is_integer():
        return TimeColumn(name, values.cast(pl.Int64, strict=False), False, False)
    if dtype.is_float() or dtype.is_decimal():
        return TimeColumn(name, _finite(values.cast(pl.Float64)), False, False)
    if isinstance(dtype, pl.Date | pl.Datetime):
        moments = values.cast(pl.Datetime("us")) if isinstance(dtype, pl.Date) else values
        return TimeColumn(name, moments.dt.epoch("us"), True, False)
    if not isinstance(dtype, pl.String | pl.Categorical | pl.Enum | pl.Null):
        raise InputError(
            f"the column {name!r} has the type {dtype}",
            where=str(table.path),
            expected="times as numbers, dates or ISO text",
        )
    texts = values.cast(pl.String)
    sample = table.sample(texts, _SAMPLE)
    parsed = {format_: _moments(sample, format_).count() for format_ in _DATE_FORMATS}
    best = max(parsed, key=lambda format_: parsed[format_])
    if parsed[best] > _numbers(sample).count():
        return TimeColumn(name, texts.str.to_datetime(best, strict=False, time_unit="us").dt.epoch("us"), True, True)
    is_whole = sample.cast(pl.Int64, strict=False).count() * 2 >= len(sample)
    numbers = texts.cast(pl.Int64, strict=False) if is_whole else _finite(texts.cast(pl.Float64, strict=False))
    return TimeColumn(name, numbers, False, True)


def reread(texts: pl.Series, is_moment: bool) -> pl.Series:
    """Times that the quick way could not read: padded, with a fraction, or of another ISO form; else null."""
    texts = texts.str.strip_chars()
    if not is_moment:
        return _numbers(texts)
    moments = pl.Series([None] * len(texts), dtype=pl.Int64)
    for format_ in _DATE_FORMATS:
        moments = moments.fill_null(_moments(texts, format_))
    return moments


def unit_of(ticks: Ticks, where: Path, column: str) -> str:
    """The unit of a column of numbers: the one in which its median lies between 1970 and 2200.

    Raises:
        InputError: In no unit it does.
    """
    sample = ticks[:: len(ticks) // 100_000 + 1]
    middle = float(np.median(sample[sample >= 0])) if (sample >= 0).any() else -1.0
    for unit, per_second in _EPOCH_UNITS.items():
        if 0 <= middle < END_OF_TIME * per_second:
            return unit
    raise InputError(
        f"the times of the column {column!r} are out of any range: {ticks.min()} to {ticks.max()}",
        where=str(where),
        expected="seconds, milliseconds, microseconds or nanoseconds since 1970, from 1970 to 2200",
        fix="convert them, or name another column with --time-column",
    )


def is_in_range(ticks: Ticks, unit: str) -> npt.NDArray[np.bool_]:
    """Whether times fit their column: from 1970 to 2200, and not such that a coarser unit is the likelier one.

    A time in seconds in a column of milliseconds would be taken for January 1970.
    """
    per_second = _PER_SECOND[unit]
    coarser = 0 if unit in ("seconds", DATES) else END_OF_TIME * per_second // 1000
    return (ticks >= coarser) & (ticks < END_OF_TIME * per_second)


def to_seconds(ticks: Ticks, unit: str) -> Ticks:
    """Times in seconds: int64 if all are whole, else float64."""
    per_second = _PER_SECOND[unit]
    whole = ticks if per_second == 1 else ticks // per_second
    if (whole * per_second == ticks).all() and (whole == np.floor(whole)).all():
        return whole.astype(np.int64)
    return ticks / per_second


def _finite(numbers: pl.Expr) -> pl.Expr:
    return pl.when(numbers.is_finite()).then(numbers)


def _numbers(texts: pl.Series) -> pl.Series:
    numbers = texts.cast(pl.Float64, strict=False)
    return numbers.set(~numbers.is_finite(), None)


def _moments(texts: pl.Series, format_: str) -> pl.Series:
    return texts.str.to_datetime(format_, strict=False, time_unit="us").dt.epoch("us")
