"""`seqmend bench denoise-student`: how much of the language model's gain a small network keeps, and how fast it is.

Two students learn from the same mender: one that may look at the language model's title vectors (made once for the
catalogue, so that none is needed to judge), and one that may not. What the first has over the second is the language
model's; what the second has over the fusion without a language model is the network's.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.metrics import roc_auc_score

from seqmend import assets
from seqmend.errors import InputError
from seqmend.evaluation import detection_metrics, paired_detection_bootstrap
from seqmend.interactions import Sequences
from seqmend.llm import Budget, Encoder, Journal, JournaledModel, LanguageModel, LocalModel, SentenceEncoder
from seqmend.menders.denoise import DenoiseConfig, Denoiser, Student, StudentConfig
from seqmend.progress import Progress, silent
from seqmend.study.detect import Regime
from seqmend.study.machine import describe_machine
from seqmend.study.released import as_log, histories, noisy_log, read_catalogue, read_windows

Bool = npt.NDArray[np.bool_]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

_RESAMPLES = 200
_REPEATS = 3


def bench_student(
    folder: Path,
    regime: Regime,
    *,
    encoder: Encoder | None,
    model: LanguageModel,
    fresh: LanguageModel,
    config: DenoiseConfig,
    student: StudentConfig | None = None,
    max_windows: int | None = None,
    timed_windows: int = 50,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Fit teacher and students on one log, judge the test windows, measure quality and speed.

    Args:
        folder: Laid out like `llm4dsr-toy`.
        regime: "small" or "full", see `bench_detect`.
        encoder: Of titles.
        model: The language model that the teacher asks.
        fresh: The same model without a journal: timing must not be answered from one.
        config: Settings of the teacher.
        student: Settings of the students.
        max_windows: Judge a random part of the test windows, drawn with seed 0; all where absent.
        timed_windows: Windows that the teacher is timed on, every one read by the language model.
        progress: Told what is being done.

    Returns:
        `auroc`, `ece` and more of `teacher`, `llm_free`, `student` and `student_llm_free`; `gain` of each over
        `llm_free`, `language_gain` of one student over the other, `gain_share` of each student; `speed` of each in
        windows per second; `ratio` of the student's to the teacher's.
    """
    catalogue = read_catalogue(folder)
    test = read_windows(folder, "test")
    if max_windows is not None and max_windows < len(test):
        test = test[np.sort(np.random.default_rng(0).permutation(len(test))[:max_windows])]
    judged, truth = histories(test, catalogue)
    owners = test["user_id"].cast(pl.String)
    if regime == "small":
        train = as_log(read_windows(folder, "train"), catalogue)
    else:
        train = noisy_log(folder, set(test["user_id"].to_list()), catalogue, np.random.default_rng(config.seed + 1))
    student = student or StudentConfig()
    mender = Denoiser(config, encoder, model, progress).fit(train)
    verdicts = mender.judge(judged, owners=owners)
    students: dict[str, Student] = {}
    seconds: dict[str, float] = {}
    for name, language in (("student", True), ("student_llm_free", False)):
        begin = time.perf_counter()
        students[name] = Student.fit(mender, train, student.model_copy(update={"language": language}), progress)
        seconds[name] = time.perf_counter() - begin
    scores = {"llm_free": verdicts.llm_free, "teacher": verdicts.fused}
    scores |= {name: made.judge(judged, owners) for name, made in students.items()}
    users = np.unique(owners.to_numpy(), return_inverse=True)[1][judged.users]
    speed = _speed(mender, fresh, students, judged, owners, timed_windows, progress)
    return {
        "folder": folder.name,
        "regime": regime,
        "n_windows": len(test),
        "n_positions": judged.n_interactions,
        "n_asked": int(verdicts.asked.sum()),
        "model": model.identity,
        "student_config": student.model_dump(),
        **{name: detection_metrics(truth, score, judged.users.astype(np.int64)) for name, score in scores.items()},
        **_gains(truth, scores, users),
        "fit_seconds": seconds,
        "speed": speed,
        "ratio": speed["student"] / speed["teacher"],
        "ratio_titles_kept": speed["student"] / speed["teacher_titles_kept"],
        "machine": describe_machine(),
    }


def _gains(truth: Bool, scores: dict[str, Float64], users: Int64) -> dict[str, Any]:
    """Differences of AUROC with intervals by user, and the students' shares of the teacher's gain."""

    def beside(name: str, other: str) -> dict[str, Any]:
        rng = np.random.default_rng(0)
        gain = paired_detection_bootstrap(truth, scores[name], scores[other], users, rng, 1000)
        return {"difference": gain.difference, "ci95": list(gain.ci95), "p_value": gain.p_value}

    others = [name for name in scores if name != "llm_free"]
    return {
        "gain": {name: beside(name, "llm_free") for name in others},
        "over_teacher": {name: beside(name, "teacher") for name in others if name != "teacher"},
        "language_gain": beside("student", "student_llm_free"),
        "gain_share": shares_of_gain(truth, scores, users, [name for name in others if name != "teacher"]),
    }


def shares_of_gain(truth: Bool, scores: dict[str, Float64], users: Int64, names: list[str]) -> dict[str, Any]:
    """(student - LLM-free) / (teacher - LLM-free) in AUROC, resampling users; null where the teacher has no gain."""
    rng, n_users = np.random.default_rng(0), int(users.max()) + 1

    def shares(weights: Float64 | None) -> dict[str, float]:
        auroc = {name: float(roc_auc_score(truth, score, sample_weight=weights)) for name, score in scores.items()}
        gain = auroc["teacher"] - auroc["llm_free"]
        return {name: (auroc[name] - auroc["llm_free"]) / gain if gain > 0 else np.inf for name in names}

    whole = shares(None)
    resampled: list[dict[str, float]] = []
    for _ in range(_RESAMPLES):
        drawn = rng.multinomial(n_users, np.full(n_users, 1 / n_users))
        resampled.append(shares(drawn[users].astype(np.float64)))
    return {
        name: {
            "value": value if np.isfinite(value) else None,
            # By rank: where a resample leaves the teacher without a gain, the share has no upper bound.
            "ci95": [
                bound if np.isfinite(bound) else None
                for bound in np.quantile([draw[name] for draw in resampled], [0.025, 0.975], method="nearest").tolist()
            ],
        }
        for name, value in whole.items()
    }


def _speed(
    mender: Denoiser,
    fresh: LanguageModel,
    students: dict[str, Student],
    judged: Sequences,
    owners: pl.Series,
    timed_windows: int,
    progress: Progress,
) -> dict[str, float]:
    """Windows per second: one window per sequence. The teacher's titles are either asked for anew, or kept.

    `fusion` is the teacher that reads no window whole, its title vectors kept.
    """
    some = np.sort(np.random.default_rng(0).permutation(len(judged))[:timed_windows])
    sample = _rows(judged, some)
    titles = [judged.catalogue.prompt_titles[item] for item in np.unique(sample.items).tolist()]
    unread_seconds = _seconds(lambda: mender.judge(judged, 0, owners), _REPEATS)
    asked, mender.model = mender.model, fresh
    progress("timing", 0, 0)
    fresh.embed(titles[:2])  # whatever is made ready at the first call is no part of the timing
    title_seconds = _seconds(lambda: fresh.embed(titles), 1)
    reading_seconds = _seconds(lambda: mender.judge(sample, len(sample), owners.gather(some)), 1)
    mender.model = asked
    return {
        "teacher": len(sample) / (title_seconds + reading_seconds),
        "teacher_titles_kept": len(sample) / reading_seconds,
        "fusion": len(judged) / unread_seconds,
        **{
            name: len(judged) / _seconds(lambda made=made: made.judge(judged, owners), _REPEATS)
            for name, made in students.items()
        },
    }


def _seconds(work: Callable[[], object], repeats: int) -> float:
    """Median of some timings."""
    times: list[float] = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def _rows(sequences: Sequences, users: Int64) -> Sequences:
    lengths = sequences.lengths[users]
    kept = np.isin(sequences.users, users)
    return Sequences(
        sequences.user_ids.gather(users),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        sequences.items[kept],
        sequences.timestamps[kept],
        sequences.catalogue,
    )


def bench_student_by_name(
    folder: Path,
    regime: Regime,
    model: str,
    journal: Path,
    config: DenoiseConfig,
    student: StudentConfig,
    max_windows: int | None,
    timed_windows: int,
    progress: Progress = silent,
) -> dict[str, Any]:
    """`bench_student` with the named language model and the default encoder; the teacher has a journal."""
    if not folder.is_dir():
        raise InputError("no such folder", where=str(folder), expected="a folder laid out like llm4dsr-toy")
    encoder = SentenceEncoder.load(assets.resolve("minilm-l6", "encoder", progress))
    local = LocalModel.load(assets.resolve(model, "model", progress))
    return bench_student(
        folder,
        regime,
        encoder=encoder,
        model=JournaledModel(local, Journal(journal), Budget(), progress=progress),
        fresh=local,
        config=config,
        student=student,
        max_windows=max_windows,
        timed_windows=timed_windows,
        progress=progress,
    )
