"""The correct mender: a split to a ledger of edits of single training instances, with its controls and its cost."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from seqmend.evaluation import Histories
from seqmend.files import write_json
from seqmend.interactions import Sequences, Split
from seqmend.ledger import Ledger
from seqmend.llm import CountingModel, JournaledModel, Usage
from seqmend.menders.correct import (
    NAME,
    AskedScore,
    CorrectConfig,
    Correction,
    Corrector,
    Instances,
    KnownNoise,
    LearnedScore,
    Part,
    ScoreJudge,
    Strangers,
    at_random,
    forecast,
    of_interactions,
    pace,
    spoil,
    to_edits,
)
from seqmend.progress import Progress, silent
from seqmend.recommenders import (
    Backbone,
    Reliability,
    Rows,
    load_backbone,
    rows_from_sequences,
)
from seqmend.study.arms import DOUBTS, ArmData, HeldOut, refuse_untrainable_backbone
from seqmend.study.config import RunConfig
from seqmend.study.data import divided, read_data, ready_to_mend
from seqmend.study.parallel import pool
from seqmend.study.readers import Readers, load_readers
from seqmend.study.stages import RunDirectory
from seqmend.study.teaching import Taught, learn_company, refuse_unteachable, teach, teaching_calls
from seqmend.study.trainings import begin_training, finish_training, kept_model

Announce = Callable[[list[dict[str, Any]]], None]
"""Told what will be asked, before it is: see `forecast` in the figures of `correct`."""

_HALF = 0.5
_NO_SAY = 0.5
"""Confidence of a control's edits, which nobody has judged."""


@dataclass(frozen=True, eq=False)
class Recommender:
    """A trained recommender, and what it thinks of all training instances.

    Attributes:
        backbone: In evaluation mode.
        rows: The instances, as long as it reads.
        reliability: Of the rows, in their order.
    """

    backbone: Backbone
    rows: Rows
    reliability: Reliability

    @classmethod
    def load(cls, folder: Path, train: Sequences) -> "Recommender":
        """One that a watched training kept.

        Args:
            folder: See `kept_model`.
            train: What it was trained on.
        """
        backbone, _ = load_backbone(folder, train)
        rows = rows_from_sequences(train, backbone.max_length, "instance")
        rows = rows.select(rows.has_loss)
        if type(backbone).prepare is not Backbone.prepare:  # what it takes from rows is not among its weights
            backbone.prepare(rows)
        if not (folder / DOUBTS).exists():
            return cls(backbone, rows, backbone.reliability(rows))
        seen = pl.read_parquet(folder / DOUBTS)
        signals = {name: seen[name].to_numpy() for name in seen.columns if name != "row_id"}
        mean = signals["mean_rank_percentile"]
        return cls(backbone, rows, Reliability(mean, 1 - mean, signals))


@dataclass(frozen=True, eq=False)
class Corrected:
    """What the mender makes of a split, and what its controls do.

    Attributes:
        ledger: Accepted edits.
        llm_free: Those of a judge without a language model that finds as many inputs foreign.
        random: As many changes, dealt to the same instances by chance.
        corrections: What became of every uncertain instance.
        recommender: Who doubted them.
        figures: As plain values: `instances, uncertain, doubted, decided, noise_rate, weighing, actions, edits,
            picture, forecast, spent, llm`.
    """

    ledger: Ledger
    llm_free: Ledger
    random: Ledger
    corrections: list[Correction]
    recommender: Recommender
    figures: dict[str, Any]


def correct(
    config: RunConfig, out: Path, progress: Progress = silent, announce: Announce | None = None
) -> dict[str, Any]:
    """Correct a log as it is, and write the edits to a ledger; a stopped or killed call goes on.

    Args:
        config: Of it the data, split, language, correct, backbone, form and training sections count.
        out: The ledger. Beside it are put the journal of the language model's answers and a folder with the recommender
            and `correct.json`.
        progress: Told what is being done.
        announce: Told what will be asked.

    Returns:
        `Corrected.figures`, and `ledger`.

    Raises:
        InputError: The log, the settings or the file cannot be used; nothing was written.
        ResourceError: A model or corpus is missing or failing.
    """
    refuse_unteachable(config)
    ready_to_mend(config, out, "seqmend bench correct-noise")
    log = read_data(config.data, progress)
    refuse_untrainable_backbone(config, log.sequences)
    split = divided(log.sequences, config.split)
    folder = out.with_suffix(".correct")
    readers = load_readers(config.language, out.with_suffix(".journal.sqlite"), progress, needs=())
    with readers.model.journal if readers.model is not None else contextlib.nullcontext():
        found = correct_split(config, split, readers, folder, progress, announce)
    found.ledger.write(out)
    figures = {"ledger": str(out), **found.figures}
    write_json(folder / "correct.json", figures)
    return figures


def correct_split(
    config: RunConfig,
    split: Split,
    readers: Readers,
    folder: Path,
    progress: Progress = silent,
    announce: Announce | None = None,
) -> Corrected:
    """Correct the training part of a split.

    Args:
        config: See `correct`.
        split: May have been edited by another mender: edits are proposed for what it is now.
        readers: With a language model.
        folder: Keeps the recommender and its checkpoint, for a call that goes on.
        progress: Told what is being done.
        announce: Told what will be asked, when the recommender has said what is uncertain.
    """
    assert readers.model is not None
    recommender = trained(config, split, folder, progress)
    calls = teaching_calls(config.correct, split.train, readers.model)
    lessons = [_bounded(stage, n) for stage, n in calls.items()]
    if announce is not None and lessons:
        announce(lessons)
    company = learn_company(config, split.train, readers, progress)
    known = known_noise(
        config.correct, split.train, company, lambda train: trained(config, split, folder, progress, train)
    )
    taught = teach(config, split.train, readers, company, known, folder, progress)
    strangers = None if known is None else known.strangers
    corrector = corrector_of(config.correct, taught, recommender, strangers, progress).fit(split.train)
    expected = _expected(corrector, split.train, taught.model)
    if announce is not None:
        announce(expected)
    corrections = corrector.judge(split.train)
    ledger = corrector.propose_from(corrections, split.train).accept()  # the mender's gate has decided
    rng = np.random.default_rng(config.correct.seed + 1)
    random = at_random(corrections, corrector.candidates(corrections, split.train), rng)
    free = corrector.judge(split.train, at_same_rate(taught.free, corrections))
    figures = {
        "instances": len(recommender.rows),
        "uncertain": len(corrections),
        "doubted": sum(one.is_doubted for one in corrections),
        "decided": sum(one.is_decided for one in corrections),
        "noise_rate": None if strangers is None else strangers.noise_rate,
        "weighing": {} if taught.weighed is None else dict(taught.weighed.auroc),
        "actions": dict(sorted(pl.Series([one.action for one in corrections]).value_counts().iter_rows())),
        "edits": dict(ledger.edits.group_by("kind").len().sort("kind").iter_rows()),
        "picture": picture(corrector.instances(split.train), recommender.reliability.reliability),
        "forecast": lessons + expected,
        "spent": [{"stage": stage, **amounts(used)} for stage, used in (taught.spent | corrector.spent).items()],
        "teacher": config.correct.teacher,
        "prompt": taught.prompt.model_dump(),
        "llm": _usage(readers.model, taught.model),
    }
    return Corrected(
        ledger,
        as_ledger(free, split.train, "llm-free"),
        as_ledger(random, split.train, "random"),
        corrections,
        recommender,
        figures,
    )


def known_noise(
    config: CorrectConfig,
    train: Sequences,
    company: LearnedScore,
    recommender_of: Callable[[Sequences], Recommender],
) -> KnownNoise | None:
    """What the recommender's doubt is worth, learned from a copy of the log whose noise is known.

    Half of the users are learned from, the others tell how much noise the log has of its own. None where that is not
    wanted, or the log is too small.

    Args:
        config: Settings.
        train: The training part.
        company: What goes with what in it.
        recommender_of: Trains a recommender like that of the training part on other training sequences.
    """
    if not config.known_noise:
        return None
    spoiled, is_noise = spoil(train, config.known_noise, config.seed)
    recommender = recommender_of(spoiled)
    numbers, reliability = recommender.rows.row_id, recommender.reliability.reliability
    believed = of_interactions(train.n_interactions, numbers, reliability)
    there = LearnedScore.fit(spoiled, config.max_length, company.scores, config.seed)
    is_learned_from = (np.random.default_rng(config.seed).random(len(train)) < _HALF)[spoiled.users]
    return KnownNoise.learn(company, there, spoiled, is_noise, believed, is_learned_from, config.seed)


def corrector_of(
    config: CorrectConfig,
    taught: Taught,
    recommender: Recommender,
    strangers: Strangers | None,
    progress: Progress,
    *,
    ruled: bool = True,
) -> Corrector:
    """The mender, to be fitted.

    Args:
        config: Its settings.
        taught: Who is asked.
        recommender: Who doubts.
        strangers: What its doubt is worth.
        progress: Told what is being done.
        ruled: Whether rules on attributes may change answers.
    """
    return Corrector(
        config,
        taught.model,
        recommender.backbone,
        recommender.reliability,
        taught.prompt,
        taught.memory,
        taught.asker if ruled else taught.unruled,
        strangers,
        progress,
    )


def trained(
    config: RunConfig, split: Split, folder: Path, progress: Progress, train: Sequences | None = None
) -> Recommender:
    """The recommender that says what it doubts; trained once, and resumed if that was interrupted.

    Args:
        config: Of it the backbone, form and training sections count.
        split: What to train on, and to choose the epoch by.
        folder: Where it is kept.
        progress: Told what is being done.
        train: Another training part of the same interactions, some of them replaced.
    """
    directory = RunDirectory(folder)
    name, train = ("recommender", split.train) if train is None else ("recommender-of-spoiled", train)
    data = ArmData(
        train,
        np.ones(train.n_interactions, dtype=np.float32),
        {"as_is": Histories.before(split.sequences, split.test)},
    )
    with pool(1, progress) as workers:
        training = begin_training(
            directory,
            workers,
            name,
            data,
            HeldOut.of(split, split),
            config.backbone,
            config.form,
            config.training,
            watched=True,
        )
        finish_training(directory, training)
    return Recommender.load(kept_model(directory, name, config.training.seed), train)


def at_same_rate(score: AskedScore, corrections: Sequence[Correction]) -> ScoreJudge:
    """A judge that finds as many inputs foreign as the mender did, of the instances that it could judge."""
    answered = [one for one in corrections if one.verdict is not None and one.verdict.goes is not None]
    goes = [fits for one in answered if one.verdict is not None for fits in one.verdict.goes or ()]
    questions = [one.question() for one in answered]
    if not questions:
        return ScoreJudge(score, 0.0)
    return ScoreJudge.at_rate(score, questions, 1 - sum(goes) / len(goes))


def as_ledger(corrections: Sequence[Correction], train: Sequences, control: str) -> Ledger:
    """The accepted edits of a control."""
    edits = to_edits(corrections, train, _NO_SAY, {"control": control}, NAME)
    return Ledger.propose(edits, train, NAME).accept()


def picture(instances: Instances, reliability: npt.NDArray[np.float32]) -> list[dict[str, Any]]:
    """Share of the instances and their mean reliability by mco (the paper's Figure 1).

    mco counts users in whose training sequence the target and the input that it met most often both stand; the user of
    the instance is one of them.

    Args:
        instances: All.
        reliability: Of their rows, float32 [R].

    Returns:
        `least, most, share, reliability` of every bucket from 1 up, each twice as wide as the one before.
    """
    bucket = np.floor(np.log2(np.maximum(instances.closest, 1))).astype(np.int64)
    found: list[dict[str, Any]] = []
    for number in range(int(bucket.max(initial=-1)) + 1):
        here = bucket == number
        mean = float(reliability[here].mean()) if here.any() else None
        found.append(
            {"least": 2**number, "most": 2 ** (number + 1) - 1, "share": float(here.mean()), "reliability": mean}
        )
    return found


def amounts(used: Usage) -> dict[str, Any]:
    """Calls, tokens and seconds."""
    return {"calls": used.calls, "tokens": used.tokens, "seconds": used.seconds}


def _expected(corrector: Corrector, train: Sequences, model: JournaledModel) -> list[dict[str, Any]]:
    """What will be asked: `stage, least, most`, each `calls, tokens, seconds`; None where that cannot be known."""
    found = pace(corrector, train, CountingModel.of(model.model))

    def told(counted: Usage) -> dict[str, Any]:
        used = found.of(counted) if found else counted
        return {"calls": used.calls, "tokens": used.tokens, "seconds": used.seconds if found else None}

    parts: list[Part] = forecast(corrector, train, CountingModel.of(model.model))
    return [{"stage": part.stage, "least": told(part.least), "most": told(part.most)} for part in parts]


def _bounded(stage: str, calls: int) -> dict[str, Any]:
    nothing = {"calls": 0, "tokens": None, "seconds": None}
    return {"stage": stage, "least": nothing, "most": {**nothing, "calls": calls}}


def _usage(model: JournaledModel, taught: JournaledModel) -> dict[str, Any]:
    """What was asked of the model, and of the one that it became by tuning."""
    used, hits = replace(model.usage), model.cache_hits
    if taught is not model:
        used.add(taught.usage)
        hits += taught.cache_hits
    return {**asdict(used), "cache_hits": hits, "model": taught.identity}
