"""Delimited text (CSV, TSV, RecBole atomic files, MovieLens `::`) as lazy columns of text."""

import codecs
import contextlib
import csv
import gzip
import io
import zlib
from collections.abc import Generator
from pathlib import Path

import polars as pl

from seqmend.errors import InputError
from seqmend.interactions.columns import listed
from seqmend.interactions.table import Table

DELIMITERS = (",", "\t", ";", "|", "::")
"""What may be detected; any other single ASCII character may be given."""

_SURPLUS = "(fields beyond the last column)"
_NAMES = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar", "::": "double colon"}
_HEAD = 1 << 16


def open_delimited(
    path: Path, delimiter: str | None = None, encoding: str | None = None, is_quoted: bool = True
) -> Table:
    """Open a text file with a header line; every column is text, as ids such as `007` are not numbers.

    Args:
        path: The file, perhaps gzip-compressed (`.gz`).
        delimiter: Between fields; None = the one of `DELIMITERS` that divides the header line most.
        encoding: Of the text; None = UTF-8, or UTF-16 where the file starts with its byte-order mark.
        is_quoted: Whether fields may stand in double quotes.

    Raises:
        InputError: Unknown or wrong encoding, no text, no delimiter that divides the header, repeated column names.
    """
    encoding = _checked_encoding(path, encoding)
    source = path if _is_utf8(encoding) else _as_utf8(path, encoding)
    header, line_end = _header_line(path, source)
    delimiter = _delimiter_of(header, _checked_delimiter(delimiter, path) if delimiter else None, path)
    names = _fields(header, delimiter)
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"column names occur twice: {listed(repeated)}", where=str(path), fix="rename one of each")
    is_single = len(delimiter) == 1
    frame = pl.scan_csv(
        source,
        has_header=False,
        skip_rows=1,
        schema=dict.fromkeys([*names, _SURPLUS] if is_single else ["line"], pl.String),
        separator=delimiter if is_single else "\x1f",
        quote_char='"' if is_quoted and is_single else None,
        eol_char=line_end,
        truncate_ragged_lines=True,
        missing_columns="insert",
        extra_columns="ignore",
        glob=False,
    )
    if not is_single:
        parts = pl.col("line").str.split_exact(delimiter, len(names))
        frame = frame.select(parts.struct.rename_fields([*names, _SURPLUS]).alias("line")).unnest("line")
    return Table(
        path,
        f"{_NAMES.get(delimiter, repr(delimiter))} separated, {encoding}",
        dict.fromkeys(names, pl.String()),
        frame,
        pl.col(_SURPLUS),
        lambda _: _unreadable(path, source, delimiter),
    )


@contextlib.contextmanager
def open_binary(path: Path) -> Generator[gzip.GzipFile | io.BufferedReader]:
    """The bytes of a file, decompressed where its name ends in `.gz`.

    Raises:
        InputError: The compressed data are damaged.
    """
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            yield file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(
            f"the compressed file is damaged: {error}", where=str(path), fix="copy or download it again"
        ) from None


def _unreadable(path: Path, source: Path | io.BytesIO, delimiter: str) -> InputError:
    """Why the text cannot be read: a byte of another encoding, or quotes out of order."""
    with open_binary(path) as file:
        lines = file if isinstance(source, Path) else io.BytesIO(source.getvalue())
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError as bad:
                return _wrong_byte(path, number, bad)
        lines.seek(0)
        records, line, where = csv.reader(io.TextIOWrapper(lines, "utf-8"), delimiter=delimiter, strict=True), 0, ""
        try:
            for _ in records:
                line = records.line_num
        except csv.Error:
            where = f", the row that starts at line {line + 1}"
    return InputError(
        "the quotes of the text are out of order",
        where=f"{path}{where}",
        expected='quotes around whole fields only, and doubled ("") inside them',
        fix="mend that row, name another delimiter with --delimiter, or write the file as Parquet",
    )


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")


def _checked_encoding(path: Path, encoding: str | None) -> str:
    if encoding is None:
        with open_binary(path) as file:
            start = file.read(_HEAD)
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        if b"\0" in start:
            raise InputError(
                "the text holds zero bytes",
                where=str(path),
                expected="UTF-8 text",
                fix="give its encoding, perhaps --encoding utf-16-le, or check that it is a text file",
            )
        return "utf-8"
    try:
        bytes(4).decode(encoding)
    except (LookupError, ValueError):
        raise InputError(
            f"{encoding!r} is no text encoding",
            where=str(path),
            expected="a name such as utf-8, latin-1, cp1252, utf-16 or gb18030",
            fix="give another --encoding, or none",
        ) from None
    return encoding


def _as_utf8(path: Path, encoding: str) -> io.BytesIO:
    """The text re-encoded in memory, block by block, as the parser knows UTF-8 only."""
    decoder, result, done = codecs.getincrementaldecoder(encoding)(), io.BytesIO(), 0
    with open_binary(path) as file:
        while True:
            block = file.read(1 << 22)
            try:
                result.write(decoder.decode(block, final=not block).encode())
            except UnicodeError as error:
                raise InputError(
                    f"the text is not {encoding}: {error}",
                    where=f"{path}, after byte {done}",
                    fix="give another --encoding, or none",
                ) from None
            if not block:
                result.seek(0)
                return result
            done += len(block)


def _wrong_byte(path: Path, number: int, bad: UnicodeDecodeError) -> InputError:
    return InputError(
        f"the byte 0x{bad.object[bad.start]:02X} is not UTF-8 text",
        where=f"{path}, line {number}, byte {bad.start + 1}",
        expected="UTF-8, or another encoding that is named",
        fix="name the file's encoding, perhaps --encoding latin-1",
    )


def _header_line(path: Path, source: Path | io.BytesIO) -> tuple[str, str]:
    """The first line and the character that ends lines."""
    if isinstance(source, Path):
        with open_binary(source) as file:
            start = file.read(_HEAD)
    else:
        start = source.getvalue()[:_HEAD]
    start = start.removeprefix(codecs.BOM_UTF8)
    line_end = b"\r" if b"\n" not in start and b"\r" in start else b"\n"
    line = start.split(line_end)[0]
    if not start.strip():
        raise InputError("the file is empty", where=str(path), expected="a line with column names, and rows below it")
    try:
        header = line.decode().strip("\r\n")
    except UnicodeDecodeError as bad:
        raise _wrong_byte(path, 1, bad) from None
    if not header.strip():
        raise InputError("the first line is empty", where=str(path), expected="a line with column names")
    return header, line_end.decode()


def _checked_delimiter(delimiter: str, path: Path) -> str:
    delimiter = "\t" if delimiter in ("\\t", "tab") else delimiter
    if delimiter in DELIMITERS or (len(delimiter) == 1 and delimiter.isascii() and delimiter not in '"\r\n'):
        return delimiter
    raise InputError(
        f"{delimiter!r} cannot be a delimiter",
        where=str(path),
        expected="one ASCII character, \\t for a tab, or ::",
        fix="give another --delimiter, or none",
    )


def _delimiter_of(header: str, given: str | None, path: Path) -> str:
    """The delimiter that divides the header line most, or the given one if it divides it at all."""
    best = max(DELIMITERS, key=lambda delimiter: len(_fields(header, delimiter)))
    chosen = given or best
    if len(_fields(header, chosen)) > 1:
        return chosen
    columns = listed(_fields(header, best))
    raise InputError(
        f"the delimiter {given!r} leaves everything in one column" if given else "everything is in one column",
        where=f"{path}, whose first line is {listed([header.strip()])}",
        expected="a delimiter between the column names: comma, tab, semicolon, bar or double colon",
        fix=f"--delimiter {best!r} seems right: it gives the columns {columns}"
        if given and len(_fields(header, best)) > 1
        else "give the right one with --delimiter",
    )


def _fields(header: str, delimiter: str) -> list[str]:
    if len(delimiter) > 1:
        return [name.strip() for name in header.split(delimiter)]
    return [name.strip() for name in next(csv.reader([header], delimiter=delimiter))]
