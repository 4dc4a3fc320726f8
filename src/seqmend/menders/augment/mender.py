"""LLMSeR (arXiv 2503.12547): short histories get pseudo-prior items, each user as far as these can be trusted.

A recommender that learned from reversed sequences proposes what may have come before, the language model picks. Then
the last training item is hidden, a forward recommender and the language model recover it from the augmented rest, and
how alike guess and truth are is the user's weight.

By default the language model is not asked about users. It reads every title once, and how alike its representations
are to those of a history, beside the recommender, makes the pool and its order: better than its answers, at one pass
per item instead of two per user.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from seqmend.errors import InputError
from seqmend.interactions import PADDING, Sequences
from seqmend.ledger import Ledger
from seqmend.llm import Encoder, LanguageModel, title_vectors, whiten
from seqmend.menders.augment.augmentation import Augmentation, Bool, Float64, Int32, Int64, Status, final_weights
from seqmend.menders.augment.blend import Float32, Sources, learned_weights
from seqmend.menders.augment.candidates import (
    Pools,
    Scorer,
    best,
    by_backbone,
    by_control,
    reversed_in_time,
    with_prefix,
)
from seqmend.menders.augment.config import AugmentConfig
from seqmend.menders.augment.prompt import Renderer
from seqmend.menders.augment.question import Teacher
from seqmend.menders.augment.reliability import ALONE, Mixing, Recoverer, learned_mixing
from seqmend.menders.augment.selection import Selected, select
from seqmend.progress import Progress, silent
from seqmend.recommenders import Backbone

NAME = "augment"
_USERS_AT_ONCE = 2048
_WEIGHED_USERS = 2000


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
        model: The language model; without one, and where it is not asked, candidates are picked by rank, chance or
            titles, and the best one after a history is the guess.
        encoder: What tells how alike titles are; without one a guess counts only if it hits.
        backward: A recommender that was trained on the reversed training sequences.
        forward: A recommender that was trained on the training sequences without their last items.
        backward_check: One that was trained on the reversed training sequences without their last items; for
            `crossfit`.
        progress: Told what is being done.

    Attributes:
        blend: Weights of what makes a blended pool, by source; empty in any other.
        mixing: How a model's probabilities are joined with the pool's.
        without: r0, by user id, of the users that recovery without pseudo items was asked of.
    """

    config: AugmentConfig
    model: LanguageModel | None
    encoder: Encoder | None
    backward: Backbone
    forward: Backbone
    backward_check: Backbone | None = None
    progress: Progress = silent
    blend: dict[str, float] = field(init=False, default_factory=dict[str, float])
    mixing: Mixing = field(init=False, default=ALONE)
    without: dict[str, float] = field(init=False, default_factory=dict[str, float])
    _title_vectors: Float32 | None = field(init=False, default=None)
    _model_vectors: Float32 | None = field(init=False, default=None)

    def fit(self, train: Sequences) -> Self:
        """Read the titles, and recover hidden items of some users without pseudo items.

        Raises:
            InputError: A recommender knows another number of items, or one that the settings need is missing.
            BudgetExceeded: Reading the titles is more than the language model may cost.
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
        self._title_vectors = self._model_vectors = None
        has_any = bool(train.catalogue.has_title.any())
        if has_any and self.encoder is not None:
            self.progress("reading titles", 0, 0)
            self._title_vectors = title_vectors(self.encoder, train.catalogue)
        if has_any and self.model is not None and config.candidates == "blended" and not self._asks:
            self.progress("reading titles with the language model", 0, 0)
            self._model_vectors = whiten(title_vectors(self.model, train.catalogue))
        return self._learn(train)

    def control(self, train: Sequences, **changes: Any) -> "Augmenter":
        """The same mender without a language model.

        Args:
            train: What this one was fitted to.
            changes: Of the settings.
        """
        config = self.config.model_copy(update={"selection": "rank", **changes})
        other = replace(self, config=config, model=None)
        other._title_vectors, other._model_vectors = self._title_vectors, None
        return other._learn(train)

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
            "selection": "model" if self._asks else "rank" if selection in ("auto", "model") else selection,
            "model": self.model.identity if self.model else None,
        }
        return augmentation.to_ledger(NAME, told, is_tested)

    @property
    def _asks(self) -> bool:
        """Whether the language model is asked about users."""
        return self.model is not None and self.config.asks(self.model.capability)

    def _learn(self, train: Sequences) -> Self:
        """What counts how much, and what can be recovered without pseudo items."""
        config, rng = self.config, np.random.default_rng(self.config.seed)
        users = rng.permutation(np.flatnonzero(train.lengths > 1))
        shorter, hidden = _without_last(train)
        self.blend, self.without = {}, {}
        self.mixing = Mixing() if config.mixing == "learned" else ALONE
        if config.candidates == "blended":
            sources, chosen = self._sources(self.forward, shorter), users[:_WEIGHED_USERS]
            left_out = shorter if config.exclude_seen else None
            self.blend = learned_weights(sources, chosen, hidden[chosen], left_out, self.progress)
        if not config.sample_users:
            return self
        chosen = users[: config.sample_users]
        said = self._recoverer(train, self.progress).recover(
            chosen, shorter, shorter, hidden[chosen], self.mixing, "recovering without pseudo items"
        )
        if config.mixing == "learned":
            self.mixing = learned_mixing(said.examples)
        ids = train.user_ids.gather(chosen).to_list()
        self.without = {user: r for user, r in zip(ids, said.raw.tolist(), strict=True) if np.isfinite(r)}
        return self

    def _sources(self, backbone: Backbone, shown: Sequences) -> Sources:
        readings = {"titles": self._title_vectors, "model": self._model_vectors}
        known = {name: vectors for name, vectors in readings.items() if vectors is not None}
        return Sources(backbone, shown, known, self.config.max_history)

    def _scorer(self, backbone: Backbone, shown: Sequences) -> Scorer:
        """What comes next, by a recommender, and by titles where the pool is blended."""
        if self.config.candidates != "blended":
            return by_backbone(backbone, shown)
        return self._sources(backbone, shown).scorer(self.blend)

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
        if config.candidates in ("blended", "reversed"):
            scorer = self._scorer(backward, reversed_in_time(sequences))
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
        return select(self.config, pools, users, sequences, teacher, self._title_vectors, self.mixing, progress, what)

    def _recoverer(self, sequences: Sequences, progress: Progress) -> Recoverer:
        def after(context: Sequences) -> Scorer:
            return self._scorer(self.forward, context)

        n_items = self.forward.n_items
        return Recoverer(self.config, after, n_items, self._teacher(sequences), self._title_vectors, progress)

    def _teacher(self, sequences: Sequences) -> Teacher | None:
        if self.model is None or not self._asks:
            return None
        config = self.config
        words = Renderer.of(sequences.catalogue, config)
        return Teacher(self.model, words, config.answers, self.encoder, self._title_vectors, config.max_new_tokens)


def _without_last(sequences: Sequences) -> tuple[Sequences, Int32]:
    """Sequences without every user's last item, and these items, int32 [U], 0 = none."""
    lengths = sequences.lengths
    last = np.zeros(len(sequences), dtype=np.int32)
    last[lengths > 0] = sequences.items[sequences.offsets[1:][lengths > 0] - 1]
    return sequences.up_to(np.maximum(lengths - 1, 0)), last
