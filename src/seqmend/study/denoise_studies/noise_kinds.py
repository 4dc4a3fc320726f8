"""`seqmend bench denoise-noise`: every kind of noise at every ratio, and no noise at all (LLM4DSR's open question 2).

The mender learns from uniform corruption alone. On the other kinds its ranking may be worse and its confidence may lie:
each kind's calibration error is measured, and the figures say for which kinds the calibration holds.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from seqmend.errors import InputError
from seqmend.interactions import NoiseKind
from seqmend.progress import Progress, silent
from seqmend.study.denoise_studies.repetition import Repetition, kept
from seqmend.study.denoise_studies.retraining import AS_IS, MENDED, mended_arm, oracle_arm, raw_arm, stacked, train_arms
from seqmend.study.denoise_studies.setting import Case, Setting, make_case
from seqmend.study.denoise_studies.summary import all_over_seeds, auroc_difference, found_noise, over_seeds
from seqmend.study.denoise_studies.summary import ranking_figures as ranking
from seqmend.study.denoise_studies.threshold import judges
from seqmend.study.parallel import Pool, default_jobs, pool
from seqmend.study.readers import Readers, load_readers
from seqmend.study.stages import RunDirectory

KINDS: tuple[NoiseKind, ...] = get_args(NoiseKind)
RATIOS = (0.0, 0.05, 0.1, 0.2, 0.3)
CALIBRATED = 0.03
"""Largest mean calibration error, over seeds, that counts as calibrated."""

_Place = tuple[NoiseKind | None, float]


def denoise_noise(
    setting: Setting,
    out: Path,
    *,
    kinds: Sequence[NoiseKind] = KINDS,
    ratios: Sequence[float] = RATIOS,
    train: bool = False,
    progress: Progress = silent,
    jobs: int | None = None,
) -> dict[str, Any]:
    """Measure detection, calibration and the estimated noise rate under every kind of noise.

    Args:
        setting: The log and the settings.
        out: Folder of the study.
        kinds: Of noise.
        ratios: Injected items per training interaction; 0 (false alarms) is the same for all kinds, and done once.
        train: Also train the backbone on the raw, the mended and the clean log.
        progress: Told what is being done.
        jobs: Trainings at once.

    Returns:
        `rows` of one kind (null at ratio 0), ratio and judge each, with detection figures and `noise_rate` over seeds
        and with `train` under `ranking` (mended, oracle); `gains` of the model over the LLM-free fusion; `calibration`
        by kind and judge.

    Raises:
        InputError: An unknown kind, a ratio outside [0, 1), or see `Setting.begin`.
    """
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise InputError(f"noise of kind {unknown[0]!r} is not known", expected=", ".join(KINDS))
    if not kinds or not ratios or not all(0 <= ratio < 1 for ratio in ratios):
        raise InputError("a noise ratio is not in [0, 1)", expected="values such as 0,0.05,0.1")
    directory, config = setting.begin(out), setting.config
    readers = load_readers(config.language, out / "journal.sqlite", progress)
    places: list[_Place] = [(None, 0.0)] if 0 in ratios else []
    places.extend((kind, ratio) for kind in dict.fromkeys(kinds) for ratio in sorted(set(ratios)) if ratio > 0)
    work = config.training.epochs * setting.clean.train.n_interactions * 3
    found: dict[_Place, list[Repetition]] = {place: [] for place in places}
    with pool(jobs or default_jobs(work if train else 0), progress) as workers:
        for seed in config.seeds:
            for kind, ratio in places:
                identity = [setting.identity(seed), kind, ratio, train]
                if train:
                    identity += [config.backbone.model_dump(), config.form, config.training.model_dump()]

                def make(seed: int = seed, kind: NoiseKind | None = kind, ratio: float = ratio) -> Repetition:
                    progress(f"{kind or 'no'} noise {ratio:g}, seed {seed}", 0, 0)
                    case = make_case(setting, (kind or "uniform", ratio), seed, readers, progress, test=train)
                    return _measure(case, setting, readers, directory, workers if train else None, f"{kind}-{ratio:g}-")

                name = f"noise-{kind}-{ratio:g}-{seed}"
                found[kind, ratio].append(kept(directory, name, identity, make, ranked=train))
    directory.finish({})
    return _figures(setting, found)


def _measure(
    case: Case, setting: Setting, readers: Readers, directory: RunDirectory, workers: Pool | None, name: str
) -> Repetition:
    threshold, verdicts = setting.config.denoise.threshold, case.verdicts["train"]
    truth = case.is_noise("train")
    rates = {"estimated": case.mender.noise_rate, "injected": float(truth.mean())}
    figures: dict[str, Any] = {
        judge: {**found_noise(case, confidence, threshold), **rates}
        for judge, confidence in judges(verdicts, readers).items()
    }
    users = verdicts.sequences.users
    gain = auroc_difference([truth], [verdicts.fused], [verdicts.llm_free], [users]) if readers.model else None
    said = {"judges": figures, "gain": gain}
    if workers is None:
        return Repetition(said)
    ledger = case.mender.propose_from(verdicts, "train").merge(case.mender.propose_from(case.verdicts["test"], "test"))
    arms = {"raw": raw_arm(case.noisy), "mended": mended_arm(case.noisy, ledger.accept(threshold))}
    if truth.any():
        arms["oracle"] = oracle_arm(case.noisy)
    return Repetition(said, train_arms(directory, workers, setting, name, case.seed, case.noisy, arms))


def _figures(setting: Setting, found: dict[_Place, list[Repetition]]) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    gains: list[dict[str, Any]] = []
    for (kind, ratio), repetitions in found.items():
        said = [repetition.figures for repetition in repetitions]
        for judge in said[0]["judges"]:
            row = {"kind": kind, "ratio": ratio, "judge": judge}
            rows.append({**row, **all_over_seeds([figures["judges"][judge] for figures in said])})
            by_seed = [repetition.ranks for repetition in repetitions if repetition.ranks is not None]
            if by_seed and judge == "fused":
                rows[-1]["ranking"] = _ranking(stacked(by_seed))
        if said[0]["gain"] is not None:
            by_seed = [figures["gain"]["difference"] for figures in said]
            gains.append({"kind": kind, "ratio": ratio, **over_seeds(by_seed), "by_seed": [f["gain"] for f in said]})
    return {
        "study": "denoise-noise",
        **setting.describe(),
        "backbone": setting.config.backbone.name if "ranking" in rows[0] else None,
        "rows": rows,
        "gains": gains,
        "calibration": _calibration(rows),
    }


def _ranking(ranks: dict[tuple[str, str], Any]) -> dict[str, Any]:
    raw = ranks["raw", AS_IS]
    oracles = {history: ranks.get(("oracle", history)) for history in (AS_IS, MENDED)}
    return {
        arm: {history: ranking(ranks[arm, history], raw, oracles[history]) for history in (AS_IS, MENDED)}
        for arm in ("mended", "oracle")
        if (arm, AS_IS) in ranks
    } | {"raw": {AS_IS: ranking(raw, raw, None)}}


def _calibration(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By kind and judge: the worst mean calibration error over the ratios, and whether it is small enough."""
    worst: dict[tuple[str | None, str], float] = {}
    for row in rows:
        place = row["kind"], row["judge"]
        worst[place] = max(worst.get(place, 0.0), row["ece"]["mean"])
    return [
        {"kind": kind, "judge": judge, "worst_ece": error, "holds": error <= CALIBRATED}
        for (kind, judge), error in worst.items()
    ]
