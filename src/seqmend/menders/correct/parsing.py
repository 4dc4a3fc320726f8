"""Written answers, read against an instance's own inputs: nothing else can be named."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

from pydantic import BaseModel, StrictInt, StrictStr

Named = list[bool]
"""Whether each input was named."""

LEAST_RATIO = 0.8
"""How alike a written and an own title have to be (difflib's ratio)."""

_TAG = re.compile(r"<\s*answer\s*>(.*?)(?:<\s*[/\\]?\s*answer\s*[/\\]?\s*>|\Z)", re.IGNORECASE | re.DOTALL)
_NUMBER = re.compile(r"#?(\d{1,4})[.):]?")
_NUMBERED = re.compile(r"\s*#?\d{1,4}[.):]\s+(.+)", re.DOTALL)
_MARKS = " \t\r\n\"'“”.,*-•"


class Relevant(BaseModel):
    """The answer as JSON: numbers of inputs, counted from 1; their titles are understood as well."""

    relevant: list[StrictInt | StrictStr]


def read_numbers(answer: Relevant, titles: Sequence[str]) -> Named | None:
    """What a JSON answer names; None where it names something, and nothing of it is an input.

    >>> read_numbers(Relevant(relevant=[2, "Alien", 9]), ["Alien", "Heat", "Big"])
    [True, True, False]
    """
    named = [False] * len(titles)
    for entry in answer.relevant:
        for place in [entry - 1] if isinstance(entry, int) else _places(entry, titles):
            if 0 <= place < len(titles):
                named[place] = True
    return named if any(named) or not answer.relevant else None


def read_tags(text: str, titles: Sequence[str]) -> Named | None:
    """What a tagged answer names; None where it cannot be read: no tag, an empty one, or nothing of it is an input.

    NONE counts as the whole answer only, and as the title if an input is called so.

    Args:
        text: What the model wrote.
        titles: Of the inputs, in order; of equal titles all are named.

    >>> read_tags("<answer>Heat; alien</answer>", ["Alien", "Heat", "Big"])
    [True, True, False]
    >>> read_tags("<answer>NONE</answer>", ["None but the Brave"])
    [False]
    """
    found = _TAG.search(text)
    content = found.group(1).strip() if found else ""
    if not content:
        return None
    places: list[int] = []
    parts = content.split(";")
    while parts:
        # A title may hold semicolons: the longest run of parts that is a title goes first.
        runs = ((size, _same(";".join(parts[:size]), titles)) for size in range(len(parts), 0, -1))
        size, here = next(((size, here) for size, here in runs if here), (1, []))
        places += here or _places(parts[0], titles)
        parts = parts[size:]
    if not places and _name(content) == "none":
        return [False] * len(titles)
    return [place in places for place in range(len(titles))] if places else None


def inside(text: str, tag: str, is_open: bool) -> str:
    """What stands between <tag> and </tag> in a written text; all up to its end where it is not closed.

    Args:
        text: What the model wrote.
        tag: A plain word.
        is_open: The prompt ended with <tag>, so that the text may begin within it; else "" is between tags that are
            not there.

    >>> inside("toys, well</new> and so on", "new", is_open=True), inside("Sure: <new>toys", "new", is_open=True)
    ('toys, well', 'toys')
    """
    parts = re.split(rf"<\s*{tag}\s*>", text, maxsplit=1, flags=re.IGNORECASE)
    if len(parts) == 1 and not is_open:
        return ""
    return re.split(rf"<\s*[/\\]\s*{tag}\s*>", parts[-1], maxsplit=1, flags=re.IGNORECASE)[0]


def _places(text: str, titles: Sequence[str]) -> list[int]:
    """Places of the inputs that a text names: by their title, by number, by a title that is much alike."""
    if same := _same(text, titles):
        return same
    if (number := _NUMBER.fullmatch(text.strip())) and 1 <= int(number.group(1)) <= len(titles):
        return [int(number.group(1)) - 1]
    if numbered := _NUMBERED.fullmatch(text):
        return _places(numbered.group(1), titles)
    if not (name := _name(text)):
        return []
    ratios = [SequenceMatcher(None, name, _name(title)).ratio() for title in titles]
    best = max(ratios, default=0.0)
    return [place for place, ratio in enumerate(ratios) if ratio == best] if best >= LEAST_RATIO else []


def _same(text: str, titles: Sequence[str]) -> list[int]:
    name = _name(text)
    return [place for place, title in enumerate(titles) if name and _name(title) == name]


def _name(text: str) -> str:
    return " ".join(text.casefold().strip(_MARKS).split())
