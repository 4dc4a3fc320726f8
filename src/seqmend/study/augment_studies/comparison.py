"""`seqmend bench augment` and `augment-ablation`: the mender beside everything that could explain its gain."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seqmend.progress import Progress, silent
from seqmend.recommenders import BackboneConfig, make_backbone
from seqmend.study.arms import ArmData
from seqmend.study.augment_studies.arms import (
    ARMS,
    Ranks,
    Way,
    arm_data,
    begin_arms,
    chosen_ways,
    finish_arms,
    ours,
    proposal_of,
)
from seqmend.study.augment_studies.evidence import evidence
from seqmend.study.augment_studies.proposals import Proposer
from seqmend.study.augment_studies.setting import Setting
from seqmend.study.augment_studies.summary import beside_ours, quality
from seqmend.study.parallel import default_jobs, pool


def augment_comparison(
    setting: Setting,
    out: Path,
    *,
    study: str = "augment",
    ways: Mapping[str, Way] = ARMS,
    arms: Sequence[str] | None = None,
    backbones: Sequence[str] = ("sasrec",),
    progress: Progress = silent,
    jobs: int | None = None,
) -> dict[str, Any]:
    """Train every backbone on every arm under every seed, and compare.

    Args:
        setting: The log and the settings.
        out: Folder of the study.
        study: Its name in the figures.
        ways: The arms of this study, beside those of the main comparison.
        arms: Names of some of them; all by default. The raw log and the mender are always among them.
        backbones: Names.
        progress: Told what is being done.
        jobs: Trainings at once.

    Returns:
        `rows` (see `quality`), `beside_ours` (see there), `arms` (see `evidence`; None where nothing is prepended), the
        name of the mender's arm as `ours`, and what `Setting.describe` tells.

    Raises:
        InputError: An unknown arm or backbone, or see `Setting.begin`.
    """
    chosen = chosen_ways(arms, ways, setting)
    configs = [setting.backbone(name) for name in backbones]
    directory = setting.begin(out)
    proposer = Proposer(setting, directory, progress, jobs)
    proposals = {name: proposal_of(way, proposer) for name, way in chosen.items()}
    work = 2 * setting.config.training.epochs * setting.split.train.n_interactions * len(chosen) * len(configs)
    with pool(jobs or default_jobs(work * len(setting.config.seeds)), progress) as workers:
        data = {name: arm_data(setting, way, proposals[name]) for name, way in chosen.items()}
        begun = begin_arms(directory, workers, setting, data, configs, proposer)
        ranks: Ranks = finish_arms(directory, begun)
    directory.finish({})
    progress("comparing", 0, 0)
    members = setting.members()
    longest = max(_max_length(setting, config) for config in configs)
    return {
        "study": study,
        **setting.describe(),
        "ours": ours(setting),
        "backbones": [config.name for config in configs],
        "rows": quality(ranks, members),
        "beside_ours": beside_ours(ranks, members, ours(setting)),
        "arms": {
            name: None if proposal is None else evidence(proposal, setting.split, _weights(data[name]), longest)
            for name, proposal in proposals.items()
        },
    }


def _weights(data: ArmData) -> npt.NDArray[np.float32]:
    assert data.channels is not None
    return data.channels.weights


def _max_length(setting: Setting, config: BackboneConfig) -> int:
    return make_backbone(config, len(setting.split.sequences.catalogue), len(setting.split.sequences)).max_length
