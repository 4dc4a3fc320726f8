"""Denoise: which interactions of a history are not the user's own, and what would be in their place (LLM4DSR)."""

import zlib
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import polars as pl

from seqmend.errors import InputError
from seqmend.interactions import Catalogue, Sequences, View
from seqmend.ledger import Ledger
from seqmend.llm import Encoder, LanguageModel, title_vectors, whiten
from seqmend.menders.denoise.cascade import ask_while_paid, by_expected_change, most_windows
from seqmend.menders.denoise.config import DenoiseConfig
from seqmend.menders.denoise.corruption import corrupt
from seqmend.menders.denoise.fusion import (
    CellFusion,
    LogisticFusion,
    WindowFusion,
    best_trust,
    blend,
)
from seqmend.menders.denoise.language import testimony
from seqmend.menders.denoise.llm4dsr import window_testimony
from seqmend.menders.denoise.network_inputs import item_tables
from seqmend.menders.denoise.networks import WindowNetworks
from seqmend.menders.denoise.replacement import Suggestion, suggest_by_behaviour, suggest_by_language
from seqmend.menders.denoise.statistics import Float32, Float64, ItemStatistics, count, describe
from seqmend.menders.denoise.verdicts import (
    NETWORK_WITNESS,
    TITLE_WITNESS,
    WINDOW_WITNESS,
    Surroundings,
    Verdicts,
    explain,
)
from seqmend.menders.denoise.windows import Bool, Int32, Int64, Windows, cut, mean_by_position
from seqmend.menders.denoise.witnesses import (
    LANGUAGE_FEATURES,
    LLM_FREE_FEATURES,
    SIMPLE_FUSION,
    SINGLE_WITNESSES,
    features,
)
from seqmend.menders.noise_rate import estimate_noise_rate, to_confidence
from seqmend.progress import Progress, silent

NAME = "denoise"
_LLM_FREE = len(LLM_FREE_FEATURES)
_DOUBTED = "in some doubt: it counts for less where it is a target"
_LEAST_NOISE = 30  # corrupted cells, below which nothing can be learned


@dataclass
class Denoiser:
    """The denoise mender: `fit` on training sequences, then `judge` or `propose`.

    Evidence comes in three layers, each calibrated: cheap witnesses for every interaction, fused by trees and by
    networks that look at whole windows; with a language model, its own representation of every title, asked for once
    per item; and its reading of whole windows, as many as the settings allow, those in most doubt first. How far each
    of the last two moves the verdict is learned on held-out users: not at all, where it has not shown to help.

    Args:
        config: Settings.
        encoder: Of titles; without one, titles are no evidence to the cheap witnesses.
        model: A language model; without one, the fusion is free of language models.
        progress: Told what is being done.

    Attributes:
        noise_rate: Share of noise in the log that confidences assume: given, or estimated by `fit`.
    """

    config: DenoiseConfig
    encoder: Encoder | None = None
    model: LanguageModel | None = None
    progress: Progress = silent
    noise_rate: float = field(init=False, default=0.0)

    def fit(self, train: Sequences, layers_of: "Denoiser | None" = None) -> Self:
        """Learn from training sequences alone what noise looks like.

        Users of the first fold are kept from the trees: their corrupted windows teach the later layers and the noise
        rate.

        Args:
            train: The log.
            layers_of: A fitted mender, of another log say, with the same kinds of readers: what it learned to make of
                the witnesses is taken over; statistics of items and the noise rate are learned here all the same.

        Raises:
            InputError: No item has a title though titles are to be read, or there is too little to learn from.
        """
        config, rng = self.config, np.random.default_rng(self.config.seed)
        if (self.model or self.encoder) and not train.catalogue.has_title.any():
            raise InputError(
                "no item has a title, and the denoise mender reads titles",
                fix='bring an item file with titles, or switch reading off (model = "none", no encoder)',
            )
        self._describe(train)
        windows = cut(train, config.max_length, config.stride)
        windows = windows[windows.real.sum(1) >= 2]
        if len(windows) > (most := config.learning_windows // config.corruption_rounds):
            windows = windows[np.sort(rng.permutation(len(windows))[:most])]
        universe = np.flatnonzero(self._everyone.log_popularity > 0).astype(np.int32)
        rounds = [
            corrupt(windows.items, universe, config.corruption_rate, rng) for _ in range(config.corruption_rounds)
        ]
        noisy = Windows(
            np.concatenate([items for items, _ in rounds]),
            np.tile(windows.users, len(rounds)),
            np.tile(windows.starts, len(rounds)),
        )
        labels = np.concatenate([corrupted for _, corrupted in rounds])
        folds = self.folds_of(train.user_ids)[noisy.users]
        if labels[folds == 0].sum() < _LEAST_NOISE or labels[folds != 0].sum() < _LEAST_NOISE:
            raise InputError(
                f"{len(windows)} windows of two or more items are too few to learn what noise looks like",
                expected="some hundreds of interactions of ten users or more",
                fix="bring a longer log",
            )
        if layers_of is None:
            self._fit_layers(noisy, labels, folds, windows, universe, train.catalogue)
        else:
            self._take_layers(layers_of, noisy[folds == 0], labels[folds == 0])
        return self

    def judge(
        self, sequences: Sequences, language_windows: int | None = None, owners: pl.Series | None = None
    ) -> Verdicts:
        """Confidence for every interaction: the mean over the windows that hold it.

        For training data such a verdict uses later items of the same user (it is future-aware).

        Args:
            sequences: What to judge; users that `fit` saw are judged by statistics of the others.
            language_windows: Overrides the setting of the same name, unless that is 0.
            owners: Whose sequence each one is, str [U], where sequences are windows of users rather than users.
        """
        windows = cut(sequences, self.config.max_length, self.config.stride)
        folds = self.folds_of(sequences.user_ids if owners is None else owners)[windows.users]
        evidence = self._evidence(windows, folds)
        real = windows.real
        llm_free, logits = self._without_model(evidence, windows.items, folds)
        alone = {
            name: self._over_cells(self._alone[name], evidence[:, :, at], real) for name, at in self._heard_by.items()
        }
        if logits is not None:
            alone[NETWORK_WITNESS] = self._over_cells(self._network_alone, logits[:, :, None], real)
        fused, asked = llm_free, np.zeros(len(windows), dtype=np.bool_)
        if self.model is not None:
            informed = self._with_titles(llm_free, evidence, windows.items, folds)
            fused = informed.copy()
            most = most_windows(self.config, len(windows), language_windows)
            if self._window is not None and self._window.trust and most:
                chosen = by_expected_change(self._confidence(informed))[:most]
                heard = self._read(windows, chosen, sequences.catalogue)
                asked = _heard(heard)
                cells = real & asked[:, None]
                alone[WINDOW_WITNESS] = self._over_cells(self._window_alone, heard[:, :, None], cells)
                fused[cells] = self._window.probability(informed[cells], heard[cells])

        def by_position(probability: Float64) -> Float64:
            return mean_by_position(self._confidence(probability), windows, sequences)

        return Verdicts(
            sequences,
            windows,
            asked,
            ~np.isnan(mean_by_position(np.where(asked[:, None] & real, 1.0, np.nan), windows, sequences)),
            {name: by_position(probability) for name, probability in alone.items()},
            by_position(llm_free),
            by_position(fused),
        )

    def propose(self, sequences: Sequences, view: View = "train") -> Ledger:
        """Edits for every interaction whose confidence reaches the threshold, and weights for those in some doubt.

        Args:
            sequences: The part of the data that the view may use: never a held-out target.
            view: Which use of the sequences is edited.
        """
        return self.propose_from(self.judge(sequences), view)

    def propose_from(
        self, verdicts: Verdicts, view: View = "train", *, gate: Float64 | None = None, ask: bool = True
    ) -> Ledger:
        """Edits from verdicts that are already there.

        Args:
            verdicts: What `judge` said.
            view: Which use of the sequences is edited; only in training does a weight mean anything.
            gate: Confidence of every interaction, float64 [N]; the fused one where absent.
            ask: Whether the language model may suggest replacements.
        """
        config, sequences = self.config, verdicts.sequences
        gate = verdicts.fused if gate is None else gate
        flagged = _flagged(gate, config.threshold, sequences, config.max_edits)
        around = Surroundings.of(sequences, flagged, config.max_length)
        suggestions: list[Suggestion | None] = [None] * len(flagged)
        if config.kind == "replace":
            suggestions = self._suggest(gate, around, sequences.catalogue, ask)
        asked = self.model.identity if self.model and ask else None
        reasons, evidence = explain(verdicts, around, suggestions, asked)
        ids = sequences.catalogue.item_ids
        after = pl.Series([ids[s.item] if s else None for s in suggestions], dtype=pl.String)
        edits = _edits(sequences, flagged, gate).with_columns(
            kind=pl.lit(config.kind),
            item_after=after,
            reason=pl.Series(reasons, dtype=pl.String),
            evidence=pl.Series(evidence, dtype=pl.String),
        )
        if view == "train" and config.soft < 1:
            doubted = np.setdiff1d(np.flatnonzero(gate >= config.soft), flagged, assume_unique=True)
            softened = _edits(sequences, doubted, gate).with_columns(
                kind=pl.lit("reweight"), reason=pl.lit(_DOUBTED), evidence=pl.lit("{}")
            )
            edits = pl.concat([edits, softened], how="diagonal")
        is_soft = pl.col("kind") == "reweight"
        edits = edits.with_columns(view=pl.lit(view), weight=pl.when(is_soft).then(1 - pl.col("confidence")))
        return Ledger.propose(edits, sequences, NAME)

    def folds_of(self, user_ids: pl.Series) -> Int64:
        """Fold of every user by a hash of the id, int64 [U]; -1 for users that were not learned from."""
        known = self._known_users
        folds = [zlib.crc32(user.encode()) % self.config.folds for user in user_ids.to_list()]
        if known is not None:
            folds = [fold if user in known else -1 for fold, user in zip(folds, user_ids.to_list(), strict=True)]
        return np.array(folds, dtype=np.int64)

    def statistics(self, fold: int) -> ItemStatistics:
        """What a fold's users are judged by: statistics of the others; of everyone for -1."""
        return self._everyone if fold < 0 else self._others[fold]

    def opinion(self, windows: Int32, folds: Int64) -> Float64:
        """P(corrupted) of every cell under the mix that was learned from, float64 [B, L]; NaN in padding.

        The language model's part is its representation of titles: no window is read.

        Args:
            windows: Item numbers, int32 [B, L], 0 = padding.
            folds: Of their users, int64 [B]; see `folds_of`.
        """
        evidence = self._evidence(Windows(windows, folds.astype(np.int32), np.zeros_like(folds)), folds)
        return self._with_titles(self._without_model(evidence, windows, folds)[0], evidence, windows, folds)

    # ------------------------------------------------------------------------------------------------------- learning

    def _describe(self, train: Sequences) -> None:
        """Item statistics of all users, and of all but each fold's."""
        config, catalogue = self.config, train.catalogue
        self._known_users: set[str] | None = None
        folds = self.folds_of(train.user_ids)
        self._known_users = set(train.user_ids.to_list())
        counts = [count(train, folds == fold, config.max_length) for fold in range(config.folds)]
        total = sum(counts[1:], counts[0])
        nothing = np.zeros((len(catalogue) + 1, 1), dtype=np.float32)
        self._title_vectors = nothing if self.encoder is None else title_vectors(self.encoder, catalogue)
        language_vectors = None if self.model is None else whiten(title_vectors(self.model, catalogue))
        readings = self._title_vectors, language_vectors
        self._others: list[ItemStatistics] = []
        for fold, own in enumerate(counts):
            self.progress("describing items", fold, len(counts))
            self._others.append(describe(total - own, *readings, seed=config.seed))
        self._everyone = describe(total, *readings, seed=config.seed)

    def _fit_layers(
        self, windows: Windows, labels: Bool, folds: Int64, clean: Windows, universe: Int32, catalogue: Catalogue
    ) -> None:
        evidence, items, real, seed = self._evidence(windows, folds), windows.items, windows.real, self.config.seed
        learning = real & (folds != 0)[:, None]
        heard, truth = evidence[learning], labels[learning]
        self.progress("learning what noise looks like", 0, 0)
        networks = self._networks(clean, folds[: len(clean)], universe, language=False)
        self._llm_free = CellFusion.fit(evidence[:, :, :_LLM_FREE], items, labels, folds, networks, seed)
        self._corrupted_share = float(truth.mean())
        names = (*LLM_FREE_FEATURES, *LANGUAGE_FEATURES)
        self._heard_by = {name: [names.index(feature)] for name, feature in SINGLE_WITNESSES.items()}
        self._heard_by[SIMPLE_FUSION] = [names.index(feature) for feature in SINGLE_WITNESSES.values()]
        if self.model is not None:
            networks = self._networks(clean, folds[: len(clean)], universe, language=True)
            self._informed = CellFusion.fit(evidence, items, labels, folds, networks, seed)
            self._heard_by[TITLE_WITNESS] = [names.index("language_first")]
        self._alone = {name: LogisticFusion().fit(heard[:, at], truth) for name, at in self._heard_by.items()}
        held_out = np.flatnonzero(folds == 0)
        windows, labels, evidence, real = windows[held_out], labels[held_out], evidence[held_out], real[held_out]
        folds = folds[held_out]
        probability, logits = self._without_model(evidence, windows.items, folds)
        if logits is not None:
            self._network_alone = LogisticFusion().fit(logits[real][:, None], labels[real])
        if self.model is not None:
            informed = self._informed.probability(evidence, windows.items, self._informed.logits(windows.items, folds))
            self._title_trust = best_trust(probability[real], informed[real], labels[real])
            probability = blend(probability, informed, self._title_trust)
        self.noise_rate = self.config.noise_rate or estimate_noise_rate(
            probability[real & labels], probability[real & ~labels]
        )
        self._window = None
        if self.model is not None and self.config.language_windows != 0:
            chosen = by_expected_change(self._confidence(probability))[: self.config.tuning_windows]
            read = self._read(windows, chosen, catalogue)
            cells = real & _heard(read)[:, None]
            if labels[cells].sum() >= _LEAST_NOISE:
                words, known = read[cells], labels[cells]
                self._window_alone = LogisticFusion().fit(words[:, None], known)
                owners = np.broadcast_to(windows.users[:, None], cells.shape)[cells]
                self._window = WindowFusion().fit(probability[cells], words, known, owners.astype(np.int64))

    def _networks(self, windows: Windows, folds: Int64, universe: Int32, language: bool) -> WindowNetworks | None:
        """Networks that have learned from fresh corruptions of training windows, if they are wanted."""
        config = self.config
        if not config.networks:
            return None
        rng = np.random.default_rng([config.seed, config.network.seed])
        tables = item_tables(self._everyone, self._others, language)
        return WindowNetworks.fit(
            tables,
            folds,
            config.max_length,
            lambda rows: corrupt(windows.items[rows], universe, config.corruption_rate, rng),
            config.network,
            progress=self.progress,
        )

    def _take_layers(self, other: "Denoiser", windows: Windows, labels: Bool) -> None:
        """Another mender's layers, and the noise rate that they see in corrupted windows of the first fold here."""
        if (self.model is None) != (other.model is None):
            raise ValueError("layers can only be taken from a mender with the same kinds of readers")
        if other.config.networks:
            raise ValueError("networks know the items of one catalogue only: layers are taken without them")
        self._llm_free, self._alone, self._heard_by = other._llm_free, other._alone, other._heard_by
        self._corrupted_share = other._corrupted_share
        if self.model is not None:
            self._informed, self._title_trust = other._informed, other._title_trust
            self._window = other._window
            if other._window is not None:
                self._window_alone = other._window_alone
        folds, real = np.zeros(len(windows), dtype=np.int64), windows.real
        evidence = self._evidence(windows, folds)
        probability, _ = self._without_model(evidence, windows.items, folds)
        probability = self._with_titles(probability, evidence, windows.items, folds)
        self.noise_rate = self.config.noise_rate or estimate_noise_rate(
            probability[real & labels], probability[real & ~labels]
        )

    # -------------------------------------------------------------------------------------------------------- judging

    def _evidence(self, windows: Windows, folds: Int64) -> Float32:
        n_features = _LLM_FREE + (0 if self.model is None else len(LANGUAGE_FEATURES))
        evidence = np.zeros((*windows.items.shape, n_features), dtype=np.float32)
        done = 0
        for fold in np.unique(folds):
            rows = folds == fold
            self.progress("hearing the witnesses", done, len(folds))
            evidence[rows] = features(windows.items[rows], self._everyone if fold < 0 else self._others[fold])
            done += int(rows.sum())
        return evidence

    def _read(self, windows: Windows, rows: Int64, catalogue: Catalogue) -> Float64:
        """What the language model says of the given windows, float64 [B, L]; NaN where not asked, or not paid for."""
        model, scorer = self.model, self.config.scorer
        assert model is not None

        def read(some: Int64) -> list[Float64]:
            if scorer == "mutual_information":
                return list(testimony(windows.items[some], catalogue, model))
            return list(window_testimony(scorer, windows.items[some], catalogue, model))

        heard = np.full(windows.items.shape, np.nan)
        for row, values in ask_while_paid(rows, read, self.progress).items():
            heard[row] = values
        return heard

    def _without_model(self, evidence: Float32, items: Int32, folds: Int64) -> tuple[Float64, Float64 | None]:
        """P(corrupted) free of the language model, float64 [B, L], NaN in padding; and the networks' log-odds."""
        logits = self._llm_free.logits(items, folds)
        return self._llm_free.probability(evidence[:, :, :_LLM_FREE], items, logits), logits

    def _with_titles(self, free: Float64, evidence: Float32, items: Int32, folds: Int64) -> Float64:
        """The same, moved by what the language model's vectors of titles say, as far as that is trusted."""
        if self.model is None:
            return free
        informed = self._informed.probability(evidence, items, self._informed.logits(items, folds))
        return blend(free, informed, self._title_trust)

    def _over_cells(self, fusion: LogisticFusion, inputs: Float32 | Float64, cells: Bool) -> Float64:
        """The fusion's probability in the given cells, float64 [B, L]; NaN elsewhere."""
        probability = np.full(cells.shape, np.nan)
        if cells.any():
            probability[cells] = fusion.probability(inputs[cells])
        return probability

    def _confidence(self, probability: Float64) -> Float64:
        return to_confidence(probability, self._corrupted_share, self.noise_rate)

    def _suggest(self, gate: Float64, around: Surroundings, catalogue: Catalogue, ask: bool) -> list[Suggestion | None]:
        suggestions: list[Suggestion | None] = list(
            suggest_by_behaviour(around.items, around.columns, around.trust(gate), self._everyone)
        )
        if ask and self.model is not None and self.encoder is not None and self.config.language_replacements:
            surest = np.argsort(-gate[around.rows], kind="stable")[: self.config.language_replacements]
            model, encoder = self.model, self.encoder

            def write(some: Int64) -> list[Suggestion | None]:
                items, columns = around.items[some], around.columns[some]
                return suggest_by_language(
                    items, columns, catalogue, self._everyone, model, encoder, self._title_vectors
                )

            for index, suggestion in ask_while_paid(surest, write, self.progress, "writing replacements").items():
                suggestions[index] = suggestion or suggestions[index]
        return suggestions


def _edits(sequences: Sequences, rows: Int64, confidence: Float64) -> pl.DataFrame:
    """Places and confidence of edits of the given interactions."""
    return pl.DataFrame(
        {
            "user_id": sequences.user_ids.gather(sequences.users[rows]),
            "position": pl.Series(sequences.positions[rows]),
            "confidence": pl.Series(confidence[rows]),
        }
    )


def _heard(testimony: Float64) -> Bool:
    """Which windows were read, bool [B]."""
    return np.asarray(~np.isnan(testimony).any(axis=1))


def _flagged(gate: Float64, threshold: float, sequences: Sequences, max_edits: int | None) -> Int64:
    """Interactions that reach the threshold, at most `max_edits` of each user, the surest."""
    flagged = np.flatnonzero(gate >= threshold)
    if max_edits is None:
        return flagged
    flagged = flagged[np.lexsort((-gate[flagged], sequences.users[flagged]))]
    _, firsts, sizes = np.unique(sequences.users[flagged], return_index=True, return_counts=True)
    nth = np.arange(len(flagged)) - np.repeat(firsts, sizes)
    return np.sort(flagged[nth < max_edits])
