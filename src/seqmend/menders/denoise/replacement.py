"""What would belong in a flagged place: items of the catalogue, suggested by behaviour or by the language model."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from seqmend.interactions import Catalogue, clean_title
from seqmend.llm import Encoder, LanguageModel
from seqmend.menders.denoise.statistics import Float32, ItemStatistics
from seqmend.menders.denoise.windows import Int32, Int64

_BLOCK = 512


@dataclass(frozen=True)
class Suggestion:
    """An item for a flagged place.

    Attributes:
        item: Item number.
        source: Who suggested it.
        text: What the language model wrote, where it did.
        grounding: How the text was tied to the catalogue: its very title, or the nearest title.
    """

    item: int
    source: Literal["co-occurrence", "language model"]
    text: str = ""
    grounding: Literal["exact", "nearest", ""] = ""

    def to_dict(self) -> dict[str, str]:
        """What a ledger's evidence says of it: source, and text and grounding where there are any."""
        parts = {"source": self.source, "text": self.text, "grounding": self.grounding}
        return {name: value for name, value in parts.items() if value}


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
    prompts = [_prompt(row, column, catalogue) for row, column in zip(items, columns.tolist(), strict=True)]
    written = [clean_title(text.strip().split("\n")[0]) if text.strip() else "" for text in model.write(prompts, 24)]
    exact = _by_title(catalogue, statistics)
    vectors = encoder.embed([text or " " for text in written])
    nearest = vectors @ title_vectors.T
    _exclude(nearest, items, statistics)
    found: list[Suggestion | None] = []
    for text, row, scores in zip(written, items, nearest, strict=True):
        item = exact.get(_normalised(text), 0)
        if not text:
            found.append(None)
        elif item and item not in row:
            found.append(Suggestion(item, "language model", text, "exact"))
        else:
            found.append(Suggestion(int(scores.argmax()), "language model", text, "nearest"))
    return found


def _exclude(scores: npt.NDArray[np.floating], items: Int32, statistics: ItemStatistics) -> None:
    scores[:, statistics.log_popularity == 0] = -np.inf
    scores[np.arange(len(items))[:, None], items] = -np.inf
    scores[:, 0] = -np.inf


def _prompt(row: Int32, column: int, catalogue: Catalogue) -> str:
    # What comes after the flagged place is said first, so that the model continues from what came right before it.
    order = [*row[column + 1 :].tolist(), *row[:column].tolist()]
    return "\n" + "".join(f"{catalogue.prompt_titles[item]}\n" for item in order if catalogue.has_title[item])


def _by_title(catalogue: Catalogue, statistics: ItemStatistics) -> dict[str, int]:
    order = np.argsort(statistics.log_popularity, kind="stable")
    known: Sequence[int] = [int(item) for item in order if statistics.log_popularity[item] > 0]
    return {_normalised(catalogue.prompt_titles[item]): item for item in known if catalogue.has_title[item]}


def _normalised(title: str) -> str:
    return " ".join(re.findall(r"\w+", title.casefold()))
