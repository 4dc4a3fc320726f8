"""Opening a file of any known format, or an error that says why it cannot be opened."""

import difflib
import json
from pathlib import Path

import polars as pl

from seqmend.errors import InputError
from seqmend.interactions.delimited import open_binary, open_delimited
from seqmend.interactions.table import Table

FORMATS = {
    "delimited text": (".csv", ".tsv", ".txt", ".dat", ".data"),
    "RecBole": (".inter", ".item"),
    "JSON lines": (".jsonl", ".ndjson", ".json"),
    "Parquet": (".parquet", ".pq"),
}
"""File name endings of every format; text may also end in `.gz`."""

_HEADER_LINES = 1000


def open_table(path: Path, delimiter: str | None = None, encoding: str | None = None) -> Table:
    """Open a file by the ending of its name (see `FORMATS`).

    Args:
        path: The file.
        delimiter: Of delimited text; None = detected.
        encoding: Of delimited text; None = detected.

    Raises:
        InputError: No such file, a folder, an unknown format, or one that cannot be opened.
    """
    _check_is_file(path)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes[-1:] == [".gz"]
    suffix = (suffixes[:-1] if packed else suffixes)[-1:]
    format_ = next((name for name, endings in FORMATS.items() if suffix and suffix[0] in endings), None)
    if format_ is None or (packed and format_ == "Parquet"):
        raise InputError(
            f"files ending in {''.join(path.suffixes[-2:]) or '(nothing)'} cannot be read",
            where=str(path),
            expected="; ".join(f"{name}: {' '.join(endings)}" for name, endings in FORMATS.items()),
            fix="rename the file after what it holds, or convert it",
        )
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise InputError("the file is empty", where=str(path), expected="column names and rows")
        if format_ == "Parquet":
            return _open_parquet(path)
        if format_ == "JSON lines":
            return _open_json_lines(path)
        is_recbole = format_ == "RecBole"
        return open_delimited(path, delimiter or ("\t" if is_recbole else None), encoding, is_quoted=not is_recbole)
    except PermissionError:
        raise InputError("the file may not be read", where=str(path), fix="change its permissions") from None


def _check_is_file(path: Path) -> None:
    if path.is_dir():
        endings = {ending for group in FORMATS.values() for ending in group}
        inside = sorted(file.name for file in path.iterdir() if file.suffix.lower() in endings)[:5]
        raise InputError(
            "this is a folder, not a file",
            where=str(path),
            expected="one file of interactions or items",
            fix=f"name a file in it: {', '.join(inside)}" if inside else "name a file",
        )
    if not path.exists():
        folder = path.parent
        if not folder.is_dir():
            raise InputError("there is no such file", where=f"{path}; its folder is absent too", fix="check the path")
        near = difflib.get_close_matches(path.name, [entry.name for entry in folder.iterdir()], n=3)
        raise InputError(
            "there is no such file",
            where=str(path),
            fix=f"did you mean {' or '.join(near)}?" if near else "check the name and the folder",
        )


def _open_parquet(path: Path) -> Table:
    def explain(error: Exception) -> InputError:
        return InputError(
            f"the Parquet file is damaged: {str(error).splitlines()[0][:200]}",
            where=str(path),
            fix="write it again, or copy it again",
        )

    frame = pl.scan_parquet(path, glob=False)
    try:
        columns = dict(frame.collect_schema())
    except (pl.exceptions.PolarsError, OSError) as error:
        raise explain(error) from error
    return Table(path, "Parquet", columns, frame, pl.lit(None, pl.String), explain)


def _open_json_lines(path: Path) -> Table:
    """JSON objects, one per line; every value is taken as text (12 and 12.0 are both `12`)."""
    names: dict[str, None] = {}
    with open_binary(path) as file:
        for number, line in enumerate(file, 1):
            if number > _HEADER_LINES:
                break
            if line.strip():
                names |= dict.fromkeys(_json_object(path, number, line))

    def explain(error: Exception) -> InputError:
        with open_binary(path) as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    try:
                        _json_object(path, number, line)
                    except InputError as found:
                        return found
        return InputError(f"the lines cannot be read: {str(error).splitlines()[0][:200]}", where=str(path))

    frame = pl.scan_ndjson(path, schema=dict.fromkeys(names, pl.String))
    columns: dict[str, pl.DataType] = dict.fromkeys(names, pl.String())
    return Table(path, "JSON lines", columns, frame, pl.lit(None, pl.String), explain)


def _json_object(path: Path, number: int, line: bytes) -> dict[str, object]:
    reason = ""
    try:
        value = json.loads(line)
    except ValueError as error:
        value, reason = None, f" ({getattr(error, 'msg', error)})"
    if not isinstance(value, dict):
        raise InputError(
            f"a line is no JSON object{reason}",
            where=f"{path}, line {number}",
            expected='one object per line, such as {"user_id": "u1", "item_id": "i7", "timestamp": 1700000000}',
            fix="write the file as JSON lines, not as one array or document",
        )
    return value
