"""What would belong in a flagged place: items of the catalogue, suggested by behaviour or by the language model."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from seqmend.errors import InputError
from seqmend.files import write_atomic
from seqmend.interactions import UNTITLED, Catalogue, clean_title
from seqmend.llm import Encoder, LanguageModel
from seqmend.menders.denoise.statistics import Float32, ItemStatistics
from seqmend.menders.denoise.windows import Int32, Int64

WRITTEN_TOKENS = 24
"""The most that the language model writes for a suggestion."""

_BLOCK = 512


@dataclass(frozen=True)
class Suggestion:
    """An item for a flagged place.

    Attributes:
        item: Item number.
        source: Who suggested it.
        text: What the language model wrote, where it did.
        grounding: How the text was tied to the catalogue: its very title, or the nearest title.
        distance: Euclidean distance of the nearest title's vector from the text's.
    """

    item: int
    source: Literal["co-occurrence", "language model"]
    text: str = ""
    grounding: Literal["exact", "nearest", ""] = ""
    distance: float | None = None

    def to_dict(self) -> dict[str, str | float]:
        """What a ledger's evidence says of it: source, and text, grounding and distance where there are any."""
        parts = {"source": self.source, "text": self.text, "grounding": self.grounding}
        known: dict[str, str | float] = {name: value for name, value in parts.items() if value}
        return known if self.distance is None else {**known, "distance": round(self.distance, 4)}


def suggest_by_behaviour(
    items: Int32, columns: Int64, trusted: npt.NDArray[np.floating], statistics: ItemStatistics
) -> list[Suggestion]:
    """The item that co-occurs most with the trusted rest of each window.

    Args:
        items: Windows with one flagged cell each, int32 [B, L].
        columns: Column of the flagged cell, int64 [B].
        trusted: How far each cell may be relied on, [B, L] in [0, 1].
        statistics: What is known of the items; only items with training interactions are suggested.
    """
    size = len(statistics.log_popularity)
    found: list[Suggestion] = []
    for begin in range(0, len(items), _BLOCK):
        rows = slice(begin, begin + _BLOCK)
        weights = trusted[rows] * (items[rows] > 0)
        weights[np.arange(len(weights)), columns[rows]] = 0.0
        owners = np.repeat(np.arange(len(weights)), items.shape[1])
        context = sp.csr_matrix((weights.ravel(), (owners, items[rows].ravel())), shape=(len(weights), size))
        # Where few pairs are known, likeness of behaviour (predicted from the title, if need be) breaks the ties.
        profile = np.asarray(context @ statistics.vectors["blend"])
        scores = sp.csr_matrix(context @ statistics.pmi).toarray() + profile @ statistics.vectors["blend"].T
        scores += 1e-3 * statistics.log_popularity
        _exclude(scores, items[rows], statistics)
        found += [Suggestion(int(item), "co-occurrence") for item in scores.argmax(1)]
    return found


def suggest_by_language(
    items: Int32,
    columns: Int64,
    catalogue: Catalogue,
    statistics: ItemStatistics,
    model: LanguageModel,
    encoder: Encoder,
    title_vectors: Float32,
) -> list[Suggestion | None]:
    """The item whose title the language model writes after the rest of each window, grounded in the catalogue.

    A title that stands in the catalogue, apart from case, spaces and punctuation, is taken as it is (the most popular
    item, where several have it); otherwise the nearest title by the encoder. Never the flagged item, an item of the
    window, or one without training interactions.

    Returns:
        One suggestion per window; None where the model wrote nothing.
    """
    prompts = [prompt_for(row, column, catalogue) for row, column in zip(items, columns.tolist(), strict=True)]
    written = [first_title(text.strip()) for text in model.write(prompts, WRITTEN_TOKENS)]
    return Grounding(catalogue, statistics.log_popularity, encoder, title_vectors).suggest(written, items)


def first_title(text: str) -> str:
    """The title that a text begins with: its first line up to a double quote, cleaned; empty where there is none.

    >>> first_title('Alien" and more'), first_title("\\n")
    ('Alien', '')
    """
    title = clean_title(text.split("\n")[0].split('"')[0])
    return "" if title == UNTITLED else title


@dataclass(frozen=True, eq=False)
class GroundingTable:
    """Vectors of a catalogue's titles by one reader, kept so that they are made once.

    Attributes:
        key: Digest of the catalogue and the reader that the vectors are of.
        vectors: float32 [V + 1, e]; zeros where there is no title.
    """

    key: str
    vectors: Float32

    @classmethod
    def of(cls, catalogue: Catalogue, reader: Encoder) -> "GroundingTable":
        """Ask the reader for the vector of every title."""
        titled = np.flatnonzero(catalogue.has_title)
        found = reader.embed([catalogue.prompt_titles[item] for item in titled.tolist()])
        vectors = np.zeros((len(catalogue) + 1, found.shape[1]), dtype=np.float32)
        vectors[titled] = found
        return cls(_table_key(catalogue, reader), vectors)

    def write(self, path: Path) -> None:
        """Write as safetensors, atomically."""
        with write_atomic(path) as temporary:
            save_file({"vectors": self.vectors}, temporary, metadata={"key": self.key})

    @classmethod
    def read(cls, path: Path, catalogue: Catalogue, reader: Encoder) -> "GroundingTable":
        """Read a table that was made of this catalogue by this reader.

        Raises:
            InputError: The file is no table, or is that of another catalogue or reader.
        """
        try:
            with safe_open(path, "np") as file:
                key, vectors = (file.metadata() or {}).get("key", ""), file.get_tensor("vectors")
        except (OSError, SafetensorError) as error:
            raise InputError(f"cannot read the grounding table: {error}", where=str(path)) from error
        table = cls(key, vectors)
        table.check(catalogue, reader)
        return table

    def check(self, catalogue: Catalogue, reader: Encoder) -> None:
        """Refuse to ground anything in another catalogue's titles, or with another reader's vectors.

        Raises:
            InputError: The table is that of another catalogue or reader.
        """
        if self.key != _table_key(catalogue, reader):
            raise InputError(
                "the grounding table was made for another catalogue or by another model",
                expected=f"vectors of these {len(catalogue)} items' titles by {reader.identity}",
                fix="make the table anew from the catalogue at hand",
            )


@dataclass(frozen=True, eq=False)
class Grounding:
    """How texts are tied to items.

    Attributes:
        catalogue: The items.
        popularity: How often each was chosen in training, in any increasing measure, [V + 1]; 0 = never.
        reader: Makes the vectors of texts.
        vectors: The reader's vectors of all titles, float32 [V + 1, e]; zeros where there is no title.
        exclude: "window": never an item of the window (the flagged one is among them) or one that training lacks;
            "padding": any item, and of several with the very title the first (LLM4DSR, generate_suggested_ids.py).
        max_distance: Euclidean distance beyond which the nearest title is none; no limit where absent.
    """

    catalogue: Catalogue
    popularity: npt.NDArray[np.floating]
    reader: Encoder
    vectors: Float32
    exclude: Literal["window", "padding"] = "window"
    max_distance: float | None = None

    def suggest(self, texts: Sequence[str], items: Int32) -> list[Suggestion | None]:
        """The item of every text's very title (apart from case, spaces and punctuation), else of the nearest one.

        Distances are Euclidean, in double precision: in half precision they lose the nearest title (trap T9).

        Args:
            texts: One title per window; empty where nothing was written.
            items: The windows, int32 [B, L].

        Returns:
            One suggestion per text; None for an empty one, or where no allowed title is near enough.
        """
        exact = self._by_title()
        found: list[Suggestion | None] = []
        for begin in range(0, len(texts), _BLOCK):
            some, rows = texts[begin : begin + _BLOCK], items[begin : begin + _BLOCK]
            for text, row, distances in zip(some, rows, self._distances(some, rows), strict=True):
                item, nearest = exact.get(self._name(text), 0), int(distances.argmin())
                if not text:
                    found.append(None)
                elif item and (self.exclude == "padding" or item not in row):
                    found.append(Suggestion(item, "language model", text, "exact"))
                elif distances[nearest] <= (np.inf if self.max_distance is None else self.max_distance):
                    near = Suggestion(nearest, "language model", text, "nearest", float(distances[nearest]))
                    found.append(near if np.isfinite(distances[nearest]) else None)
                else:
                    found.append(None)
        return found

    @cached_property
    def _allowed(self) -> npt.NDArray[np.bool_]:
        known = self.catalogue.has_title.copy()
        return known & (self.popularity > 0) if self.exclude == "window" else known

    def _by_title(self) -> dict[str, int]:
        """Item of every title: the most popular, or the first, of those that have it."""
        items = np.flatnonzero(self._allowed)
        order = items[::-1] if self.exclude == "padding" else items[np.argsort(self.popularity[items], kind="stable")]
        return {self._name(self.catalogue.prompt_titles[item]): int(item) for item in order.tolist()}

    def _name(self, title: str) -> str:
        return title if self.exclude == "padding" else _normalised(title)

    def _distances(self, texts: Sequence[str], items: Int32) -> npt.NDArray[np.float64]:
        ours, theirs = self.reader.embed([text or " " for text in texts]).astype(np.float64), self._titles
        squares = (ours**2).sum(1)[:, None] + (theirs**2).sum(1) - 2 * ours @ theirs.T
        distances = np.sqrt(np.maximum(squares, 0.0))
        distances[:, ~self._allowed] = np.inf
        if self.exclude == "window":
            distances[np.arange(len(items))[:, None], items] = np.inf
        return distances

    @cached_property
    def _titles(self) -> npt.NDArray[np.float64]:
        return self.vectors.astype(np.float64)


def _exclude(scores: npt.NDArray[np.floating], items: Int32, statistics: ItemStatistics) -> None:
    scores[:, statistics.log_popularity == 0] = -np.inf
    scores[np.arange(len(items))[:, None], items] = -np.inf
    scores[:, 0] = -np.inf


def prompt_for(row: Int32, column: int, catalogue: Catalogue) -> str:
    """What the language model is to continue with a title for one place of a window."""
    # What comes after the flagged place is said first, so that the model continues from what came right before it.
    order = [*row[column + 1 :].tolist(), *row[:column].tolist()]
    return "\n" + "".join(f"{catalogue.prompt_titles[item]}\n" for item in order if catalogue.has_title[item])


def _table_key(catalogue: Catalogue, reader: Encoder) -> str:
    told = [reader.identity, catalogue.item_ids.to_list(), catalogue.prompt_titles]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _normalised(title: str) -> str:
    return " ".join(re.findall(r"\w+", title.casefold())) or title
