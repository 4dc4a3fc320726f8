"""`seqmend bench denoise-cost`: what every share of windows read whole costs, and how well noise is found for it."""

import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch

from seqmend import assets
from seqmend.errors import InputError
from seqmend.interactions import NoiseKind
from seqmend.llm import Encoder, LocalModel, SentenceEncoder
from seqmend.menders.denoise import Denoiser
from seqmend.progress import Progress, silent
from seqmend.study.denoise_studies.repetition import Repetition, kept
from seqmend.study.denoise_studies.setting import Case, Setting, make_noise
from seqmend.study.denoise_studies.summary import all_over_seeds, auroc_difference, found_noise, over_seeds
from seqmend.study.machine import describe_machine

T = TypeVar("T")
SHARES = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)


def denoise_cost(
    setting: Setting,
    noise: tuple[NoiseKind, float],
    out: Path,
    *,
    shares: Sequence[float] = SHARES,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Judge the training part with every share of its windows asked; nothing is answered from a journal.

    Args:
        setting: The log and the settings, with a language model.
        noise: Kind and ratio.
        out: Folder of the study.
        shares: Of the windows, 0 to 1. With 0 the model has read every title once and no window.
        progress: Told what is being done.

    Returns:
        `rows`: the LLM-free mender (`share` null), then one per share, with detection figures, `gain` (of AUROC over
        the LLM-free fusion of the same mender), `windows, windows_asked, calls, tokens, seconds, windows_per_second,
        peak_memory_mib` (of the process up to here, or of the GPU for this share), each over seeds; `fitting`: calls,
        tokens and seconds of learning, with and without the model. The mender reads no window where reading has not
        shown to help; `windows_asked` tells.

    Raises:
        InputError: No model, a share outside [0, 1], or see `Setting.begin`.
    """
    language = setting.config.language
    if language.model is None:
        raise InputError("the cost study measures a language model, and there is none", fix="name one with --model")
    if not shares or not all(0 <= share <= 1 for share in shares):
        raise InputError("a share is not in [0, 1]", expected="values such as 0,0.1,1")
    shares = sorted(set(shares))
    directory = setting.begin(out)
    encoder = None
    if language.encoder is not None:
        encoder = SentenceEncoder.load(assets.resolve(language.encoder, "encoder", progress))
    model = LocalModel.load(assets.resolve(language.model, "model", progress))
    repetitions: list[Repetition] = []
    for seed in setting.config.seeds:

        def make(seed: int = seed) -> Repetition:
            return Repetition(_measure(setting, noise, seed, shares, encoder, model, progress))

        identity = [setting.identity(seed), noise, shares]
        repetitions.append(kept(directory, f"cost-{seed}", identity, make, ranked=False))
    directory.finish({})
    said = [repetition.figures for repetition in repetitions]
    rows: list[dict[str, Any]] = []
    for place, share in enumerate([None, *shares]):
        of_share = [figures["rows"][place] for figures in said]
        gains = [figures["gains"][place] for figures in said]
        rows.append({"share": share, **all_over_seeds(of_share)})
        rows[-1]["gain"] = {**over_seeds([gain and gain["difference"] for gain in gains]), "by_seed": gains}
    return {
        "study": "denoise-cost",
        **setting.describe(),
        "noise": {"kind": noise[0], "ratio": noise[1]},
        "rows": rows,
        "fitting": {
            name: all_over_seeds([figures["fitting"][name] for figures in said]) for name in said[0]["fitting"]
        },
        "machine": describe_machine(),
    }


def _measure(
    setting: Setting,
    noise: tuple[NoiseKind, float],
    seed: int,
    shares: Sequence[float],
    encoder: Encoder | None,
    model: LocalModel,
    progress: Progress,
) -> dict[str, Any]:
    config = setting.config
    noisy = make_noise(setting.clean, *noise, seed, config.language.encoder, progress)
    train, denoise = noisy.split.train, config.denoise.model_copy(update={"seed": seed})

    def fit(reader: LocalModel | None) -> tuple[Denoiser, dict[str, float]]:
        return _priced(model, lambda: Denoiser(denoise, encoder, reader, progress).fit(train))

    def measure(mender: Denoiser, n_asked: int) -> tuple[Case, dict[str, float | None]]:
        verdicts, cost = _priced(model, lambda: mender.judge(train, n_asked))
        case = Case(seed, setting.clean, noisy, mender, {"train": verdicts})
        volume = {"windows": len(verdicts.windows), "windows_asked": int(verdicts.asked.sum())}
        rate = {"windows_per_second": len(verdicts.windows) / cost["seconds"]}
        return case, {**found_noise(case, verdicts.fused, denoise.threshold), **volume, **cost, **rate}

    alone, alone_cost = fit(None)
    case, row = measure(alone, 0)
    rows = [row]
    gains: list[dict[str, Any] | None] = [None]
    informed, informed_cost = fit(model)
    for share in shares:
        progress(f"judging, {share:.0%} of the windows read, seed {seed}", 0, 0)
        n_asked = round(share * len(case.verdicts["train"].windows))
        case, row = measure(informed, n_asked)
        rows.append(row)
        verdicts, truth = case.verdicts["train"], case.is_noise("train")
        gains.append(auroc_difference([truth], [verdicts.fused], [verdicts.llm_free], [verdicts.sequences.users]))
    return {"rows": rows, "gains": gains, "fitting": {"llm_free": alone_cost, "with_model": informed_cost}}


def _priced(model: LocalModel, work: Callable[[], T]) -> tuple[T, dict[str, float]]:
    """The result, and what it cost: calls and tokens of the model, seconds of the clock, memory."""
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    before, begin = asdict(model.usage), time.perf_counter()
    result = work()
    seconds, after = time.perf_counter() - begin, asdict(model.usage)
    scale = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there
    bytes_ = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
    spent = {name: after[name] - before[name] for name in before}
    return result, {
        "calls": spent["calls"],
        "tokens": spent["prompt_tokens"] + spent["completion_tokens"],
        "seconds": seconds,
        "peak_memory_mib": bytes_ / 2**20,
    }
