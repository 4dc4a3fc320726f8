"""What the correct studies share: known noise under one seed, a recommender's doubts, and every judge's corrections."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import BaseModel, TypeAdapter

from seqmend.errors import InputError
from seqmend.interactions import NoiseKind, Noisy, Sequences
from seqmend.llm import title_vectors
from seqmend.menders.correct import (
    AskedScore,
    Correction,
    Corrector,
    at_random,
    by_co_occurrence,
    by_title,
    co_occurrence,
    pairwise,
)
from seqmend.progress import Progress
from seqmend.recommenders import BackboneConfig, TrainingConfig
from seqmend.study.arms import ArmData, HeldOut
from seqmend.study.config import RunConfig
from seqmend.study.correct_studies.quality import Truth
from seqmend.study.correcting import Recommender, at_same_rate, corrector_of, known_noise
from seqmend.study.denoise_studies.retraining import raw_arm
from seqmend.study.denoise_studies.setting import Setting, make_noise
from seqmend.study.parallel import Pool
from seqmend.study.readers import Readers
from seqmend.study.stages import RunDirectory
from seqmend.study.teaching import Taught, learn_company, refuse_unteachable, teach
from seqmend.study.trainings import begin_training, equal_steps, finish_training, kept_model

Int32 = npt.NDArray[np.int32]
Noise = tuple[NoiseKind, float]

JUDGES = ("model", "learned", "titles", "co-occurrence", "random")
"""Who corrects: the language model; judges without one, who find as many inputs foreign; chance, which does as much."""


@dataclass(frozen=True, eq=False)
class Case:
    """One repetition with one backbone.

    Attributes:
        seed: Of noise, training and chance.
        config: Of the studies' run, the backbone sized for the instances.
        noisy: The noise.
        held_out: What is measured.
        recommender: Trained on the noisy log; it is the raw arm.
        raw: Its ranks of the test targets.
        model: Folder that its weights lie in.
        taught: Who is asked.
        corrector: Fitted.
        readers: Who reads titles.
    """

    seed: int
    config: RunConfig
    noisy: Noisy
    held_out: HeldOut
    recommender: Recommender
    raw: npt.NDArray[np.int64]
    model: Path
    taught: Taught
    corrector: Corrector
    readers: Readers

    @property
    def train(self) -> Sequences:
        """The noisy training part."""
        return self.noisy.split.train

    @property
    def training(self) -> TrainingConfig:
        """Of all arms: equally many steps, none of them ended early."""
        return _to_the_end(self.config, self.seed, self.train)

    def with_settings(self, *, ruled: bool = True, **changes: Any) -> Corrector:
        """The corrector with other settings, or without rules; what it has asked before is in the journal."""
        config = self.config.correct.model_copy(update=changes)
        strangers, progress = self.corrector.strangers, self.corrector.progress
        made = corrector_of(config, self.taught, self.recommender, strangers, progress, ruled=ruled)
        return made.fit(self.train)

    def truth(self, corrections: Sequence[Correction]) -> Truth:
        """The noise in uncertain instances."""
        closest = self.corrector.instances(self.train).closest
        return Truth.of(corrections, self.noisy, float(np.median(closest)) if len(closest) else 0.0)

    def judged(self, corrector: Corrector, corrections: list[Correction], judge: str) -> list[Correction]:
        """What a judge makes of the same instances.

        Args:
            corrector: Who chose them.
            corrections: The language model's.
            judge: One of `JUDGES`.

        Raises:
            InputError: Likeness of titles without an encoder.
        """
        if judge == "model":
            return corrections
        if judge == "random":
            rng = np.random.default_rng([self.seed, 1])
            return at_random(corrections, corrector.candidates(corrections, self.train), rng)
        return corrector.judge(self.train, at_same_rate(self._score(judge), corrections))

    def _score(self, judge: str) -> AskedScore:
        if judge == "co-occurrence":
            return pairwise(by_co_occurrence(co_occurrence(self.train)))
        if judge == "learned":
            return self.taught.free
        if self.readers.encoder is None:
            raise InputError("likeness of titles needs a sentence encoder", fix='set language.encoder = "minilm-l6"')
        return pairwise(by_title(title_vectors(self.readers.encoder, self.train.catalogue)))


def make_case(
    setting: Setting,
    noise: Noise,
    seed: int,
    backbone: str,
    readers: Readers,
    directory: RunDirectory,
    workers: Pool,
    progress: Progress,
) -> Case:
    """Inject noise, train the recommender on what results, fit the mender.

    Args:
        setting: The log and the settings.
        noise: Kind and ratio.
        seed: Of everything random.
        backbone: Name of the recommender.
        readers: With a language model.
        directory: Keeps the training.
        workers: Who trains.
        progress: Told what is being done.
    """
    config = setting.config.model_copy(update={"backbone": sized(setting.config, backbone), "form": "instance"})
    noisy = make_noise(setting.clean, *noise, seed, config.language.encoder, progress)
    held_out = HeldOut.of(noisy.split, setting.clean)
    name = f"{backbone}-{noise[0]}-{noise[1]:g}"

    def recommended(arm: str, train: Sequences) -> tuple[Recommender, pl.DataFrame, Path]:
        raw = raw_arm(noisy)
        training = begin_training(
            directory,
            workers,
            f"{name}-{arm}",
            ArmData(train, raw.weights, raw.test_histories),
            held_out,
            config.backbone,
            "instance",
            _to_the_end(config, seed, noisy.split.train),
            watched=True,
        )
        ranks = finish_training(directory, training)
        folder = kept_model(directory, f"{name}-{arm}", seed)
        return Recommender.load(folder, train), ranks, folder

    recommender, ranks, folder = recommended("raw", noisy.split.train)
    config = config.model_copy(update={"correct": config.correct.model_copy(update={"seed": seed})})
    train = noisy.split.train
    company = learn_company(config, train, readers, progress)
    known = known_noise(config.correct, train, company, lambda spoiled: recommended("spoiled", spoiled)[0])
    lesson = directory.path / "models" / f"taught-{noise[0]}-{noise[1]:g}-{seed}"  # the same for all backbones
    taught = teach(config, train, readers, company, known, lesson, progress)
    strangers = None if known is None else known.strangers
    corrector = corrector_of(config.correct, taught, recommender, strangers, progress).fit(train)
    ranks_raw = ranks["as_is"].to_numpy()
    return Case(seed, config, noisy, held_out, recommender, ranks_raw, folder, taught, corrector, readers)


def sized(config: RunConfig, name: str) -> BackboneConfig:
    """A backbone that reads as many inputs as an instance has, with the settings' own sizes where it is theirs.

    Args:
        config: Settings.
        name: Of the backbone.

    Raises:
        InputError: There is no such backbone.
    """
    adapter: TypeAdapter[BackboneConfig] = TypeAdapter(BackboneConfig)
    length = {"max_length": config.correct.max_length}
    own = config.backbone.model_dump(exclude_unset=True) if config.backbone.name == name else {}
    try:
        plain = adapter.validate_python({"name": name})
    except ValueError as error:
        raise InputError(f"no backbone is called {name!r}", expected="what seqmend train knows") from error
    if isinstance(encoder := getattr(plain, "encoder", None), BaseModel):
        inner = {**encoder.model_dump(include={"name"}), **own.get("encoder", {}), **length}
        return adapter.validate_python({**own, "name": name, "encoder": inner})
    return adapter.validate_python({**own, "name": name, **length})


def identity(setting: Setting, noise: Noise, seed: int, backbone: str) -> list[Any]:
    """Everything that decides a case, for a stage's key."""
    config = setting.config
    return [
        setting.clean.sequences.fingerprint,
        config.correct.model_dump(),
        config.language.model_dump(include={"model", "encoder"}),
        sized(config, backbone).model_dump(),
        config.training.model_dump(),
        noise,
        seed,
    ]


def refuse_unusable(setting: Setting, noise: Noise, *, clean: bool = False) -> None:
    """Raise an `InputError` for settings that the studies cannot be made with, before anything is written.

    Args:
        setting: The log and the settings.
        noise: Kind and ratio.
        clean: Whether a log without injected noise can be studied.
    """
    refuse_unteachable(setting.config)
    if noise[0] == "insertion":
        raise InputError("an inserted item has taken no item's place, so that no target can be found again",
                         expected="uniform, popularity, hard, burst or shared-account")  # fmt: skip
    if not (0 <= noise[1] < 1) or (noise[1] == 0 and not clean):
        raise InputError(f"the noise ratio is {noise[1]:g}", expected="a share above 0 and below 1")


def _to_the_end(config: RunConfig, seed: int, train: Sequences) -> TrainingConfig:
    training = config.training.model_copy(update={"seed": seed, "patience": config.training.epochs})
    return equal_steps(training, config.backbone, "instance", train)
