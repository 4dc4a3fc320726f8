"""What augmenting a log would ask and cost, before anything is trained or spent."""

from typing import Any

import numpy as np

from seqmend.errors import InputError
from seqmend.llm import Budget, CountingModel, Pace, Usage
from seqmend.menders.augment import forecast
from seqmend.progress import Progress, silent
from seqmend.study.augmenting import resolved_settings, seen_part, split_of
from seqmend.study.config import RunConfig
from seqmend.study.readers import load_model


def estimate_augment(config: RunConfig, progress: Progress = silent, rate: float | None = None) -> dict[str, Any]:
    """What `augment` would ask a language model with these settings and an empty journal; nothing is written.

    A served model is asked a few of the questions, which tell how many tokens it takes.

    Args:
        config: Of the call.
        progress: Told what is being done.
        rate: Tokens per second; measured on a few of the questions where absent.

    Returns:
        `parts` (`purpose, calls, prompt_tokens, completion_tokens, seconds, money`), `total` (the same sums), `rate`
        and `users` (how many would be augmented). Without a language model nothing is asked: no parts, and no rate.

    Raises:
        InputError: The log or the settings cannot be used.
        ResourceError: A model or corpus cannot be fetched or loaded, or a server fails.
    """
    refuse_no_rate(rate)
    language, budget = config.language, config.language.budget()
    split = split_of(config, progress)
    seen, totals = seen_part(config, split), split.sequences.lengths
    entries: list[dict[str, Any]] = []
    total = Usage()
    if language.model is None:
        rate = None
    else:
        model = load_model(language, progress, needs=())
        counting = CountingModel.of(model)
        progress("counting tokens", 0, 0)
        parts = forecast(resolved_settings(config, model), seen, totals, counting)
        progress("measuring the speed", 0, 0)
        paces = [counting.pace(model, method, rate) for method in counting.methods]
        pace = paces[0] if paces else Pace(rate or 1.0)  # all questions are of one kind
        rate = pace.rate
        for part in parts:
            used = pace.of(part.usage)
            total.add(used)
            entries.append({"purpose": part.purpose, **amounts(budget, used)})
    up_to = config.augment.augment_up_to
    return {
        "parts": entries,
        "total": amounts(budget, total),
        "rate": rate,
        "users": int(((seen.lengths > 0) & (totals <= (np.inf if up_to is None else up_to))).sum()),
    }


def amounts(budget: Budget, used: Usage) -> dict[str, float]:
    """Calls, tokens, seconds and what they cost in money."""
    return {
        "calls": used.calls,
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
        "seconds": used.seconds,
        "money": budget.cost(used),
    }


def refuse_no_rate(rate: float | None) -> None:
    """Raise `InputError` where tokens per second are given and are not more than 0."""
    if rate is not None and rate <= 0:
        raise InputError(f"{rate:g} tokens per second is no rate", expected="more than 0")
