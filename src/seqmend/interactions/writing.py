"""Writing sequences as a log that other tools, and `read_log`, take."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from seqmend.errors import InputError
from seqmend.files import write_atomic
from seqmend.interactions.sequences import Sequences

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".inter": "\t", ".item": "\t"}
_NO_RECBOLE_ID = (  # what pandas, with which RecBole reads, takes for a missing value
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A"),
    *("NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)
_RECBOLE_TYPES = {
    "user_id": "token",
    "item_id": "token",
    "title": "token_seq",
    "timestamp": "float",
    "position": "float",
    "weight": "float",
}


def write_interactions(
    sequences: Sequences,
    path: Path,
    *,
    titles: bool = False,
    weights: npt.NDArray[np.float32] | None = None,
) -> None:
    """Write one row per interaction: `user_id, item_id, timestamp, position`, users together and in the order of time.

    Args:
        sequences: What to write.
        path: Ends in `.parquet`, `.csv`, `.tsv`, or `.inter` (RecBole: typed header, tab separated, unquoted).
        titles: Write the items' titles as well.
        weights: Loss weights float32 [N] to write as well.

    Raises:
        InputError: Unknown ending, unwritable folder, or an id that a RecBole file cannot hold.
        ResourceError: The disk is full.
    """
    frame = sequences.to_frame()
    if not titles:
        frame = frame.drop("title")
    if weights is not None:
        frame = frame.with_columns(pl.Series("weight", weights, dtype=pl.Float32))
    write_table(frame, path)


def write_table(frame: pl.DataFrame, path: Path) -> None:
    """Write a table by the ending of the path, atomically: see `write_interactions`; `.item` is RecBole's, too."""
    if path.suffix not in (".parquet", *_SEPARATORS):
        raise InputError(
            f"interactions cannot be written as {path.suffix or 'a file without an ending'}",
            where=str(path),
            expected=".parquet, .csv, .tsv or .inter",
        )
    is_recbole = path.suffix in (".inter", ".item")
    if is_recbole:
        frame = _recbole(frame, path)
    with write_atomic(path) as temporary:
        if path.suffix == ".parquet":
            frame.write_parquet(temporary)
        else:
            quotes = "never" if is_recbole else "necessary"
            frame.write_csv(temporary, separator=_SEPARATORS[path.suffix], quote_style=quotes)


def _recbole(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    """RecBole has no quoting: ids must fit between tabs as they are, and titles are made to."""
    for column in {"user_id", "item_id"} & set(frame.columns):
        bad = frame.filter(pl.col(column).str.contains(r"[\x00-\x1f\x7f]|^\"") | pl.col(column).is_in(_NO_RECBOLE_ID))
        if len(bad):
            raise InputError(
                f"the {column} {bad[column][0]!r} holds a tab or a line end, starts with a quote, or reads as no value",
                where=str(path),
                expected="ids that fit into a tab-separated file without quotes",
                fix="write .parquet or .csv",
            )
    if "title" in frame.columns:
        plain = pl.col("title").str.replace_all(r"[\x00-\x1f\x7f]+", " ")
        frame = frame.with_columns(title=plain.str.replace(r"^\"", ' "'))  # a space keeps pandas from unquoting it
    return frame.rename({name: f"{name}:{_RECBOLE_TYPES[name]}" for name in frame.columns})
