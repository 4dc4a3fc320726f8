"""Rows that cannot be used are set aside with file, row, column, value and reason; none is dropped in silence."""

from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from seqmend.interactions.table import Table

Reason = Literal[
    "too many fields",
    "missing user id",
    "missing item id",
    "unreadable time",
    "time out of range",
    "item not in the item file",
    "repeat",
    "item listed again",
]
"""Why a row is set aside; of several reasons a row has the first."""

_SCHEMA = {"file": pl.String, "row": pl.Int64, "column": pl.String, "value": pl.String, "reason": pl.String}


class RowReasons:
    """The reason, if any, why each row of one file is set aside.

    Args:
        table: The file.
        n_rows: How many rows it has.
    """

    def __init__(self, table: Table, n_rows: int) -> None:
        self._table = table
        self._found: list[tuple[Reason, str | None, pl.Expr, npt.NDArray[np.int64]]] = []
        self.kept = np.ones(n_rows, dtype=bool)

    def set_aside(self, rows: npt.NDArray[np.bool_], reason: Reason, column: str | None) -> None:
        """Set aside those of the rows that are still kept; no column means the fields beyond the last one."""
        rows = rows & self.kept
        if rows.any():
            values = self._table.surplus if column is None else pl.col(column)
            self._found.append((reason, column, values, np.flatnonzero(rows)))
            self.kept &= ~rows

    def counts(self) -> dict[str, int]:
        """Number of rows by reason."""
        return {reason: len(rows) for reason, _, _, rows in self._found}

    def quarantine(self) -> pl.DataFrame:
        """`file, row, column, value, reason`, by row (the first row of data is 1); values are as in the file."""
        parts = [
            pl.DataFrame({"row": rows + 1, "value": self._table.texts(values, rows)}).select(
                pl.lit(str(self._table.path)).alias("file"),
                "row",
                pl.lit(column, dtype=pl.String).alias("column"),
                "value",
                pl.lit(reason).alias("reason"),
            )
            for reason, column, values, rows in self._found
        ]
        return pl.concat([pl.DataFrame(schema=_SCHEMA), *parts]).sort("row")
