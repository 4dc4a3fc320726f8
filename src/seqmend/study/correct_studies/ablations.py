"""`seqmend bench correct-ablations`: is correcting better than dropping, which stage pays, does the model matter?

Every arm is a version of the same instances; they differ in the uncertain ones alone.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqmend.errors import InputError
from seqmend.evaluation import metric_values, paired_bootstrap
from seqmend.menders.correct import (
    Correction,
    doubted_dropped,
    dropped,
    least_sure_dropped,
    retargeted_to_first,
)
from seqmend.progress import Progress, silent
from seqmend.study.correct_studies.case import Case, Noise, identity, make_case, refuse_unusable
from seqmend.study.correct_studies.noise import about, known
from seqmend.study.correct_studies.retraining import (
    Version,
    corrected,
    side_effects,
    stacked,
    train_versions,
    weighted_down,
)
from seqmend.study.denoise_studies.repetition import Repetition, kept
from seqmend.study.denoise_studies.retraining import oracle_arm, raw_arm
from seqmend.study.denoise_studies.setting import Setting
from seqmend.study.denoise_studies.summary import METRICS, ranking_figures
from seqmend.study.parallel import Pool, default_jobs, pool
from seqmend.study.readers import load_readers
from seqmend.study.stages import RunDirectory

ARMS = (
    "corrected",
    "inputs_only",
    "targets_only",
    "no_rules",
    "dropped",
    "doubted_dropped",
    "least_sure_dropped",
    "weighted_down",
    "first_candidate",
    "random",
    "learned",
    "titles",
    "co-occurrence",
    "raw_continued",
    "corrected_continued",
)
"""Versions beside raw (and the two oracles, where noise is known). Those that are continued go on from the raw arm's
weights, all others start afresh."""


def correct_ablations(
    setting: Setting,
    noise: Noise,
    out: Path,
    *,
    backbone: str | None = None,
    arms: Sequence[str] = ARMS,
    progress: Progress = silent,
    jobs: int | None = None,
) -> dict[str, Any]:
    """Train a backbone on every version of the instances, with equally many steps.

    Args:
        setting: The log and the settings.
        noise: Kind and ratio; with 0 the log is taken as it is.
        out: Folder of the study.
        backbone: Which; by default the settings' own.
        arms: Of `ARMS`; "corrected" is always among them.
        progress: Told what is being done.
        jobs: Trainings at once.

    Returns:
        `ranking` by version, paired with raw; `beside`: corrected minus every other version by metric; `side_effects`
        by version, per seed; `uncertain`, instances that were asked about, per seed.

    Raises:
        InputError: An unknown arm, no model, or see `Setting.begin`.
    """
    if unknown := [arm for arm in arms if arm not in ARMS]:
        raise InputError(f"no arm is called {unknown[0]!r}", expected=", ".join(ARMS))
    refuse_unusable(setting, noise, clean=True)
    name = backbone or setting.config.backbone.name
    identity(setting, noise, 0, name)
    wanted = [arm for arm in ARMS if arm == "corrected" or arm in arms]
    rules = setting.config.correct.rules
    wanted = [arm for arm in wanted if arm != "no_rules" or (rules.columns and (rules.drop or rules.add))]
    if not setting.config.correct.known_noise:
        wanted = [arm for arm in wanted if arm not in ("doubted_dropped", "least_sure_dropped")]
    if setting.config.language.encoder is None:
        wanted = [arm for arm in wanted if arm != "titles"]
    directory, config = setting.begin(out), setting.config
    readers = load_readers(config.language, out / "journal.sqlite", progress, needs=())
    work = config.training.epochs * setting.clean.train.n_interactions * len(wanted)
    repetitions: list[Repetition] = []
    with pool(jobs or default_jobs(work), progress) as workers:
        for seed in config.seeds:

            def make(seed: int = seed) -> Repetition:
                case = make_case(setting, noise, seed, name, readers, directory, workers, progress)
                return _measure(case, wanted, directory, workers)

            key = [*identity(setting, noise, seed, name), wanted]
            repetitions.append(kept(directory, f"ablations-{seed}", key, make, ranked=True))
    directory.finish({})
    said = [repetition.figures for repetition in repetitions]
    ranks = stacked([repetition.ranks for repetition in repetitions if repetition.ranks is not None])
    oracle = ranks.get("oracle")
    return {
        "study": "correct-ablations",
        **setting.describe(),
        **about(setting),
        "noise": {"kind": noise[0], "ratio": noise[1]} if noise[1] else None,
        "backbone": name,
        "ranking": {
            version: ranking_figures(own, ranks["raw"], oracle if version != "raw" else None)
            for version, own in ranks.items()
        },
        "beside": {
            version: {metric: _difference(ranks["corrected"], own, metric) for metric in METRICS}
            for version, own in ranks.items()
            if version != "corrected"
        },
        "side_effects": [one["side_effects"] for one in said],
        "uncertain": [one["uncertain"] for one in said],
    }


def _measure(case: Case, arms: Sequence[str], directory: RunDirectory, workers: Pool) -> Repetition:
    corrections = case.corrector.judge(case.train)
    versions = {arm: _version(case, corrections, arm) for arm in arms}
    if case.noisy.mask.any():
        truth = case.truth(corrections)
        versions["oracle"] = Version(oracle_arm(case.noisy))
        versions["oracle_uncertain"] = Version(corrected(case, known(case, corrections, truth), "known"))
    figures = {
        "uncertain": len(corrections),
        "side_effects": {name: side_effects(case, version.data) for name, version in versions.items()},
    }
    return Repetition(figures, train_versions(directory, workers, case, "ablations", versions))


def _version(case: Case, corrections: list[Correction], arm: str) -> Version:
    if arm == "raw_continued":
        return Version(raw_arm(case.noisy), warm=True)
    if arm == "weighted_down":
        return Version(weighted_down(case, corrections))
    if arm == "corrected_continued":
        return Version(corrected(case, corrections, "model"), warm=True)
    return Version(corrected(case, _made(case, corrections, arm), arm))


def _made(case: Case, corrections: list[Correction], arm: str) -> list[Correction]:
    match arm:
        case "corrected":
            return corrections
        case "inputs_only" | "targets_only":
            return case.with_settings(stages=arm.removesuffix("_only")).judge(case.train)
        case "no_rules":
            return case.with_settings(ruled=False).judge(case.train)
        case "dropped":
            return dropped(corrections)
        case "doubted_dropped":
            return doubted_dropped(corrections)
        case "least_sure_dropped":
            return least_sure_dropped(corrections)
        case "first_candidate":
            return retargeted_to_first(corrections, case.corrector.candidates(corrections, case.train))
        case _:
            return case.judged(case.corrector, corrections, arm)


def _difference(ours: Any, theirs: Any, metric: str) -> dict[str, Any]:
    found = paired_bootstrap(metric_values(ours, metric), metric_values(theirs, metric), np.random.default_rng(0))
    return {"difference": found.difference, "ci95": list(found.ci95), "p_value": found.p_value}
