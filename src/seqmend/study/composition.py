"""Menders one after another: each proposes for what the ones before it have made of the data."""

import contextlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from seqmend.evaluation import Histories
from seqmend.interactions import Sequences, Split, Targets, View
from seqmend.ledger import IS_CHANGE, Ledger, Mended
from seqmend.llm import JournaledModel, Usage
from seqmend.progress import Progress
from seqmend.recommenders import Channels
from seqmend.study.arms import ArmData
from seqmend.study.augmenting import augment_split, load_augment_readers
from seqmend.study.config import MenderName, RunConfig
from seqmend.study.correcting import correct_split
from seqmend.study.readers import load_readers


@dataclass(frozen=True, eq=False)
class Version:
    """A split, and the ledgers that were carried out on it so far.

    Attributes:
        given: The split before the first of them.
        ledgers: With the mender of each, in order.
    """

    given: Split
    ledgers: tuple[tuple[MenderName, Ledger], ...] = ()

    def then(self, mender: MenderName, ledger: Ledger) -> "Version":
        """The version that a further ledger makes of this one."""
        return Version(self.given, (*self.ledgers, (mender, ledger)))

    def mended(self, sequences: Sequences, view: View, *, without: MenderName | None = None) -> Mended:
        """Sequences of the given split with the ledgers carried out.

        Args:
            sequences: All of it, or a leading part.
            view: Which use of them is edited.
            without: A mender, the last, whose ledger is left out.
        """
        mended = Mended.of(sequences)
        for mender, ledger in self.ledgers:
            if mender != without:
                mended = mended.then(ledger, view)
        return mended

    @cached_property
    def split(self) -> Split:
        """The same division of the edited sequences: what the next mender may see."""
        given = self.given
        if not self.ledgers:
            return given
        mended = self.mended(given.sequences, "train")
        everyone = Targets(np.arange(len(given.sequences), dtype=np.int32), given.train_ends)
        valid, test = (Targets(targets.users, mended.lengths_before(targets)) for targets in (given.valid, given.test))
        return Split(given.name, mended.sequences, mended.lengths_before(everyone), valid, test)

    def arm(self) -> ArmData:
        """What a backbone learns from and is shown.

        Items that augmenting prepends make a second channel, and are shown before the validation and test targets.
        """
        given = self.given
        train = self.mended(given.train, "train", without="augment")
        test = self.mended(given.sequences, "test")
        shown = {
            "as_is": Histories.before(given.sequences, given.test),
            "mended": Histories(test.sequences, given.test.users, test.lengths_before(given.test)),
        }
        if "augment" not in dict(self.ledgers):
            return ArmData(train.sequences, train.weights, shown, train)
        whole = self.mended(given.sequences, "train")
        channels = Channels.of(self.mended(given.train, "train"), mean_over="targets")
        valid = Histories(whole.sequences, given.valid.users, whole.lengths_before(given.valid))
        return ArmData(train.sequences, train.weights, shown, channels=channels, valid=valid)


@dataclass(frozen=True, eq=False)
class Proposed:
    """What a mender proposes for a version, and what its controls do.

    Attributes:
        ledgers: Accepted edits: "mended", "llm_free" and "random".
        users: What belongs to users and not to edits, where the mender knows such a thing.
        figures: As plain values; `llm` is what was asked.
    """

    ledgers: dict[str, Ledger]
    users: pl.DataFrame | None
    figures: dict[str, Any]


def propose(
    mender: MenderName,
    config: RunConfig,
    version: Version,
    folder: Path,
    journal: Path,
    progress: Progress,
    account: Usage | None = None,
) -> Proposed:
    """Let a mender that trains recommenders of its own work on a version.

    Args:
        mender: "correct" or "augment".
        config: Of the run.
        version: What the menders before it made.
        folder: Keeps its recommenders, for a run that goes on.
        journal: File of answers.
        progress: Told what is being done.
        account: What the menders before it spent of the run's budget, added to.

    Raises:
        ResourceError: A model is missing or failing.
        BudgetExceeded: The budget of the language model is spent.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if mender == "correct":
        readers = load_readers(config.language, journal, progress, needs=(), account=account)
        with _journal(readers.model):
            corrected = correct_split(config, version.split, readers, folder, progress)
        controls = {"mended": corrected.ledger, "llm_free": corrected.llm_free, "random": corrected.random}
        return Proposed(controls, None, corrected.figures)
    readers = load_augment_readers(config, version.split, journal, folder, progress, account)
    with _journal(readers.model):
        found = augment_split(config, version.split, readers, folder, progress)
    controls = {"mended": found.ledger, "llm_free": found.llm_free, "random": found.random}
    return Proposed(controls, found.users, found.figures)


def added_up(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """What all menders of a run asked, added up, as the section `llm` of `metrics.json` has it."""
    total: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            total[key] = total.get(key, 0) + value if isinstance(value, int | float) else value
    return total


def _journal(model: JournaledModel | None) -> Any:
    return model.journal if model is not None else contextlib.nullcontext()


def edit_counts(ledger: Ledger) -> dict[str, Any]:
    """Accepted edits of the training part that change something, and all accepted ones by kind."""
    edits = ledger.edits.filter(pl.col("view") == "train")
    accepted = edits.filter(pl.col("status") == "accepted")
    changed = accepted.filter(IS_CHANGE)
    return {
        "proposed": len(edits.filter(IS_CHANGE)),
        "accepted": len(changed),
        "users": changed["user_id"].n_unique(),
        "by_kind": dict(accepted.group_by("kind").len().sort("kind").iter_rows()),
    }
