"""What is prepended to whom: the mender's augmentations, its controls and ASReP's, each made once and kept."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from seqmend.files import write_atomic, write_json
from seqmend.interactions import PADDING, Sequences
from seqmend.ledger import Ledger
from seqmend.llm import Encoder, Usage
from seqmend.menders.augment import Augmentation, AugmentConfig, Augmenter, generated
from seqmend.progress import Progress
from seqmend.study.augment_recommenders import AugmentRecommenders, fit_recommenders
from seqmend.study.augment_studies.setting import Setting
from seqmend.study.readers import Readers, load_readers
from seqmend.study.stages import RunDirectory, fingerprint

ASREP_ITEMS, ASREP_UP_TO = 15, 18
"""k and M of ASReP on Beauty (official settings): items per user, and the longest sequence that gets any."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """One augmentation of all users.

    Attributes:
        ledger: Its edits, accepted.
        users: One row per user: `user_id, n, raw, r0, weight, hidden_item, guess, n_pseudo, status`.
        cost: What asking took: `calls, prompt_tokens, completion_tokens, seconds`, and `total_seconds` with all else.
    """

    ledger: Ledger
    users: pl.DataFrame
    cost: dict[str, float]


class Proposer:
    """Makes augmentations under various settings of one mender; what it learned and asked once is kept.

    Args:
        setting: The log and the settings.
        directory: The study's folder.
        progress: Told what is being done.
        jobs: Trainings at once.
    """

    def __init__(self, setting: Setting, directory: RunDirectory, progress: Progress, jobs: int | None = None) -> None:
        self.setting, self.directory, self.progress, self.jobs = setting, directory, progress, jobs
        self._readers: Readers | None = None
        self._known: dict[str, Proposal] = {}
        split = setting.split
        self._is_tested = np.isin(np.arange(len(split.sequences)), split.test.users)

    def proposed(self, changes: dict[str, Any], *, with_model: bool = True) -> Proposal:
        """What the mender proposes under changed settings.

        Args:
            changes: Of the mender's settings.
            with_model: Whether the language model is asked, where the settings name one.
        """
        language = self.setting.config.language
        mender = self.config_of(changes)
        model = language.model if with_model else None
        identity = [mender.model_dump(), model, language.encoder]

        def make() -> tuple[Augmentation, Ledger, Usage]:
            train = self._seen(mender)
            recommenders = self._recommenders(mender, train)
            readers = self._loaded()
            reader = readers.model if model is not None else None
            before = replace(reader.usage) if reader else Usage()
            augmenter = Augmenter(
                mender,
                reader,
                readers.encoder,
                recommenders.backward,
                recommenders.forward,
                recommenders.backward_check,
                self.progress,
            ).fit(train)
            said = augmenter.judge(train, self.setting.split.sequences.lengths)
            ledger = augmenter.propose_from(said, self._is_tested)
            return said, ledger, reader.usage.minus(before) if reader else Usage()

        return self._kept("augment", identity, make)

    def asrep(self) -> Proposal:
        """What a reversed recommender writes before short sequences by itself (ASReP, SIGIR 2021)."""

        def make() -> tuple[Augmentation, Ledger, Usage]:
            mender = self.setting.config.augment
            train, totals = self.setting.split.train, self.setting.split.sequences.lengths
            backward = self._recommenders(mender, train).backward
            users = np.flatnonzero((totals <= ASREP_UP_TO) & (train.lengths > 0))
            pseudo = generated(backward, train, users, min(ASREP_ITEMS, backward.n_items), self.progress)
            said = _unweighted(train, totals, pseudo)
            return said, said.to_ledger("asrep", {"items": ASREP_ITEMS}, self._is_tested), Usage()

        return self._kept("asrep", [ASREP_ITEMS, ASREP_UP_TO, self.setting.config.augment.seed], make)

    def reversed_weights(self) -> Path:
        """Folder of the recommender that was trained on reversed sequences."""
        self._recommenders(self.setting.config.augment, self.setting.split.train)
        return self._folder(self.setting.config.augment) / "backward"

    def config_of(self, changes: dict[str, Any]) -> AugmentConfig:
        """The mender's settings with changes; those that were not set by hand follow the mode."""
        given = self.setting.config.augment.model_dump(exclude_unset=True)
        return AugmentConfig.model_validate({**given, **changes})

    def _seen(self, mender: AugmentConfig) -> Sequences:
        """What the mender is shown: the training part, and in the published form the validation item, too."""
        split = self.setting.split
        if not mender.sees_validation:
            return split.train
        ends = split.train_ends.copy()
        ends[split.valid.users] += 1
        return split.sequences.up_to(ends)

    def _folder(self, mender: AugmentConfig) -> Path:
        return self.directory.path / "recommenders" / ("published" if mender.sees_validation else "default")

    def _recommenders(self, mender: AugmentConfig, seen: Sequences) -> AugmentRecommenders:
        config = self.setting.config.model_copy(update={"augment": mender})
        return fit_recommenders(config, seen, self._folder(mender), self.progress, self.jobs)

    def _loaded(self) -> Readers:
        if self._readers is None:
            journal = self.directory.path / "journal.sqlite"
            readers = load_readers(self.setting.config.language, journal, self.progress)
            self._readers = replace(readers, encoder=_ReadOnce(readers.encoder) if readers.encoder else None)
        return self._readers

    def _kept(self, kind: str, identity: list[Any], make: Any) -> Proposal:
        """A proposal: made, unless it is kept under the same identity."""
        config, path = self.setting.config, self.directory.path
        own = [self.setting.split.sequences.fingerprint, config.backbone.model_dump(), config.form]
        key = fingerprint(kind, *own, config.training.model_dump(), identity)
        if key in self._known:
            return self._known[key]
        name = f"{kind}-{key[:10]}"
        files = [f"ledgers/{name}.parquet", f"ledgers/{name}-users.parquet", f"ledgers/{name}.json"]

        def write() -> None:
            begin = time.perf_counter()
            said, ledger, usage = make()
            ledger.accept().write(path / files[0])
            with write_atomic(path / files[1]) as temporary:
                said.users.write_parquet(temporary)
            write_json(path / files[2], {**asdict(usage), "total_seconds": time.perf_counter() - begin})

        def read() -> Proposal:
            cost = json.loads((path / files[2]).read_text("utf-8"))
            return Proposal(Ledger.read(path / files[0]), pl.read_parquet(path / files[1]), cost)

        self._known[key] = self.directory.stage(name, key, files, write, read)
        return self._known[key]


class _ReadOnce:
    """An encoder that remembers the last texts: every mender of a study reads the same titles."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder, self._texts = encoder, list[str]()
        self._vectors = np.zeros((0, 0), dtype=np.float32)
        self.identity = encoder.identity

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """See `Encoder.embed`."""
        if self._texts != list(texts):
            self._texts, self._vectors = list(texts), self._encoder.embed(texts)
        return self._vectors


def _unweighted(train: Sequences, totals: Any, pseudo: Any) -> Augmentation:
    """An augmentation whose items count in full."""
    has_any = (pseudo != PADDING).any(axis=1)
    nothing = np.zeros(len(train), dtype=np.int32)
    unknown = np.full(len(train), np.nan)
    return Augmentation(
        sequences=train,
        totals=totals,
        pseudo=pseudo,
        filled=np.zeros(pseudo.shape, dtype=np.bool_),
        probabilities=np.full(pseudo.shape, np.nan),
        ranks=np.zeros(pseudo.shape, dtype=np.int64),
        raw=unknown,
        raw_without=unknown,
        hidden=nothing,
        guess=nothing,
        weights=has_any.astype(np.float64),
        status=["augmented" if given else "long" for given in has_any.tolist()],
    )
