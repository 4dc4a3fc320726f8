"""An opened file of any format: named lazy columns, and what to say when reading them fails."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from seqmend.errors import InputError


@dataclass(frozen=True)
class Table:
    """An opened file.

    Attributes:
        path: Where it is.
        description: Format as found, for people.
        columns: Names and types; delimited text and JSON have text only.
        frame: Its columns, in file order.
        surplus: Text of the fields beyond the last column, null in most rows.
        explain: Makes of a failure to read the file what the user should know.
    """

    path: Path
    description: str
    columns: dict[str, pl.DataType]
    frame: pl.LazyFrame
    surplus: pl.Expr
    explain: Callable[[Exception], InputError]

    def collect(self, *columns: pl.Expr) -> pl.DataFrame:
        """Read columns in one streaming pass.

        Raises:
            InputError: The file is damaged.
        """
        return self._collected(self.frame.select(*columns))

    def text(self, column: str) -> pl.Expr:
        """A column as text without outer white space; null where nothing is left.

        Raises:
            InputError: It holds lists or the like.
        """
        if self.columns[column].is_nested():
            raise InputError(
                f"the column {column!r} has the type {self.columns[column]}", where=str(self.path), expected="text"
            )
        return pl.col(column).cast(pl.String).str.strip_chars().replace("", None)

    def sample(self, column: pl.Expr, most: int) -> pl.Series:
        """The first values of a text column that are not empty."""
        values = self.frame.select(column.str.strip_chars().alias("value")).filter(pl.col("value") != "")
        return self._collected(values.head(most))["value"]

    def texts(self, column: pl.Expr, rows: npt.NDArray[np.int64]) -> pl.Series:
        """What the file has in some rows of a column, as text."""
        return self.collect(column.cast(pl.String).alias("text"))["text"].gather(rows)

    def _collected(self, frame: pl.LazyFrame) -> pl.DataFrame:
        try:
            return frame.collect(engine="streaming")
        except (pl.exceptions.PolarsError, OSError) as error:
            raise self.explain(error) from error
