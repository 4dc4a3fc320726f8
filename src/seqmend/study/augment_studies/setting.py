"""What the augment studies share: the log, the groups of users by length, and the settings of every backbone."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import TypeAdapter

from seqmend.errors import InputError
from seqmend.evaluation import length_groups, sampled_negatives
from seqmend.interactions import Split, leave_one_out
from seqmend.progress import Progress
from seqmend.recommenders import BackboneConfig, MeanOver
from seqmend.study.arms import HeldOut
from seqmend.study.config import RunConfig
from seqmend.study.data import read_data
from seqmend.study.denoise_studies.setting import draw_users
from seqmend.study.stages import RunDirectory

Bool = npt.NDArray[np.bool_]
Int64 = npt.NDArray[np.int64]

GROUPS: dict[str, tuple[int, int]] = {"fashion": (3, 4), "book": (3, 5), "yelp": (6, 8)}
"""Longest short and longest medium sequence of LLMSeR's corpora, held-out interactions counted (official code)."""

N_NEGATIVES = 100
TRAINING: dict[str, Any] = {
    "learning_rate": 1e-3,
    "ema_decay": 0.999,
    "batch_size": 128,
    "validate_every": 2,
    "patience": 10,
    "epochs": 100,
}
"""For logs of short histories; chosen on validation targets of Beauty (`benchmarks/quality.py`)."""

BACKBONES: dict[str, dict[str, Any]] = {
    "sasrec": {"dropout": 0.5},
    "gru4rec": {"dropout": 0.5},
    "bert4rec": {"dropout": 0.3, "mask_ratio": 0.4, "last_only": 0.2},
}
"""Sizes for such logs, chosen there too; a backbone that is not here has its own defaults."""


@dataclass(frozen=True, eq=False)
class Setting:
    """The log of a study and everything that decides its result.

    Attributes:
        name: Of the corpus.
        split: Leave-one-out.
        config: Settings of readers, mender, backbone (the candidates' own, and the first that is measured) and
            training; `seeds` are those of the trainings.
        cuts: Longest short and longest medium sequence, held-out interactions counted.
        groups: Where the cuts are from.
        max_users: How many users were drawn; None = all.
        mean_over: What the training loss is the mean over; see `Channels`.
    """

    name: str
    split: Split
    config: RunConfig
    cuts: tuple[int, int]
    groups: str
    max_users: int | None
    mean_over: MeanOver

    @classmethod
    def read(
        cls,
        config: RunConfig,
        progress: Progress,
        groups: str = "terciles",
        max_users: int | None = None,
        mean_over: MeanOver = "users",
    ) -> "Setting":
        """Read the log, draw users, hold out every user's last two interactions.

        Args:
            config: Settings.
            progress: Told what is being done.
            groups: A name in `GROUPS`, "terciles" of the users' own lengths, or two lengths such as "5,20".
            max_users: Take a random part of the users.
            mean_over: See `Channels`.

        Raises:
            InputError: The log or the groups cannot be used.
        """
        if mean_over not in ("users", "targets"):
            raise InputError(f"a loss cannot be the mean over {mean_over!r}", expected="users or targets")
        named = _named_cuts(groups)
        sequences = read_data(config.data, progress).sequences
        if max_users is not None:
            sequences = draw_users(sequences, max_users, np.random.default_rng(0))
        source = config.data.corpus or Path(config.data.interactions or "").resolve().parent.name
        split = leave_one_out(sequences)
        return cls(source, split, config, named or _terciles(_totals(split)), groups, max_users, mean_over)

    @property
    def totals(self) -> Int64:
        """Interactions of every test target's user, held-out ones counted, int64 [M]."""
        return _totals(self.split)

    def members(self) -> dict[str, Bool]:
        """Which test targets are of which group, bool [M]: everyone, short, medium, long, tail and head.

        The tail are the users of the shortest sequences that the log has (LLMSeR's tail users have 3, the fewest its
        filter leaves).
        """
        totals = self.totals
        is_tail = totals == totals.min()
        groups = {"all": np.ones(len(totals), dtype=np.bool_), **length_groups(totals, self.cuts)}
        groups |= {"tail": is_tail, "head": ~is_tail}
        return {name: mask for name, mask in groups.items() if mask.any()}

    def held_out(self) -> HeldOut:
        """What every arm is measured on, with the same 100 negatives of a user for all: never items it really met."""
        held_out = HeldOut.of(self.split, self.split)
        n_items = len(self.split.sequences.catalogue)
        most = n_items - int(held_out.test_seen.ends.max(initial=0)) - 1
        if most < 1:
            return held_out
        negatives = sampled_negatives(held_out.test_seen, held_out.test_targets, n_items, min(N_NEGATIVES, most))
        return replace(held_out, test_negatives=negatives)

    def begin(self, out: Path) -> RunDirectory:
        """The folder of the study's results, where a killed study goes on.

        Raises:
            InputError: The folder holds something else, or a study of other data.
        """
        directory = RunDirectory(out)
        device = {"device": "cuda" if torch.cuda.is_available() else "cpu", "threads": torch.get_num_threads()}
        directory.begin({"data_id": self.split.sequences.fingerprint, "corpus": self.name}, self.config.seeds, device)
        return directory

    def backbone(self, name: str) -> BackboneConfig:
        """Settings of a backbone: those of the configuration where it is this one, else its own.

        Raises:
            InputError: No backbone of that name.
        """
        if name == self.config.backbone.name:
            return self.config.backbone
        length = self.config.backbone.model_dump(include={"max_length"})
        values = {"name": name, **length, **BACKBONES.get(name, {})}
        try:
            return TypeAdapter[BackboneConfig](BackboneConfig).validate_python(values)
        except ValueError as error:
            raise InputError(f"no backbone {name!r} for histories of this kind", fix="see seqmend train") from error

    def describe(self) -> dict[str, Any]:
        """What stands at the head of every study's figures."""
        sequences, config = self.split.sequences, self.config
        mender = config.augment
        return {
            "corpus": self.name,
            "users": len(sequences),
            "items": len(sequences.catalogue),
            "interactions": sequences.n_interactions,
            "max_users": self.max_users,
            "model": config.language.model,
            "encoder": config.language.encoder,
            "mode": mender.mode,
            "n_items": mender.n_items,
            "long_after": mender.long_after,
            "decay": mender.decay,
            "mean_over": self.mean_over,
            "epochs": config.training.epochs,
            "seeds": list(config.seeds),
            "groups": {
                "from": self.groups,
                "cuts": list(self.cuts),
                "users": {name: int(mask.sum()) for name, mask in self.members().items()},
            },
        }


def _totals(split: Split) -> Int64:
    return split.sequences.lengths[split.test.users]


def _named_cuts(groups: str) -> tuple[int, int] | None:
    """The cuts that a name or two numbers say; None for terciles."""
    if groups == "terciles":
        return None
    if groups in GROUPS:
        return GROUPS[groups]
    parts = groups.split(",")
    if len(parts) == 2 and all(part.strip().isdigit() for part in parts) and int(parts[0]) < int(parts[1]):
        return int(parts[0]), int(parts[1])
    raise InputError(
        f"the groups {groups!r} are not known", expected=f"terciles, {', '.join(GROUPS)}, or two lengths such as 5,20"
    )


def _terciles(totals: Int64) -> tuple[int, int]:
    """The lengths that part users in three groups of sizes as equal as whole lengths allow."""
    lengths, counts = np.unique(totals, return_counts=True)
    shares = np.cumsum(counts) / len(totals)
    first = int(np.argmin(abs(shares - 1 / 3)))
    second = first + int(np.argmin(abs(shares[first + 1 :] - 2 / 3))) + 1 if first + 1 < len(lengths) else first
    return int(lengths[first]), max(int(lengths[second]), int(lengths[first]) + 1)
