"""`seqmend bench detect`: how well known noise is found in LLM4DSR's own test windows.

Two regimes. *small*: learn from the 5,000 released noisy training windows. *full*: learn from the whole log of the
users without a test window, with fresh 10 % noise. The noise mask of the test windows is read by the judge alone.
"""

import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from seqmend import assets
from seqmend.errors import InputError
from seqmend.evaluation import calibration_error, detection_metrics, paired_detection_bootstrap
from seqmend.interactions import Catalogue, Sequences
from seqmend.llm import Budget, Encoder, Journal, JournaledModel, LanguageModel, LocalModel, SentenceEncoder
from seqmend.menders.denoise import DenoiseConfig, Denoiser, Verdicts
from seqmend.progress import Progress, silent

Regime = Literal["small", "full"]
_NOISY = Path("official_splits") / "noise_user0.1"
_NOISE_RATE = 0.1


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
        The figures of the design's `bench detect` contract; `seconds` are of this run.
    """
    begin = time.perf_counter()
    catalogue = _read_catalogue(folder)
    test = _read_test(folder)
    if max_windows is not None and max_windows < len(test):
        test = test[np.sort(np.random.default_rng(0).permutation(len(test))[:max_windows])]
    judged, truth = _test_sequences(test, catalogue)
    runs = [
        _judge(folder, regime, catalogue, judged, test["user_id"], encoder, model, config, seed, progress)
        for seed in seeds
    ]
    users = np.unique(test["user_id"].to_numpy(), return_inverse=True)[1][judged.users]
    figures = [_figures(verdicts, truth, config.threshold) for verdicts, _ in runs]
    result: dict[str, Any] = {
        "folder": folder.name,
        "regime": regime,
        "seeds": list(seeds),
        **_mean([figure["fused"] for figure in figures]),
        "n_windows": len(test),
        "n_positions": judged.n_interactions,
        "n_asked": int(runs[0][0].asked.sum()),
        "noise_rate": {"injected": float(truth.mean()), "estimated": float(np.mean([rate for _, rate in runs]))},
        "llm_free": _mean([figure["llm_free"] for figure in figures]),
        "witnesses": {name: _mean([figure[name] for figure in figures]) for name in runs[0][0].witnesses},
    }
    if model is not None:
        fused, free = (
            np.mean([getattr(verdicts, name) for verdicts, _ in runs], axis=0) for name in ("fused", "llm_free")
        )
        gain = paired_detection_bootstrap(truth, fused, free, users, np.random.default_rng(0), 1000)
        result["gain_auroc"] = {
            "difference": gain.difference,
            "ci95": list(gain.ci95),
            "p_value": gain.p_value,
            "seeds": len(seeds),
        }
        result["model"] = model.identity
    result["seconds"] = time.perf_counter() - begin
    return result


def _judge(
    folder: Path,
    regime: Regime,
    catalogue: Catalogue,
    judged: Sequences,
    owners: pl.Series,
    encoder: Encoder | None,
    model: LanguageModel | None,
    config: DenoiseConfig,
    seed: int,
    progress: Progress,
) -> tuple[Verdicts, float]:
    if regime == "small":
        train = _windows_as_log(_read(folder / _NOISY / "train_5000.parquet"), catalogue)
    else:
        train = _noisy_log(folder, set(owners.to_list()), catalogue, np.random.default_rng(seed + 1))
    mender = Denoiser(config.model_copy(update={"seed": seed}), encoder, model, progress).fit(train)
    return mender.judge(judged, owners=owners.cast(pl.String)), mender.noise_rate


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


# ------------------------------------------------------------------------------------------------------- the folder


def _read(path: Path) -> pl.DataFrame:
    if not path.exists():
        raise InputError(
            "a file of the benchmark is missing", where=str(path), expected="a folder laid out like llm4dsr-toy"
        )
    return pl.read_parquet(path)


def _read_catalogue(folder: Path) -> Catalogue:
    items = _read(folder / "items.parquet")
    return Catalogue.from_titles(dict(zip(items["item_id"].cast(pl.String), items["title"], strict=True)))


def _read_test(folder: Path) -> pl.DataFrame:
    path = folder / _NOISY / "test.parquet"
    return _read(path if path.exists() else folder / _NOISY / "test_5000.parquet")


def _from_lists(user_ids: list[str], items: list[list[str]], catalogue: Catalogue) -> Sequences:
    lengths = [len(row) for row in items]
    return Sequences(
        pl.Series("user_id", user_ids, dtype=pl.String),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        catalogue.index_of([item for row in items for item in row]),
        np.array([position for length in lengths for position in range(length)], dtype=np.int64),
        catalogue,
    )


def _test_sequences(test: pl.DataFrame, catalogue: Catalogue) -> tuple[Sequences, npt.NDArray[np.bool_]]:
    """Every test window's history as a sequence of its own, and which interactions are injected noise, bool [N]."""
    # The last item of a window is its target, which no one is shown.
    test = test.with_columns(pl.col("item_ids", "mask").list.head(pl.col("item_ids").list.len() - 1))
    histories = test["item_ids"].cast(pl.List(pl.String)).to_list()
    mask = test["mask"].explode()
    names = [f"{user}#{row}" for row, user in enumerate(test["user_id"].to_list())]
    return _from_lists(names, histories, catalogue), mask.to_numpy().astype(bool)


def _windows_as_log(windows: pl.DataFrame, catalogue: Catalogue) -> Sequences:
    """Each user's overlapping windows joined into one sequence, so that no interaction counts twice."""
    histories: dict[str, list[str]] = {}
    rows = windows.sort("timestamp", maintain_order=True).select(
        pl.col("user_id").cast(pl.String), pl.col("item_ids").cast(pl.List(pl.String))
    )
    for user, window in rows.iter_rows():
        joined = histories.setdefault(user, [])
        overlap = min(len(joined), len(window))
        while overlap and joined[-overlap:] != window[:overlap]:
            overlap -= 1
        joined.extend(window[overlap:])
    return _from_lists(list(histories), list(histories.values()), catalogue)


def _noisy_log(folder: Path, excluded: set[str], catalogue: Catalogue, rng: np.random.Generator) -> Sequences:
    """The clean log of all users but the excluded ones, every interaction replaced with probability .1."""
    log = _read(folder / "interactions.parquet").with_columns(pl.col("user_id", "item_id").cast(pl.String))
    log = log.filter(~pl.col("user_id").is_in([str(user) for user in excluded]))
    users = log.sort("timestamp", maintain_order=True).group_by("user_id", maintain_order=True).agg("item_id")
    clean = _from_lists(users["user_id"].to_list(), users["item_id"].to_list(), catalogue)
    noisy = rng.random(clean.n_interactions) < _NOISE_RATE
    # Shifting by 1..V-1 draws uniformly from all other items.
    other = (clean.items - 1 + rng.integers(1, len(catalogue), clean.n_interactions)) % len(catalogue) + 1
    items = np.where(noisy, other, clean.items).astype(np.int32)
    return Sequences(clean.user_ids, clean.offsets, items, clean.timestamps, catalogue)


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
