"""Versions of the training instances, a backbone trained on each with equally many steps, and what changed in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from seqmend.ledger import Ledger
from seqmend.menders.correct import Correction
from seqmend.recommenders import Rows, rows_from_sequences, with_instance_edits
from seqmend.study.arms import ArmData
from seqmend.study.correct_studies.case import Case
from seqmend.study.correcting import as_ledger
from seqmend.study.denoise_studies.retraining import raw_arm
from seqmend.study.parallel import Pool
from seqmend.study.stages import RunDirectory
from seqmend.study.trainings import Training, begin_training, finish_training

HALF = 0.5
"""Loss weight of instances that are weighted down."""


@dataclass(frozen=True, eq=False)
class Version:
    """One version of the training instances.

    Attributes:
        data: The version.
        warm: Whether the training goes on from the raw arm's weights.
    """

    data: ArmData
    warm: bool = False


def corrected(case: Case, corrections: Sequence[Correction], control: str) -> ArmData:
    """The noisy instances with corrections carried out."""
    return edited(case, as_ledger(corrections, case.train, control))


def edited(case: Case, ledger: Ledger) -> ArmData:
    """The noisy instances with the accepted edits of a ledger carried out."""
    mended = ledger.apply(case.train)
    raw = raw_arm(case.noisy)
    return ArmData(mended.sequences, mended.weights, raw.test_histories, mended)


def weighted_down(case: Case, corrections: Sequence[Correction], weight: float = HALF) -> ArmData:
    """The noisy instances, the uncertain ones with less weight in the loss."""
    raw = raw_arm(case.noisy)
    weights = raw.weights.copy()
    weights[[one.row_id for one in corrections]] = weight
    return ArmData(raw.train, weights, raw.test_histories)


def train_versions(
    directory: RunDirectory, workers: Pool, case: Case, name: str, versions: Mapping[str, Version]
) -> pl.DataFrame:
    """Train the case's backbone on every version; equal versions are learned from once.

    Args:
        directory: Where trainings are kept.
        workers: Who trains.
        case: The recommender, the noise, what is measured.
        name: Told before a version's name, unique in the study.
        versions: By name.

    Returns:
        Ranks of the test targets, a column per version; "raw" comes from the case.
    """
    begun: dict[str, Training] = {}
    same: dict[str, str] = {}
    first: dict[str, str] = {}
    for version, made in versions.items():
        same[version] = first.setdefault(str((made.data.identity, made.warm)), version)
        if same[version] == version:
            begun[version] = begin_training(
                directory,
                workers,
                f"{name}-{version}",
                made.data,
                case.held_out,
                case.config.backbone,
                "instance",
                case.training,
                start=case.model if made.warm else None,
            )
    ranks = {version: finish_training(directory, training)["as_is"] for version, training in begun.items()}
    return pl.DataFrame({"raw": case.raw, **{version: ranks[same[version]] for version in versions}})


def side_effects(case: Case, data: ArmData) -> dict[str, Any]:
    """What else a version changes.

    Returns:
        `instances` (share that is left), `lengths` (share of the instances with 0, 1, ... L inputs),
        `target_popularity` and `input_popularity` (mean number of noisy training interactions with the item).
    """
    rows = rows_from_sequences(data.train, case.config.correct.max_length, "instance", data.weights)
    before = len(rows)
    if data.mended is not None:
        rows = with_instance_edits(rows, data.mended)
    train = case.train
    popularity = np.bincount(train.items, minlength=len(train.catalogue) + 1).astype(np.float64)
    real = rows.items > 0
    return {
        "instances": len(rows) / max(before, 1),
        "lengths": _shares(rows),
        "target_popularity": float(popularity[rows.targets[:, -1]].mean()) if len(rows) else None,
        "input_popularity": float(popularity[rows.items[real]].mean()) if real.any() else None,
    }


def _shares(rows: Rows) -> list[float]:
    counts = np.bincount((rows.items > 0).sum(1), minlength=rows.max_length + 1)
    return (counts / max(len(rows), 1)).tolist()


def stacked(ranks: Sequence[pl.DataFrame]) -> dict[str, npt.NDArray[np.int64]]:
    """Ranks of all repetitions, int64 [S, M] by version."""
    return {name: np.stack([frame[name].to_numpy() for frame in ranks]) for name in ranks[0].columns}
