"""What a run would ask, train and cost, before anything is spent."""

import time
from collections.abc import Callable
from typing import Any

import torch

from seqmend import assets
from seqmend.errors import InputError
from seqmend.interactions import Split
from seqmend.llm import Budget, CountingModel, LocalModel, Usage
from seqmend.menders.augment import READING
from seqmend.menders.denoise import METHODS, Part, forecast
from seqmend.progress import Progress, silent
from seqmend.study.arms import refuse_untrainable_backbone
from seqmend.study.augment_cost import estimate_augment, refuse_no_rate
from seqmend.study.config import RunConfig
from seqmend.study.data import before_test, divided, read_data, spoil

_PROBE: dict[str, int] = {"embed": 64, "choose": 64, "score": 24, "write": 4}
_WARM_UP = 2

Rates = dict[str, float]


def estimate(config: RunConfig, progress: Progress = silent, rate: float | None = None) -> dict[str, Any]:
    """What `run` would do with these settings in a new folder; nothing is written, and no answer is kept.

    Tokens are counted with the model's own tokenizer on the log's own titles. Windows count as many as the settings let
    the model read: fewer are read where the budget ends earlier, and none where reading has not shown to help.

    Args:
        config: Of the run.
        progress: Told what is being done.
        rate: Tokens per second; measured on a few of the questions where absent.

    Returns:
        `parts` (in the order in which they are asked: `purpose, view, calls, prompt_tokens, completion_tokens, seconds,
        money`, and `windows, windows_total` or None), `total` (the same sums), `rates` (tokens per second by method),
        `budget` (by limit: `limit, wanted`), `ends` (where the budget ends, or None: `purpose, view, share` of that
        part), `unforeseen` (menders of which only a trained recommender can tell what they ask) and `trainings` (`n,
        arms, seeds, epochs, targets`: of one epoch of one training).

    Raises:
        InputError: The log or the settings cannot be used.
        ResourceError: A model or corpus cannot be fetched or loaded.
    """
    refuse_no_rate(rate)
    fusion, asked = config.denoise, config.menders if config.language.model else ()
    if "denoise" in asked and (fusion.method != "fusion" or fusion.scorer != "mutual_information"):
        raise InputError(
            "what LLM4DSR's tuning and noise scores would cost cannot be foreseen",
            expected='denoise.method = "fusion" and denoise.scorer = "mutual_information"',
        )
    if config.language.served_model is not None:
        raise InputError(
            "what a served model would be asked cannot be counted, as its tokenizer is not here",
            where=config.language.model,
            expected="a model in this process",
            fix="limit the run by language.max_calls, max_tokens, max_seconds or max_money instead",
        )
    log = read_data(config.data, progress)
    refuse_untrainable_backbone(config, log.sequences)
    split = divided(log.sequences, config.split)
    if config.noise is not None:
        split = spoil(split, config.noise, config.language.encoder, progress).split
    parts, rates = _questions(config, split, progress, rate) if "denoise" in asked else ([], {})
    budget = config.language.budget()
    entries: list[dict[str, Any]] = []
    total, ends = Usage(), None
    for part in parts:
        used = part.usage
        used.seconds = (used.prompt_tokens + used.completion_tokens) / rates[METHODS[part.purpose]] if used.calls else 0
        ends = ends or _end(budget, total, part)
        total.add(used)
        about = {"purpose": part.purpose, "view": part.view}
        entries.append(
            {**about, **_amounts(budget, used), "windows": part.windows, "windows_total": part.windows_total}
        )
    arms: list[str] = [arm for arm in config.arms if arm != "oracle" or config.noise is not None]
    left_out = [f"without_{mender}" for mender in config.menders] if len(config.menders) > 1 else []
    if "augment" in asked:
        # Whose data differ, and so the questions: the run, its controls, and without one of the menders before.
        # Titles are the same in all of them.
        versions = 1 + sum(arm in ("llm_free", "random") for arm in arms) + len(config.menders) - 1
        are_read = any(METHODS[entry["purpose"]] == "embed" for entry in entries)
        for part in estimate_augment(config, progress, rate)["parts"]:
            if part["purpose"] == READING and are_read:
                continue
            times = 1 if part["purpose"] == READING else versions
            used = Usage(*(times * part[name] for name in ("calls", "prompt_tokens", "completion_tokens", "seconds")))
            total.add(used)
            about = {"purpose": part["purpose"], "view": ""}
            entries.append({**about, **_amounts(budget, used), "windows": None, "windows_total": None})
    arms += left_out
    return {
        "parts": entries,
        "total": _amounts(budget, total),
        "rates": rates,
        "budget": {name: {"limit": limit, "wanted": wanted} for name, limit, wanted in budget.limits(total)},
        "ends": ends,
        "unforeseen": [mender for mender in asked if mender == "correct"],
        "trainings": {
            "n": len(arms) * len(config.seeds),
            "arms": arms,
            "seeds": len(config.seeds),
            "epochs": config.training.epochs,
            "targets": split.train.n_interactions,
        },
    }


def _questions(config: RunConfig, split: Split, progress: Progress, rate: float | None) -> tuple[list[Part], Rates]:
    """What would be asked, and how many tokens a second each method does."""
    assert config.language.model is not None
    model = LocalModel.load(assets.resolve(config.language.model, "model", progress), progress=progress)
    progress("counting tokens", 0, 0)
    counting = CountingModel(model.tokenizer)
    views = {"train": (split.train, None), "test": (before_test(split), config.language.test_windows)}
    writes = config.denoise.kind == "replace" and config.language.encoder is not None
    parts = forecast(config.denoise, split.train, views, counting, writes)
    progress("measuring the speed", 0, 0)
    rates = {method: rate or _measured(model, method, asked) for method, asked in counting.asked.items() if asked}
    return parts, rates


def _measured(model: LocalModel, method: str, questions: list[Any]) -> float:
    """Tokens per second, reading and writing together, of some questions from all over the list."""
    asks: dict[str, Callable[[list[Any]], Any]] = {
        "embed": model.embed,
        "choose": model.choose,
        "score": model.score,
        "write": model.write,
    }
    ask = asks[method]
    ask(questions[:_WARM_UP])
    step = max(1, len(questions) // _PROBE[method])
    before, begin = _n_tokens(model.usage), time.perf_counter()
    ask(questions[::step][: _PROBE[method]])
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (_n_tokens(model.usage) - before) / max(time.perf_counter() - begin, 1e-6)


def _end(budget: Budget, spent: Usage, part: Part) -> dict[str, Any] | None:
    """Where in this part the budget ends, as a share of the part; None where it does not."""
    before = {name: taken for name, _, taken in budget.limits(spent)}
    shares = [
        max(limit - before[name], 0) / wanted
        for name, limit, wanted in budget.limits(part.usage)
        if wanted > limit - before[name]
    ]
    return {"purpose": part.purpose, "view": part.view, "share": min(shares)} if shares else None


def _amounts(budget: Budget, used: Usage) -> dict[str, float]:
    return {
        "calls": used.calls,
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
        "seconds": used.seconds,
        "money": budget.cost(used),
    }


def _n_tokens(usage: Usage) -> int:
    return usage.prompt_tokens + usage.completion_tokens
