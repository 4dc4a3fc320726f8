"""`seqmend bench correct-noise`: is known noise in training instances undone, beside chance and LLM-free judges?"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from seqmend.errors import InputError
from seqmend.interactions import PADDING
from seqmend.menders.correct import Correction, doubted_dropped, least_sure_dropped, of_known_noise
from seqmend.progress import Progress, silent
from seqmend.study.correct_studies.case import JUDGES, Case, Noise, identity, make_case, refuse_unusable
from seqmend.study.correct_studies.quality import GROUPS, Outcome, Truth, counts_by_user, difference, quality
from seqmend.study.correct_studies.retraining import Version, corrected, side_effects, stacked, train_versions
from seqmend.study.correcting import amounts
from seqmend.study.denoise_studies.repetition import Repetition, kept
from seqmend.study.denoise_studies.retraining import oracle_arm, raw_arm
from seqmend.study.denoise_studies.setting import Setting
from seqmend.study.denoise_studies.summary import all_over_seeds, ranking_figures
from seqmend.study.parallel import Pool, default_jobs, pool
from seqmend.study.readers import load_readers
from seqmend.study.stages import RunDirectory

BACKBONES = ("sasrec", "gru4rec", "berd")
CONTROLS = {"doubted_dropped": doubted_dropped, "least_sure_dropped": least_sure_dropped}
VERSIONS = ("oracle", "oracle_uncertain", *JUDGES, *CONTROLS)
"""What a backbone is trained on beside the raw instances: all noise undone, that of the uncertain instances alone, what
every judge makes of those, the doubted ones gone, as many of the least sure gone."""
COMPARED = ("precision", "recall", "f1", "target_precision", "target_recall", "hit_rate")

_TRAINING = "training"
_APART = 1_000_000  # of the seeds of a version's trainings: no repetition has that seed


def correct_noise(
    setting: Setting,
    noise: Noise,
    out: Path,
    *,
    backbones: Sequence[str] = BACKBONES,
    judges: Sequence[str] = JUDGES,
    train: bool = False,
    versions: Sequence[str] = VERSIONS,
    trainings: int = 1,
    progress: Progress = silent,
    jobs: int | None = None,
) -> dict[str, Any]:
    """Spoil the training part, let every backbone say what it doubts, correct that, hold it against the truth.

    Args:
        setting: The log and the settings.
        noise: Kind (one that replaces) and ratio.
        out: Folder of the study.
        backbones: Whose doubts decide.
        judges: Of `JUDGES`; the model is always among them, likeness of titles only where there is an encoder.
        train: Also train every backbone on versions of the instances, with equally many steps.
        versions: Of `VERSIONS`; "oracle" and "model" are always among them, a judge only where it judges.
        trainings: Of every version and seed, each from other initial weights; in intervals each counts as a repetition.
        progress: Told what is being done.
        jobs: Trainings at once.

    Returns:
        By backbone `quality` (by judge and group, figures over seeds), `beside` (the model minus every other judge, by
        group and figure, with intervals by user), `actions`, `cost`, and with `train` `ranking` (by version, paired
        with the raw arm, with the share that it recovers of what undoing all noise regains), `side_effects` and
        `efficiency`.

    Raises:
        InputError: No model, noise that inserts, an unknown backbone or version, or see `Setting.begin`.
    """
    if unknown := [version for version in versions if version not in VERSIONS]:
        raise InputError(f"no version is called {unknown[0]!r}", expected=", ".join(VERSIONS))
    refuse_unusable(setting, noise)
    identities = {name: identity(setting, noise, 0, name) for name in backbones}
    judges = [judge for judge in JUDGES if judge == "model" or judge in judges]
    judges = [judge for judge in judges if judge != "titles" or setting.config.language.encoder is not None]
    wanted = [one for one in VERSIONS if one in ("oracle", "model") or one in versions] if train else []
    directory, config = setting.begin(out), setting.config
    readers = load_readers(config.language, out / "journal.sqlite", progress, needs=())
    work = config.training.epochs * setting.clean.train.n_interactions * len(backbones) * max(len(wanted), 1)
    found: dict[str, list[Repetition]] = {name: [] for name in identities}
    with pool(jobs or default_jobs(work), progress) as workers:
        for seed in config.seeds:
            for backbone in identities:
                key = [
                    *identity(setting, noise, seed, backbone),
                    judges,
                    wanted,
                    trainings if train else None,
                    COMPARED,
                ]

                def make(seed: int = seed, backbone: str = backbone) -> Repetition:
                    case = make_case(setting, noise, seed, backbone, readers, directory, workers, progress)
                    return _measure(case, judges, wanted, trainings, directory, workers, backbone)

                found[backbone].append(kept(directory, f"noise-{backbone}-{seed}", key, make, ranked=train))
    directory.finish({})
    return {
        "study": "correct-noise",
        **setting.describe(),
        **about(setting),
        "noise": {"kind": noise[0], "ratio": noise[1]},
        "trainings": trainings if train else None,
        "backbones": {name: _figures(repetitions) for name, repetitions in found.items()},
    }


def about(setting: Setting) -> dict[str, Any]:
    """What the figures of all correct studies say of their settings."""
    correct, training = setting.config.correct, setting.config.training
    return {
        "teacher": correct.teacher,
        "uncertain_share": correct.uncertain_share,
        "max_length": correct.max_length,
        "threshold": correct.threshold,
        "signal": correct.signal,
        "epochs": training.epochs,
    }


def measured(
    case: Case, corrections: list[Correction], by_judge: dict[str, list[Correction]]
) -> tuple[Truth, dict[str, Any], dict[str, Any]]:
    """The truth about uncertain instances; quality and sums by user of every judge, by name."""
    truth, n_users = case.truth(corrections), len(case.train)
    candidates = case.corrector.candidates(corrections, case.train)
    outcomes = {name: Outcome.of(own) for name, own in by_judge.items()}
    figures = {name: quality(truth, outcome, candidates) for name, outcome in outcomes.items()}
    return truth, figures, {name: counts_by_user(truth, outcome, n_users) for name, outcome in outcomes.items()}


def known(case: Case, corrections: list[Correction], truth: Truth) -> list[Correction]:
    """What a judge who knows the noise makes of the uncertain instances."""
    targets = [
        int(item) if is_noise and item != PADDING else None
        for is_noise, item in zip(truth.targets, truth.before, strict=True)
    ]
    return of_known_noise(corrections, truth.inputs.tolist(), targets)


def _measure(
    case: Case,
    judges: Sequence[str],
    wanted: Sequence[str],
    trainings: int,
    directory: RunDirectory,
    workers: Pool,
    name: str,
) -> Repetition:
    corrections = case.corrector.judge(case.train)
    by_judge = {judge: case.judged(case.corrector, corrections, judge) for judge in judges}
    truth, figures, counts = measured(case, corrections, by_judge)
    actions = {judge: _actions(own) for judge, own in by_judge.items()}
    spent = {stage: amounts(used) for stage, used in case.corrector.spent.items()}
    said: dict[str, Any] = {
        "quality": figures,
        "counts": counts,
        "actions": actions,
        "doubted": sum(one.is_doubted for one in corrections),
        "noise_rate": None if case.corrector.strangers is None else case.corrector.strangers.noise_rate,
        "weighing": {} if case.taught.weighed is None else dict(case.taught.weighed.auroc),
        "cost": {
            "stages": spent,
            "cache_hits": case.taught.model.cache_hits,
            "questions": sum(one.n_questions for one in corrections),
        },
    }
    if not wanted:
        return Repetition(said)
    made = {"oracle_uncertain": known(case, corrections, truth), **by_judge}
    if case.corrector.strangers is not None:
        made |= {name: control(corrections) for name, control in CONTROLS.items()}
    data = {"oracle": oracle_arm(case.noisy)}
    data |= {version: corrected(case, made[version], version) for version in wanted if version in made}
    said["side_effects"] = {version: side_effects(case, own) for version, own in data.items()}
    versions = {version: Version(own) for version, own in data.items()}
    ranks = [train_versions(directory, workers, case, f"{name}-noise", versions)]
    versions = {"raw": Version(raw_arm(case.noisy)), **versions}
    for number in range(1, trainings):
        again = replace(case, seed=case.seed + number * _APART)
        ranks.append(train_versions(directory, workers, again, f"{name}-noise", versions))
    numbered = [frame.with_columns(pl.lit(number).alias(_TRAINING)) for number, frame in enumerate(ranks)]
    return Repetition(said, pl.concat(numbered))


def _actions(corrections: list[Correction]) -> dict[str, int]:
    names, counts = np.unique([one.action for one in corrections], return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def over_repetitions(said: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Quality by judge and group over seeds."""
    return {
        judge: {group: all_over_seeds([one["quality"][judge][group] for one in said]) for group in GROUPS}
        for judge in said[0]["quality"]
    }


def beside(said: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """The model minus every other judge, by judge, group and figure."""

    def total(judge: str, group: str) -> dict[str, npt.NDArray[np.float64]]:
        by_seed = [one["counts"][judge][group] for one in said]
        return {key: np.sum([counts[key] for counts in by_seed], axis=0) for key in by_seed[0]}

    return {
        judge: {
            group: {key: difference(total("model", group), total(judge, group), key) for key in COMPARED}
            for group in GROUPS
        }
        for judge in said[0]["counts"]
        if judge != "model"
    }


def _figures(repetitions: list[Repetition]) -> dict[str, Any]:
    said = [repetition.figures for repetition in repetitions]
    figures: dict[str, Any] = {
        "quality": over_repetitions(said),
        "beside": beside(said),
        **{key: [one.get(key) for one in said] for key in ("actions", "doubted", "noise_rate", "weighing")},
        "cost": [one["cost"] for one in said],
    }
    ranked = [
        frame.drop(_TRAINING)
        for repetition in repetitions
        if repetition.ranks is not None
        for frame in repetition.ranks.partition_by(_TRAINING, maintain_order=True)
    ]
    if ranked:
        ranks = stacked(ranked)
        figures["ranking"] = {
            name: ranking_figures(own, ranks["raw"], ranks["oracle"] if name != "raw" else None)
            for name, own in ranks.items()
        }
        figures["side_effects"] = [one["side_effects"] for one in said]
        figures["efficiency"] = _efficiency(figures["ranking"], [one["cost"]["questions"] for one in said])
    return figures


def _efficiency(ranking: dict[str, Any], questions: list[int]) -> dict[str, Any]:
    """Questions per training and per +1 % of NDCG@10 that corrections bring to it; None where they bring nothing."""
    raw, gained = ranking["raw"]["ndcg@10"]["mean"], ranking["model"]["ndcg@10"]["difference"]
    low = gained["ci95"][0]
    if low <= 0:
        reason = f"the interval of model - raw reaches down to {low:.4f}: no gain beyond chance"
        return {"questions_per_percent": None, "reason": reason}
    return {"questions_per_percent": float(np.mean(questions)) / (100 * gained["difference"] / raw), "reason": None}
