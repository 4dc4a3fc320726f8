"""The student: the denoise mender's verdicts in a small network, so that no language model is needed at serving time.

It learns from any number of fresh corruptions, whose truth is known, and from what the mender, its language model
included, thinks of them (distillation: Hinton et al. 2015). No user is judged by a network that learned from that
user's windows, nor by statistics that count that user: what is odd in a log is called clean when one learns from it.
"""

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from torch import nn

from seqmend.errors import InputError
from seqmend.files import write_atomic, write_json
from seqmend.interactions import Catalogue, Sequences
from seqmend.menders.denoise.corruption import corrupt
from seqmend.menders.denoise.fusion import estimate_noise_rate, to_confidence
from seqmend.menders.denoise.mender import Denoiser
from seqmend.menders.denoise.statistics import Float64
from seqmend.menders.denoise.student_inputs import ItemTable, item_tables, read_windows
from seqmend.menders.denoise.student_network import StudentNetwork
from seqmend.menders.denoise.windows import Bool, Int32, Int64, cut, mean_by_position
from seqmend.progress import Progress, silent

_MODEL, _WEIGHTS = "student.json", "student.safetensors"
_CHUNK = 2048  # windows that are made ready at a time
_WARM_UP = 50
_CERTAIN = 1e-6


class StudentConfig(BaseModel):
    """Settings of the student; window length and corruption rate are the mender's.

    Attributes:
        embedding_size: Width of the states.
        n_layers: Attention layers.
        n_heads: Heads of each.
        dropout: Of the layers.
        ids: Whether an item has a vector of its own.
        language: Whether the language model's title vectors may be looked at, where the mender has them.
        n_networks: Groups of users, each judged by a network that learned from the other groups; users that are new
            are judged by all networks.
        teacher_share: How much of the target is the mender's verdict; the rest is the truth.
        epochs: Most passes over the training windows, each corrupted anew; the best on unseen users counts.
        batch_size: Windows per step.
        learning_rate: Of AdamW, at its highest.
        weight_decay: Of AdamW.
        seed: Of everything random.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    embedding_size: int = Field(default=48, ge=4)
    n_layers: int = Field(default=1, ge=0)
    n_heads: int = Field(default=4, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=0.5)
    ids: bool = False
    language: bool = True
    n_networks: int = Field(default=2, ge=2)
    teacher_share: float = Field(default=0.5, ge=0, le=1)
    epochs: int = Field(default=12, ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    seed: int = 0

    @model_validator(mode="after")
    def _heads_divide(self) -> "StudentConfig":
        if self.embedding_size % self.n_heads:
            raise ValueError("embedding_size must be a multiple of n_heads")
        return self


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
        tables: What is known of items: by all users, then by all but those of each fold.
        networks: In evaluation mode.
        known: Hashes of the users that were learned from, sorted, int64.
        known_folds: Their folds, int64.
    """

    def __init__(
        self,
        saved: _Saved,
        tables: list[ItemTable],
        networks: list[StudentNetwork],
        known: Int64,
        known_folds: Int64,
    ) -> None:
        self.saved, self.tables, self.networks = saved, tables, networks
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
            InputError: The log has too few users or windows for unseen users in every group.
        """
        config = config or StudentConfig()
        teaching, rng = mender.config, np.random.default_rng(config.seed)
        tables = item_tables(
            mender.statistics(-1), [mender.statistics(f) for f in range(teaching.folds)], config.language
        )
        windows = cut(train, teaching.max_length, teaching.stride)
        windows = windows[windows.real.sum(1) >= 2]
        folds = mender.folds_of(train.user_ids)[windows.users]
        groups = folds % config.n_networks
        universe = np.flatnonzero(tables[0].popularity > 0).astype(np.int32)

        def corrupted(rows: Int64) -> tuple[Int32, Bool]:
            return corrupt(windows.items[rows], universe, teaching.corruption_rate, rng)

        def draw(rows: Int64) -> tuple[Int32, Float64]:
            items, truth = corrupted(rows)
            if not config.teacher_share:
                return items, truth.astype(np.float64)
            opinion = np.nan_to_num(mender.opinion(items, folds[rows]))
            return items, (1 - config.teacher_share) * truth + config.teacher_share * opinion

        networks: list[StudentNetwork] = []
        scores: list[Float64] = []
        truths: list[Bool] = []
        for group in range(config.n_networks):
            unseen, seen = np.flatnonzero(groups == group), np.flatnonzero(groups != group)
            if not len(unseen) or not len(seen):
                raise InputError(
                    f"{len(train):,} users are too few for {config.n_networks} groups of users",
                    expected="users in every group",
                    fix="bring a longer log",
                )
            held_items, held_truth = corrupted(unseen)
            network = _fresh_network(config, tables[0], teaching.max_length, config.seed + group)

            def tell(epoch: int, before: int = group * config.epochs) -> None:
                progress("teaching the student", before + epoch, config.n_networks * config.epochs)

            held = (held_items, held_truth, folds[unseen])
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(config.seed)
                networks.append(_learn(network, draw, seen, folds, held, tables, config, tell))
            # Fresh corruptions for the calibration: the others have chosen the epoch.
            held_items, held_truth = corrupted(unseen)
            scores.append(_logits([networks[-1]], tables, held_items, folds[unseen])[held_items > 0])
            truths.append(held_truth[held_items > 0])
        score, truth = np.concatenate(scores), np.concatenate(truths)
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
        return cls(saved, tables, networks, hashes[order], mender.folds_of(train.user_ids)[order])

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
        logits = np.zeros(windows.items.shape)
        for group in range(-1, saved.config.n_networks):
            rows = np.flatnonzero(folds < 0 if group < 0 else (folds >= 0) & (folds % saved.config.n_networks == group))
            networks = self.networks if group < 0 else [self.networks[group]]
            logits[rows] = _logits(networks, self.tables, windows.items[rows], folds[rows])
        probability = np.clip(expit(saved.scale * logits + saved.offset), _CERTAIN, 1 - _CERTAIN)
        confidence = to_confidence(probability, saved.corrupted_share, saved.noise_rate)
        return mean_by_position(np.where(windows.real, confidence, np.nan), windows, sequences)

    def save(self, folder: Path) -> None:
        """Write the student; the folder is made."""
        arrays: dict[str, npt.NDArray[Any]] = {"known": self.known, "known_folds": self.known_folds}
        for number, network in enumerate(self.networks):
            arrays |= {f"network.{number}.{name}": value.numpy() for name, value in network.state_dict().items()}
        for number, table in enumerate(self.tables):
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
        networks: list[StudentNetwork] = []
        for number in range(saved.config.n_networks):
            network = _fresh_network(saved.config, tables[0], saved.max_length, seed=0)
            network.load_state_dict(
                {name: torch.from_numpy(value) for name, value in _part(arrays, f"network.{number}.").items()}
            )
            networks.append(network.eval())
        return cls(saved, tables, networks, arrays["known"], arrays["known_folds"])

    def _folds_of(self, user_ids: pl.Series) -> Int64:
        """Fold of every user that was learned from, int64 [U]; -1 for others."""
        hashes = _hashes(user_ids)
        at = np.minimum(np.searchsorted(self.known, hashes), len(self.known) - 1)
        return np.where(self.known[at] == hashes, self.known_folds[at], -1)


def fingerprint(catalogue: Catalogue) -> str:
    """Hexadecimal digest of the item ids in their order."""
    return hashlib.sha256(json.dumps(catalogue.item_ids.to_list()).encode()).hexdigest()


_Draw = Callable[[Int64], tuple[Int32, Float64]]


def _learn(
    network: StudentNetwork,
    draw: _Draw,
    rows: Int64,
    folds: Int64,
    unseen: tuple[Int32, Bool, Int64],
    tables: list[ItemTable],
    config: StudentConfig,
    progress: Callable[[int], None],
) -> StudentNetwork:
    """Train on fresh corruptions; the weights after the epoch with the least log loss on unseen users.

    Args:
        network: Fresh weights.
        draw: Corrupts the given windows: their items and targets in [0, 1].
        rows: Windows to learn from.
        folds: Fold of the user of any window.
        unseen: Corrupted windows of other users, what is corrupted, and their folds.
        tables: What is known of items.
        config: Settings.
        progress: Told the number of epochs done.
    """
    rng = np.random.default_rng(config.seed)
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in network.parameters() if p.ndim > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in network.parameters() if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
    )
    steps = config.epochs * -(-len(rows) // config.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / _WARM_UP, 1.0) * (1 + np.cos(np.pi * min(step / steps, 1.0))) / 2
    )
    held_items, held_truth, held_folds = unseen
    _, relations = read_windows(tables, held_items[:_CHUNK], held_folds[:_CHUNK])
    network.scale(torch.from_numpy(relations), torch.from_numpy(held_items[:_CHUNK].astype(np.int64)))
    best, best_loss = network.state_dict(), np.inf
    for epoch in range(config.epochs):
        network.train()
        order = rng.permutation(rows)
        for begin in range(0, len(order), _CHUNK):
            chosen = order[begin : begin + _CHUNK]
            drawn, targets = draw(chosen)
            inputs, relations = map(torch.from_numpy, read_windows(tables, drawn, folds[chosen]))
            items, wanted = torch.from_numpy(drawn.astype(np.int64)), torch.from_numpy(targets.astype(np.float32))
            for at in torch.arange(len(chosen)).split(config.batch_size):
                real = items[at] > 0
                logits = network(items[at], inputs[at], relations[at])
                loss = nn.functional.binary_cross_entropy_with_logits(logits[real], wanted[at][real])
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
                schedule.step()
        logits = _logits([network], tables, held_items, held_folds)[held_items > 0]
        held_loss = float(np.logaddexp(0, np.where(held_truth[held_items > 0], -logits, logits)).mean())
        if held_loss < best_loss:
            best, best_loss = copy.deepcopy(network.state_dict()), held_loss
        progress(epoch + 1)
    network.load_state_dict(best)
    return network.eval()


def _logits(networks: list[StudentNetwork], tables: list[ItemTable], items: Int32, folds: Int64) -> Float64:
    """Mean log-odds of the networks, float64 [B, L]."""
    logits = np.zeros(items.shape)
    with torch.inference_mode():
        for begin in range(0, len(items), _CHUNK):
            rows = slice(begin, begin + _CHUNK)
            inputs, relations = map(torch.from_numpy, read_windows(tables, items[rows], folds[rows]))
            numbers = torch.from_numpy(items[rows].astype(np.int64))
            for network in networks:
                logits[rows] += network.eval()(numbers, inputs, relations).double().numpy()
    return logits / len(networks)


def _fresh_network(config: StudentConfig, table: ItemTable, max_length: int, seed: int) -> StudentNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return StudentNetwork(
            len(table.popularity) - 1,
            table.n_inputs,
            table.n_relations,
            max_length,
            config.embedding_size,
            config.n_layers,
            config.n_heads,
            config.dropout,
            config.ids,
        )


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
