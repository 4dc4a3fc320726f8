"""`seqmend bench denoise-threshold`: what every threshold finds, edits and regains; the log is judged once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqmend.errors import InputError
from seqmend.interactions import NoiseKind
from seqmend.menders.denoise import Verdicts
from seqmend.progress import Progress, silent
from seqmend.study.denoise_studies.repetition import Repetition, kept
from seqmend.study.denoise_studies.retraining import AS_IS, MENDED, mended_arm, oracle_arm, raw_arm, stacked, train_arms
from seqmend.study.denoise_studies.setting import Case, Float64, Setting, make_case
from seqmend.study.denoise_studies.summary import all_over_seeds, found_noise, over_seeds, ranking_figures
from seqmend.study.parallel import Pool, default_jobs, pool
from seqmend.study.readers import Readers, load_readers
from seqmend.study.stages import RunDirectory

THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def denoise_threshold(
    setting: Setting,
    noise: tuple[NoiseKind, float],
    out: Path,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    train: bool = False,
    progress: Progress = silent,
    jobs: int | None = None,
) -> dict[str, Any]:
    """Inject noise, judge once, move the threshold.

    Args:
        setting: The log and the settings.
        noise: Kind and ratio.
        out: Folder of the study.
        thresholds: In (0, 1].
        train: Also train the backbone on the log mended at every threshold, beside the raw log and the oracle.
        progress: Told what is being done.
        jobs: Trainings at once.

    Returns:
        `rows` of one judge (fused, and llm_free where there is a model) and threshold each: detection figures over
        seeds, and with `train` under `ranking` what training on the mended log gives. `references`: raw and oracle.

    Raises:
        InputError: A threshold is not in (0, 1], or see `Setting.begin`.
    """
    thresholds = sorted(set(thresholds))
    if not thresholds or not 0 < thresholds[0] <= thresholds[-1] <= 1:
        raise InputError("a threshold is not in (0, 1]", expected="values such as 0.3,0.5,0.7")
    directory, config = setting.begin(out), setting.config
    readers = load_readers(config.language, out / "journal.sqlite", progress)
    work = config.training.epochs * setting.clean.train.n_interactions * (len(thresholds) + 2)
    repetitions: list[Repetition] = []
    with pool(jobs or default_jobs(work if train else 0), progress) as workers:
        for seed in config.seeds:
            identity = [setting.identity(seed), noise, thresholds, train]
            if train:
                identity += [config.backbone.model_dump(), config.form, config.training.model_dump()]

            def make(seed: int = seed) -> Repetition:
                case = make_case(setting, noise, seed, readers, progress, test=train, threshold=thresholds[0])
                return _measure(case, setting, thresholds, readers, directory, workers if train else None)

            repetitions.append(kept(directory, f"threshold-{seed}", identity, make, ranked=train))
    figures = _figures(setting, noise, thresholds, repetitions)
    directory.finish({})
    return figures


def judges(verdicts: Verdicts, readers: Readers) -> dict[str, Float64]:
    """The confidences that a study measures, float64 [N] each: fused and, where a model has a part in it, without."""
    without = {} if readers.model is None else {"llm_free": verdicts.llm_free}
    return {"fused": verdicts.fused, **without}


def _measure(
    case: Case,
    setting: Setting,
    thresholds: Sequence[float],
    readers: Readers,
    directory: RunDirectory,
    workers: Pool | None,
) -> Repetition:
    detection = {
        judge: [found_noise(case, confidence, threshold) for threshold in thresholds]
        for judge, confidence in judges(case.verdicts["train"], readers).items()
    }
    rates = {"estimated": case.mender.noise_rate, "injected": float(case.is_noise("train").mean())}
    figures = {"detection": detection, "noise_rate": rates}
    if workers is None:
        return Repetition(figures)
    proposed = case.mender.propose_from(case.verdicts["train"], "train").merge(
        case.mender.propose_from(case.verdicts["test"], "test")
    )
    arms = {"raw": raw_arm(case.noisy), "oracle": oracle_arm(case.noisy)}
    arms |= {_arm_name(at): mended_arm(case.noisy, proposed.accept(at)) for at in thresholds}
    return Repetition(figures, train_arms(directory, workers, setting, "", case.seed, case.noisy, arms))


def _arm_name(threshold: float) -> str:
    return f"threshold-{threshold:g}"


def _figures(
    setting: Setting, noise: tuple[NoiseKind, float], thresholds: Sequence[float], repetitions: list[Repetition]
) -> dict[str, Any]:
    said = [repetition.figures for repetition in repetitions]
    rows = [
        {
            "judge": judge,
            "threshold": threshold,
            **all_over_seeds([figures["detection"][judge][place] for figures in said]),
        }
        for judge in said[0]["detection"]
        for place, threshold in enumerate(thresholds)
    ]
    figures: dict[str, Any] = {
        "study": "denoise-threshold",
        **setting.describe(),
        "noise": {"kind": noise[0], "ratio": noise[1]},
        "noise_rate": {
            name: over_seeds([figures["noise_rate"][name] for figures in said]) for name in ("estimated", "injected")
        },
        "rows": rows,
    }
    by_seed = [repetition.ranks for repetition in repetitions if repetition.ranks is not None]
    if by_seed:
        ranks = stacked(by_seed)
        raw = ranks["raw", AS_IS]

        def ranking(arm: str) -> dict[str, Any]:
            return {
                history: ranking_figures(ranks[arm, history], raw, ranks["oracle", history])
                for history in (AS_IS, MENDED)
            }

        figures["backbone"] = setting.config.backbone.name
        figures["references"] = {"raw": {AS_IS: ranking_figures(raw, raw, None)}, "oracle": ranking("oracle")}
        for row, threshold in zip(rows, thresholds, strict=False):  # the fused judge's rows come first
            row["ranking"] = ranking(_arm_name(threshold))
    return figures
