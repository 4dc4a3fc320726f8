"""The memory: a summary of every item, where it comes from, and how often it was rewritten."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import polars as pl

from seqmend.errors import InputError
from seqmend.interactions import Catalogue, write_table
from seqmend.menders.correct.prompt import MAX_SUMMARY_LENGTH

Source = Literal["llm", "fallback", "given"]

_SCHEMA = {
    "item_id": pl.String,
    "title": pl.String,
    "summary": pl.String,
    "version": pl.Int32,
    "source": pl.String,
}


@dataclass(frozen=True)
class Summary:
    """What is told of an item.

    Attributes:
        text: At most `MAX_SUMMARY_LENGTH` characters.
        source: Written by the language model, made of attributes ("fallback"), or given.
        version: 1, and 1 more with every time that it was rewritten.
    """

    text: str
    source: Source
    version: int = 1


@dataclass(frozen=True)
class Memory(Mapping[int, str]):
    """Summaries by item number; it never changes, a rewrite makes another one.

    Attributes:
        summaries: Of the items that have one.
    """

    summaries: Mapping[int, Summary] = field(default_factory=dict[int, Summary])

    def __getitem__(self, item: int) -> str:
        return self.summaries[item].text

    def __iter__(self) -> Iterator[int]:
        return iter(self.summaries)

    def __len__(self) -> int:
        return len(self.summaries)

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that stand for these texts."""
        texts = sorted((item, summary.text) for item, summary in self.summaries.items())
        return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:12]

    def rewritten(self, texts: Mapping[int, str]) -> "Memory":
        """The same with new texts of the language model for some items."""
        known = self.summaries
        new = {
            item: Summary(text, "llm", known[item].version + 1 if item in known else 1) for item, text in texts.items()
        }
        return Memory({**known, **new})

    def to_frame(self, catalogue: Catalogue) -> pl.DataFrame:
        """One row per item: `item_id, title, summary, version, source`, in the order of the catalogue."""
        rows = [
            (catalogue.item_ids[item], catalogue.prompt_titles[item], own.text, own.version, own.source)
            for item, own in sorted(self.summaries.items())
        ]
        return pl.DataFrame(rows, schema=_SCHEMA, orient="row")

    def write(self, path: Path, catalogue: Catalogue) -> None:
        """Write it as Parquet, atomically."""
        write_table(self.to_frame(catalogue), path)

    @classmethod
    def from_frame(cls, table: pl.DataFrame, catalogue: Catalogue, column: str = "summary") -> "Memory":
        """Summaries by item id, never by title; what has no text, and items that the catalogue lacks, are left out.

        Args:
            table: Has `item_id` and the column; may have `version` and `source`, else the texts count as given.
            catalogue: Whose items.
            column: Holds the texts.

        Raises:
            InputError: A column is missing, or an item has more than one row.
        """
        if missing := [name for name in ("item_id", column) if name not in table.columns]:
            raise InputError(f"the summaries have no column {missing[0]!r}", expected=", ".join(_SCHEMA))
        ids = table["item_id"].cast(pl.String)
        if not ids.is_unique().all():
            raise InputError("an item has more than one summary", where=f"item_id {ids.filter(~ids.is_unique())[0]!r}")
        sources = table["source"].to_list() if "source" in table.columns else ["given"] * len(table)
        versions = table["version"].to_list() if "version" in table.columns else [1] * len(table)
        summaries: dict[int, Summary] = {}
        texts = table[column].cast(pl.String).to_list()
        for item, text, source, version in zip(
            catalogue.index_of(ids.to_list()).tolist(), texts, sources, versions, strict=True
        ):
            if item and text and text.strip():
                summaries[item] = Summary(text.strip()[:MAX_SUMMARY_LENGTH], cast("Source", source), int(version))
        return cls(summaries)

    @classmethod
    def read(cls, path: Path, catalogue: Catalogue) -> "Memory":
        """Read what `write` wrote.

        Raises:
            InputError: The file cannot be read or is no memory.
        """
        try:
            table = pl.read_parquet(path)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise InputError(f"cannot read the summaries: {error}", where=str(path)) from error
        return cls.from_frame(table, catalogue)
