"""A folder laid out like `llm4rsr-ml1m`: rows whose answer is known, and what is told of the items."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from seqmend.errors import InputError
from seqmend.interactions import Catalogue
from seqmend.menders.correct import Attributes, Labelled

_LAYOUT = "a folder with synthetic_instances.parquet and items.parquet, laid out like llm4rsr-ml1m"
_INSTANCE_COLUMNS = ("instance_id", "history_item_ids", "target_item_id", "matched_history_item_ids")
_RUNNING_TEXT = 60
"""Mean characters from which a column of texts tells a story and holds no attribute, unless its values are lists."""


@dataclass(frozen=True, eq=False)
class Released:
    """What such a folder holds.

    Attributes:
        rows: With their inputs shuffled.
        catalogue: All items.
        columns: Names of the columns that hold attributes.
        attributes: Of all items; None where there are no such columns.
        summaries: Released summaries, by item number; None where they are not to be read or there are none.
    """

    rows: Labelled
    catalogue: Catalogue
    columns: list[str]
    attributes: Attributes | None
    summaries: list[str] | None


def read_released(folder: Path, summaries: bool = False, max_rows: int | None = None, seed: int = 0) -> Released:
    """Read such a folder.

    Args:
        folder: Has the two files.
        summaries: Also read the columns whose name begins with "summary".
        max_rows: Take a random part of the rows.
        seed: Of the order of the inputs, and of the part.

    Raises:
        InputError: A file or a column is missing, rows differ in length, or name items that the items file lacks.
    """
    items, instances = _read(folder, "items.parquet"), _read(folder, "synthetic_instances.parquet")
    _require(items, ("item_id", "title"), folder / "items.parquet")
    _require(instances, _INSTANCE_COLUMNS, folder / "synthetic_instances.parquet")
    catalogue = Catalogue.from_titles(dict(zip(items["item_id"].cast(pl.String), items["title"], strict=True)))
    columns = attribute_columns(items)
    table = items.with_columns(pl.col("item_id").cast(pl.String))
    rows = _rows(instances, catalogue, folder / "synthetic_instances.parquet", seed)
    if max_rows is not None and max_rows < len(rows):
        rows = rows.select(np.sort(np.random.default_rng([seed, 1]).permutation(len(rows))[:max_rows]))
    return Released(
        rows,
        catalogue,
        columns,
        Attributes.from_frame(table, catalogue, columns) if columns else None,
        _summaries(table, catalogue) if summaries else None,
    )


def attribute_columns(items: pl.DataFrame) -> list[str]:
    """Columns that hold attributes: lists of texts, texts that are lists, and short texts; never a summary.

    >>> attribute_columns(pl.DataFrame({"item_id": ["1"], "title": ["Ran"], "maker": ["Kurosawa"], "rank": [4]}))
    ['maker']
    """
    found: list[str] = []
    for name, kind in items.schema.items():
        if name in ("item_id", "title") or name.startswith("summary"):
            continue
        if kind == pl.List(pl.String):
            found.append(name)
        elif kind == pl.String:
            texts = items[name].drop_nulls().str.strip_chars()
            texts = texts.filter(texts.str.len_chars() > 0)
            if len(texts) and (_are_lists(texts) or _mean_length(texts) < _RUNNING_TEXT):
                found.append(name)
    return found


def _are_lists(texts: pl.Series) -> bool:
    return bool(texts.str.starts_with("[").sum() > len(texts) / 2)


def _mean_length(texts: pl.Series) -> float:
    lengths: Any = texts.str.len_chars().mean()
    return float(lengths)


def _rows(instances: pl.DataFrame, catalogue: Catalogue, path: Path, seed: int) -> Labelled:
    inputs: list[list[str]] = instances["history_item_ids"].cast(pl.List(pl.String)).to_list()
    matched: list[list[str] | None] = instances["matched_history_item_ids"].cast(pl.List(pl.String)).to_list()
    lengths = {len(row) for row in inputs}
    if len(lengths) != 1 or 0 in lengths:
        raise InputError(
            "the rows differ in length or are empty",
            where=f"{path}, column history_item_ids",
            expected="the same number of inputs in every row",
        )
    targets: list[str] = instances["target_item_id"].cast(pl.String).to_list()
    named = [item for row in inputs for item in row] + targets
    numbers = catalogue.index_of(named)
    if not numbers.all():
        missing = named[int(np.argmin(numbers))]
        raise InputError(
            f"item {missing!r} is not among the items", where=str(path), fix="complete items.parquet beside it"
        )
    n, length = len(inputs), lengths.pop()
    order = np.random.default_rng(seed).random((n, length)).argsort(1)
    relevant = np.array([[item in (own or ()) for item in row] for row, own in zip(inputs, matched, strict=True)])
    return Labelled(
        instances["instance_id"].cast(pl.Int64).to_numpy(),
        np.take_along_axis(numbers[: n * length].reshape(n, length), order, axis=1),
        numbers[n * length :],
        np.take_along_axis(relevant.reshape(n, length), order, axis=1),
    )


def _summaries(items: pl.DataFrame, catalogue: Catalogue) -> list[str] | None:
    columns = [name for name in items.columns if name.startswith("summary") and items.schema[name] == pl.String]
    if not columns:
        return None
    texts = [""] * (len(catalogue) + 1)
    numbers = catalogue.index_of(items["item_id"].to_list()).tolist()
    for number, row in zip(numbers, items.select(columns).iter_rows(), strict=True):
        texts[number] = " ".join(text for text in row if text)
    return texts


def _read(folder: Path, name: str) -> pl.DataFrame:
    if not (folder / name).is_file():
        raise InputError("a file of the benchmark is missing", where=str(folder / name), expected=_LAYOUT)
    return pl.read_parquet(folder / name)


def _require(table: pl.DataFrame, columns: tuple[str, ...], path: Path) -> None:
    if missing := [column for column in columns if column not in table.columns]:
        raise InputError(f"there is no column {missing[0]!r}", where=str(path), expected=_LAYOUT)
