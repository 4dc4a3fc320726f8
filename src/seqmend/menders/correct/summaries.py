"""Summaries of items: written by the language model where what it writes can be believed, else made of attributes."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import CountVectorizer

from seqmend.errors import BudgetExceeded
from seqmend.interactions import UNTITLED, Catalogue, clean_title
from seqmend.llm import LanguageModel
from seqmend.menders.correct.attributes import Attributes
from seqmend.menders.correct.config import MemoryConfig
from seqmend.menders.correct.memory import Memory, Summary
from seqmend.menders.correct.parsing import inside
from seqmend.menders.correct.prompt import MAX_SUMMARY_LENGTH
from seqmend.progress import Progress, silent

_BATCH = 64
_ROWS = 256
_LEAST_WORDS = 3
_TELLING = 4  # letters from which a word in common is no accident
_END = "</summary>"
_ASKED = (
    "You know {domain} well. Tell what somebody would have to know of the following one to judge who likes it: what "
    "kind it is, what it is about, who made it. At most 30 words, facts only, one sentence.\n\n"
    'Title: "{title}"\n{attributes}Put the sentence between <summary> and </summary>.\n<summary>'
)
_WORD = re.compile(r"\w+")


def make_memory(
    model: LanguageModel,
    catalogue: Catalogue,
    items: Iterable[int],
    attributes: Attributes | None,
    config: MemoryConfig,
    domain: str,
    progress: Progress = silent,
) -> Memory:
    """Summaries of items; those that cannot be believed (see `believable`) and that a budget left out are attributes.

    Args:
        model: Writes; asked once per item that has a title.
        catalogue: The titles.
        items: Which; each once.
        attributes: Told to the model, and used instead; an item without any has no summary then.
        config: Who writes, and what counts as the same text.
        domain: What the items are, in the plural.
        progress: Told how many are written.
    """
    titled = [item for item in dict.fromkeys(items) if catalogue.has_title[item]]
    told = {item: attributes.text(item) if attributes is not None else "" for item in titled}
    written: dict[int, str] = {}
    if config.written_by == "model":
        prompts = [_prompt(catalogue.prompt_titles[item], told[item], domain) for item in titled]
        written = dict(zip(titled, _written(model, prompts, config.max_new_tokens, progress), strict=False))
    good = believable(written, {item: catalogue.prompt_titles[item] for item in written}, told, config.most_alike)
    summaries: dict[int, Summary] = {}
    for item in titled:
        if item in good:
            summaries[item] = Summary(written[item], "llm")
        elif told[item]:
            summaries[item] = Summary(clean_title(told[item], MAX_SUMMARY_LENGTH), "fallback")
    return Memory(summaries)


def first_line(text: str) -> str:
    """The first line of a written text that holds something, clean and cut to a summary's length; "" if none does.

    >>> first_line("\\n A puzzle for two. \\nI hope that helps")
    'A puzzle for two.'
    """
    first = next((line for line in text.splitlines() if line.strip()), "")
    clean = clean_title(first, MAX_SUMMARY_LENGTH)
    return "" if clean == UNTITLED else clean


def believable(
    summaries: Mapping[int, str], titles: Mapping[int, str], told: Mapping[int, str], most_alike: float
) -> set[int]:
    """The items whose summary may be about them.

    It says at least three words that the title does not, has a word in common with the title or the attributes, and is
    not much the same as that of an item with another title: models repeat what they wrote before, and then it is about
    neither.

    Args:
        summaries: By item.
        titles: Of the same items.
        told: What else is known of them in words, their attributes or an earlier summary.
        most_alike: Share of words in common (Jaccard) from which two summaries are the same; words of the own title do
            not count.
    """
    good: list[int] = []
    for item, text in summaries.items():
        own, title = _words(text), _words(titles[item])
        known = title | _words(told.get(item, ""))
        anchors = {word for word in known if len(word) >= _TELLING} or known
        if len(own - title) >= _LEAST_WORDS and own & anchors:
            good.append(item)
    repeated = _repeated(
        [_words(summaries[i]) - _words(titles[i]) for i in good], [titles[i] for i in good], most_alike
    )
    return {item for item, again in zip(good, repeated, strict=True) if not again}


def _repeated(words: Sequence[set[str]], titles: Sequence[str], most_alike: float) -> npt.NDArray[np.bool_]:
    """Whether another text with another title has much the same words."""
    repeated = np.zeros(len(words), dtype=bool)
    if not any(words):
        return repeated
    vectorizer: Any = CountVectorizer
    counts = vectorizer(analyzer=set, dtype=np.int32).fit_transform(words)
    sizes = np.array([len(own) for own in words])
    names = np.unique([title.casefold() for title in titles], return_inverse=True)[1]
    for begin in range(0, len(words), _ROWS):
        rows = slice(begin, begin + _ROWS)
        common = (counts[rows] @ counts.T).toarray()
        alike = common >= most_alike * (sizes[rows, None] + sizes - common)
        repeated[rows] = (alike & (names[rows, None] != names)).any(axis=1)
    return repeated


def _prompt(title: str, attributes: str, domain: str) -> str:
    told = f"{attributes}\n" if attributes else ""
    return _ASKED.format(domain=clean_title(domain), title=title, attributes=told)


def _written(model: LanguageModel, prompts: list[str], max_new_tokens: int, progress: Progress) -> list[str]:
    """Summaries of the first prompts, all of them unless a budget is spent."""
    found: list[str] = []
    for begin in range(0, len(prompts), _BATCH):
        progress("summarising items", begin, len(prompts))
        try:
            texts = model.write(prompts[begin : begin + _BATCH], max_new_tokens, stop=_END)
        except BudgetExceeded:
            break
        found += [first_line(inside(text, "summary", is_open=True)) for text in texts]
    return found


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold()))
