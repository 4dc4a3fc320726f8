"""What a run would ask, train and cost, before anything is spent."""

from typing import Any

from seqmend.errors import InputError
from seqmend.interactions import Split
from seqmend.llm import Budget, CountingModel, Pace, Usage
from seqmend.menders.augment import READING
from seqmend.menders.denoise import METHODS, Part, forecast
from seqmend.progress import Progress, silent
from seqmend.study.arms import refuse_untrainable_backbone
from seqmend.study.augment_cost import amounts, estimate_augment, refuse_no_rate
from seqmend.study.config import RunConfig
from seqmend.study.data import before_test, divided, read_data, spoil
from seqmend.study.readers import load_model


def estimate(config: RunConfig, progress: Progress = silent, rate: float | None = None) -> dict[str, Any]:
    """What `run` would do with these settings in a new folder; nothing is written, and no answer is kept.

    Tokens are counted with the model's own tokenizer on the log's own titles; a served model is asked a few of the
    questions, which tell how many tokens it takes. Windows count as many as the settings let
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
        ResourceError: A model or corpus cannot be fetched or loaded, or a server fails.
    """
    refuse_no_rate(rate)
    fusion, asked = config.denoise, config.menders if config.language.model else ()
    if "denoise" in asked and (fusion.method != "fusion" or fusion.scorer != "mutual_information"):
        raise InputError(
            "what LLM4DSR's tuning and noise scores would cost cannot be foreseen",
            expected='denoise.method = "fusion" and denoise.scorer = "mutual_information"',
        )
    log = read_data(config.data, progress)
    refuse_untrainable_backbone(config, log.sequences)
    split = divided(log.sequences, config.split)
    if config.noise is not None:
        split = spoil(split, config.noise, config.language.encoder, progress).split
    parts, paces = _questions(config, split, progress, rate) if "denoise" in asked else ([], {})
    budget = config.language.budget()
    entries: list[dict[str, Any]] = []
    total, ends = Usage(), None
    for part in parts:
        used = paces[METHODS[part.purpose]].of(part.usage) if part.usage.calls else part.usage
        ends = ends or _end(budget, total, part, used)
        total.add(used)
        about = {"purpose": part.purpose, "view": part.view}
        entries.append({**about, **amounts(budget, used), "windows": part.windows, "windows_total": part.windows_total})
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
            entries.append({**about, **amounts(budget, used), "windows": None, "windows_total": None})
    arms += left_out
    return {
        "parts": entries,
        "total": amounts(budget, total),
        "rates": {method: pace.rate for method, pace in paces.items()},
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


def _questions(
    config: RunConfig, split: Split, progress: Progress, rate: float | None
) -> tuple[list[Part], dict[str, Pace]]:
    """What would be asked, and what each method takes."""
    model = load_model(config.language, progress)
    progress("counting tokens", 0, 0)
    counting = CountingModel.of(model)
    views = {"train": (split.train, None), "test": (before_test(split), config.language.test_windows)}
    writes = config.denoise.kind == "replace" and config.language.encoder is not None
    parts = forecast(config.denoise, split.train, views, counting, writes)
    progress("measuring the speed", 0, 0)
    return parts, {method: counting.pace(model, method, rate) for method in counting.methods}


def _end(budget: Budget, spent: Usage, part: Part, used: Usage) -> dict[str, Any] | None:
    """Where in this part the budget ends, as a share of the part; None where it does not."""
    before = {name: taken for name, _, taken in budget.limits(spent)}
    shares = [
        max(limit - before[name], 0) / wanted
        for name, limit, wanted in budget.limits(used)
        if wanted > limit - before[name]
    ]
    return {"purpose": part.purpose, "view": part.view, "share": min(shares)} if shares else None
