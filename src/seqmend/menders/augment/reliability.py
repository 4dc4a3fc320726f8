"""Adaptive reliability validation: an item that is known is hidden and recovered, and that tells how far to trust.

After LLMSeR's ARV. Where we deviate: the model's probabilities may be joined with the recommender's, and the expected
similarity, or the probability of the hidden item itself, may stand for the similarity of the guess.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqmend.interactions import Sequences
from seqmend.menders.augment.blend import conditional_logit
from seqmend.menders.augment.candidates import Float64, Int32, Int64, Scorer, best
from seqmend.menders.augment.config import AugmentConfig
from seqmend.menders.augment.prompt import Asked
from seqmend.menders.augment.question import Said, Teacher
from seqmend.progress import Progress, silent

_LEAST = 1e-9
_LEAST_EXAMPLES = 20


@dataclass(frozen=True)
class Mixing:
    """How probabilities of two sources become one: log p = pool * log q + language * log l + constant."""

    pool: float = 1.0
    language: float = 1.0

    def __call__(self, log_shares: Float64, said: tuple[float, ...]) -> Float64:
        """Probabilities of the candidates, float64 [n], summing to 1.

        Args:
            log_shares: Those by which the pool was made, float64 [n].
            said: The language model's.
        """
        joined = self.pool * log_shares + self.language * np.log(np.maximum(said, _LEAST))
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
    pool, language = conditional_logit(features, [place for _, _, place in examples], np.ones(2)).tolist()
    return Mixing(pool, language)


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
        after: Of histories the scores of what comes next, by a recommender that never had a hidden item as its target.
        n_items: V.
        teacher: The language model, where it is asked; else the first candidate is the guess.
        vectors: Unit vectors of all titles, float32 [V + 1, d], zeros where there is none; None = only hits count.
        progress: Told what is being done.
    """

    config: AugmentConfig
    after: Callable[[Sequences], Scorer]
    n_items: int
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
            self.after(context),
            users,
            len(real),
            self.n_items,
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
                    raw[place] = self._of_shares(own, np.exp(shares[users[place], : len(own)]), int(hidden[place]))
            return Recovery(guess, np.clip(raw, 0.0, 1.0), [])
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
                mixed = mixing(own_shares, said.probabilities)
                guess[place], raw[place] = own[int(np.argmax(mixed))], self._of_shares(own, mixed, item)
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

    def _of_shares(self, candidates: list[int], shares: Float64, hidden: int) -> float:
        """r, of candidates with probabilities."""
        if self.config.reliability == "probability":
            return float(shares[candidates.index(hidden)]) if hidden in candidates else 0.0
        alike = self.similarities(candidates, hidden)
        return float(alike[int(np.argmax(shares))] if self.config.reliability == "similarity" else shares @ alike)

    def _of_text(self, candidates: list[int], said: Said, hidden: int) -> tuple[int, float]:
        if not said.ranking:
            return 0, 0.0
        item = candidates[said.ranking[0]]
        return item, float(self.similarities([item], hidden)[0])
