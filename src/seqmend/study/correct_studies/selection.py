"""`seqmend bench correct-selection`: which instances are worth asking about, and how many?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from seqmend.errors import InputError
from seqmend.menders.correct import Signal
from seqmend.progress import Progress, silent
from seqmend.study.correct_studies.case import Case, Noise, identity, make_case, refuse_unusable
from seqmend.study.correct_studies.noise import about, measured
from seqmend.study.correct_studies.retraining import Version, corrected, stacked, train_versions
from seqmend.study.denoise_studies.repetition import Repetition, kept
from seqmend.study.denoise_studies.setting import Setting
from seqmend.study.denoise_studies.summary import all_over_seeds, ranking_figures
from seqmend.study.parallel import Pool, default_jobs, pool
from seqmend.study.readers import load_readers
from seqmend.study.stages import RunDirectory

SIGNALS: tuple[Signal, ...] = ("native", "reliability", "co-occurrence", "random")
SHARES = (0.05, 0.1, 0.2, 0.4)


def correct_selection(
    setting: Setting,
    noise: Noise,
    out: Path,
    *,
    backbone: str | None = None,
    signals: Sequence[str] = SIGNALS,
    shares: Sequence[float] = SHARES,
    train: bool = False,
    progress: Progress = silent,
    jobs: int | None = None,
) -> dict[str, Any]:
    """Choose instances by one signal after another, as many by each, and correct them.

    Args:
        setting: The log and the settings.
        noise: Kind and ratio.
        out: Folder of the study.
        backbone: Whose signals; by default the settings' own.
        signals: See `CorrectConfig.signal`. A plain backbone's native uncertainty is low reliability.
        shares: Of the instances.
        train: Also train the backbone on what results.
        progress: Told what is being done.
        jobs: Trainings at once.

    Returns:
        `rows` of one signal and share each: `spoiled` (share of the chosen instances with noise in them), figures of
        `correct-noise` over all chosen instances, `calls` per repetition, and with `train` `ranking`, paired with raw.

    Raises:
        InputError: An unknown signal, a share outside (0, 1], no model, or see `Setting.begin`.
    """
    known: tuple[str, ...] = get_args(Signal)
    if unknown := [signal for signal in signals if signal not in known]:
        raise InputError(f"no signal is called {unknown[0]!r}", expected=", ".join(known))
    if not shares or not all(0 < share <= 1 for share in shares):
        raise InputError("a share is not in (0, 1]", expected="values such as 0.05,0.2")
    refuse_unusable(setting, noise)
    name = backbone or setting.config.backbone.name
    identity(setting, noise, 0, name)
    places = [(signal, share) for signal in dict.fromkeys(signals) for share in sorted(set(shares))]
    directory, config = setting.begin(out), setting.config
    readers = load_readers(config.language, out / "journal.sqlite", progress, needs=())
    work = config.training.epochs * setting.clean.train.n_interactions * (len(places) if train else 1)
    repetitions: list[Repetition] = []
    with pool(jobs or default_jobs(work), progress) as workers:
        for seed in config.seeds:

            def make(seed: int = seed) -> Repetition:
                case = make_case(setting, noise, seed, name, readers, directory, workers, progress)
                return _measure(case, places, directory, workers if train else None)

            key = [*identity(setting, noise, seed, name), places, train]
            repetitions.append(kept(directory, f"selection-{seed}", key, make, ranked=train))
    directory.finish({})
    said = [repetition.figures for repetition in repetitions]
    by_seed = [repetition.ranks for repetition in repetitions if repetition.ranks is not None]
    ranks = stacked(by_seed) if by_seed else {}
    rows: list[dict[str, Any]] = []
    for signal, share in places:
        place = _named(signal, share)
        row = {"signal": signal, "share": share, **all_over_seeds([one[place] for one in said])}
        rows.append(row | ({"ranking": ranking_figures(ranks[place], ranks["raw"], None)} if ranks else {}))
    return {
        "study": "correct-selection",
        **setting.describe(),
        **about(setting),
        "noise": {"kind": noise[0], "ratio": noise[1]},
        "backbone": name,
        "rows": rows,
    }


def _measure(
    case: Case, places: Sequence[tuple[str, float]], directory: RunDirectory, workers: Pool | None
) -> Repetition:
    figures: dict[str, Any] = {}
    versions: dict[str, Version] = {}
    for signal, share in places:
        corrector = case.with_settings(signal=signal, uncertain_share=share)
        corrections = corrector.judge(case.train)
        truth, found, _ = measured(case, corrections, {"model": corrections})
        spoiled = truth.inputs.any(axis=1) | truth.targets
        place, calls = _named(signal, share), float(sum(one.n_questions for one in corrections))
        figures[place] = {**found["model"]["all"], "spoiled": float(np.mean(spoiled)), "calls": calls}
        versions[place] = Version(corrected(case, corrections, place))
    if workers is None:
        return Repetition(figures)
    return Repetition(figures, train_versions(directory, workers, case, "selection", versions))


def _named(signal: str, share: float) -> str:
    return f"{signal}-{share:g}"
