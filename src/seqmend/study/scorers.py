"""`seqmend bench scorers`: ways of asking a language model which item does not belong, on the same windows.

Every way is heard alone and beside the fusion that has no language model. How far it may move the fusion's verdict is
learned on training windows of users whom the fusion did not learn from, corrupted by us; both are measured on released
windows with known noise, whose truth the judge alone reads.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.metrics import roc_auc_score

from seqmend import assets
from seqmend.errors import InputError
from seqmend.evaluation import paired_detection_bootstrap
from seqmend.interactions import Catalogue, Sequences
from seqmend.llm import Encoder, LanguageModel, LocalModel, SentenceEncoder, whiten
from seqmend.menders.denoise import DenoiseConfig, Denoiser, Verdicts
from seqmend.menders.denoise.corruption import corrupt
from seqmend.menders.denoise.fusion import WindowFusion
from seqmend.menders.denoise.language import testimony
from seqmend.menders.denoise.llm4dsr import LLM4DSRConfig, tune
from seqmend.menders.denoise.llm4dsr.config import Scorer
from seqmend.menders.denoise.llm4dsr.scores import SCORERS, window_testimony
from seqmend.menders.denoise.windows import cut
from seqmend.progress import Progress, silent
from seqmend.study.released import NOISE_RATE, as_log, histories, read_catalogue, read_windows

Bool = npt.NDArray[np.bool_]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Way = Callable[[Int32, Catalogue, LanguageModel], Float64]
Tuner = Callable[[Sequences], Mapping[str, LanguageModel]]

_CERTAIN = 1e-6
_HELD_OUT_SHARE = 0.25


@dataclass(frozen=True, eq=False)
class Judged:
    """Windows that the fusion without a language model has judged.

    Attributes:
        items: int32 [B, L], 0 = padding.
        is_noise: bool [B, L].
        verdict: P(noise) without a language model, float64 [B, L] in (0, 1); NaN in padding.
        users: Number of every window's user, int64 [B].
    """

    items: Int32
    is_noise: Bool
    verdict: Float64
    users: npt.NDArray[np.int64]

    @property
    def real(self) -> Bool:
        """Which cells hold an item, bool [B, L]."""
        return self.items > 0

    @property
    def owners(self) -> npt.NDArray[np.int64]:
        """User of every real cell, int64 [P]."""
        return np.broadcast_to(self.users[:, None], self.items.shape)[self.real]


def title_likeness(items: Int32, catalogue: Catalogue, model: LanguageModel) -> Float64:
    """Cosine of every title with its nearest in the window, under the model's own whitened representation.

    Args:
        items: Windows, int32 [B, L], 0 = padding.
        catalogue: Titles; an item without one is like no other.
        model: Any model that embeds texts; it is asked once per item.

    Returns:
        float64 [B, L]; the lower, the more suspicious; 0 in padding and in windows of one.
    """
    needed = np.unique(items[catalogue.has_title[items]])
    found = model.embed([catalogue.prompt_titles[item] for item in needed.tolist()])
    vectors = np.zeros((len(catalogue) + 1, found.shape[1]), dtype=np.float32)
    vectors[needed] = found
    alike = whiten(vectors)[items]
    relation = (alike @ alike.transpose(0, 2, 1)).astype(np.float64)
    real = items > 0
    others = real[:, :, None] & real[:, None, :] & ~np.eye(items.shape[1], dtype=bool)
    strongest = np.where(others, relation, -np.inf).max(2)
    return np.where(others.any(2), strongest, 0.0)


def _published(name: Scorer) -> Way:
    return lambda items, catalogue, model: window_testimony(name, items, catalogue, model)


PUBLISHED: Mapping[str, Way] = {f"LLM4DSR {name}": _published(name) for name in SCORERS}
WAYS: Mapping[str, Way] = {"titles": title_likeness, "mutual information": testimony, **PUBLISHED}


def bench_scorers(
    folder: Path,
    models: Mapping[str, LanguageModel],
    *,
    encoder: Encoder | None,
    tuned: Tuner | None = None,
    ways: Mapping[str, Way] = WAYS,
    split: Literal["valid", "test"] = "valid",
    windows: int = 400,
    tuning_windows: int = 400,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Hear every way of asking every model about the same windows.

    Args:
        folder: Laid out like `llm4dsr-toy`.
        models: Whom to ask, by name.
        encoder: Of titles, for the fusion without a language model.
        tuned: Makes further models from the training windows of the fusion's users; they are asked as LLM4DSR does.
        ways: How to ask.
        split: Which released windows are judged; choices are made on `valid`.
        windows: How many of them, drawn at random.
        tuning_windows: Corrupted training windows, of users whom the fusion did not learn from.
        seed: Of the draws and of the fusion.
        progress: Told what is being done.

    Returns:
        `folder, split, n_windows, n_positions, n_tuning_windows, llm_free {auroc}` and `models`: per model and way
        `auroc_alone, auroc_fused, gain {difference, ci95, p_value}` (over the fusion without a language model, by
        user), `trust` (how far the way may move the verdict, learned), `calls, prompt_tokens, seconds`.
    """
    catalogue, rng = read_catalogue(folder), np.random.default_rng(seed)
    train = as_log(read_windows(folder, "train"), catalogue)
    held_out = rng.random(len(train)) < _HELD_OUT_SHARE
    mender = Denoiser(DenoiseConfig(seed=seed), encoder, None, progress).fit(_of_users(train, ~held_out))
    tuning = _tuning(_of_users(train, held_out), mender, tuning_windows, rng)
    judged = _released(read_windows(folder, split), catalogue, mender, windows, rng)
    free = judged.verdict[judged.real]
    truth = judged.is_noise[judged.real]
    results: dict[str, Any] = {}
    plans = [(name, model, ways) for name, model in models.items()]
    if tuned is not None:
        plans += [(name, model, PUBLISHED) for name, model in tuned(_of_users(train, ~held_out)).items()]
    for model_name, model, asked in plans:
        results[model_name] = {}
        for done, (name, ask) in enumerate(asked.items()):
            progress(f"{model_name}: {name}", done, len(asked))
            results[model_name][name] = _heard(ask, tuning, judged, catalogue, model)
    return {
        "folder": folder.name,
        "split": split,
        "n_windows": len(judged.items),
        "n_positions": len(truth),
        "n_tuning_windows": len(tuning.items),
        "llm_free": {"auroc": float(roc_auc_score(truth, free))},
        "models": results,
    }


def bench_scorers_by_name(
    folder: Path,
    models: tuple[str, ...],
    split: Literal["valid", "test"],
    windows: int,
    tuning_windows: int,
    adapters: Path | None = None,
    lesson: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """`bench_scorers` with the named language models and the default encoder; nothing is journaled: work is measured.

    Args:
        folder: Laid out like `llm4dsr-toy`.
        models: Names or folders.
        split: Which windows are judged.
        windows: How many.
        tuning_windows: See `bench_scorers`.
        adapters: Folder for an adapter of every model, which is tuned first; None = no model is tuned.
        lesson: Settings of that tuning, as `denoise.llm4dsr.tuning` has them; those by default where absent.
        progress: Told what is being done.

    Returns:
        See `bench_scorers`; with `tuned`, which is the lesson and the seconds that fitting took, by model.

    Raises:
        InputError: There is no such folder or model.
    """
    if not folder.is_dir():
        raise InputError("no such folder", where=str(folder), expected="a folder laid out like llm4dsr-toy")
    encoder = SentenceEncoder.load(assets.resolve("minilm-l6", "encoder", progress))
    asked = {name: LocalModel.load(name, progress=progress) for name in models}
    seconds: dict[str, float] = {}
    method = LLM4DSRConfig.model_validate({"tuning": dict(lesson or {})})

    def tuned(train: Sequences) -> dict[str, LanguageModel]:
        assert adapters is not None
        found: dict[str, LanguageModel] = {}
        for name, model in asked.items():
            own, begin = adapters / Path(name).name, time.perf_counter()
            tune(model, train, own, method, encoder, progress)
            seconds[name] = time.perf_counter() - begin
            found[f"{name}, tuned"] = LocalModel.load(name, adapter=own, progress=progress)
        return found

    figures = bench_scorers(
        folder,
        asked,
        encoder=encoder,
        tuned=None if adapters is None else tuned,
        split=split,
        windows=windows,
        tuning_windows=tuning_windows,
        progress=progress,
    )
    return figures | ({"tuned": {"lesson": method.tuning.model_dump(), "seconds": seconds}} if adapters else {})


def _heard(ask: Way, tuning: Judged, judged: Judged, catalogue: Catalogue, model: LanguageModel) -> dict[str, Any]:
    before, begin = asdict(model.usage), time.perf_counter()
    # Asked together, as of one log: what is asked once per item is asked once.
    said = ask(np.concatenate([tuning.items, judged.items]), catalogue, model)
    seconds = time.perf_counter() - begin
    learned, heard = said[: len(tuning.items)][tuning.real], said[len(tuning.items) :][judged.real]
    truth, free = judged.is_noise[judged.real], judged.verdict[judged.real]
    fusion = WindowFusion().fit(tuning.verdict[tuning.real], learned, tuning.is_noise[tuning.real], tuning.owners)
    fused = fusion.probability(free, heard)
    gain = paired_detection_bootstrap(truth, fused, free, judged.owners, np.random.default_rng(0))
    return {
        "auroc_alone": float(roc_auc_score(truth, -heard)),
        "auroc_fused": gain.mean_a,
        "gain": {"difference": gain.difference, "ci95": list(gain.ci95), "p_value": gain.p_value},
        "trust": fusion.trust,
        "calls": model.usage.calls - before["calls"],
        "prompt_tokens": model.usage.prompt_tokens - before["prompt_tokens"],
        "seconds": seconds,
    }


def _of_users(sequences: Sequences, chosen: Bool) -> Sequences:
    lengths = sequences.lengths[chosen]
    of_chosen = chosen[sequences.users]
    return Sequences(
        sequences.user_ids.filter(pl.Series(chosen)),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        sequences.items[of_chosen],
        sequences.timestamps[of_chosen],
        sequences.catalogue,
    )


def _tuning(log: Sequences, mender: Denoiser, n: int, rng: np.random.Generator) -> Judged:
    """Corrupted windows of users whom the mender does not know, each a sequence of its own."""
    windows = cut(log, mender.config.max_length)
    windows = windows[windows.real.sum(1) >= 2]
    items, corrupted = corrupt(windows.items, np.unique(log.items), NOISE_RATE, rng)
    real, lengths = windows.real, windows.real.sum(1)
    alone = Sequences(
        pl.Series("user_id", [f"#{row}" for row in range(len(windows))], dtype=pl.String),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        items[real],
        windows.positions[real],
        log.catalogue,
    )
    return _judged(mender.judge(alone), corrupted[real], np.repeat(windows.users, lengths), n, rng)


def _released(
    windows: pl.DataFrame, catalogue: Catalogue, mender: Denoiser, n: int, rng: np.random.Generator
) -> Judged:
    sequences, is_noise = histories(windows, catalogue)
    users = np.unique(windows["user_id"].to_numpy(), return_inverse=True)[1].astype(np.int64)
    verdicts = mender.judge(sequences, owners=windows["user_id"].cast(pl.String))
    return _judged(verdicts, is_noise, users[sequences.users], n, rng)


def _judged(
    verdicts: Verdicts, is_noise: Bool, users: npt.NDArray[np.integer], n: int, rng: np.random.Generator
) -> Judged:
    """At most `n` of the windows, drawn at random; `is_noise` and `users` are of every interaction."""
    rows = np.sort(rng.permutation(np.flatnonzero(verdicts.windows.real.sum(1) >= 2))[:n])
    windows, sequences = verdicts.windows[rows], verdicts.sequences
    cells = sequences.offsets[windows.users][:, None] + np.maximum(windows.positions, 0)
    verdict = np.clip(verdicts.llm_free[cells], _CERTAIN, 1 - _CERTAIN)
    return Judged(
        windows.items,
        is_noise[cells] & windows.real,
        np.where(windows.real, verdict, np.nan),
        users[sequences.offsets[windows.users]].astype(np.int64),
    )
