"""Adaptive reliability validation: an item that is known is hidden and recovered, and that tells how far to trust.

After LLMSeR's ARV. Where we deviate: the model's probabilities may be joined with the recommender's, and the expected
similarity, or the probability of the hidden item itself, may stand for the similarity of the guess.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from seqmend.interactions import Sequences
from seqmend.menders.augment.candidates import Float64, Int32, Int64, best, by_backbone
from seqmend.menders.augment.config import AugmentConfig
from seqmend.menders.augment.prompt import Asked
from seqmend.menders.augment.question import Said, Teacher
from seqmend.progress import Progress, silent
from seqmend.recommenders import Backbone

_LEAST = 1e-9
_LEAST_EXAMPLES = 20
_RIDGE = 0.02


@dataclass(frozen=True)
class Mixing:
    """How probabilities of two sources become one: log p = recommender * log q + language * log l + constant."""

    recommender: float = 1.0
    language: float = 1.0

    def __call__(self, log_shares: Float64, said: tuple[float, ...]) -> Float64:
        """Probabilities of the candidates, float64 [n], summing to 1.

        Args:
            log_shares: The recommender's, within the pool, float64 [n].
            said: The language model's.
        """
        joined = self.recommender * log_shares + self.language * np.log(np.maximum(said, _LEAST))
        shares = np.exp(joined - joined.max())
        return shares / shares.sum()


ALONE = Mixing(0.0, 1.0)
"""The language model's own probabilities."""


def learned_mixing(examples: list[tuple[Float64, tuple[float, ...], int]]) -> Mixing:
    """The mixing under which known items are likeliest, neither source counting against itself.

    A conditional logit, drawn a little to equal say; equal say where there are too few examples.

    Args:
        examples: Log-shares, the model's probabilities, and the place of the item that is known.
    """
    if len(examples) < _LEAST_EXAMPLES:
        return Mixing()
    features = [np.stack([shares, np.log(np.maximum(said, _LEAST))]) for shares, said, _ in examples]
    places = [place for _, _, place in examples]

    def loss(weights: Float64) -> tuple[float, Float64]:
        value, slope = _RIDGE * float(((weights - 1) ** 2).sum()), 2 * _RIDGE * (weights - 1)
        for known, place in zip(features, places, strict=True):
            joined = weights @ known
            shares = np.exp(joined - joined.max())
            shares /= shares.sum()
            value -= float(np.log(max(shares[place], _LEAST))) / len(places)
            slope = slope - (known[:, place] - known @ shares) / len(places)
        return value, slope

    found = minimize(loss, np.ones(2), jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * 2).x
    return Mixing(float(found[0]), float(found[1]))


@dataclass(frozen=True, eq=False)
class Recovery:
    """What came of hiding an item of some users.

    Attributes:
        guess: int32 [m]; 0 where the answer cannot be read, or nothing was asked.
        raw: r, float64 [m] in [0, 1]; NaN where nothing was asked.
        examples: For `learned_mixing`, where the hidden item was among the candidates.
    """

    guess: Int32
    raw: Float64
    examples: list[tuple[Float64, tuple[float, ...], int]]


@dataclass(frozen=True, eq=False)
class Recoverer:
    """Recovers hidden items.

    Attributes:
        config: Settings.
        forward: A recommender that never had a hidden item as its target.
        teacher: The language model; None = the recommender's first candidate is the guess.
        vectors: Unit vectors of all titles, float32 [V + 1, d], zeros where there is none; None = only hits count.
        progress: Told what is being done.
    """

    config: AugmentConfig
    forward: Backbone
    teacher: Teacher | None
    vectors: npt.NDArray[np.float32] | None
    progress: Progress = silent

    def recover(
        self,
        users: Int64,
        real: Sequences,
        context: Sequences,
        hidden: Int32,
        mixing: Mixing,
        what: str = "recovering hidden items",
    ) -> Recovery:
        """What the recommender and the language model put in the place of hidden items.

        Args:
            users: Numbers of the users to ask about, the most important first, int64 [m].
            real: What is left of every user's interactions.
            context: The same with the pseudo items before them.
            hidden: The items, int32 [m].
            mixing: Of probabilities.
            what: Is being done.
        """
        config = self.config
        pools = best(
            by_backbone(self.forward, context),
            users,
            len(real),
            self.forward.n_items,
            config.n_recovery,
            real if config.exclude_seen else None,
            self.progress,
            "finding candidates for hidden items",
        )
        guess, raw = np.zeros(len(users), dtype=np.int32), np.zeros(len(users))
        sizes, shares = pools.sizes, pools.log_shares
        candidates = [pools.items[user, : sizes[user]].tolist() for user in users.tolist()]
        if self.teacher is None:
            for place, own in enumerate(candidates):
                if own:
                    guess[place] = own[0]
                    raw[place] = self.similarities(own[:1], int(hidden[place]))[0]
            return Recovery(guess, raw, [])
        if config.reliability == "probability":
            for own, item in zip(candidates, hidden.tolist(), strict=True):
                own += [] if item in own else [item]
        open_ = [place for place, own in enumerate(candidates) if own]
        n_pseudo = context.lengths - real.lengths
        questions = [
            Asked("after", tuple(context[user].tolist()), tuple(candidates[place]), int(n_pseudo[user]))
            for place, user in zip(open_, users[open_].tolist(), strict=True)
        ]
        examples: list[tuple[Float64, tuple[float, ...], int]] = []
        answers = self.teacher.ask(questions, self.progress, what)
        for place, said in zip(open_, answers, strict=True):
            own, item, user = candidates[place], int(hidden[place]), users[place]
            if said is None:
                raw[place] = np.nan
            elif said.probabilities is None:
                guess[place], raw[place] = self._of_text(own, said, item)
            elif config.reliability == "probability":
                guess[place] = own[int(np.argmax(said.probabilities[: sizes[user]]))]
                raw[place] = said.probabilities[own.index(item)]
            else:
                own_shares = shares[user, : len(own)]
                mixed, alike = mixing(own_shares, said.probabilities), self.similarities(own, item)
                picked = int(np.argmax(mixed))
                guess[place] = own[picked]
                raw[place] = alike[picked] if config.reliability == "similarity" else float(mixed @ alike)
                if item in own:
                    examples.append((own_shares, said.probabilities, own.index(item)))
        return Recovery(guess, np.clip(raw, 0.0, 1.0), examples)

    def similarities(self, items: list[int], hidden: int) -> Float64:
        """How alike titles are to that of the hidden item, float64 [n] in [0, 1]; 1 for the item itself."""
        is_hit = np.array(items) == hidden
        if self.vectors is None:
            return is_hit.astype(np.float64)
        alike = np.clip((self.vectors[items] @ self.vectors[hidden]).astype(np.float64), 0.0, 1.0)
        return np.where(is_hit, 1.0, alike)

    def _of_text(self, candidates: list[int], said: Said, hidden: int) -> tuple[int, float]:
        if not said.ranking:
            return 0, 0.0
        item = candidates[said.ranking[0]]
        return item, float(self.similarities([item], hidden)[0])
