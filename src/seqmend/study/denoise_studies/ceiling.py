"""`seqmend bench denoise-ceiling`: where does the gain arise, and what is lost where (LLM4DSR's open question 1)?

An arm is a way to find noise crossed with a way to mend what was found. Whatever is found by chance, by popularity or
by one witness alone has as many edits as the mender makes.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from seqmend.errors import InputError
from seqmend.evaluation import metric_values, paired_bootstrap
from seqmend.interactions import PADDING, NoiseKind, View
from seqmend.ledger import Ledger
from seqmend.menders.denoise import NAME
from seqmend.progress import Progress, silent
from seqmend.study.arms import VALID, ArmData
from seqmend.study.denoise_studies.repetition import Repetition, kept
from seqmend.study.denoise_studies.retraining import (
    AS_IS,
    MENDED,
    mended_arm,
    oracle_arm,
    raw_arm,
    stacked,
    train_arms,
    undone_arm,
)
from seqmend.study.denoise_studies.setting import Bool, Case, Float64, Int64, Setting, make_case
from seqmend.study.denoise_studies.summary import METRICS, Ranks, all_over_seeds, over_seeds, ranking_figures
from seqmend.study.parallel import Pool, default_jobs, pool
from seqmend.study.readers import load_readers
from seqmend.study.stages import RunDirectory

Completion = Literal["ours", "true", "replace", "delete", "mask", "reweight", "soft", "random"]
_VIEWS: tuple[View, ...] = ("train", "test")


@dataclass(frozen=True)
class Way:
    """How an arm is made.

    Attributes:
        detection: "fused", "llm_free", "noise" (the truth), "random", or the name of a witness.
        completion: "ours" (as the mender's settings say), "true" (what was there before), "random" (any item of the
            training part), another kind of edit at the mender's threshold, or "soft" (nothing but less weight for
            everything that is in any doubt).
    """

    detection: str
    completion: Completion


SOFT = 0.05
"""Least confidence of what is in any doubt."""

ARMS: dict[str, Way] = {
    "mended": Way("fused", "ours"),
    "llm_free": Way("llm_free", "ours"),
    "perfect_detection": Way("noise", "ours"),
    "perfect_replacement": Way("fused", "true"),
    "perfect_detection_replace": Way("noise", "replace"),
    "perfect_detection_mask": Way("noise", "mask"),
    "perfect_detection_reweight": Way("noise", "reweight"),
    "perfect_detection_random_item": Way("noise", "random"),
    "mended_replace": Way("fused", "replace"),
    "mended_delete": Way("fused", "delete"),
    "mended_mask": Way("fused", "mask"),
    "mended_reweight": Way("fused", "reweight"),
    "mended_soft": Way("fused", "soft"),
    "mended_random_item": Way("fused", "random"),
    "llm_free_replace": Way("llm_free", "replace"),
    "random_edits": Way("random", "ours"),
    "popularity_edits": Way("popularity", "ours"),
    "cooccurrence_edits": Way("co-occurrence", "ours"),
    "title_edits": Way("title similarity", "ours"),
}
"""Arms beside raw, oracle and oracle_same_scope; the LLM-free ones are left out where the fusion is free of models."""

SCOPES = ("train", "test", "both")


def denoise_ceiling(
    setting: Setting,
    noise: tuple[NoiseKind, float],
    out: Path,
    *,
    arms: Sequence[str] = tuple(ARMS),
    progress: Progress = silent,
    jobs: int | None = None,
) -> dict[str, Any]:
    """Train the backbone on every arm; compare where edits are made: in training, in the test histories, in both.

    Args:
        setting: The log and the settings.
        noise: Kind and ratio.
        out: Folder of the study.
        arms: Names of `ARMS`; "mended" is always among them.
        progress: Told what is being done.
        jobs: Trainings at once.

    Returns:
        `rows` of one arm and scope each: ranking quality and recovered share by metric, paired with raw (and with the
        oracle of the same scope of edits) over users and seeds, and under `valid` what edits in the training part give
        on validation targets, which is what a default may be chosen by; `beside_mended`: the mender minus every other
        arm; `edits` by arm over seeds: edits per interaction, how many of them are on noise, how many restored the
        item.

    Raises:
        InputError: An unknown arm, a noise ratio of 0, or see `Setting.begin`.
    """
    if unknown := [arm for arm in arms if arm not in ARMS]:
        raise InputError(f"no arm is called {unknown[0]!r}", expected=", ".join(ARMS))
    if not 0 < noise[1] < 1:
        raise InputError(
            f"the noise ratio is {noise[1]:g}", expected="a share above 0: there must be something to regain"
        )
    directory, config = setting.begin(out), setting.config
    names = [arm for arm in ARMS if arm == "mended" or arm in arms]
    names = [arm for arm in names if ARMS[arm].detection != "llm_free" or config.language.model is not None]
    readers = load_readers(config.language, out / "journal.sqlite", progress)
    work = config.training.epochs * setting.clean.train.n_interactions * (len(names) + 2)
    repetitions: list[Repetition] = []
    with pool(jobs or default_jobs(work), progress) as workers:
        for seed in config.seeds:
            identity = [setting.identity(seed), noise, names, config.form]
            identity += [config.backbone.model_dump(), config.training.model_dump()]

            def make(seed: int = seed) -> Repetition:
                case = make_case(setting, noise, seed, readers, progress, test=True)
                return _measure(case, setting, names, directory, workers)

            repetitions.append(kept(directory, f"ceiling-{seed}", identity, make, ranked=True))
    directory.finish({})
    return _figures(setting, noise, repetitions)


# ---------------------------------------------------------------------------------------------------------------- arms


@dataclass(frozen=True, eq=False)
class Found:
    """What one way of detection flags.

    Attributes:
        ledger: Accepted edits.
        rows: Numbers of the flagged interactions among all, int64 by view: not of those that only lose weight.
    """

    ledger: Ledger
    rows: dict[View, Int64]


def confidences(case: Case, detection: str, view: View) -> Float64:
    """The gate of a way of detection, float64 [n] in [0, 1].

    Chance and a single witness deal out the fused confidences in an order of their own, and so flag as many
    interactions at every threshold.

    Raises:
        InputError: No witness has the name.
    """
    verdicts = case.verdicts[view]
    if detection == "fused":
        return verdicts.fused
    if detection == "llm_free":
        return verdicts.llm_free
    if detection == "noise":
        return case.is_noise(view).astype(np.float64)
    judged = np.flatnonzero(~np.isnan(verdicts.fused))
    if detection == "random":
        order = np.random.default_rng([case.seed, _VIEWS.index(view)]).permutation(judged)
    elif detection in verdicts.witnesses:
        order = judged[np.argsort(-np.nan_to_num(verdicts.witnesses[detection][judged], nan=-1.0), kind="stable")]
    else:
        raise InputError(f"no witness is called {detection!r}", expected=", ".join(verdicts.witnesses))
    gate = np.full(len(verdicts.fused), np.nan)
    gate[order] = -np.sort(-verdicts.fused[judged])
    return gate


def find(case: Case, way: Way) -> Found:
    """What is flagged in training part and test histories, and the edits of it.

    The language model suggests replacements for the fused confidence and for perfect detection.
    """
    mender = copy(case.mender)
    mender.config = mender.config.model_copy(update=_changes(way.completion))
    ledgers: list[Ledger] = []
    for view in _VIEWS:
        gate, verdicts = confidences(case, way.detection, view), case.verdicts[view]
        ledgers.append(mender.propose_from(verdicts, view, gate=gate, ask=way.detection in ("fused", "noise")))
    ledger = ledgers[0].merge(ledgers[1]).accept()
    flagged = ledger.edits.filter(pl.col("confidence") >= mender.config.threshold)
    return Found(ledger, {view: _rows_of(flagged.filter(pl.col("view") == view), case) for view in _VIEWS})


def make_arm(case: Case, way: Way, found: Found) -> ArmData:
    """The data with what was found mended in one way."""
    if way.completion == "true":
        return undone_arm(case, found.rows["train"], found.rows["test"])
    if way.completion == "random":
        train, test = (_with_random_items(case, found, view) for view in _VIEWS)
        return mended_arm(case.noisy, train.merge(test).accept())
    return mended_arm(case.noisy, found.ledger)


def _changes(completion: Completion) -> dict[str, Any]:
    """Of the mender's settings."""
    if completion == "ours":
        return {}
    if completion == "soft":
        return {"edit": "reweight", "threshold": SOFT, "soft": 1.0}
    return {"edit": "delete" if completion in ("true", "random") else completion, "soft": 1.0}


def same_scope(case: Case) -> Bool:
    """Noise that the mender's edits could undo, bool [N] of all interactions.

    That is what it gives a verdict on; where it replaces, not what was inserted, and where the edits of a user are
    limited, the surest.
    """
    config, noisy = case.mender.config, case.noisy
    mask = np.zeros(noisy.split.sequences.n_interactions, dtype=bool)
    verdicts, rows = case.verdicts["train"], case.rows("train")
    editable = case.is_noise("train") & ~np.isnan(verdicts.fused)
    if config.kind == "replace":
        editable &= noisy.items_before[rows] != PADDING
    chosen = np.flatnonzero(editable)
    if config.max_edits is not None:
        chosen = chosen[np.lexsort((-verdicts.fused[chosen], verdicts.sequences.users[chosen]))]
        users = verdicts.sequences.users[chosen]
        chosen = chosen[np.arange(len(users)) - np.searchsorted(users, users) < config.max_edits]
    mask[rows[chosen]] = True
    return mask


def _with_random_items(case: Case, found: Found, view: View) -> Ledger:
    """The flagged interactions replaced by any other item of the training part."""
    sequences, rows = case.verdicts[view].sequences, found.rows[view]
    whole = case.noisy.split.sequences
    universe = np.unique(case.noisy.split.train.items)
    rng = np.random.default_rng([case.seed, 2 + _VIEWS.index(view)])
    # One step from 1 to n - 1 around the circle of items.
    places = np.searchsorted(universe, whole.items[rows]) % len(universe)
    items = universe[(places + rng.integers(1, len(universe), len(places))) % len(universe)]
    edits = found.ledger.edits.filter(pl.col("view") == view).select("user_id", "view", "position", "confidence")
    edits = edits.with_columns(kind=pl.lit("replace"), item_after=sequences.catalogue.item_ids.gather(items))
    return Ledger.propose(edits, sequences, NAME)


def _rows_of(edits: pl.DataFrame, case: Case) -> Int64:
    """Number of every edited interaction among all, int64 [E]."""
    sequences = case.noisy.split.sequences
    numbers = pl.DataFrame({"user_id": sequences.user_ids, "number": np.arange(len(sequences))})
    users = edits.select("user_id").join(numbers, on="user_id", how="left", maintain_order="left")["number"].to_numpy()
    return sequences.offsets[users] + edits["position"].to_numpy()


# ----------------------------------------------------------------------------------------------------------- measuring


def _measure(case: Case, setting: Setting, names: list[str], directory: RunDirectory, workers: Pool) -> Repetition:
    oracle, scoped = oracle_arm(case.noisy), oracle_arm(case.noisy, same_scope(case))
    arms: dict[str, ArmData] = {"oracle": oracle, "oracle_same_scope": scoped}
    edits: dict[str, dict[str, float | None]] = {}
    for name in names:
        way = ARMS[name]
        found = find(case, way)
        arms[name] = make_arm(case, way, found)
        edits[name] = _edit_figures(case, way, found, arms[name])
    raw = raw_arm(case.noisy)
    # The raw training is shown every arm's test histories: what mending them alone brings.
    shown = {f"{MENDED} by {name}": data.test_histories[MENDED] for name, data in arms.items()}
    raw = ArmData(raw.train, raw.weights, {**raw.test_histories, **shown})
    ranks = train_arms(directory, workers, setting, "", case.seed, case.noisy, {"raw": raw, **arms})
    return Repetition({"edits": edits, "noise_rate": case.mender.noise_rate}, ranks)


def _edit_figures(case: Case, way: Way, found: Found, arm: ArmData) -> dict[str, float | None]:
    """Of the training part: how much was edited, how much of that is noise, how often the true item came back."""
    rows = found.rows["train"]
    is_noise, n_train = case.noisy.mask[rows], case.noisy.split.train.n_interactions
    before = case.noisy.split.sequences.items
    popularity = np.bincount(case.noisy.split.train.items, minlength=len(case.noisy.split.sequences.catalogue) + 1)
    figures: dict[str, float | None] = {
        "share_edited": len(rows) / n_train,
        "precision": float(is_noise.mean()) if len(rows) else None,
        "recall": float(is_noise.sum() / case.is_noise("train").sum()),
        "restored": None,
        "popularity_before": float(popularity[before[rows]].mean()) if len(rows) else None,
        "popularity_after": None,
    }
    kind = case.mender.config.kind if way.completion == "ours" else way.completion
    if kind in ("replace", "random") and len(rows):
        numbers = np.full(len(before), -1)
        numbers[case.rows("train")] = np.arange(n_train)
        after = arm.train.items[numbers[rows]]
        figures["popularity_after"] = float(popularity[after].mean())
        if is_noise.any():
            figures["restored"] = float((after == case.noisy.items_before[rows])[is_noise].mean())
    return figures


def _figures(setting: Setting, noise: tuple[NoiseKind, float], repetitions: list[Repetition]) -> dict[str, Any]:
    ranks = stacked([repetition.ranks for repetition in repetitions if repetition.ranks is not None])
    raw = ranks["raw", AS_IS]
    names = [arm for arm, history in ranks if history == MENDED and arm != "raw"]

    def at(arm: str, scope: str) -> Ranks:
        if scope == "test":
            return ranks["raw", f"{MENDED} by {arm}"]
        return ranks[arm, AS_IS if scope == "train" else MENDED]

    rows: list[dict[str, Any]] = [{"arm": "raw", "scope": None, **ranking_figures(raw, raw, None)}]
    rows += [
        {"arm": arm, "scope": scope, **ranking_figures(at(arm, scope), raw, at("oracle", scope))}
        for arm in names
        for scope in SCOPES
    ]
    for row in rows:
        if row["scope"] in (None, "train"):
            known, best = ranks[row["arm"], VALID], ranks["oracle", VALID]
            row["valid"] = ranking_figures(known, ranks["raw", VALID], None if row["scope"] is None else best)
    beside = [
        {"arm": arm, "scope": scope, "metric": metric, **_difference(at("mended", scope), at(arm, scope), metric)}
        for arm in names
        for scope in SCOPES
        for metric in METRICS
        if arm != "mended"
    ]
    said = [repetition.figures for repetition in repetitions]
    return {
        "study": "denoise-ceiling",
        **setting.describe(),
        "noise": {"kind": noise[0], "ratio": noise[1]},
        "noise_rate": {"estimated": over_seeds([figures["noise_rate"] for figures in said])},
        "backbone": setting.config.backbone.name,
        "rows": rows,
        "beside_mended": beside,
        "edits": {arm: all_over_seeds([figures["edits"][arm] for figures in said]) for arm in said[0]["edits"]},
        "oracles_are_one": bool((at("oracle", "both") == at("oracle_same_scope", "both")).all()),
    }


def _difference(ours: Ranks, theirs: Ranks, metric: str) -> dict[str, Any]:
    found = paired_bootstrap(metric_values(ours, metric), metric_values(theirs, metric), np.random.default_rng(0))
    return {"difference": found.difference, "ci95": list(found.ci95), "p_value": found.p_value}
