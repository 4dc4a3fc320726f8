"""LLMSeR (arXiv 2503.12547): short histories get pseudo-prior items, each user as far as these can be trusted.

A recommender that learned from reversed sequences proposes what may have come before, the language model picks. Then
the last training item is hidden, a forward recommender and the language model recover it from the augmented rest, and
how alike guess and truth are is the user's weight.
"""

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from seqmend.errors import InputError
from seqmend.interactions import PADDING, Sequences
from seqmend.ledger import Ledger
from seqmend.llm import Encoder, LanguageModel
from seqmend.menders.augment.augmentation import Augmentation, Bool, Float64, Int32, Int64, Status, final_weights
from seqmend.menders.augment.candidates import Pools, best, by_backbone, by_control, reversed_in_time, with_prefix
from seqmend.menders.augment.config import AugmentConfig, Selection
from seqmend.menders.augment.prompt import Renderer
from seqmend.menders.augment.question import Teacher
from seqmend.menders.augment.reliability import ALONE, Mixing, Recoverer, learned_mixing
from seqmend.menders.augment.selection import Selected, select
from seqmend.progress import Progress, silent
from seqmend.recommenders import Backbone

NAME = "augment"
_USERS_AT_ONCE = 2048


@dataclass(frozen=True, eq=False)
class _Checked:
    """Hidden item, guess and r of all users, and who was left without an answer."""

    hidden: Int32
    guess: Int32
    raw: Float64
    unasked: Bool

    @classmethod
    def nothing(cls, n: int) -> "_Checked":
        ids = np.zeros(n, dtype=np.int32)
        return cls(ids, ids.copy(), np.full(n, np.nan), np.zeros(n, dtype=np.bool_))


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

    Attributes:
        mixing: How probabilities are joined.
        without: r0, by user id, of the users that recovery without pseudo items was asked of.
    """

    config: AugmentConfig
    model: LanguageModel | None
    encoder: Encoder | None
    backward: Backbone
    forward: Backbone
    backward_check: Backbone | None = None
    progress: Progress = silent
    mixing: Mixing = field(init=False, default=ALONE)
    without: dict[str, float] = field(init=False, default_factory=dict[str, float])

    def fit(self, train: Sequences) -> Self:
        """Read the titles, and recover hidden items of some users without pseudo items.

        Raises:
            InputError: A recommender knows another number of items, or one that the settings need is missing.
        """
        config = self.config
        for backbone in (self.backward, self.forward, self.backward_check):
            if backbone is not None and backbone.n_items != len(train.catalogue):
                raise InputError(
                    f"the recommender knows {backbone.n_items} items, the catalogue has {len(train.catalogue)}",
                    fix="train the recommenders on the log that is augmented",
                )
        if config.crossfit and self.backward_check is None:
            raise InputError("crossfit needs a reversed recommender that never saw the hidden items")
        self._vectors = self._title_vectors(train)
        self.mixing = Mixing() if config.mixing == "learned" else ALONE
        self.without = {}
        if self.model is None or not config.sample_users:
            return self
        users = np.flatnonzero(train.lengths > 1)
        chosen = np.random.default_rng(config.seed).permutation(users)[: config.sample_users]
        shorter, hidden = _without_last(train)
        said = self._recoverer(train, self.progress).recover(
            chosen, shorter, shorter, hidden[chosen], self.mixing, "recovering without pseudo items"
        )
        if config.mixing == "learned":
            self.mixing = learned_mixing(said.examples)
        ids = train.user_ids.gather(chosen).to_list()
        self.without = {user: r for user, r in zip(ids, said.raw.tolist(), strict=True) if np.isfinite(r)}
        return self

    def control(self, selection: Selection) -> "Augmenter":
        """The same without a language model, fitted to the same: candidates by rank, chance or titles.

        Args:
            selection: What picks.
        """
        config = self.config.model_copy(update={"selection": selection})
        other = replace(self, config=config, model=None)
        other._vectors = self._vectors
        return other

    def judge(self, sequences: Sequences, totals: Int64 | None = None) -> Augmentation:
        """The augmentation of every user.

        Args:
            sequences: The training part: never a held-out item.
            totals: n, interactions of every user with the held-out ones, int64 [U]; as in `sequences` where absent.
        """
        config, lengths = self.config, sequences.lengths
        totals = lengths if totals is None else totals
        is_short = totals <= (np.inf if config.augment_up_to is None else config.augment_up_to)
        users = np.flatnonzero((lengths > 0) & is_short)
        users = users[np.argsort(totals[users], kind="stable")]  # who needs it most is asked about first
        selected = Selected.nothing(len(sequences), config.n_items)
        checked = _Checked.nothing(len(sequences))
        for begin in range(0, len(users), _USERS_AT_ONCE):  # a spent budget leaves whole users behind
            some = users[begin : begin + _USERS_AT_ONCE]
            told = self._counted(begin, len(users))
            pools = self._pools(self.backward, sequences, some, told)
            selected.take(some, self._selected(pools, some, sequences, "asking what came before", told))
            has_any = some[(selected.items[some] != PADDING).any(axis=1)]
            self._check(checked, sequences, has_any, selected, told)
        raw, guess, hidden = checked.raw, checked.guess, checked.hidden
        has_any = (selected.items != PADDING).any(axis=1)
        if config.one_item == "median" and np.isfinite(raw).any():
            raw[(lengths == 1) & has_any] = np.nanmedian(raw)
        steps: list[tuple[Bool, Status]] = [
            (lengths > 0, "long"),
            (is_short & (lengths > 0), "no_candidates"),
            (has_any, "augmented"),
            (selected.unreadable, "unreadable"),
            (selected.unasked | checked.unasked, "unasked"),
        ]
        status: list[Status] = ["empty"] * len(sequences)
        for mask, word in steps:  # the later the stage, the more it says
            for user in np.flatnonzero(mask).tolist():
                status[user] = word
        kept = np.array([word == "augmented" for word in status], dtype=bool)[:, None]
        without = [self.without.get(user, np.nan) for user in sequences.user_ids.to_list()]
        is_hit = (guess == hidden) & (hidden != PADDING)
        return Augmentation(
            sequences,
            totals,
            np.where(kept, selected.items, PADDING),
            selected.filled,
            selected.probabilities,
            selected.ranks,
            raw,
            np.array(without),
            hidden,
            guess,
            final_weights(raw, is_hit, totals, config.weights, config.long_after, config.decay),
            status,
        )

    def propose(self, sequences: Sequences, totals: Int64 | None = None, is_tested: Bool | None = None) -> Ledger:
        """Edits that prepend; see `judge` and `Augmentation.to_ledger`."""
        return self.propose_from(self.judge(sequences, totals), is_tested)

    def propose_from(self, augmentation: Augmentation, is_tested: Bool | None = None) -> Ledger:
        """Edits from an augmentation that is already there."""
        selection = self.config.selection
        told = {
            "candidates": self.config.candidates,
            "selection": "rank" if self.model is None and selection == "model" else selection,
            "model": self.model.identity if self.model else None,
        }
        return augmentation.to_ledger(NAME, told, is_tested)

    def _check(
        self, checked: "_Checked", sequences: Sequences, users: Int64, selected: Selected, progress: Progress
    ) -> None:
        """Hide and recover the last item of users who have pseudo items."""
        config, lengths = self.config, sequences.lengths
        shorter, last = _without_last(sequences)
        pseudo = selected.items
        if config.crossfit and self.backward_check is not None:
            more = users[lengths[users] > 1]
            pools = self._pools(self.backward_check, shorter, more, progress)
            what = "asking what came before, without the hidden item"
            again = self._selected(pools, more, shorter, what, progress)
            pseudo = np.where((lengths > 1)[:, None], again.items, pseudo)
        if config.one_item == "median":
            users = users[lengths[users] > 1]
        context = with_prefix(shorter, pseudo)
        found = self._recoverer(sequences, progress).recover(users, shorter, context, last[users], self.mixing)
        checked.hidden[users] = last[users]
        checked.guess[users], checked.raw[users], checked.unasked[users] = found.guess, found.raw, np.isnan(found.raw)

    def _counted(self, before: int, total: int) -> Progress:
        """The progress of a part of the users, told as that of all."""
        return lambda what, done, _: self.progress(what, before + done, total)

    def _pools(self, backward: Backbone, sequences: Sequences, users: Int64, progress: Progress) -> Pools:
        config = self.config
        if config.candidates == "reversed":
            scorer = by_backbone(backward, reversed_in_time(sequences))
        else:
            scorer = by_control(config.candidates, sequences, config.seed)
        return best(
            scorer,
            users,
            len(sequences),
            backward.n_items,
            config.n_candidates,
            sequences if config.exclude_seen else None,
            progress,
            "finding candidates for what came before",
        )

    def _selected(self, pools: Pools, users: Int64, sequences: Sequences, what: str, progress: Progress) -> Selected:
        teacher = self._teacher(sequences)
        return select(self.config, pools, users, sequences, teacher, self._vectors, self.mixing, progress, what)

    def _recoverer(self, sequences: Sequences, progress: Progress) -> Recoverer:
        return Recoverer(self.config, self.forward, self._teacher(sequences), self._vectors, progress)

    def _teacher(self, sequences: Sequences) -> Teacher | None:
        if self.model is None:
            return None
        config = self.config
        words = Renderer.of(sequences.catalogue, config)
        return Teacher(self.model, words, config.answers, self.encoder, self._vectors, config.max_new_tokens)

    def _title_vectors(self, train: Sequences) -> npt.NDArray[np.float32] | None:
        if self.encoder is None:
            return None
        self.progress("reading titles", 0, 0)
        catalogue = train.catalogue
        return self.encoder.embed(catalogue.prompt_titles) * catalogue.has_title[:, None]


def _without_last(sequences: Sequences) -> tuple[Sequences, Int32]:
    """Sequences without every user's last item, and these items, int32 [U], 0 = none."""
    lengths = sequences.lengths
    last = np.zeros(len(sequences), dtype=np.int32)
    last[lengths > 0] = sequences.items[sequences.offsets[1:][lengths > 0] - 1]
    return sequences.up_to(np.maximum(lengths - 1, 0)), last
