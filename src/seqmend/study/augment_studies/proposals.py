"""What is prepended to whom: the mender's augmentations, its controls and ASReP's, each made once and kept."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from seqmend.files import write_atomic, write_json
from seqmend.interactions import Split
from seqmend.ledger import Ledger
from seqmend.llm import Encoder, Usage
from seqmend.menders.augment import AugmentConfig, Augmenter
from seqmend.progress import Progress
from seqmend.study.augment_recommenders import AugmentRecommenders, fit_recommenders
from seqmend.study.augment_studies.setting import Setting
from seqmend.study.augmenting import asrep_ledger, load_augment_readers, resolved_settings, seen_part
from seqmend.study.config import RunConfig
from seqmend.study.readers import Readers
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

        def make() -> tuple[pl.DataFrame, Ledger, Usage]:
            readers = self._loaded()
            reader = readers.model if model is not None else None
            config = self.setting.config.model_copy(update={"augment": mender})
            seen, recommenders = seen_part(config, self.setting.split), self._recommenders(config)
            before = replace(reader.usage) if reader else Usage()
            augmenter = Augmenter(
                resolved_settings(config, reader),
                reader,
                readers.encoder,
                recommenders.backward,
                recommenders.forward,
                recommenders.backward_check,
                self.progress,
            ).fit(seen)
            said = augmenter.judge(seen, self.setting.split.sequences.lengths)
            ledger = augmenter.propose_from(said, self._is_tested).accept(reviewer="reliability")
            return said.users, ledger, reader.usage.minus(before) if reader else Usage()

        return self._kept("augment", identity, make)

    def asrep(self) -> Proposal:
        """What a reversed recommender writes before short sequences by itself (ASReP, SIGIR 2021)."""

        def make() -> tuple[pl.DataFrame, Ledger, Usage]:
            split = self.setting.split
            backward = self._recommenders(self.setting.config).backward
            n_items = min(ASREP_ITEMS, backward.n_items)
            ledger = asrep_ledger(backward, split, n_items, ASREP_UP_TO, self.progress)
            return _users_of(ledger, split), ledger, Usage()

        return self._kept("asrep", [ASREP_ITEMS, ASREP_UP_TO, self.setting.config.augment.seed], make)

    def reversed_weights(self) -> Path:
        """Folder of the recommender that was trained on reversed sequences."""
        self._recommenders(self.setting.config)
        return self._folder(self.setting.config.augment) / "backward"

    def config_of(self, changes: dict[str, Any]) -> AugmentConfig:
        """The mender's settings with changes; those that were not set by hand follow the mode."""
        given = self.setting.config.augment.model_dump(exclude_unset=True)
        return AugmentConfig.model_validate({**given, **changes})

    def _folder(self, mender: AugmentConfig) -> Path:
        return self.directory.path / "recommenders" / ("published" if mender.sees_validation else "default")

    def _recommenders(self, config: RunConfig) -> AugmentRecommenders:
        seen = seen_part(config, self.setting.split)
        return fit_recommenders(config, seen, self._folder(config.augment), self.progress, self.jobs)

    def _loaded(self) -> Readers:
        if self._readers is None:
            setting, path = self.setting, self.directory.path
            journal = path / "journal.sqlite"
            readers = load_augment_readers(setting.config, setting.split, journal, path, self.progress)
            self._readers = replace(readers, encoder=_ReadOnce(readers.encoder) if readers.encoder else None)
        return self._readers

    def _kept(self, kind: str, identity: list[Any], make: Callable[[], tuple[pl.DataFrame, Ledger, Usage]]) -> Proposal:
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
            users, ledger, usage = make()
            ledger.write(path / files[0])
            with write_atomic(path / files[1]) as temporary:
                users.write_parquet(temporary)
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


def _users_of(ledger: Ledger, split: Split) -> pl.DataFrame:
    """A row per user for a ledger whose items are not checked."""
    edits = ledger.edits.filter(pl.col("view") == "train")
    counts = edits.group_by("user_id").agg(n_pseudo=pl.len().cast(pl.Int64), weight=pl.col("weight").first())
    users = pl.DataFrame({"user_id": split.sequences.user_ids, "n": split.sequences.lengths})
    unknown = {"raw": pl.Float64, "r0": pl.Float64, "hidden_item": pl.String, "guess": pl.String}
    return users.join(counts, on="user_id", how="left", maintain_order="left").with_columns(
        pl.col("n_pseudo", "weight").fill_null(0),
        status=pl.when(pl.col("n_pseudo").is_null()).then(pl.lit("long")).otherwise(pl.lit("augmented")),
        **{name: pl.lit(None, dtype) for name, dtype in unknown.items()},
    )
