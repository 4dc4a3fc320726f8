"""The student: the denoise mender's verdicts in a small network, so that no language model is needed at serving time.

It learns from any number of fresh corruptions, whose truth is known, and from what the mender, its language model
included, thinks of them (distillation: Hinton et al. 2015).
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from seqmend.errors import InputError
from seqmend.files import write_atomic, write_json
from seqmend.interactions import Catalogue, Sequences
from seqmend.menders.denoise.corruption import corrupt
from seqmend.menders.denoise.mender import Denoiser
from seqmend.menders.denoise.network import WindowNetwork
from seqmend.menders.denoise.network_inputs import ItemTable, item_tables
from seqmend.menders.denoise.networks import NetworkConfig, WindowNetworks, fresh_network
from seqmend.menders.denoise.statistics import Float64
from seqmend.menders.denoise.windows import Bool, Int32, Int64, cut, mean_by_position
from seqmend.menders.noise_rate import estimate_noise_rate, to_confidence
from seqmend.progress import Progress, silent

_MODEL, _WEIGHTS = "student.json", "student.safetensors"
_CERTAIN = 1e-6


class StudentConfig(NetworkConfig):
    """Settings of the student: those of its networks, and what it is taught.

    Attributes:
        language: Whether the language model's title vectors may be looked at, where the mender has them.
        teacher_share: How much of the target is the mender's verdict; the rest is the truth.
    """

    language: bool = True
    teacher_share: float = Field(default=0.5, ge=0, le=1)


class _Saved(BaseModel):
    """What stands beside the weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: int = Field(default=1, alias="schema")
    config: StudentConfig
    catalogue: str
    max_length: int
    stride: int | None
    n_folds: int
    n_tables: int
    corrupted_share: float
    noise_rate: float
    scale: float
    offset: float


class Student:
    """Small networks that judge windows; see `Student.fit` and `Student.load`.

    Attributes:
        saved: Settings and calibration.
        networks: With what they know of items.
        known: Hashes of the users that were learned from, sorted, int64.
        known_folds: Their folds, int64.
    """

    def __init__(self, saved: _Saved, networks: WindowNetworks, known: Int64, known_folds: Int64) -> None:
        self.saved, self.networks = saved, networks
        self.known, self.known_folds = known, known_folds

    @classmethod
    def fit(
        cls, mender: Denoiser, train: Sequences, config: StudentConfig | None = None, progress: Progress = silent
    ) -> "Student":
        """Learn from self-corrupted windows of training users.

        Args:
            mender: The teacher, fitted on `train`.
            train: Training sequences.
            config: Settings.
            progress: Told about the epochs.

        Raises:
            InputError: The log has too few users for every group to have some.
        """
        config = config or StudentConfig()
        teaching, rng = mender.config, np.random.default_rng(config.seed)
        tables = item_tables(
            mender.statistics(-1), [mender.statistics(f) for f in range(teaching.folds)], config.language
        )
        windows = cut(train, teaching.max_length, teaching.stride)
        windows = windows[windows.real.sum(1) >= 2]
        folds = mender.folds_of(train.user_ids)[windows.users]
        universe = np.flatnonzero(tables[0].popularity > 0).astype(np.int32)

        def corrupted(rows: Int64) -> tuple[Int32, Bool]:
            return corrupt(windows.items[rows], universe, teaching.corruption_rate, rng)

        def target(items: Int32, truth: Bool, folds: Int64) -> Float64:
            if not config.teacher_share:
                return truth.astype(np.float64)
            opinion = np.nan_to_num(mender.opinion(items, folds))
            return (1 - config.teacher_share) * truth + config.teacher_share * opinion

        what = "teaching the student"
        networks = WindowNetworks.fit(tables, folds, teaching.max_length, corrupted, config, target, progress, what)
        # Fresh corruptions for the calibration: the others have chosen the epochs.
        items, labels = corrupted(np.arange(len(windows)))
        score, truth = networks.logits(items, folds)[items > 0], labels[items > 0]
        regression = LogisticRegression(C=1e6).fit(score[:, None], truth)
        scale, offset = float(regression.coef_[0, 0]), float(regression.intercept_[0])
        probability = expit(scale * score + offset)
        saved = _Saved(
            schema=1,
            config=config,
            catalogue=fingerprint(train.catalogue),
            max_length=teaching.max_length,
            stride=teaching.stride,
            n_folds=teaching.folds,
            n_tables=len(tables),
            corrupted_share=float(truth.mean()),
            noise_rate=teaching.noise_rate or estimate_noise_rate(probability[truth], probability[~truth]),
            scale=scale,
            offset=offset,
        )
        hashes = _hashes(train.user_ids)
        order = np.argsort(hashes)
        return cls(saved, networks, hashes[order], mender.folds_of(train.user_ids)[order])

    def judge(self, sequences: Sequences, owners: pl.Series | None = None) -> Float64:
        """Confidence that an interaction is not the user's own, float64 [N] in [0, 1]: the mean over its windows.

        Args:
            sequences: What to judge, of the catalogue that was learned from.
            owners: Whose sequence each one is, str [U], where sequences are windows of users rather than users.

        Raises:
            InputError: Another catalogue.
        """
        saved = self.saved
        _refuse_other(saved.catalogue, sequences.catalogue)
        users = sequences.user_ids if owners is None else owners
        windows = cut(sequences, saved.max_length, saved.stride)
        folds = self._folds_of(users)[windows.users]
        logits = self.networks.logits(windows.items, folds)
        probability = np.clip(expit(saved.scale * logits + saved.offset), _CERTAIN, 1 - _CERTAIN)
        confidence = to_confidence(probability, saved.corrupted_share, saved.noise_rate)
        return mean_by_position(np.where(windows.real, confidence, np.nan), windows, sequences)

    def save(self, folder: Path) -> None:
        """Write the student; the folder is made."""
        arrays: dict[str, npt.NDArray[Any]] = {"known": self.known, "known_folds": self.known_folds}
        for number, network in enumerate(self.networks.networks):
            arrays |= {f"network.{number}.{name}": value.numpy() for name, value in network.state_dict().items()}
        for number, table in enumerate(self.networks.tables):
            arrays |= {f"table.{number}.{name}": value for name, value in table.arrays(shared=number == 0).items()}
        folder.mkdir(parents=True, exist_ok=True)
        with write_atomic(folder / _WEIGHTS) as temporary:
            save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, temporary)
        write_json(folder / _MODEL, self.saved.model_dump(by_alias=True))

    @classmethod
    def load(cls, folder: Path, catalogue: Catalogue) -> "Student":
        """Read a student that `save` wrote, for logs of the same catalogue.

        Raises:
            InputError: No such student, or another catalogue.
        """
        try:
            saved = _Saved.model_validate_json((folder / _MODEL).read_text(encoding="utf-8"))
            arrays = load_file(folder / _WEIGHTS)
        except (OSError, SafetensorError, ValidationError) as error:
            raise InputError(
                "this is not a student", where=str(folder), expected="a folder that Student.save wrote"
            ) from error
        _refuse_other(saved.catalogue, catalogue, str(folder))
        parts = [_part(arrays, f"table.{number}.") for number in range(saved.n_tables)]
        tables = [ItemTable.from_arrays({**parts[0], **part}) for part in parts]
        networks: list[WindowNetwork] = []
        for number in range(saved.config.n_networks):
            network = fresh_network(saved.config, tables[0], saved.max_length, seed=0)
            network.load_state_dict(
                {name: torch.from_numpy(value) for name, value in _part(arrays, f"network.{number}.").items()}
            )
            networks.append(network.eval())
        return cls(saved, WindowNetworks(networks, tables), arrays["known"], arrays["known_folds"])

    def _folds_of(self, user_ids: pl.Series) -> Int64:
        """Fold of every user that was learned from, int64 [U]; -1 for others."""
        hashes = _hashes(user_ids)
        at = np.minimum(np.searchsorted(self.known, hashes), len(self.known) - 1)
        return np.where(self.known[at] == hashes, self.known_folds[at], -1)


def fingerprint(catalogue: Catalogue) -> str:
    """Hexadecimal digest of the item ids in their order."""
    return hashlib.sha256(json.dumps(catalogue.item_ids.to_list()).encode()).hexdigest()


def _hashes(user_ids: pl.Series) -> Int64:
    """64 bits of a hash of every id, int64 [U]."""
    digests = [hashlib.blake2b(user.encode(), digest_size=8).digest() for user in user_ids.to_list()]
    return np.frombuffer(b"".join(digests), dtype="<i8").astype(np.int64)


def _part(arrays: dict[str, npt.NDArray[Any]], prefix: str) -> dict[str, npt.NDArray[Any]]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


def _refuse_other(known: str, catalogue: Catalogue, where: str | None = None) -> None:
    if known != fingerprint(catalogue):
        raise InputError(
            "the student knows another catalogue",
            where=where,
            expected="the items that it learned from, in the same order",
            fix="give the item file that it learned from, or teach a student again",
        )
