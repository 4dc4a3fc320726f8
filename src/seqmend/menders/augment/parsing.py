"""Written answers, read against the candidates: nothing else can be named."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

from pydantic import BaseModel, StrictInt, StrictStr

LEAST_RATIO = 0.6
"""How alike a written and a candidate's title have to be (difflib's ratio; 3.2 of the method)."""

_NUMBERED = re.compile(r"^\W*\d{1,4}[.):]\s+(?=\S)")
_NUMBER = re.compile(r"#?(\d{1,4})[.):]?")


class Chosen(BaseModel):
    """The answer as JSON: numbers of candidates, counted from 1, the likeliest first; titles are understood as well."""

    choices: list[StrictInt | StrictStr]


def read_chosen(answer: Chosen, titles: Sequence[str]) -> tuple[int, ...]:
    """Places of the named candidates in the order in which they are named, each once; what is no candidate is ignored.

    >>> read_chosen(Chosen(choices=[3, 1, 3, 99, "heat", "2."]), ["Alien", "Heat", "Big"])
    (2, 0, 1)
    """
    places = (entry - 1 if isinstance(entry, int) else _place(entry, titles) for entry in answer.choices)
    return tuple(dict.fromkeys(place for place in places if 0 <= place < len(titles)))


def read_lines(text: str, titles: Sequence[str]) -> tuple[int, ...]:
    """The same of an answer that is no JSON: every line names a candidate by number or by the nearest title.

    >>> read_lines("1. Heat\\n- big\\n1\\nor so I think", ["Alien", "Heat", "Big"])
    (1, 2, 0)
    """
    lines = (_NUMBERED.sub("", line) for line in text.splitlines())
    return tuple(dict.fromkeys(place for line in lines if 0 <= (place := _place(line, titles)) < len(titles)))


def _place(text: str, titles: Sequence[str]) -> int:
    """Place of the candidate that a text names by number or by the nearest title; -1 if none."""
    name = _name(text)
    if number := _NUMBER.fullmatch(name):
        return int(number.group(1)) - 1
    if not name:
        return -1
    ratios = [SequenceMatcher(None, name, _name(title)).ratio() for title in titles]
    closest = max(ratios, default=0.0)
    return ratios.index(closest) if closest >= LEAST_RATIO else -1


def _name(text: str) -> str:
    return " ".join(text.casefold().strip(" \t\r\n\"'“”.,*-•").split())
