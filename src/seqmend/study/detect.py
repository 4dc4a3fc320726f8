"""`seqmend bench detect`: how well known noise is found in LLM4DSR's own test windows.

Two regimes. *small*: learn from the 5,000 released noisy training windows. *full*: learn from the whole log of the
users without a test window, with fresh 10 % noise. The noise mask of the test windows is read by the judge alone.
"""

import time
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from seqmend import assets
from seqmend.errors import InputError
from seqmend.evaluation import calibration_error, detection_metrics, paired_detection_bootstrap
from seqmend.interactions import Catalogue
from seqmend.llm import Budget, Encoder, Journal, JournaledModel, LanguageModel, LocalModel, SentenceEncoder
from seqmend.menders.denoise import SIMPLE_FUSION, DenoiseConfig, Denoiser, Verdicts
from seqmend.progress import Progress, silent
from seqmend.study.released import as_log, has_clean_release, histories, noisy_log, read_catalogue, read_windows

Regime = Literal["small", "full"]


def bench_detect(
    folder: Path,
    regime: Regime,
    *,
    encoder: Encoder | None,
    model: LanguageModel | None,
    config: DenoiseConfig,
    max_windows: int | None = None,
    seeds: tuple[int, ...] = (0,),
    progress: Progress = silent,
) -> dict[str, Any]:
    """Learn in one regime, judge the test windows, and measure.

    Args:
        folder: Laid out like `llm4dsr-toy`.
        regime: "small" or "full".
        encoder: Of titles.
        model: The language model to ask; None for the fusion without one.
        config: Settings of the mender.
        max_windows: Judge a random part of the test windows, drawn with seed 0; all where absent.
        seeds: Of the self-corruption (and of the fresh noise); confidences are averaged over users and seeds.
        progress: Told what is being done.

    Returns:
        The figures of the design's `bench detect` contract; `seconds` are of this run. `gain_auroc` is the language
        model's gain over the mender's fusion without one, `gain_over_simple` that over the plainest LLM-free fusion
        (`SIMPLE_FUSION` among the witnesses). `edited_clean` is the share of
        positions that would be edited in the same windows without the injected noise, None where these are not there.
    """
    begin = time.perf_counter()
    catalogue = read_catalogue(folder)
    noisy = _part(read_windows(folder, "test"), max_windows)
    clean = _part(read_windows(folder, "test", "clean"), max_windows) if has_clean_release(folder) else None
    owners = noisy["user_id"].cast(pl.String)
    judged, truth = histories(noisy, catalogue)
    runs: list[tuple[Verdicts, float]] = []
    edited_clean: list[float] = []
    for seed in seeds:
        mender = _fitted(folder, regime, catalogue, owners, encoder, model, config, seed, progress)
        runs.append((mender.judge(judged, owners=owners), mender.noise_rate))
        if clean is not None:
            calm = mender.judge(histories(clean, catalogue)[0], 0, clean["user_id"].cast(pl.String)).fused
            edited_clean.append(float((calm >= config.threshold).mean()))
    users = np.unique(owners.to_numpy(), return_inverse=True)[1][judged.users]
    figures = [_figures(verdicts, truth, config.threshold) for verdicts, _ in runs]
    result: dict[str, Any] = {
        "folder": folder.name,
        "regime": regime,
        "seeds": list(seeds),
        **_mean([figure["fused"] for figure in figures]),
        "n_windows": len(noisy),
        "n_positions": judged.n_interactions,
        "n_asked": int(runs[0][0].asked.sum()),
        "noise_rate": {"injected": float(truth.mean()), "estimated": float(np.mean([rate for _, rate in runs]))},
        "edited_clean": float(np.mean(edited_clean)) if edited_clean else None,
        "llm_free": _mean([figure["llm_free"] for figure in figures]),
        "witnesses": {
            name: _mean([figure[name] for figure in figures])
            for name in runs[0][0].witnesses
            if all(name in figure for figure in figures)  # no window is read where reading has not shown to help
        },
    }

    def gain_over(other: Callable[[Verdicts], npt.NDArray[np.float64]]) -> dict[str, Any]:
        ours, theirs = (
            np.mean([said(verdicts) for verdicts, _ in runs], axis=0) for said in (attrgetter("fused"), other)
        )
        found = paired_detection_bootstrap(truth, ours, theirs, users, np.random.default_rng(0), 1000)
        return {
            "difference": found.difference,
            "ci95": list(found.ci95),
            "p_value": found.p_value,
            "seeds": len(seeds),
        }

    result["gain_over_simple"] = gain_over(lambda verdicts: verdicts.witnesses[SIMPLE_FUSION])
    if model is not None:
        result["gain_auroc"] = gain_over(attrgetter("llm_free"))
        result["model"] = model.identity
    result["seconds"] = time.perf_counter() - begin
    return result


def _part(windows: pl.DataFrame, most: int | None) -> pl.DataFrame:
    if most is None or most >= len(windows):
        return windows
    return windows[np.sort(np.random.default_rng(0).permutation(len(windows))[:most])]


def _fitted(
    folder: Path,
    regime: Regime,
    catalogue: Catalogue,
    owners: pl.Series,
    encoder: Encoder | None,
    model: LanguageModel | None,
    config: DenoiseConfig,
    seed: int,
    progress: Progress,
) -> Denoiser:
    if regime == "small":
        train = as_log(read_windows(folder, "train"), catalogue)
    else:
        train = noisy_log(folder, set(owners.to_list()), catalogue, np.random.default_rng(seed + 1))
    return Denoiser(config.model_copy(update={"seed": seed}), encoder, model, progress).fit(train)


def _figures(verdicts: Verdicts, truth: npt.NDArray[np.bool_], threshold: float) -> dict[str, dict[str, Any]]:
    windows = verdicts.sequences.users.astype(np.int64)

    def measure(confidence: npt.NDArray[np.float64]) -> dict[str, Any]:
        heard = ~np.isnan(confidence)
        metrics = detection_metrics(truth[heard], confidence[heard], windows[heard], threshold)
        return {**metrics, "ece_above_0.2": calibration_error(truth[heard], confidence[heard], above=0.2)}

    singles = {name: measure(values) for name, values in verdicts.witnesses.items()}
    return {"fused": measure(verdicts.fused), "llm_free": measure(verdicts.llm_free), **singles}


def _mean(figures: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds; None where a figure has no meaning under some seed."""

    def mean(key: str) -> Any:
        values = [figure[key] for figure in figures]
        return None if None in values else values[0] if key == "n" else float(np.mean(values))

    return {key: mean(key) for key in figures[0]}


def bench_detect_by_name(
    folder: Path,
    regime: Regime,
    model: str | None,
    journal: Path,
    max_windows: int | None,
    language_windows: int | None,
    tuning_windows: int,
    n_seeds: int,
    progress: Progress = silent,
) -> dict[str, Any]:
    """`bench_detect` with the named language model and the default encoder, answers kept in a journal.

    Args:
        folder: Laid out like `llm4dsr-toy`.
        regime: "small" or "full".
        model: Name or folder of a language model, or None.
        journal: SQLite file of answers.
        max_windows: Judge a random part of the test windows.
        language_windows: Test windows that the language model is asked to read whole, those most in doubt; None = all.
        tuning_windows: Self-corrupted windows that it reads to learn how far to trust it.
        n_seeds: Seeds 0..n - 1.
        progress: Told what is being done.
    """
    if not folder.is_dir():
        raise InputError("no such folder", where=str(folder), expected="a folder laid out like llm4dsr-toy")
    encoder = SentenceEncoder.load(assets.resolve("minilm-l6", "encoder", progress))
    asked: LanguageModel | None = None
    if model is not None:
        local = LocalModel.load(assets.resolve(model, "model", progress))
        asked = JournaledModel(local, Journal(journal), Budget(), progress=progress)
    return bench_detect(
        folder,
        regime,
        encoder=encoder,
        model=asked,
        config=DenoiseConfig(tuning_windows=tuning_windows, language_windows=language_windows),
        max_windows=max_windows,
        seeds=tuple(range(n_seeds)),
        progress=progress,
    )
