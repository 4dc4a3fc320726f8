"""The augment mender: a split to a ledger of pseudo-prior items, with its controls and its cost."""

import contextlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from seqmend.errors import InputError
from seqmend.evaluation import mean_interval
from seqmend.files import write_atomic, write_json
from seqmend.interactions import PADDING, Sequences, Split
from seqmend.ledger import Ledger
from seqmend.llm import JournaledModel, LanguageModel, LocalModel, Usage
from seqmend.menders.augment import Augmentation, AugmentConfig, Augmenter, Status, generated, tune
from seqmend.progress import Progress, silent
from seqmend.recommenders import Backbone
from seqmend.study.arms import refuse_untrainable_backbone
from seqmend.study.augment_recommenders import AugmentRecommenders, fit_recommenders
from seqmend.study.config import RunConfig
from seqmend.study.data import before_test, divided, read_data, ready_to_mend
from seqmend.study.readers import Readers, load_readers

_BINS = 10
_NEAR = 20


@dataclass(frozen=True, eq=False)
class Augmented:
    """What the mender makes of a split, and what its controls do.

    Attributes:
        ledger: Accepted edits.
        users: One row per user; see `Augmentation.users`.
        llm_free: Edits of the same mender without the language model.
        random: Edits of as many of the reversed recommender's candidates by chance, without a language model.
        recommenders: Who proposed and checked.
        figures: As plain values: `users, by_status, pseudo_items, weight, raw, gain, blend, mixing, truncated,
            held_out, llm`.
    """

    ledger: Ledger
    users: pl.DataFrame
    llm_free: Ledger
    random: Ledger
    recommenders: AugmentRecommenders
    figures: dict[str, Any]


def augment(config: RunConfig, out: Path, progress: Progress = silent, jobs: int | None = None) -> dict[str, Any]:
    """Augment a log as it is, and write the edits to a ledger; a stopped or killed call goes on.

    Args:
        config: Of it the data, split, language, augment, backbone, form and training sections count.
        out: The ledger. Beside it are put `users.parquet`, the journal of the language model's answers and a folder
            with the recommenders and `augment.json`.
        progress: Told what is being done.
        jobs: Trainings at once; by default as many as are fastest here.

    Returns:
        `Augmented.figures`, and the paths `ledger` and `users`.

    Raises:
        InputError: The log, the settings or the file cannot be used; nothing was written.
        ResourceError: A model or corpus is missing or failing.
    """
    ready_to_mend(config, out, "seqmend run", taken="users.parquet")
    split = split_of(config, progress)
    folder = out.with_suffix(".augment")
    readers = load_augment_readers(config, split, out.with_suffix(".journal.sqlite"), folder, progress)
    with readers.model.journal if readers.model is not None else contextlib.nullcontext():
        found = augment_split(config, split, readers, folder, progress, jobs)
    users = out.with_name("users.parquet")
    with write_atomic(users) as temporary:
        found.users.write_parquet(temporary)
    found.ledger.write(out)
    figures = {"ledger": str(out), "users_file": str(users), **found.figures}
    write_json(folder / "augment.json", figures)
    return figures


def load_augment_readers(
    config: RunConfig,
    split: Split,
    journal: Path,
    folder: Path,
    progress: Progress,
    account: Usage | None = None,
) -> Readers:
    """The models that read titles, the language model with an adapter where the settings ask for one.

    Args:
        config: Of it the language and augment sections count.
        split: Its training part is what an adapter is tuned on.
        journal: File of answers.
        folder: Where an adapter is kept.
        progress: Told what is being done.
        account: See `load_readers`.

    Raises:
        InputError: An adapter is asked for a model that cannot have one.
        ResourceError: A model cannot be fetched or loaded.
    """
    adapter = None
    if config.augment.tuning.enabled:
        if config.language.model is None or config.language.served_model is not None:
            raise InputError(
                "only a language model in this process can be tuned", fix="set augment.tuning.enabled = false"
            )
        model = LocalModel.load(config.language.model, progress=progress)
        adapter = tune(model, split.train, folder / "adapter", config.augment, progress).folder
    return load_readers(config.language, journal, progress, adapter, needs=(), account=account)


def augment_split(
    config: RunConfig,
    split: Split,
    readers: Readers,
    folder: Path,
    progress: Progress = silent,
    jobs: int | None = None,
) -> Augmented:
    """Augment the training part of a split, and what is shown at test time.

    Args:
        config: See `augment`.
        split: May have been edited by another mender: edits are proposed for what it is now.
        readers: Without a language model, the control without one is the result.
        folder: Keeps the recommenders, for a call that goes on.
        progress: Told what is being done.
        jobs: Trainings at once; by default as many as are fastest here.
    """
    seen = seen_part(config, split)
    recommenders = fit_recommenders(config, seen, folder, progress, jobs)
    shown = before_test(split)
    totals, is_tested = split.sequences.lengths, shown.lengths > 0
    mender = Augmenter(
        resolved_settings(config, readers.model),
        readers.model,
        readers.encoder,
        recommenders.backward,
        recommenders.forward,
        recommenders.backward_check,
        progress,
    ).fit(seen)
    said = mender.judge(seen, totals)
    free, chance = mender.control(seen), mender.control(seen, candidates="reversed", selection="random")
    ledgers = [mender.propose_from(said, is_tested)]
    ledgers += [control.propose(seen, totals, is_tested) for control in (free, chance)]
    ours, llm_free, random = (ledger.accept(reviewer="reliability") for ledger in ledgers)
    figures = {
        **_figures(said, split, recommenders.forward),
        "blend": mender.blend,
        "mixing": asdict(mender.mixing),
        "llm": _usage(readers.model),
    }
    return Augmented(ours, said.users, llm_free, random, recommenders, figures)


def asrep_ledger(
    backward: Backbone, split: Split, n_items: int, augment_up_to: int, progress: Progress = silent
) -> Ledger:
    """ASReP's pseudo items (SIGIR 2021) as accepted edits of weight 1: recursive, greedy, from training items alone.

    Args:
        backward: A recommender that was trained on the reversed training part; ASReP goes on training from its weights.
        split: Its training part is continued backwards.
        n_items: k, pseudo items of a user.
        augment_up_to: M, most interactions (held-out ones too) of a user who gets any.
        progress: Told the steps.
    """
    train, totals = split.train, split.sequences.lengths
    users = np.flatnonzero((train.lengths > 0) & (totals <= augment_up_to))
    pseudo = generated(backward, train, users, n_items, progress)
    n, known = len(train), np.full(len(train), np.nan)
    nobody = np.zeros(n, dtype=np.int32)
    status: list[Status] = ["augmented" if has_any else "long" for has_any in (pseudo != PADDING).any(axis=1)]
    made = Augmentation(
        train,
        totals,
        pseudo,
        np.zeros(pseudo.shape, dtype=np.bool_),
        np.full(pseudo.shape, np.nan),
        np.ones(pseudo.shape, dtype=np.int64),
        known,
        known,
        nobody,
        nobody,
        np.ones(n),
        status,
    )
    is_tested = before_test(split).lengths > 0
    return made.to_ledger("asrep", {"candidates": "recursive"}, is_tested).accept(reviewer="asrep")


def split_of(config: RunConfig, progress: Progress) -> Split:
    """The log that the settings name, divided as they say.

    Raises:
        InputError: The log cannot be used, or the backbone not be trained on it.
    """
    log = read_data(config.data, progress)
    refuse_untrainable_backbone(config, log.sequences)
    return divided(log.sequences, config.split)


def seen_part(config: RunConfig, split: Split) -> Sequences:
    """What the mender sees of every user: the training part, or with it the validation item (paper)."""
    return before_test(split) if config.augment.sees_validation else split.train


def resolved_settings(config: RunConfig, model: LanguageModel | None) -> AugmentConfig:
    """The settings as they fit the model: one that is served, or was tuned to the question, is asked."""
    augment, is_served = config.augment, config.language.served_model is not None
    changes: dict[str, Any] = {}
    if augment.selection == "auto" and (is_served or augment.tuning.enabled):
        changes["selection"] = "model"
    if augment.answers == "auto" and is_served and model is not None and model.capability == "exact":
        changes["answers"] = "titles"
    return augment.model_copy(update=changes)


def _figures(said: Augmentation, split: Split, forward: Backbone) -> dict[str, Any]:
    users, n_pseudo = said.users, (said.pseudo != PADDING).sum(axis=1)
    has_any = n_pseudo > 0
    counts, edges = np.histogram(said.raw[np.isfinite(said.raw)], bins=_BINS, range=(0.0, 1.0))
    both = np.isfinite(said.raw) & np.isfinite(said.raw_without)
    return {
        "users": len(users),
        "by_status": dict(users.group_by("status").len().sort("status").iter_rows()),
        "pseudo_items": int(n_pseudo.sum()),
        "filled": int(said.filled[has_any].sum()),
        "weight": float(said.weights[has_any].mean()) if has_any.any() else None,
        "raw": {
            "mean": float(np.nanmean(said.raw)) if counts.sum() else None,
            "hits": int((users["guess"] == users["hidden_item"]).sum()),
            "histogram": {"edges": edges.round(2).tolist(), "counts": counts.tolist()},
        },
        "gain": _gain(said.raw[both] - said.raw_without[both]),
        "truncated": int((has_any & (split.train.lengths + n_pseudo > forward.max_length)).sum()),
        "held_out": _overlap(said, split),
    }


def _gain(differences: npt.NDArray[np.float64]) -> dict[str, Any]:
    """r - r0 of the users of whom both are known."""
    if not len(differences):
        return {"mean": None, "ci95": None, "n": 0}
    interval = mean_interval(differences[None], np.random.default_rng(0))
    return {"mean": float(differences.mean()), "ci95": list(interval), "n": len(differences)}


def _overlap(said: Augmentation, split: Split) -> dict[str, Any]:
    """Share of augmented users whose pseudo items hold an item held out of them: a detector of leaks.

    Beside it the same of random items that are as popular: each pseudo item is exchanged with one of its neighbours in
    the order of training popularity.
    """
    sequences, train = split.sequences, split.train
    held_out: list[set[int]] = [set(sequences[user][train.lengths[user] :].tolist()) for user in range(len(sequences))]
    counts = np.bincount(train.items, minlength=len(train.catalogue) + 1)
    order = np.argsort(-counts[1:], kind="stable") + 1
    place = np.zeros(len(counts), dtype=np.int64)
    place[order] = np.arange(len(order))
    rng = np.random.default_rng(0)
    moved = place[said.pseudo] + rng.integers(-_NEAR, _NEAR + 1, said.pseudo.shape)
    matched = np.where(said.pseudo != PADDING, order[np.clip(moved, 0, len(order) - 1)], PADDING)
    users = np.flatnonzero((said.pseudo != PADDING).any(axis=1))
    users = users[[bool(held_out[user]) for user in users.tolist()]] if len(users) else users

    def share(items: npt.NDArray[np.integer]) -> float | None:
        hits = [bool(held_out[user] & set(items[user].tolist())) for user in users.tolist()]
        return float(np.mean(hits)) if hits else None

    return {"pseudo_items": share(said.pseudo), "popularity_matched": share(matched), "n": len(users)}


def _usage(model: JournaledModel | None) -> dict[str, Any]:
    if model is None:
        return {"calls": 0, "prompt_tokens": 0, "completion_tokens": 0, "seconds": 0.0, "cache_hits": 0}
    return {**asdict(model.usage), "cache_hits": model.cache_hits, "model": model.identity}
