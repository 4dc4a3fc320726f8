"""Which of the candidates are prepended, and in which order."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqmend.interactions import PADDING, Sequences
from seqmend.menders.augment.augmentation import Bool
from seqmend.menders.augment.candidates import Float64, Int32, Int64, Pools
from seqmend.menders.augment.config import AugmentConfig
from seqmend.menders.augment.prompt import Asked
from seqmend.menders.augment.question import Teacher
from seqmend.menders.augment.reliability import Mixing
from seqmend.progress import Progress, silent


@dataclass(frozen=True, eq=False)
class Selected:
    """What was selected for U users.

    Attributes:
        items: int32 [U, M]; column 0 stands next to the user's first item; 0 = none.
        filled: Which of them the recommender's rank filled in, bool [U, M].
        probabilities: Of each among the pool, float64 [U, M]; NaN where there are none.
        ranks: Place of each in the pool, from 1, int64 [U, M]; 0 = none.
        unreadable: Users whose answer could not be read, bool [U].
        unasked: Users whom a spent budget left without an answer, bool [U].
    """

    items: Int32
    filled: Bool
    probabilities: Float64
    ranks: Int64
    unreadable: Bool
    unasked: Bool

    @classmethod
    def nothing(cls, n_users: int, n_items: int) -> "Selected":
        """Nothing for U users."""
        shape = (n_users, n_items)
        return cls(
            np.zeros(shape, dtype=np.int32),
            np.zeros(shape, dtype=np.bool_),
            np.full(shape, np.nan),
            np.zeros(shape, dtype=np.int64),
            np.zeros(n_users, dtype=np.bool_),
            np.zeros(n_users, dtype=np.bool_),
        )

    def take(self, users: Int64, other: "Selected") -> None:
        """Take over what was selected for some users."""
        for name in ("items", "filled", "probabilities", "ranks", "unreadable", "unasked"):
            getattr(self, name)[users] = getattr(other, name)[users]


def select(
    config: AugmentConfig,
    pools: Pools,
    users: Int64,
    sequences: Sequences,
    teacher: Teacher | None,
    vectors: npt.NDArray[np.float32] | None,
    mixing: Mixing,
    progress: Progress = silent,
    what: str = "asking what came before",
) -> Selected:
    """The pseudo items of users.

    Args:
        config: Settings.
        pools: The candidates.
        users: Numbers of the users who get any, the most important first, int64 [m].
        sequences: The histories that the items come before.
        teacher: The language model, if it is asked.
        vectors: Unit vectors of all titles, float32 [V + 1, d]; without them the rank decides where titles should.
        mixing: Of probabilities.
        progress: Told what is being done.
        what: Is being done.
    """
    picked = Selected.nothing(len(sequences), config.n_items)
    sizes, shares = pools.sizes, pools.log_shares
    users = users[sizes[users] > 0]
    if teacher is None:
        for user in users.tolist():
            own = np.exp(shares[user, : sizes[user]]) if config.candidates == "blended" else None
            _place(picked, user, pools, _order(config, pools, user, sequences, vectors), own, 0, config)
        return picked
    questions = [
        Asked(
            "before",
            tuple(sequences[user].tolist()),
            tuple(pools.items[user, : sizes[user]].tolist()),
            n_wanted=max(config.max_items, config.n_items),
        )
        for user in users.tolist()
    ]
    for user, said in zip(users.tolist(), teacher.ask(questions, progress, what), strict=True):
        if said is None:
            picked.unasked[user] = True
        elif said.probabilities is not None:
            mixed = mixing(shares[user, : sizes[user]], said.probabilities)
            _place(picked, user, pools, np.argsort(-mixed, kind="stable"), mixed, 0, config)
        elif not said.ranking:
            picked.unreadable[user] = True
        else:
            named = list(said.ranking[: config.n_items])
            rest = [place for place in range(int(sizes[user])) if place not in named]
            n_filled = config.n_items - len(named) if config.shortfall == "fill" else 0
            order = np.array([*named, *rest[:n_filled]], dtype=np.int64)
            _place(picked, user, pools, order, None, max(len(order) - len(named), 0), config)
    return picked


def _order(
    config: AugmentConfig,
    pools: Pools,
    user: int,
    sequences: Sequences,
    vectors: npt.NDArray[np.float32] | None,
) -> Int64:
    """Places of a pool by its rank, or in the order of a control."""
    own = pools.items[user][pools.items[user] != PADDING]
    if config.selection == "random":
        return np.random.default_rng([config.seed, user]).permutation(len(own))
    if config.selection == "similar" and vectors is not None:
        return np.argsort(-(vectors[own] @ vectors[sequences[user]].mean(axis=0)), kind="stable")
    return np.arange(len(own))


def _place(
    picked: Selected,
    user: int,
    pools: Pools,
    order: Int64,
    probabilities: Float64 | None,
    n_filled: int,
    config: AugmentConfig,
) -> None:
    """Note the first M of an order, of which the last `n_filled` were filled in, as the settings arrange them."""
    chosen = order[: config.n_items]
    is_filled = np.arange(len(chosen)) >= len(chosen) - n_filled
    if config.order == "best_first":
        arranged = np.arange(len(chosen))[::-1]
    elif config.order == "random":
        arranged = np.random.default_rng([config.seed, user, 1]).permutation(len(chosen))
    else:
        arranged = np.arange(len(chosen))
    columns = slice(len(chosen))
    picked.items[user, columns] = pools.items[user, chosen[arranged]]
    picked.filled[user, columns] = is_filled[arranged]
    picked.ranks[user, columns] = 1 + chosen[arranged]
    if probabilities is not None:
        picked.probabilities[user, columns] = probabilities[chosen[arranged]]
