"""Sequences and their catalogue: the columnar form that everything after the readers works on."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from seqmend.errors import InputError
from seqmend.interactions.titles import UNTITLED, clean_title

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

PADDING = 0


@dataclass(frozen=True, eq=False)
class Catalogue:
    """All items of a log, numbered from 1; number 0 is padding.

    Attributes:
        item_ids: Item identifiers, str, length V + 1; entry 0 is the empty string.
        titles: Titles as the user supplied them, str or null, length V + 1; entry 0 is null.
    """

    item_ids: pl.Series
    titles: pl.Series

    def __len__(self) -> int:
        """Number of items V, padding not counted."""
        return len(self.item_ids) - 1

    @classmethod
    def from_titles(cls, titles: dict[str, str | None]) -> "Catalogue":
        """Catalogue of the given item ids and titles, in the given order.

        >>> Catalogue.from_titles({"b": "Blade Runner", "a": None}).index_of(["a", "zzz", "b"]).tolist()
        [2, 0, 1]
        """
        return cls(
            pl.Series("item_id", ["", *titles], dtype=pl.String),
            pl.Series("title", [None, *titles.values()], dtype=pl.String),
        )

    @cached_property
    def has_title(self) -> npt.NDArray[np.bool_]:
        """Whether an item has a title that survives cleaning, bool [V + 1]; False for padding."""
        return np.array([title != UNTITLED for title in self.prompt_titles], dtype=bool)

    @cached_property
    def prompt_titles(self) -> list[str]:
        """Titles fit for a prompt (see `clean_title`), length V + 1; a placeholder where an item has none."""
        return [clean_title(title) for title in self.titles.to_list()]

    def index_of(self, item_ids: list[str]) -> Int32:
        """Item numbers of the given ids, int32; 0 where an id is unknown."""
        return np.array([self._numbers.get(item_id, PADDING) for item_id in item_ids], dtype=np.int32)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {item_id: number for number, item_id in enumerate(self.item_ids.to_list()) if number}


@dataclass(frozen=True, eq=False)
class Sequences:
    """Every user's items in time order, immutable, in compressed sparse row form.

    Attributes:
        user_ids: User identifiers, str, length U, unique.
        offsets: int64 [U + 1]; user u owns interactions offsets[u] to offsets[u + 1].
        items: Item numbers of `catalogue`, int32 [N], 1..V.
        timestamps: float64 or int64 [N], seconds (or positions, where the source has no times).
        catalogue: The items.
        source: Fingerprint of the full data that these sequences are a part of (see `up_to`); None for full data.
    """

    user_ids: pl.Series
    offsets: Int64
    items: Int32
    timestamps: npt.NDArray[np.int64 | np.float64]
    catalogue: Catalogue
    source: str | None = None

    def __post_init__(self) -> None:
        if len(self.offsets) != len(self.user_ids) + 1 or self.offsets[-1] != len(self.items):
            raise ValueError("offsets do not fit the users and items")
        for array in (self.offsets, self.items, self.timestamps):
            array.flags.writeable = False

    def __len__(self) -> int:
        """Number of users."""
        return len(self.user_ids)

    def __iter__(self) -> Iterator[Int32]:
        return (self[user] for user in range(len(self)))

    def __getitem__(self, user: int) -> Int32:
        """Item numbers of one user in time order, int32 view."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    @property
    def n_interactions(self) -> int:
        """Number of interactions N."""
        return len(self.items)

    @cached_property
    def lengths(self) -> Int64:
        """Interactions per user, int64 [U]."""
        return np.diff(self.offsets)

    @cached_property
    def users(self) -> Int32:
        """User number of every interaction, int32 [N]."""
        return np.repeat(np.arange(len(self), dtype=np.int32), self.lengths)

    @cached_property
    def positions(self) -> Int64:
        """0-based position of every interaction in its user's sequence, int64 [N]."""
        return np.arange(self.n_interactions, dtype=np.int64) - np.repeat(self.offsets[:-1], self.lengths)

    @cached_property
    def times_are_positions(self) -> bool:
        """Whether the times only count each user's interactions, so that times of different users cannot be compared.

        Real times of different users do not start together: here most users start at the smallest time, 0 or 1. That
        still holds where reading set rows aside or noise was inserted and the count has gaps or ties.
        """
        firsts = self.timestamps[self.offsets[:-1][self.lengths > 0]]
        return bool(len(firsts) and firsts.min() in (0, 1) and (firsts == firsts.min()).mean() > 0.5)

    @cached_property
    def fingerprint(self) -> str:
        """Hexadecimal digest of users, items, titles and order: equal for equal data."""
        digest = hashlib.sha256()
        for ids in (self.user_ids, self.catalogue.item_ids, self.catalogue.titles.fill_null("")):
            lengths = ids.str.len_bytes().to_numpy()
            digest.update(lengths.astype("<u4").tobytes())
            digest.update("".join(ids.to_list()).encode())
        for array, dtype in ((self.offsets, "<i8"), (self.items, "<i4"), (self.timestamps, "<f8")):
            digest.update(np.ascontiguousarray(array.astype(dtype, copy=False)).data)
        return digest.hexdigest()

    @property
    def data_id(self) -> str:
        """Fingerprint of the full data that edit positions refer to."""
        return self.source or self.fingerprint

    def up_to(self, ends: Int64) -> "Sequences":
        """The first `ends[u]` interactions of every user: same users, same catalogue, same `data_id`.

        Args:
            ends: int64 [U], 0 <= ends <= lengths.
        """
        if ((ends < 0) | (ends > self.lengths)).any():
            raise ValueError("ends outside the sequences")
        keep = self.positions < np.repeat(ends, self.lengths)
        return Sequences(
            self.user_ids,
            np.concatenate([[0], np.cumsum(ends)]).astype(np.int64),
            self.items[keep],
            self.timestamps[keep],
            self.catalogue,
            source=self.data_id,
        )

    def to_frame(self) -> pl.DataFrame:
        """One row per interaction: `user_id, item_id, timestamp, position` (and `title`), users in order."""
        catalogue = self.catalogue
        return pl.DataFrame(
            {
                "user_id": self.user_ids.gather(self.users),
                "item_id": catalogue.item_ids.gather(self.items),
                "title": catalogue.titles.gather(self.items),
                "timestamp": self.timestamps,
                "position": self.positions,
            }
        )

    @classmethod
    def from_lists(cls, histories: dict[str, list[str]], titles: dict[str, str | None] | None = None) -> "Sequences":
        """Sequences of a few users, times being positions: for examples and tests.

        >>> s = Sequences.from_lists({"ann": ["a", "b"], "bob": ["b"]}, {"a": "Alien", "b": "Brazil"})
        >>> s.offsets.tolist(), s.items.tolist()
        ([0, 2, 3], [1, 2, 2])
        """
        if titles is None:
            titles = dict.fromkeys(item for items in histories.values() for item in items)
        catalogue = Catalogue.from_titles(titles)
        items = catalogue.index_of([item for items in histories.values() for item in items])
        if (items == PADDING).any():
            raise InputError("a history holds an item that the titles lack")
        lengths = [len(items) for items in histories.values()]
        return cls(
            pl.Series("user_id", list(histories), dtype=pl.String),
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            items,
            np.array([position for n in lengths for position in range(n)], dtype=np.int64),
            catalogue,
        )
