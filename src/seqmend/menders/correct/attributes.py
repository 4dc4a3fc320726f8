"""Attributes of items: what they share is a rule's evidence, and in words they tell of an item."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from seqmend.errors import InputError
from seqmend.interactions import UNTITLED, Catalogue, clean_title

MAX_ATTRIBUTES_LENGTH = 800
"""Characters of an item's attributes that a prompt tells (LLM4RSR, official code)."""

Values = Mapping[str, tuple[str, ...]]
"""Values of one item's attributes, by column."""

_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")
_SEPARATORS = ("|", ";", ",")


@dataclass(frozen=True, eq=False)
class Attributes:
    """Attributes of all items.

    Attributes:
        of: Values by column of every item, length V + 1; items without any have an empty mapping.
    """

    of: Sequence[Values]

    @classmethod
    def from_frame(
        cls, items: pl.DataFrame, catalogue: Catalogue, columns: Sequence[str], separator: str | None = None
    ) -> "Attributes":
        """Attributes from an item table; items that it lacks have none.

        Args:
            items: Has `item_id` and the columns; a value is a list, or text that holds one.
            catalogue: Whose items.
            columns: Which attributes.
            separator: Between the values of a text; None = `['a', 'b']` and `["a", "b"]` are lists, else what is found
                first of `|`, `;` and `,` separates.

        Raises:
            InputError: There is no such column.

        >>> table = pl.DataFrame({"item_id": ["a"], "genre": ["Drama | War"], "maker": [None]})
        >>> Attributes.from_frame(table, Catalogue.from_titles({"a": "Ran"}), ["genre", "maker"]).of[1]
        {'genre': ('Drama', 'War')}
        """
        if missing := [column for column in ("item_id", *columns) if column not in items.columns]:
            raise InputError(f"the items have no column {missing[0]!r}", expected=f"one of {', '.join(items.columns)}")
        of: list[Values] = [{} for _ in range(len(catalogue) + 1)]
        numbers = catalogue.index_of(items["item_id"].cast(pl.String).to_list()).tolist()
        for number, row in zip(numbers, items.select(columns).iter_rows(), strict=True):
            if number:
                found = {name: _values(value, separator) for name, value in zip(columns, row, strict=True)}
                of[number] = {name: values for name, values in found.items() if values}
        return cls(of)

    def keys(self) -> list[frozenset[str]]:
        """What can be shared: every value with its column, whatever its case, of every item, length V + 1."""
        return [
            frozenset(f"{column}: {value.casefold()}" for column, values in own.items() for value in values)
            for own in self.of
        ]

    def text(self, item: int) -> str:
        """An item's attributes in words, clean; "" where it has none."""
        told = "; ".join(f"{column}: {', '.join(values)}" for column, values in self.of[item].items())
        clean = clean_title(told, MAX_ATTRIBUTES_LENGTH)
        return "" if clean == UNTITLED else clean


def _values(value: Any, separator: str | None) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, list):
        parts = [str(part) for part in value if part is not None]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    else:
        parts = _parts(str(value).strip(), separator)
    return tuple(dict.fromkeys(" ".join(part.split()) for part in parts if part.strip()))


def _parts(text: str, separator: str | None) -> list[str]:
    if separator is not None:
        return text.split(separator)
    if text.startswith("[") and text.endswith("]"):
        try:
            listed = json.loads(text)
        except (ValueError, RecursionError):
            return [re.sub(r"\\(.)", r"\1", single or double) for single, double in _QUOTED.findall(text)]
        return [str(part) for part in listed if part is not None]
    found = next((mark for mark in _SEPARATORS if mark in text), None)
    return [text] if found is None else text.split(found)
