"""Versions of the noisy data, and a backbone trained on each of them under one seed."""

import numpy as np
import numpy.typing as npt
import polars as pl

from seqmend.evaluation import Histories
from seqmend.interactions import Noisy, Split, undo
from seqmend.ledger import Ledger
from seqmend.study.arms import ArmData, HeldOut
from seqmend.study.denoise_studies.setting import Case, Setting
from seqmend.study.parallel import Pool
from seqmend.study.stages import RunDirectory
from seqmend.study.trainings import Training, begin_training, equal_steps, finish_training

AS_IS, MENDED = "as_is", "mended"


def raw_arm(noisy: Noisy) -> ArmData:
    """The noisy log as it is."""
    return _arm(noisy.split, noisy.split, None)


def oracle_arm(noisy: Noisy, where: npt.NDArray[np.bool_] | None = None) -> ArmData:
    """The log with its noise undone (that of the given interactions, bool [N]), in training part and test histories."""
    undone = undo(noisy, where)
    return _arm(noisy.split, undone, undone)


def undone_arm(case: Case, train: npt.NDArray[np.int64], test: npt.NDArray[np.int64]) -> ArmData:
    """The log with what was there before in the given places, where noise had taken its place.

    Args:
        case: The noise.
        train: Numbers of interactions among all, for the training part, int64.
        test: The same for the test histories.
    """
    masks = np.zeros((2, case.noisy.split.sequences.n_interactions), dtype=bool)
    masks[0, train], masks[1, test] = True, True
    return _arm(case.noisy.split, undo(case.noisy, masks[0]), undo(case.noisy, masks[1]))


def mended_arm(noisy: Noisy, ledger: Ledger) -> ArmData:
    """The noisy log with the accepted edits of a ledger carried out."""
    split = noisy.split
    train = ledger.apply(split.train, "train")
    test = ledger.apply(split.sequences, "test")
    mended = Histories(test.sequences, split.test.users, test.lengths_before(split.test))
    return ArmData(train.sequences, train.weights, {AS_IS: _as_is(split), MENDED: mended})


def train_arms(
    directory: RunDirectory,
    workers: Pool,
    setting: Setting,
    case_name: str,
    seed: int,
    noisy: Noisy,
    arms: dict[str, ArmData],
) -> pl.DataFrame:
    """Train the backbone on every arm under one seed, in equally many steps; equal data are learned from once.

    Args:
        directory: Where trainings are kept.
        workers: Who trains.
        setting: Backbone and training.
        case_name: Told before the arm's name in stages and files; "" or what tells this noise from others.
        seed: Of the training.
        noisy: What the arms are versions of.
        arms: By name.

    Returns:
        Ranks of the test targets, one row each, columns "<arm>|<test history>".
    """  # fmt: skip
    config = setting.config
    held_out = HeldOut.of(noisy.split, setting.clean)
    training = equal_steps(config.training, config.backbone, config.form, noisy.split.train)
    training = training.model_copy(update={"seed": seed})
    begun: dict[str, Training] = {}
    first: dict[str, str] = {}
    same: dict[str, str] = {}
    for arm, data in arms.items():
        same[arm] = first.setdefault(str(data.identity), arm)
        if same[arm] == arm:
            begun[arm] = begin_training(
                directory, workers, case_name + arm, data, held_out, config.backbone, config.form, training
            )
    ranks = {arm: finish_training(directory, training) for arm, training in begun.items()}
    return pl.DataFrame(
        {
            f"{arm}|{history}": ranks[same[arm]][history]
            for arm in arms
            for history in ranks[same[arm]].columns
            if history != "user"
        }
    )


def stacked(ranks: list[pl.DataFrame]) -> dict[tuple[str, str], npt.NDArray[np.int64]]:
    """Ranks of all repetitions, int64 [S, M] by arm and test history."""
    found: dict[tuple[str, str], npt.NDArray[np.int64]] = {}
    for column in ranks[0].columns:
        arm, _, history = column.partition("|")
        found[arm, history] = np.stack([frame[column].to_numpy() for frame in ranks])
    return found


def _arm(noisy: Split, train: Split, test: Split | None) -> ArmData:
    weights = np.ones(train.train.n_interactions, dtype=np.float32)
    shown = {AS_IS: _as_is(noisy)}
    if test is not None:
        shown[MENDED] = Histories.before(test.sequences, test.test)
    return ArmData(train.train, weights, shown)


def _as_is(split: Split) -> Histories:
    return Histories.before(split.sequences, split.test)
