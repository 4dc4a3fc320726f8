"""Exports: a log and its catalogue as the files that other frameworks ask for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from seqmend.errors import InputError
from seqmend.interactions.sequences import PADDING, Sequences
from seqmend.interactions.writing import write_interactions, write_table

ExportFormat = Literal["recbole", "rectools", "rectools-csv", "replay", "parquet", "csv"]


@dataclass(frozen=True)
class Export:
    """Files of an exported log; `read_log(interactions, items)` gives the same sequences again."""

    interactions: Path
    items: Path


def export_log(
    sequences: Sequences, folder: Path, format_: ExportFormat, weights: npt.NDArray[np.float32] | None = None
) -> Export:
    """Write interactions and items, users together and in the order of time.

    - "recbole": `NAME.inter` and `NAME.item` in the folder NAME, RecBole's own layout. RecBole holds times as float32,
      to which two minutes are one time: give it `position` as `TIME_FIELD`.
    - "rectools": `interactions.parquet` with the names of RecTools' `Columns`: user_id, item_id, weight, datetime.
    - "rectools-csv": the same as CSV, which RecTools reads without PyArrow.
    - "replay": `interactions.parquet` with query_id, item_id, timestamp, as in RePlay's documentation.
    - "parquet", "csv": `interactions` with SeqMend's own names, as by `write_interactions`.

    Items are item_id and title in all of them.

    Args:
        sequences: What to write; users without an interaction are left out.
        folder: Made if absent; files in it are replaced.
        format_: See above.
        weights: Loss weights float32 [N]. RecTools learns with them, RecBole's file has them as one more column.

    Raises:
        InputError: An id, a time, a masked interaction or weights that the format cannot hold.
    """
    if (sequences.items == PADDING).any():
        user = sequences.user_ids[int(sequences.users[np.flatnonzero(sequences.items == PADDING)[0]])]
        raise InputError(
            "a masked interaction is no item, and cannot be exported",
            where=f"user {user!r}",
            fix="let the mender delete or replace instead of mask",
        )
    catalogue = sequences.catalogue
    items = pl.DataFrame({"item_id": catalogue.item_ids[1:], "title": catalogue.titles[1:]})
    if format_ == "recbole":
        export = Export(folder / f"{folder.name}.inter", folder / f"{folder.name}.item")
        write_interactions(sequences, export.interactions, weights=weights)
    elif format_ in ("parquet", "csv"):
        export = Export(folder / f"interactions.{format_}", folder / f"items.{format_}")
        write_interactions(sequences, export.interactions, weights=weights)
    else:
        ending = ".csv" if format_ == "rectools-csv" else ".parquet"
        export = Export(folder / f"interactions{ending}", folder / f"items{ending}")
        frame = _replay(sequences, weights) if format_ == "replay" else _rectools(sequences, weights)
        write_table(frame, export.interactions)
    write_table(items, export.items)
    return export


def _replay(sequences: Sequences, weights: npt.NDArray[np.float32] | None) -> pl.DataFrame:
    if weights is not None:
        raise InputError(
            "RePlay knows no loss weights", fix="mend without them (denoise.soft = 1), or use another framework"
        )
    return sequences.to_frame().select(pl.col("user_id").alias("query_id"), "item_id", "timestamp")


def _rectools(sequences: Sequences, weights: npt.NDArray[np.float32] | None) -> pl.DataFrame:
    """RecTools wants dates: times keep their microseconds."""
    times = sequences.timestamps
    whole = times * 10**6 if times.dtype == np.int64 else np.rint(times * 10**6).astype(np.int64)
    inexact = np.flatnonzero(whole / 10**6 != times)
    if len(inexact):
        raise InputError(
            f"the time {times[inexact[0]]} has no exact date in microseconds",
            where=f"user {sequences.user_ids[int(sequences.users[inexact[0]])]!r}",
            fix="round the times, or export for another framework",
        )
    return sequences.to_frame().select(
        "user_id",
        "item_id",
        pl.Series("weight", np.ones(len(times), np.float32) if weights is None else weights, dtype=pl.Float32),
        pl.Series("datetime", whole).cast(pl.Datetime("us")),
    )
