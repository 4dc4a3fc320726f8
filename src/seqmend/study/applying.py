"""A ledger to a mended log and back, and a run's mended log to the files of other frameworks."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import polars as pl

from seqmend.errors import InputError
from seqmend.interactions import (
    Catalogue,
    Export,
    ExportFormat,
    Sequences,
    View,
    export_log,
    read_items,
    write_table,
)
from seqmend.ledger import Ledger, Mended
from seqmend.progress import Progress, silent
from seqmend.study.config import DataConfig
from seqmend.study.data import read_data

_COLUMNS = {"user_id": pl.String, "item_id": pl.String, "position": pl.Int64}
_ENDINGS = (".parquet", ".csv", ".tsv")


def apply_ledger(
    path: Path,
    data: DataConfig,
    out: Path,
    *,
    view: View = "train",
    threshold: float | None = None,
    status: str = "accepted",
    progress: Progress = silent,
) -> dict[str, Any]:
    """Carry a ledger's edits out on the log that it was proposed for.

    Args:
        path: The ledger.
        data: The log.
        out: Parquet, CSV or TSV: `user_id, item_id, timestamp, position` (the original one), `title` where the log
            itself has titles, and `weight` where it is not 1. A masked interaction has no item.
        view: Which use of the sequences is edited.
        threshold: Least confidence of an edit that is carried out.
        status: Edits that are carried out: "accepted" or "proposed".
        progress: Told what is being done.

    Returns:
        `edits` (number carried out), `interactions`, `users`, `instance_edits` (which a log cannot show).

    Raises:
        InputError: Not a ledger, another log, or an unusable file; nothing was written.
    """
    _refuse_ending(out)
    ledger = _chosen(Ledger.read(path), view, threshold, status)
    log = read_data(data, progress)
    mended = ledger.apply(log.sequences, view)
    frame = mended.to_frame()
    if log.summary.items_file is not None or frame["title"].is_null().all():
        frame = frame.drop("title")
    if (mended.weights == 1).all():
        frame = frame.drop("weight")
    write_table(frame, out)
    return {
        "edits": len(ledger) - len(mended.instance_edits),
        "interactions": len(frame),
        "users": frame["user_id"].n_unique(),
        "instance_edits": len(mended.instance_edits),
    }


def undo_ledger(
    path: Path,
    data: DataConfig,
    out: Path,
    *,
    view: View = "train",
    threshold: float | None = None,
    status: str = "accepted",
) -> dict[str, Any]:
    """The log that a ledger was proposed for, exactly, from what `apply_ledger` made of it with the same options.

    Args:
        path: The ledger.
        data: The mended log, and the item file that the original was read with, if it was.
        out: Parquet, CSV or TSV, as by `apply_ledger`.
        view: See `apply_ledger`.
        threshold: See `apply_ledger`.
        status: See `apply_ledger`.

    Returns:
        `edits` (number undone), `interactions`, `users`.

    Raises:
        InputError: Not a ledger, or not what it made of its log; nothing was written.
    """
    _refuse_ending(out)
    ledger = _chosen(Ledger.read(path), view, threshold, status)
    if data.interactions is None:
        raise InputError("only a file can be undone", fix="give the mended log as --interactions")
    frame = _read_mended(data.interactions)
    edits = ledger.edits.filter(pl.col("scope") == "history")
    users = pl.concat([frame["user_id"], edits["user_id"]]).unique().sort()
    if data.items is not None:
        catalogue = read_items(data.items, columns=data.columns(), encoding=data.encoding).catalogue
    else:
        gone = edits.select(pl.col("item_before").alias("item_id")).with_columns(title=pl.lit(None, pl.String))
        catalogue = _catalogue(pl.concat([frame.select("item_id", "title"), gone]))
    restored = ledger.undo(_as_mended(frame, users, catalogue), view)
    if restored.fingerprint != ledger.data_id:
        raise InputError(
            "undoing does not give the log that the ledger was proposed for",
            where=str(data.interactions),
            expected="what seqmend apply made of it with the same --view, --threshold and --status",
            fix="name the item file that the log was read with (--items)" if data.items is None else None,
        )
    original = restored.to_frame()
    write_table(original.drop("title") if data.items or original["title"].is_null().all() else original, out)
    return {"edits": len(edits), "interactions": len(original), "users": len(users)}


def export_run(run: Path, format_: str, out: Path | None = None) -> Export:
    """Write the mended log of a run, and its items, for another framework.

    Args:
        run: A finished run directory.
        format_: See `export_log`.
        out: Folder; `mended/FORMAT` of the run where absent.

    Raises:
        InputError: Not a finished run, an unknown format, or a log that the format cannot hold.
    """
    if format_ not in get_args(ExportFormat):
        raise InputError(f"the format {format_!r} is not known", expected=", ".join(get_args(ExportFormat)))
    path = run / "mended" / "interactions.parquet"
    if not path.exists():
        raise InputError("this is not a finished run", where=str(run), expected="mended/interactions.parquet in it")
    frame = _read_mended(path)
    mended = _as_mended(frame, frame["user_id"].unique().sort(), _catalogue(frame))
    weights = None if (mended.weights == 1).all() else mended.weights
    folder = out or run / "mended" / format_
    return export_log(mended.sequences, folder, format_, weights)  # type: ignore[arg-type]  # checked above


def _chosen(ledger: Ledger, view: View, threshold: float | None, status: str) -> Ledger:
    """The edits to carry out, all of them accepted."""
    if status not in ("accepted", "proposed"):
        raise InputError(f"--status {status} is not known", expected="accepted or proposed")
    if view not in get_args(View):
        raise InputError(f"--view {view} is not known", expected=", ".join(get_args(View)))
    passing = ledger.filter(threshold=threshold, status=status)
    # A group may reach over both views (a user's pseudo items): of it, this view's edits are carried out.
    chosen = Ledger(passing.edits.filter(pl.col("view") == view), passing.data_id)
    return chosen.accept().filter(status="accepted") if status == "proposed" else chosen


def _read_mended(path: Path) -> pl.DataFrame:
    """What `apply_ledger` or a run wrote: `user_id, item_id, title, timestamp, position, weight`."""
    try:
        if path.suffix == ".parquet":
            frame = pl.read_parquet(path)
        else:
            frame = pl.read_csv(
                path,
                separator="\t" if path.suffix == ".tsv" else ",",
                schema_overrides=_COLUMNS,
                infer_schema_length=None,
            )
        missing = {*_COLUMNS, "timestamp"} - set(frame.columns)
        frame = frame.with_columns(pl.col(name).cast(kind) for name, kind in _COLUMNS.items() if name not in missing)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError("cannot read the mended log", where=str(path), expected="what SeqMend wrote") from error
    if missing:
        raise InputError(
            f"column {', '.join(sorted(missing))} is missing", where=str(path), expected="a log that SeqMend mended"
        )
    fill = {"title": pl.lit(None, pl.String), "weight": pl.lit(1.0, pl.Float32)}
    return frame.with_columns(**{name: value for name, value in fill.items() if name not in frame.columns})


def _catalogue(frame: pl.DataFrame) -> Catalogue:
    """Every item that is named, in the order of the ids, with the first title that it has."""
    named = frame.filter(pl.col("item_id").is_not_null()).group_by("item_id").agg(pl.col("title").drop_nulls().first())
    return Catalogue.from_titles(dict(named.sort("item_id").select("item_id", "title").rows()))


def _as_mended(frame: pl.DataFrame, users: pl.Series, catalogue: Catalogue) -> Mended:
    numbers = pl.DataFrame({"user_id": users}).with_row_index("user")
    frame = frame.join(numbers, on="user_id").sort("user", "position", maintain_order=True)
    counts = np.bincount(frame["user"].to_numpy(), minlength=len(users))
    items = catalogue.index_of(frame["item_id"].fill_null("").to_list())
    if unknown := frame.filter(pl.Series(items == 0) & pl.col("item_id").is_not_null())["item_id"].to_list():
        raise InputError(f"the item {unknown[0]!r} of the mended log is not in the item file")
    sequences = Sequences(
        users.alias("user_id"),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        items,
        frame["timestamp"].to_numpy().copy(),
        catalogue,
    )
    weights = frame["weight"].cast(pl.Float32).to_numpy()
    return Mended(sequences, weights, frame["position"].to_numpy(), pl.DataFrame())


def _refuse_ending(path: Path) -> None:
    if path.suffix not in _ENDINGS or path.is_dir():
        raise InputError(
            "a log cannot be written here", where=str(path), expected=f"a file ending in {', '.join(_ENDINGS)}"
        )
