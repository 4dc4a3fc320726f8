"""The language model as a witness: how much less likely a title is among its neighbours than alone.

Score of an item = its title's log-probability given the titles before it, plus the same given the titles after it in
reverse order, each minus the title's log-probability alone. It needs no tuning and no generation: two passes over a
window give every position's score (pointwise mutual information between an item and its past, and its future).
"""

from collections.abc import Iterable

import numpy as np

from seqmend.interactions import Catalogue
from seqmend.llm import LanguageModel, Passage, PassageScore
from seqmend.menders.denoise.statistics import Float64
from seqmend.menders.denoise.windows import Bool, Int32


def testimony(items: Int32, catalogue: Catalogue, model: LanguageModel) -> Float64:
    """Information that every cell's title shares with its window, in nats over the root of its length in tokens.

    Cells without a title are not judged and take the mean of their window.

    Args:
        items: Windows, int32 [B, L], 0 = padding.
        catalogue: Titles of the items.
        model: Any model that scores passages.

    Returns:
        float64 [B, L]; the lower, the more suspicious; 0 in padding.
    """
    titled = catalogue.has_title[items]
    forward = model.score([_passage(row, titled[index], catalogue) for index, row in enumerate(items)])
    backward = model.score([_passage(row[::-1], titled[index, ::-1], catalogue) for index, row in enumerate(items)])
    alone, lengths = _alone(items[titled], catalogue, model)
    shared = _fill(forward, titled) + _fill(backward, titled[:, ::-1])[:, ::-1] - 2 * alone[items]
    shared = np.where(titled, shared / np.sqrt(lengths[items]), 0.0)
    means = shared.sum(1) / np.maximum(titled.sum(1), 1)
    return np.where(titled, shared, means[:, None]) * (items > 0)


def _passage(row: Int32, titled: Iterable[bool], catalogue: Catalogue) -> Passage:
    titles = [catalogue.prompt_titles[item] + "\n" for item, asked in zip(row.tolist(), titled, strict=True) if asked]
    return Passage(("\n", *titles), (False, *[True] * len(titles)))


def _alone(items: Int32, catalogue: Catalogue, model: LanguageModel) -> tuple[Float64, Float64]:
    """Log-probability and number of tokens of every needed title on its own, [V + 1] each."""
    needed = np.unique(items)
    log_probabilities, lengths = np.zeros(len(catalogue) + 1), np.ones(len(catalogue) + 1)
    for item, score in zip(
        needed, model.score([_passage(np.array([item]), [True], catalogue) for item in needed]), strict=True
    ):
        log_probabilities[item], lengths[item] = score.log_probabilities[0], score.n_tokens[0]
    return log_probabilities, lengths


def _fill(scores: list[PassageScore], asked: Bool) -> Float64:
    values = np.zeros(asked.shape)
    if len(scores):
        values[asked] = np.concatenate([score.log_probabilities for score in scores])
    return values
