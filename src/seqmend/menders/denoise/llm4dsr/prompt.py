"""The one text that a language model is tuned on and asked with, byte for byte the same up to the cursor.

LLM4DSR's code words its prompt differently in tuning and in inference (double against single quotes, a line break
before the suggestion: generate_noise_data.py against generate_suggested_data.py), which shifts every score. Here both
come from these functions, in both modes. Titles are clean (`Catalogue.prompt_titles`): one line, no double quotes.
"""

from collections.abc import Sequence

MAX_TITLE_BYTES = 1600
"""Of all titles of a list. No byte-level tokenizer makes more tokens than bytes of it; English has about 400 tokens."""

NO_TITLE = " None"
"""How the response names nothing; a title of this word stands in quotes and is another text."""

_TASK = (
    "A task and its input follow, then the response.\n\n"
    "Task: Name the titles that do not match this person's main interest, and better ones in their place. If all "
    "match: None.\n\n"
    "Input: "
)
_RESPONSE = "\n\nResponse:\nNoisy:"
_SUGGESTED = "\nSuggested:"


def n_dropped(titles: Sequence[str]) -> int:
    """How many of the oldest titles have to go so that the list fits a prompt; at least one title stays.

    >>> n_dropped(["a" * 900, "b" * 900, "c"])
    1
    """
    total = 0
    for kept, title in enumerate(reversed(titles)):
        total += len(title.encode())
        if total > MAX_TITLE_BYTES and kept:
            return len(titles) - kept
    return 0


def question(titles: Sequence[str]) -> str:
    """The prompt up to where the response names what is noisy; the shared beginning of all prompts comes first.

    Args:
        titles: Clean titles, oldest first, at least one, that fit (see `n_dropped`).
    """
    return _TASK + ", ".join(f'"{title}"' for title in titles) + _RESPONSE


def named(titles: Sequence[str]) -> str:
    """What follows `question`: titles in double quotes, or that there is none.

    >>> named(["Alien", "None"]), named([])
    (' "Alien", "None"', ' None')
    """
    return " " + ", ".join(f'"{title}"' for title in titles) if titles else NO_TITLE


def response(noisy: Sequence[str], suggested: Sequence[str]) -> str:
    """All that follows `question`: two labelled lines."""
    return named(noisy) + _SUGGESTED + named(suggested)


def suggestion(titles: Sequence[str], flagged: str) -> str:
    """The prompt up to the first character of the title that shall stand in the place of the flagged one."""
    return question(titles) + named([flagged]) + _SUGGESTED + ' "'


def first_character(titles: Sequence[str]) -> str:
    """The prompt up to the first character of the noisy title: where LLM4DSR reads its score."""
    return question(titles) + ' "'
