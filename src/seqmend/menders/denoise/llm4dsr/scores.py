"""Noise scores: how likely the model is to name each title of a window as the one that does not belong.

All three have one shape: `score(items int32 [B, L], catalogue, model) -> Scores`. Cells whose title is not shown (no
title, padding, the oldest of a list that is too long) are NaN. Titles of equal text share their probability equally,
but for `first_token`, which cannot tell apart even different titles that begin alike (trap T4).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from seqmend.interactions import Catalogue
from seqmend.llm import LanguageModel, Question
from seqmend.menders.denoise.llm4dsr import prompt
from seqmend.menders.denoise.llm4dsr.config import Scorer
from seqmend.menders.denoise.llm4dsr.tuning import shown
from seqmend.menders.denoise.statistics import Float64
from seqmend.menders.denoise.windows import Int32, Int64

_LINE_END = "\n"  # closes a choice, so that no title is the beginning of another
_NEVER = 50.0  # nats: testimony is finite, whatever a model holds impossible


@dataclass(frozen=True, eq=False)
class Scores:
    """What the model says of windows.

    Attributes:
        log_probability: float64 [B, L], natural log; NaN where a cell is not judged.
        p_none: float64 [B], the probability that nothing is noisy; 0 where a scorer does not know it, 1 for a window
            of which nothing is shown.
    """

    log_probability: Float64
    p_none: Float64


Score = Callable[[Int32, Catalogue, LanguageModel], Scores]


def trie(items: Int32, catalogue: Catalogue, model: LanguageModel) -> Scores:
    """The exact closed-set probability of every title and of None; they sum to 1 over a window.

    The window's different titles and None are one prefix tree of tokens, as they are tokenised after the prompt. At
    every branching the model's probabilities of the children are scaled to sum to 1 (specification 3.4, ours).
    """
    return _closed(items, catalogue, model, "trie")


def full_title(items: Int32, catalogue: Catalogue, model: LanguageModel) -> Scores:
    """Likelihoods of whole titles and of None, the mean per token, scaled to sum to 1 over a window (an ablation)."""
    return _closed(items, catalogue, model, "one_of")


def first_token(items: Int32, catalogue: Catalogue, model: LanguageModel) -> Scores:
    """LLM4DSR's score: log-probability of the title's first token, among all tokens, right after the opening quote.

    The token is that of the title tokenised by itself (generate_suggested_data.py). The score knows no None.
    """
    values, rows = _unjudged(items), _rows(items, catalogue)
    questions = [Question(prompt.first_character(t), tuple(t), "first_token") for _, _, t in rows]
    for (row, columns, _), answer in zip(rows, model.choose(questions), strict=True):
        assert answer.log_likelihoods is not None
        values.log_probability[row, columns] = answer.log_likelihoods
        values.p_none[row] = 0.0
    return values


SCORERS: dict[Scorer, Score] = {"trie": trie, "first_token": first_token, "full_title": full_title}


def window_testimony(scorer: Scorer, items: Int32, catalogue: Catalogue, model: LanguageModel) -> Float64:
    """A noise score as testimony, in the form of `language.testimony`: the lower, the more suspicious.

    Returns:
        float64 [B, L], minus the log-probability of being named; the window's mean where a cell is not judged (0 where
        none is), 0 in padding.
    """
    said = np.minimum(-SCORERS[scorer](items, catalogue, model).log_probability, _NEVER)
    judged = ~np.isnan(said)
    means = np.where(judged, said, 0.0).sum(1) / np.maximum(judged.sum(1), 1)
    return np.where(judged, said, means[:, None]) * (items > 0)


def _closed(items: Int32, catalogue: Catalogue, model: LanguageModel, mode: Literal["trie", "one_of"]) -> Scores:
    values, rows = _unjudged(items), _rows(items, catalogue)
    questions = [
        Question(
            prompt.question(titles),
            (*(prompt.named([title]) + _LINE_END for title in titles), prompt.NO_TITLE + _LINE_END),
            mode,
            length_normalised=mode != "trie",
        )
        for _, _, titles in rows
    ]
    for (row, columns, _), answer in zip(rows, model.choose(questions), strict=True):
        with np.errstate(divide="ignore"):  # what is impossible in the model's precision is -inf
            values.log_probability[row, columns] = np.log(answer.probabilities[:-1])
        values.p_none[row] = answer.probabilities[-1]
    return values


def _unjudged(items: Int32) -> Scores:
    return Scores(np.full(items.shape, np.nan), np.ones(len(items)))


def _rows(items: Int32, catalogue: Catalogue) -> list[tuple[int, Int64, list[str]]]:
    """Every window of which a title is shown: its number, the columns and the titles."""
    found: list[tuple[int, Int64, list[str]]] = []
    for row, window in enumerate(items):
        columns = shown(window, catalogue)
        if len(columns):
            found.append((row, columns, [catalogue.prompt_titles[item] for item in window[columns].tolist()]))
    return found
