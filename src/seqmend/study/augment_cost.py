"""What augmenting a log would ask and cost, before anything is trained or spent."""

import time
from typing import Any

import numpy as np

from seqmend import assets
from seqmend.errors import InputError
from seqmend.llm import CountingModel, LocalModel
from seqmend.menders.augment import forecast
from seqmend.progress import Progress, silent
from seqmend.study.augmenting import resolved_settings, seen_part, split_of
from seqmend.study.config import RunConfig

_PROBE, _PROBE_READ, _PROBE_WRITTEN = 48, 512, 4


def estimate_augment(config: RunConfig, progress: Progress = silent, rate: float | None = None) -> dict[str, Any]:
    """What `augment` would ask a language model with these settings and an empty journal; nothing is written.

    Args:
        config: Of the call.
        progress: Told what is being done.
        rate: Tokens per second; measured on a few of the questions where absent.

    Returns:
        `parts` (`purpose, calls, prompt_tokens, completion_tokens, seconds`), `total` (the same sums), `rate` and
        `users` (how many would be augmented). Without a language model nothing is asked: no parts, and no rate.

    Raises:
        InputError: The log or the settings cannot be used, or the model is a server's: its tokenizer is not here.
        ResourceError: A model or corpus cannot be fetched or loaded.
    """
    refuse_no_rate(rate)
    language = config.language
    if language.served_model is not None:
        raise InputError(
            "what a served model would be asked cannot be counted, as its tokenizer is not here",
            where=language.model,
            expected="a model in this process",
        )
    split = split_of(config, progress)
    seen, totals = seen_part(config, split), split.sequences.lengths
    entries: list[dict[str, Any]] = []
    if language.model is None:
        rate = None
    else:
        model = LocalModel.load(assets.resolve(language.model, "model", progress), progress=progress)
        counting = CountingModel(model.tokenizer)
        progress("counting tokens", 0, 0)
        parts = forecast(resolved_settings(config, None), seen, totals, counting)
        if rate is None:
            progress("measuring the speed", 0, 0)
            rate = _measured(model, counting, config.augment.max_new_tokens)
        entries += [
            {
                "purpose": part.purpose,
                **{name: getattr(part.usage, name) for name in ("calls", "prompt_tokens", "completion_tokens")},
                "seconds": (part.usage.prompt_tokens + part.usage.completion_tokens) / rate,
            }
            for part in parts
        ]
    names = ("calls", "prompt_tokens", "completion_tokens", "seconds")
    up_to = config.augment.augment_up_to
    return {
        "users": int(((seen.lengths > 0) & (totals <= (np.inf if up_to is None else up_to))).sum()),
        "parts": entries,
        "total": {name: sum(entry[name] for entry in entries) for name in names},
        "rate": rate,
    }


def refuse_no_rate(rate: float | None) -> None:
    """Raise `InputError` where tokens per second are given and are not more than 0."""
    if rate is not None and rate <= 0:
        raise InputError(f"{rate:g} tokens per second is no rate", expected="more than 0")


def _measured(model: LocalModel, counting: CountingModel, max_new_tokens: int) -> float:
    """Tokens per second, reading and writing together, of some of the counted questions."""
    asked = counting.asked

    def some(method: str, n: int) -> list[Any]:
        return asked[method][:: max(1, len(asked[method]) // n)][:n]

    if asked["choose"]:
        model.choose(asked["choose"][:2])  # the first call is slower
    before, begin = model.usage.tokens, time.perf_counter()
    if asked["choose"]:
        model.choose(some("choose", _PROBE))
    elif asked["embed"]:
        model.embed(some("embed", _PROBE_READ))
    elif asked["write_objects"]:
        model.write(some("write_objects", _PROBE_WRITTEN), max_new_tokens)
    return max(model.usage.tokens - before, 1) / max(time.perf_counter() - begin, 1e-6)
