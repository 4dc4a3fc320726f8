"""The denoise mender by itself: a log to a ledger, without trainings."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from seqmend.errors import InputError
from seqmend.interactions import Sequences, Split, View
from seqmend.ledger import IS_CHANGE, Ledger
from seqmend.llm import JournaledModel
from seqmend.menders.denoise import Denoiser, Verdicts
from seqmend.progress import Progress, silent
from seqmend.study.config import RunConfig
from seqmend.study.data import before_test, divided, read_data, ready_to_mend
from seqmend.study.published import PublishedMender, judge_as_published, tuned_adapter
from seqmend.study.readers import Readers, load_readers


def denoise(config: RunConfig, out: Path, progress: Progress = silent) -> dict[str, Any]:
    """Judge a log as it is, and write what the denoise mender would edit; a stopped or killed call goes on.

    Args:
        config: Of it the data, split, language and denoise sections count.
        out: The ledger; the journal of the language model's answers is put beside it.
        progress: Told what is being done.

    Returns:
        `ledger, noise_rate, views` (by view: `interactions, proposed, accepted, users` of the edits that change
        something, and `reweighted`) and `llm` as in `metrics.json`.

    Raises:
        InputError: The log, the settings or the file cannot be used; nothing was written.
        ResourceError: A model or corpus is missing or failing.
        BudgetExceeded: The budget does not pay for every title; what was asked is kept for the next time.
    """
    ready_to_mend(config, out, "seqmend run")
    log = read_data(config.data, progress)
    split = divided(log.sequences, config.split)
    journal = out.with_suffix(".journal.sqlite")
    is_resumed = journal.exists()
    adapter = tuned_adapter(config, split.train, out.with_suffix(".adapter"), progress)
    readers = load_readers(config.language, journal, progress, adapter)
    try:
        with readers.model.journal if readers.model is not None else contextlib.nullcontext():
            mender, verdicts = judge(config, split, readers, out.with_suffix(".titles.safetensors"), progress)
            train, test = (mender.propose_from(verdicts[view], view) for view in ("train", "test"))
    except InputError:
        if not is_resumed:
            journal.unlink(missing_ok=True)
        raise
    ledger = train.merge(test).accept()  # the mender's gate has decided
    ledger.write(out)
    parts: dict[View, Sequences] = {"train": split.train, "test": before_test(split)}
    views: dict[str, Any] = {}
    for view, part in parts.items():
        edits = ledger.filter(view=view).edits
        changes = edits.filter(IS_CHANGE)
        views[view] = {
            "interactions": part.n_interactions,
            "proposed": len(changes),
            "accepted": len(changes.filter(pl.col("status") == "accepted")),
            "users": changes["user_id"].n_unique(),
            "reweighted": len(edits) - len(changes),
        }
    asked = usage(readers.model, verdicts)
    return {"ledger": str(out), "views": views, "noise_rate": mender.noise_rate, "llm": asked}


def judge(
    config: RunConfig, split: Split, readers: Readers, table: Path, progress: Progress
) -> tuple[Denoiser | PublishedMender, dict[View, Verdicts]]:
    """A mender that learned from the training part, and what it says of that and of the histories before the tests.

    The training part is read first: what is left of the budget then goes to those windows of the test histories that
    do not lie in the training part.

    Args:
        config: Of it the denoise and language sections count.
        split: What to learn from, and what to judge.
        readers: The models that read titles.
        table: File for what LLM4DSR as published keeps of the catalogue.
        progress: Told what is being done.
    """
    if config.denoise.method == "llm4dsr":
        parts: dict[View, Sequences] = {"train": split.train, "test": before_test(split)}
        return judge_as_published(config, parts, readers, table, progress)
    mender = Denoiser(config.denoise, readers.encoder, readers.model, progress).fit(split.train)
    return mender, {
        "train": mender.judge(split.train),
        "test": mender.judge(before_test(split), config.language.test_windows),
    }


def by_chance(
    mender: Denoiser | PublishedMender, verdicts: Verdicts, view: View, n_edits: int, rng: np.random.Generator
) -> Ledger:
    """The mender's edits dealt out to other interactions: as many of every kind, as sure of themselves.

    Args:
        mender: Who made the edits.
        verdicts: What it said.
        view: Which use of the sequences is edited.
        n_edits: How many it made of this view.
        rng: The lottery.
    """
    if isinstance(mender, Denoiser):
        gate = rng.permutation(verdicts.fused)
    else:  # whose gate is not a threshold of its confidence
        gate = np.zeros(verdicts.sequences.n_interactions)
        gate[rng.permutation(len(gate))[:n_edits]] = 1.0
    return mender.propose_from(verdicts, view, gate=gate, ask=False)


def usage(model: JournaledModel | None, verdicts: dict[View, Verdicts]) -> dict[str, Any]:
    """What was asked, as the section `llm` of `metrics.json` has it."""
    windows = {
        "windows_asked": int(sum(said.asked.sum() for said in verdicts.values())),
        "windows_total": int(sum(len(said.windows) for said in verdicts.values())),
    }
    if model is None:
        return {"calls": 0, "prompt_tokens": 0, "completion_tokens": 0, "seconds": 0.0, "cache_hits": 0, **windows}
    asked = model.usage
    return {
        "calls": asked.calls,
        "prompt_tokens": asked.prompt_tokens,
        "completion_tokens": asked.completion_tokens,
        "seconds": asked.seconds,
        "cache_hits": model.cache_hits,
        "model": model.identity,
        **windows,
    }
