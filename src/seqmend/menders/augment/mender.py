"""LLMSeR (arXiv 2503.12547): short histories get pseudo-prior items, each user as far as these can be trusted.

A recommender that learned from reversed sequences proposes what may have come before, the language model picks. Then
the last training item is hidden, a forward recommender and the language model recover it from the augmented rest, and
how alike guess and truth are is the user's weight.
"""

from dataclasses import dataclass
from typing import Self

from seqmend.interactions import Sequences
from seqmend.ledger import Ledger
from seqmend.llm import Encoder, LanguageModel
from seqmend.menders.augment.augmentation import Augmentation, Bool, Int64
from seqmend.menders.augment.config import AugmentConfig
from seqmend.progress import Progress, silent
from seqmend.recommenders import Backbone

NAME = "augment"


@dataclass
class Augmenter:
    """The mender: `fit` on training sequences, then `judge` or `propose`.

    Args:
        config: Settings.
        model: The language model; without one candidates are picked by rank, chance or titles, and the forward
            recommender's first candidate is the guess.
        encoder: What tells how alike titles are; without one a guess counts only if it hits.
        backward: A recommender that was trained on the reversed training sequences.
        forward: A recommender that was trained on the training sequences without their last items.
        backward_check: One that was trained on the reversed training sequences without their last items; for
            `crossfit`.
        progress: Told what is being done.
    """

    config: AugmentConfig
    model: LanguageModel | None
    encoder: Encoder | None
    backward: Backbone
    forward: Backbone
    backward_check: Backbone | None = None
    progress: Progress = silent

    def fit(self, train: Sequences) -> Self:
        """Refuse recommenders of another catalogue, and learn how to mix probabilities."""
        raise NotImplementedError

    def judge(self, sequences: Sequences, totals: Int64 | None = None) -> Augmentation:
        """The augmentation of every user.

        Args:
            sequences: The training part: never a held-out item.
            totals: n, interactions of every user with the held-out ones, int64 [U]; as in `sequences` where absent.
        """
        raise NotImplementedError

    def propose(self, sequences: Sequences, totals: Int64 | None = None, is_tested: Bool | None = None) -> Ledger:
        """Edits that prepend; see `judge` and `Augmentation.to_ledger`."""
        raise NotImplementedError
