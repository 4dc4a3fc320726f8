"""Item cards: a closed question about every title, asked once for the whole catalogue, and what follows from it.

The question is whom a title is made for. The answer to a title without content is subtracted, so that an audience
which the model likes anyway is no evidence (contextual calibration: Zhao et al., ICML 2021).
"""

import numpy as np

from seqmend.interactions import Catalogue
from seqmend.llm import LanguageModel, Question
from seqmend.menders.denoise.statistics import Float32, Float64, unit
from seqmend.menders.denoise.windows import Int32

AUDIENCES = ("babies", "toddlers", "children", "girls", "boys", "teens", "adults", "families")

_INTRODUCTION = f"Whom is each title made for? {', '.join(AUDIENCES[:-1])} or {AUDIENCES[-1]}.\n\n"
_TITLE_CHARACTERS = 80
_WITHOUT_CONTENT = "N/A"


def audiences(catalogue: Catalogue, model: LanguageModel) -> Float64:
    """How probable the model finds every audience of every item, beyond what it would say of any title.

    Args:
        catalogue: Titles of the items.
        model: Any model that chooses among texts.

    Returns:
        Calibrated probabilities, float64 [V + 1, len(AUDIENCES)]; rows sum to 1, or to 0 without a title.
    """
    titled = np.flatnonzero(catalogue.has_title)
    asked = [_WITHOUT_CONTENT, *(catalogue.prompt_titles[item] for item in titled.tolist())]
    prior, *answers = (answer.probabilities for answer in model.choose([_question(title) for title in asked]))
    cards = np.zeros((len(catalogue) + 1, len(AUDIENCES)))
    if answers:
        odds = np.stack(answers) / prior
        cards[titled] = odds / odds.sum(1, keepdims=True)
    return cards


def card_vectors(cards: Float64) -> Float32:
    """Unit vectors whose cosine says how far two items' audiences agree, beyond those of all items.

    Args:
        cards: What `audiences` returns.

    Returns:
        float32 [V + 1, len(AUDIENCES)]; zero without a title.
    """
    known = cards.sum(1) > 0
    vectors = np.zeros(cards.shape, dtype=np.float32)
    if known.any():
        logarithms = np.log(cards[known])
        vectors[known] = unit(logarithms - logarithms.mean(0))
    return vectors


def mismatch(cards: Float64, item: int, neighbours: Int32) -> str | None:
    """In words, where an item's likeliest audience is another than its neighbours'; None where it is the same.

    Args:
        cards: What `audiences` returns.
        item: The item's number.
        neighbours: Numbers of the items around it.
    """
    around = cards[neighbours].sum(0)
    if not cards[item].any() or not around.any():
        return None
    own, theirs = AUDIENCES[int(cards[item].argmax())], AUDIENCES[int(around.argmax())]
    return None if own == theirs else f"its neighbours are made for {theirs}, this for {own}"


def _question(title: str) -> Question:
    prompt = f"{_INTRODUCTION}Title: {title[:_TITLE_CHARACTERS]}\nMade for:"
    return Question(prompt, tuple(f" {audience}" for audience in AUDIENCES))
