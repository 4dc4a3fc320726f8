"""What the denoise studies share: the log, known noise under one seed, and what the mender says of it."""

import string
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from seqmend.errors import InputError
from seqmend.interactions import PADDING, Catalogue, NoiseKind, Noisy, Sequences, Split, View, inject, leave_one_out
from seqmend.menders.denoise import Denoiser, Verdicts
from seqmend.progress import Progress
from seqmend.study.config import DataConfig, NoiseConfig, RunConfig
from seqmend.study.data import before_test, read_data, spoil
from seqmend.study.readers import Readers
from seqmend.study.stages import RunDirectory

Bool = npt.NDArray[np.bool_]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Titles = Literal["own", "random"]

_LETTERS = np.array(list(string.ascii_lowercase))


@dataclass(frozen=True, eq=False)
class Setting:
    """The log of a study and everything that decides its result.

    Attributes:
        name: Of the corpus.
        clean: Leave-one-out split of the log.
        config: Settings of noise, readers, mender, backbone and training; `seeds` number the repetitions.
        max_users: How many users were drawn; None = all.
        titles: "own", or "random": every title a random string, which no model can know anything about.
    """

    name: str
    clean: Split
    config: RunConfig
    max_users: int | None
    titles: Titles

    @classmethod
    def read(
        cls, config: RunConfig, progress: Progress, max_users: int | None = None, titles: Titles = "own"
    ) -> "Setting":
        """Read the log, draw users, hold out every user's last interactions.

        Every repetition has noise, self-corruption and training of its own, all under its seed.

        Raises:
            InputError: The log cannot be used, or another split is asked for.
        """
        if config.split != "leave-one-out":
            raise InputError("the denoise studies hold out every user's last interactions", fix="leave `split` out")
        sequences = read_data(config.data, progress).sequences
        if max_users is not None:
            sequences = draw_users(sequences, max_users, np.random.default_rng(0))
        if titles == "random":
            sequences = with_random_titles(sequences, np.random.default_rng(0))
        source = config.data.corpus or Path(config.data.interactions or "").resolve().parent.name
        return cls(source, leave_one_out(sequences), config, max_users, titles)

    def begin(self, out: Path) -> RunDirectory:
        """The folder of the study's results, where a killed study goes on.

        Raises:
            InputError: The folder holds something else, or a study of other data.
        """
        directory = RunDirectory(out)
        sequences = self.clean.sequences
        device = {"device": "cuda" if torch.cuda.is_available() else "cpu", "threads": torch.get_num_threads()}
        directory.begin({"data_id": sequences.fingerprint, "corpus": self.name}, self.config.seeds, device)
        return directory

    def describe(self) -> dict[str, Any]:
        """What stands at the head of every study's figures."""
        sequences, config = self.clean.sequences, self.config
        return {
            "corpus": self.name,
            "users": len(sequences),
            "items": len(sequences.catalogue),
            "interactions": sequences.n_interactions,
            "max_users": self.max_users,
            "titles": self.titles,
            "model": config.language.model,
            "encoder": config.language.encoder,
            "threshold": config.denoise.threshold,
            "seeds": list(config.seeds),
        }

    def identity(self, seed: int) -> list[Any]:
        """Everything that decides what one repetition finds, for a stage's key; not how it is trained."""
        config = self.config
        read_by = config.language.model_dump(include={"model", "encoder", "test_windows"})
        return [self.clean.sequences.fingerprint, config.denoise.model_dump(), read_by, seed]


@dataclass(frozen=True, eq=False)
class Case:
    """One repetition: noise that is known to the judge alone, and what a mender that learned from it says.

    Attributes:
        seed: Of noise, self-corruption and training.
        clean: The split before.
        noisy: The split after.
        mender: Fitted on the noisy training part.
        verdicts: On the training part ("train") and on what precedes the test targets ("test").
    """

    seed: int
    clean: Split
    noisy: Noisy
    mender: Denoiser
    verdicts: dict[View, Verdicts]

    def rows(self, view: View) -> Int64:
        """Numbers of a view's interactions among all of the noisy sequences, int64 [n]."""
        part, whole = self.verdicts[view].sequences, self.noisy.split.sequences
        return whole.offsets[part.users] + part.positions

    def is_noise(self, view: View) -> Bool:
        """Which interactions of a view are injected noise, bool [n]."""
        return self.noisy.mask[self.rows(view)]

    @cached_property
    def groups(self) -> Int64:
        """Window of every training interaction, for figures by window, int64 [n]."""
        sequences = self.verdicts["train"].sequences
        blocks = sequences.positions // self.verdicts["train"].windows.items.shape[1]
        return np.unique(sequences.users * np.int64(2**32) + blocks, return_inverse=True)[1]


def make_noise(clean: Split, kind: NoiseKind, ratio: float, seed: int, encoder: str | None, told: Progress) -> Noisy:
    """Known noise; a ratio of 0 leaves everything as it is."""
    if ratio == 0:
        return inject(clean, "uniform", 0.0, np.random.default_rng(seed))
    return spoil(clean, NoiseConfig(kind=kind, ratio=ratio, seed=seed), encoder, told)


def make_case(
    setting: Setting,
    noise: tuple[NoiseKind, float],
    seed: int,
    readers: Readers,
    progress: Progress,
    *,
    test: bool,
    threshold: float | None = None,
) -> Case:
    """Inject noise, learn from what results, judge it.

    Args:
        setting: The log and the settings.
        noise: Kind and ratio.
        seed: Of everything random.
        readers: Who reads titles.
        progress: Told what is being done.
        test: Whether the test histories are judged too.
        threshold: Of the mender, instead of the settings' one; below it nothing is done then.
    """
    config = setting.config
    noisy = make_noise(setting.clean, *noise, seed, config.language.encoder, progress)
    changes = {"seed": seed} | ({} if threshold is None else {"threshold": threshold, "soft": 1.0})
    denoise = config.denoise.model_copy(update=changes)
    mender = Denoiser(denoise, readers.encoder, readers.model, progress).fit(noisy.split.train)
    verdicts: dict[View, Verdicts] = {"train": mender.judge(noisy.split.train)}
    if test:
        verdicts["test"] = mender.judge(before_test(noisy.split), config.language.test_windows)
    return Case(seed, setting.clean, noisy, mender, verdicts)


def draw_users(sequences: Sequences, n: int, rng: np.random.Generator) -> Sequences:
    """A random part of the users, with the items that occur in it."""
    if n >= len(sequences):
        return sequences
    chosen = np.sort(rng.permutation(len(sequences))[:n])
    is_kept = np.isin(sequences.users, chosen)
    found, items = np.unique(sequences.items[is_kept], return_inverse=True)
    kept = np.concatenate([[PADDING], found])
    catalogue = sequences.catalogue
    return Sequences(
        sequences.user_ids.gather(chosen),
        np.concatenate([[0], np.cumsum(sequences.lengths[chosen])]).astype(np.int64),
        (items + 1).astype(np.int32),
        sequences.timestamps[is_kept],
        Catalogue(catalogue.item_ids.gather(kept), catalogue.titles.gather(kept)),
    )


def with_random_titles(sequences: Sequences, rng: np.random.Generator) -> Sequences:
    """The same log under titles of three random words: whatever titles still say, a model has not read before."""
    catalogue = sequences.catalogue
    words = ["".join(letters) for letters in rng.choice(_LETTERS, (3 * len(catalogue), 6))]
    titles = [None, *(" ".join(words[3 * n : 3 * n + 3]) for n in range(len(catalogue)))]
    random = Catalogue(catalogue.item_ids, pl.Series("title", titles, dtype=pl.String))
    return replace(sequences, catalogue=random)


def data_of(corpus: str) -> DataConfig:
    """The data settings of a known corpus, or of a folder with interactions.parquet and items.parquet.

    Raises:
        InputError: The folder holds no interactions.
    """
    folder = Path(corpus)
    if not folder.is_dir():
        return DataConfig(corpus=corpus)
    interactions, items = folder / "interactions.parquet", folder / "items.parquet"
    if not interactions.is_file():
        raise InputError(
            "no interactions.parquet",
            where=str(folder),
            expected="a known corpus, or a folder with interactions.parquet and items.parquet",
        )
    return DataConfig(interactions=interactions, items=items if items.is_file() else None)
