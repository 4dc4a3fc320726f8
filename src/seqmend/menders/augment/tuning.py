"""Self-supervised tuning: real histories whose neighbouring item is known, before them or after them.

The answer is scored against all texts and not among a pool alone, so that the examples need no recommender. The last
training item, which the reliability check hides, is never asked for.
"""

from pathlib import Path

import numpy as np

from seqmend.errors import InputError
from seqmend.interactions import Sequences
from seqmend.llm import Adaptation, LocalModel, Passage, adapt
from seqmend.menders.augment.config import AugmentConfig
from seqmend.menders.augment.prompt import Asked, Renderer
from seqmend.progress import Progress, silent

_LEAST_ITEMS = 4  # three to cut between, and the last, which is never asked for


def tune(
    model: LocalModel, train: Sequences, folder: Path, config: AugmentConfig, progress: Progress = silent
) -> Adaptation:
    """Fit an adapter to the form of question that reads likelihoods.

    Args:
        model: The model; it is the same after as before.
        train: The training part; nothing else is learned from.
        folder: Where the adapter is put; one that was made of the same is not fitted again.
        config: Settings.
        progress: Told the steps.

    Raises:
        InputError: No user has items enough.
    """
    passages = examples(train, config)
    n_held_out = max(1, round(len(passages) * config.tuning.validation_share))
    return adapt(model, passages[n_held_out:], passages[:n_held_out], folder, config.tuning.lora, progress)


def examples(train: Sequences, config: AugmentConfig) -> list[Passage]:
    """Questions with their answers, half of them about what came before, of different users.

    Raises:
        InputError: Fewer than two users have four items.
    """
    rng = np.random.default_rng(config.seed)
    users = rng.permutation(np.flatnonzero(train.lengths >= _LEAST_ITEMS))[: config.tuning.examples]
    if len(users) < 2:
        raise InputError(
            "there is nothing to tune the language model on",
            expected=f"two users with {_LEAST_ITEMS} training interactions or more",
        )
    words = Renderer.of(train.catalogue, config)
    found: list[Passage] = []
    for number, user in enumerate(users.tolist()):
        items = train[user][:-1].tolist()
        cut = int(rng.integers(1, len(items)))
        is_before = number % 2 == 0
        history, answer = (items[cut:], items[cut - 1]) if is_before else (items[:cut], items[cut])
        asked = Asked("before" if is_before else "after", tuple(history), (answer,))
        found.append(Passage((words.to_continue(asked), *words.choices(asked)), (False, True)))
    return found
