"""What the augment mender would ask a language model, without training anything: for a cost before it is spent."""

from dataclasses import dataclass, replace

import numpy as np

from seqmend.errors import InputError
from seqmend.interactions import PADDING, Catalogue, Sequences
from seqmend.llm import CountingModel, Usage, title_vectors
from seqmend.menders.augment.candidates import best, by_control, with_prefix
from seqmend.menders.augment.config import AugmentConfig
from seqmend.menders.augment.prompt import Asked, Renderer
from seqmend.menders.augment.question import Teacher

_PROBED = 400

READING = "reading titles"
"""Purpose of the questions where the model is not asked about users."""


@dataclass(frozen=True)
class Part:
    """Questions of one purpose: what for, and what they would use, seconds not counted."""

    purpose: str
    usage: Usage


def forecast(config: AugmentConfig, train: Sequences, totals: np.ndarray, model: CountingModel) -> list[Part]:
    """What fitting and judging would ask, in the order in which it is asked.

    Calls are counted; tokens are those of a random part of the users, scaled up. What co-occurs stands for the
    candidates of recommenders that are not trained yet, whose titles are of like length.

    Args:
        config: Settings of the mender.
        train: What would be augmented.
        totals: n, int64 [U].
        model: Counts.

    Raises:
        InputError: The settings match names by an encoder, which shows only in what is written.
    """
    if not config.asks(model.capability):
        return [Part(READING, _reading(train.catalogue, model))] if config.candidates == "blended" else []
    if config.answers == "names":
        raise InputError("what free text would cost cannot be foreseen", expected="another form of answers")
    teacher = Teacher(
        model,
        Renderer.of(train.catalogue, config),
        config.answers,
        max_new_tokens=config.max_new_tokens,
    )
    lengths, n_items = train.lengths, len(train.catalogue)
    is_asked = (lengths > 0) & (totals <= (np.inf if config.augment_up_to is None else config.augment_up_to))
    users = np.flatnonzero(is_asked)
    rng = np.random.default_rng(config.seed)
    sampled = rng.permutation(np.flatnonzero(lengths > 1))[: config.sample_users]  # of all users, augmented or not
    checked = users if config.one_item == "context" else users[lengths[users] > 1]
    again = users[lengths[users] > 1] if config.crossfit else users[:0]
    probed = np.sort(rng.permutation(users)[:_PROBED])
    scorer = by_control("neighbours", train, config.seed)

    def candidates(n: int, of: np.ndarray) -> dict[int, tuple[int, ...]]:
        pools = best(scorer, of, len(train), n_items, n, train if config.exclude_seen else None)
        return {user: tuple(pools.items[user][pools.items[user] != PADDING].tolist()) for user in of.tolist()}

    earlier, hidden = candidates(config.n_candidates, probed), candidates(config.n_recovery, probed)
    of_sample = candidates(config.n_recovery, np.sort(sampled[:_PROBED]))
    pseudo = np.zeros((len(train), config.n_items), dtype=np.int32)
    for user, own in earlier.items():
        pseudo[user, : min(len(own), config.n_items)] = own[: config.n_items]
    shorter = train.up_to(np.maximum(lengths - 1, 0))
    context = with_prefix(shorter, pseudo)
    n_wanted = max(config.max_items, config.n_items)

    def before(history: Sequences) -> list[Asked]:
        return [
            Asked("before", tuple(history[u].tolist()), own, n_wanted=n_wanted) for u, own in earlier.items() if own
        ]

    def after(history: Sequences, pools: dict[int, tuple[int, ...]]) -> list[Asked]:
        n_pseudo = history.lengths - shorter.lengths
        return [Asked("after", tuple(history[u].tolist()), own, int(n_pseudo[u])) for u, own in pools.items() if own]

    plans = (
        ("recovery without pseudo items, of a sample", len(sampled), after(shorter, of_sample)),
        ("what came before", len(users), before(train)),
        ("what came before, without the hidden item", len(again), before(shorter)),
        ("recovery of the hidden item", len(checked), after(context, hidden)),
    )
    return [Part(purpose, _scaled(teacher, model, n, questions)) for purpose, n, questions in plans if n]


def _reading(catalogue: Catalogue, model: CountingModel) -> Usage:
    before = replace(model.usage)
    title_vectors(model, catalogue)
    return model.usage.minus(before)


def _scaled(teacher: Teacher, model: CountingModel, n: int, questions: list[Asked]) -> Usage:
    """What n questions like these would use."""
    calls, read, written = model.usage.calls, model.usage.prompt_tokens, model.usage.completion_tokens
    teacher.ask(questions)
    counted = max(model.usage.calls - calls, 1)
    return Usage(
        n,
        round((model.usage.prompt_tokens - read) / counted * n),
        round((model.usage.completion_tokens - written) / counted * n),
    )
