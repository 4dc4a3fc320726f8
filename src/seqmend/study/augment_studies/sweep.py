"""`seqmend bench augment-sweep`: how many pseudo items, how far long histories trust them (LLMSeR, Figures 4 and 5)."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from seqmend.errors import InputError
from seqmend.menders.augment import final_weights
from seqmend.progress import Progress, silent
from seqmend.study.arms import ArmData
from seqmend.study.augment_studies.arms import ARMS, RAW, Ranks, arm_data, begin_arms, finish_arms, ours, proposal_of
from seqmend.study.augment_studies.proposals import Proposal, Proposer
from seqmend.study.augment_studies.setting import Setting
from seqmend.study.augment_studies.summary import quality
from seqmend.study.parallel import default_jobs, pool

N_ITEMS = (2, 3, 5, 8, 10, 12, 15)
DECAYS = (0.0, 0.25, 0.5, 0.75, 1.0)

_KEYS = {"M": "n_items", "beta": "decay", "T": "long_after"}


def augment_sweep(
    setting: Setting,
    out: Path,
    *,
    n_items: Sequence[int] = N_ITEMS,
    decays: Sequence[float] = DECAYS,
    long_after: Sequence[int] = (),
    backbones: Sequence[str] = ("sasrec",),
    progress: Progress = silent,
    jobs: int | None = None,
) -> dict[str, Any]:
    """Move M, beta and T one at a time, the others as the settings have them.

    For every M the language model is asked once more how far to trust the items, but not what to select; for every beta
    and T nothing is asked.

    Args:
        setting: The log and the settings.
        out: Folder of the study.
        n_items: Values of M, the most pseudo items of a user.
        decays: Values of beta.
        long_after: Values of T.
        backbones: Names.
        progress: Told what is being done.
        jobs: Trainings at once.

    Returns:
        `rows` as of `quality`, each with `parameter` ("M", "beta", "T"; None for the raw log) and `value`, and what
        `Setting.describe` tells.

    Raises:
        InputError: A value out of range, or nothing to sweep.
    """
    values = {"M": n_items, "beta": decays, "T": long_after}
    swept = [(name, value) for name, given in values.items() for value in sorted(set(given))]
    if not swept or any(value < (name == "M") or (name == "beta" and value > 1) for name, value in swept):
        raise InputError("a value cannot be swept", expected="M of 1 and more, beta from 0 to 1, T of 0 and more")
    configs = [setting.backbone(name) for name in backbones]
    directory = setting.begin(out)
    proposer = Proposer(setting, directory, progress, jobs)
    way = ARMS[ours(setting)]
    own = proposal_of(way, proposer)
    assert own is not None
    work = 2 * setting.config.training.epochs * setting.split.train.n_interactions * (1 + len(swept)) * len(configs)
    arms: dict[str, ArmData] = {RAW: arm_data(setting, ARMS[RAW], None)}
    places: dict[str, tuple[str, float]] = {}
    same: dict[str, str] = {}
    for name, value in swept:
        arm = f"{name}-{value:g}"
        places[arm] = (name, value)
        if name == "M":
            changed = {**way.changes, "n_items": value}
            data = arm_data(setting, way, proposer.proposed(changed, with_model=way.with_model))
        else:
            data = _reweighted(setting, own, {_KEYS[name]: value})
        first = next((other for other, known in arms.items() if known.identity == data.identity), None)
        same[arm] = first or arm
        arms.setdefault(same[arm], data)
    with pool(jobs or default_jobs(work * len(setting.config.seeds)), progress) as workers:
        ranks: Ranks = finish_arms(directory, begin_arms(directory, workers, setting, arms, configs, proposer))
    directory.finish({})
    progress("comparing", 0, 0)
    rows = quality(ranks, setting.members())
    found = [{**row, "parameter": None, "value": None} for row in rows if row["arm"] == RAW]
    for arm, (name, value) in places.items():
        found += [{**row, "parameter": name, "value": value} for row in rows if row["arm"] == same[arm]]
    return {"study": "augment-sweep", **setting.describe(), "backbones": list(backbones), "rows": found}


def _reweighted(setting: Setting, proposal: Proposal, changes: dict[str, Any]) -> ArmData:
    """The mender's arm with the weights that other values of beta or T give."""
    data = arm_data(setting, ARMS[ours(setting)], proposal)
    assert data.channels is not None
    mender = setting.config.augment.model_copy(update=changes)
    users = proposal.users
    weights = final_weights(
        users["raw"].fill_null(np.nan).to_numpy(),
        (users["guess"] == users["hidden_item"]).fill_null(False).to_numpy(),
        users["n"].to_numpy(),
        mender.weights,
        mender.long_after,
        mender.decay,
    ).astype(np.float32)
    has_any = data.channels.augmented.lengths > setting.split.train.lengths
    return replace(data, channels=replace(data.channels, weights=weights * has_any))
