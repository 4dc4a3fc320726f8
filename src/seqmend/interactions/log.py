"""What reading a log gives: the sequences, what was set aside and why, and the counts a user should see."""

import html
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from seqmend.interactions.items import ItemList
from seqmend.interactions.ordering import is_tied_with_previous
from seqmend.interactions.raw import RawLog
from seqmend.interactions.sequences import Sequences
from seqmend.interactions.times import FILE_ORDER


@dataclass(frozen=True)
class LogSummary:
    """Counts of what was read, kept and set aside.

    Attributes:
        interactions_file: Where the interactions came from.
        interactions_format: What that file was found to be.
        items_file: Where the items came from; None = from the interactions.
        columns: Column of the file for every role that was found; "item file: ..." for those of the item file.
        rows: Rows of the interactions file.
        quarantined: Rows set aside, by reason, both files together.
        users: Users with at least one kept interaction.
        interactions: Kept interactions.
        items: Items of the catalogue.
        items_interacted: Items with at least one kept interaction.
        items_without_title: Items of the catalogue that the language model cannot be asked about.
        items_with_equal_title: Items that share their title with another item.
        titles_with_entities: Titles with HTML entities.
        users_with_one_interaction: Users who only count for the catalogue.
        interactions_at_equal_time: Interactions of a user at the same time as another of that user; in file order.
        time_unit: "seconds" to "nanoseconds", "dates", or "file order".
        first_time: Earliest time, seconds since 1970; None for file order.
        last_time: Latest time, seconds since 1970; None for file order.
        times_are_positions: Whether the times only count each user's interactions (see `Sequences`).
    """

    interactions_file: str
    interactions_format: str
    items_file: str | None
    columns: dict[str, str]
    rows: int
    quarantined: dict[str, int]
    users: int
    interactions: int
    items: int
    items_interacted: int
    items_without_title: int
    items_with_equal_title: int
    titles_with_entities: int
    users_with_one_interaction: int
    interactions_at_equal_time: int
    time_unit: str
    first_time: float | None
    last_time: float | None
    times_are_positions: bool

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Log:
    """A log that was read.

    Attributes:
        sequences: Every kept interaction.
        quarantine: Every other row: `file, row, column, value, reason`.
        summary: Counts.
    """

    sequences: Sequences
    quarantine: pl.DataFrame
    summary: LogSummary


def summarise(sequences: Sequences, raw: RawLog, listing: ItemList | None, quarantine: pl.DataFrame) -> LogSummary:
    """Count what a user should know of a log that was read."""
    catalogue = sequences.catalogue
    titled = pl.Series(catalogue.prompt_titles).filter(pl.Series(catalogue.has_title))
    with_ampersand = catalogue.titles.drop_nulls().filter(catalogue.titles.drop_nulls().str.contains("&", literal=True))
    tied = is_tied_with_previous(sequences.users, sequences.timestamps)
    has_times = raw.time_unit != FILE_ORDER
    columns = dict(raw.columns)
    if listing is not None:
        columns |= {f"item file: {role}": name for role, name in listing.columns.items()}
    return LogSummary(
        interactions_file=str(raw.table.path),
        interactions_format=raw.table.description,
        items_file=str(listing.path) if listing is not None else None,
        columns=columns,
        rows=len(raw.users),
        quarantined=dict(Counter(quarantine["reason"].to_list())),
        users=len(sequences),
        interactions=sequences.n_interactions,
        items=len(catalogue),
        items_interacted=int(np.count_nonzero(np.bincount(sequences.items))),
        items_without_title=len(catalogue) - len(titled),
        items_with_equal_title=int(titled.is_duplicated().sum()),
        titles_with_entities=sum(html.unescape(title) != title for title in with_ampersand.to_list()),
        users_with_one_interaction=int((sequences.lengths == 1).sum()),
        interactions_at_equal_time=int((tied | np.append(tied[1:], False)).sum()),
        time_unit=raw.time_unit,
        first_time=float(sequences.timestamps.min()) if has_times else None,
        last_time=float(sequences.timestamps.max()) if has_times else None,
        times_are_positions=sequences.times_are_positions,
    )
