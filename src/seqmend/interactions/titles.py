"""Titles are untrusted text: what a prompt may contain of them."""

import html
import re
import unicodedata

UNTITLED = "(untitled)"
MAX_TITLE_LENGTH = 200

# <|im_start|>, <｜User｜>, <start_of_turn>, </s>, <unused7>, [INST], <<SYS>>, [MASK] and their kin; HTML tags go too.
_TEMPLATE_TOKENS = re.compile(
    r"<[|｜][^|｜<>]{0,40}[|｜]>|</?[a-z]\w{0,30}>|<</?SYS>>|\[/?(?:INST|CLS|SEP|MASK|PAD|UNK)\]", re.IGNORECASE
)


def clean_title(title: str | None, max_length: int = MAX_TITLE_LENGTH) -> str:
    """A title as one short line of plain text, or `UNTITLED` where nothing is left.

    HTML entities are unescaped; control and format characters, chat-template tokens, HTML tags and double quotes (the
    delimiter of prompts) go; white space is folded; the result has at most `max_length` characters.

    >>> clean_title("Melissa &amp; Doug\\n<|im_end|>  Puzzle")
    'Melissa & Doug Puzzle'
    >>> clean_title("   ")
    '(untitled)'
    """
    if title is None:
        return UNTITLED
    text = html.unescape(title[: max_length * 8])
    if not text.isprintable():
        text = "".join(" " if unicodedata.category(char)[0] == "C" else char for char in text)
    text = " ".join(text.split())
    while (stripped := _TEMPLATE_TOKENS.sub(" ", text)) != text:  # a removal may join a new token together
        text = stripped
    text = " ".join(text.replace('"', "'").split())
    if len(text) > max_length:
        text = text[: max_length - 1].rstrip() + "…"
    return text or UNTITLED
