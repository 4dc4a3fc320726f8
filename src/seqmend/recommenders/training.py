"""The one training loop: rows and a backbone in, the weights of its best epoch out."""

import copy
import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from seqmend.errors import InputError, SeqMendError
from seqmend.progress import Progress, silent
from seqmend.recommenders.backbone import Backbone
from seqmend.recommenders.batches import batches
from seqmend.recommenders.checkpoints import TrainingState, load_checkpoint, save_checkpoint
from seqmend.recommenders.losses import binary_cross_entropy, cross_entropy, sampled_softmax
from seqmend.recommenders.negatives import NegativeSampler
from seqmend.recommenders.rows import Int64, Rows


class TrainingConfig(BaseModel):
    """How a backbone is trained; names as in the project's glossary.

    Attributes:
        epochs: Most passes over the rows.
        patience: Stop after this many epochs without a better validation score.
        batch_size: Rows per step.
        learning_rate: Of AdamW, constant.
        weight_decay: Of AdamW, on matrices and not on biases and norms.
        loss: "cross_entropy" over the whole catalogue, "sampled_softmax", or "binary_cross_entropy" (SASRec's own).
        n_negatives: Per target (binary cross entropy) or per batch (sampled softmax).
        seed: Of order, dropout and negatives; initial weights come with the model.
        device: "auto" takes a GPU where there is one.
        checkpoint_every: Epochs from one checkpoint to the next.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=100, ge=1)
    patience: int = Field(default=10, ge=1)
    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    loss: Literal["cross_entropy", "sampled_softmax", "binary_cross_entropy"] = "cross_entropy"
    n_negatives: int = Field(default=1, ge=1)
    seed: int = Field(default=0, ge=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    checkpoint_every: int = Field(default=5, ge=1)


@dataclass(frozen=True)
class TrainingResult:
    """What came of a training.

    Attributes:
        best_score: Validation score of the weights that the model now has.
        best_epoch: The epoch they are from, counted from 1.
        epochs: Epochs done.
        seconds: Time they took, validation included.
    """

    best_score: float
    best_epoch: int
    epochs: int
    seconds: float


def train(
    model: Backbone,
    rows: Rows,
    config: TrainingConfig,
    validate: Callable[[Backbone], float],
    *,
    checkpoint: Path | None = None,
    progress: Progress = silent,
) -> TrainingResult:
    """Train a backbone in place and leave it with the weights of its best epoch, in evaluation mode.

    The loss of a batch is the weighted sum over its targets divided by the mean number of targets per batch, which does
    not depend on the weights: every target has the same say, whatever batch it is in. Rows without any target that
    counts are left out beforehand: the result is that of a training without them.

    The same seed gives the same weights, bit for bit, on a CPU with the same number of threads, whether or not the
    training was interrupted and resumed from its checkpoint. The caller's random state is left alone.

    Args:
        model: The backbone, moved to the device.
        rows: What to learn from.
        config: How.
        validate: Score of the model on validation targets, higher is better, asked after every epoch.
        checkpoint: Where to keep the state of the training; read first if it exists.
        progress: Told after every batch.

    Raises:
        InputError: Nothing to learn from, or a checkpoint of another training.
        SeqMendError: The loss or the score is not a number.
    """
    rows = rows if rows.has_loss.all() else rows.select(rows.has_loss)
    if not len(rows):
        raise InputError(
            "there is nothing to train on: no target with a weight above 0",
            expected="a user with two training interactions",
        )
    device = choose_device(config.device)
    fingerprint = _fingerprint(model, rows, config) if checkpoint else ""
    model.to(device)
    optimizer = _optimizer(model, config)
    state, best = TrainingState(), copy.deepcopy(model.state_dict())
    if checkpoint and checkpoint.exists():
        state, best = load_checkpoint(checkpoint, fingerprint, model, optimizer)

    passes = _Passes(model, rows, config, device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        while state.epoch < config.epochs and state.epoch - state.best_epoch < config.patience:
            started = time.perf_counter()
            passes.run(state.epoch, optimizer, progress)
            state.epoch += 1
            score = validate(model.eval())
            if not math.isfinite(score):
                raise SeqMendError(f"the validation score of epoch {state.epoch} is {score}, not a number")
            if score > state.best_score:
                state.best_score, state.best_epoch = score, state.epoch
                best = copy.deepcopy(model.state_dict())
            state.seconds += time.perf_counter() - started
            if checkpoint and state.epoch % config.checkpoint_every == 0:
                save_checkpoint(checkpoint, fingerprint, state, model, optimizer, best)
    if checkpoint:
        save_checkpoint(checkpoint, fingerprint, state, model, optimizer, best)
    model.load_state_dict(best)
    model.eval()
    return TrainingResult(state.best_score, state.best_epoch, state.epoch, state.seconds)


def choose_device(device: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """The device that a setting means here.

    Raises:
        InputError: A GPU is asked for and there is none.
    """
    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise InputError("no GPU that this PyTorch can use", where='device = "cuda"', fix='set device = "auto"')
    return torch.device("cuda" if has_gpu and device != "cpu" else "cpu")


class _Passes:
    """One pass after another over rows that stay on the device."""

    def __init__(self, model: Backbone, rows: Rows, config: TrainingConfig, device: torch.device) -> None:
        self.model, self.rows, self.config, self.device = model, rows, config, device
        self.items, self.targets, self.weights, self.users = (
            torch.from_numpy(array).to(device) for array in (rows.items, rows.targets, rows.weights, rows.user)
        )
        self.targets_per_batch = int((rows.targets != 0).sum()) / math.ceil(len(rows) / config.batch_size)
        needs_negatives = config.loss == "binary_cross_entropy"
        self.sampler = NegativeSampler(rows, model.n_items, device) if needs_negatives else None

    def run(self, epoch: int, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
        """One pass over all rows in an order, and with dropout and negatives, that seed and epoch determine."""
        seeds = np.random.SeedSequence([self.config.seed, epoch]).generate_state(3).tolist()
        order = torch.Generator().manual_seed(seeds[0])
        negatives = torch.Generator(self.device).manual_seed(seeds[1])
        torch.default_generator.manual_seed(seeds[2])
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seeds[2])
        self.model.train()
        total = torch.zeros((), device=self.device)
        divided = batches(self.rows, self.config.batch_size, order)
        for done, batch in enumerate(divided, 1):
            loss = self._loss(batch, negatives)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
            progress(f"training, epoch {epoch + 1}/{self.config.epochs}", done, len(divided))
        if not math.isfinite(float(total)):
            raise SeqMendError(
                f"the training loss of epoch {epoch + 1} is {float(total)}, not a number", fix="lower learning_rate"
            )

    def _loss(self, batch: Int64, generator: torch.Generator) -> Tensor:
        width = int(self.rows.lengths[batch].max())
        index = torch.from_numpy(batch).to(self.device)
        states = self.model(self.items[index, -width:])
        targets, weights = self.targets[index, -width:], self.weights[index, -width:]
        counts = (targets != 0) & (weights > 0)
        states, weights, users = states[counts], weights[counts], self.users[index][counts.nonzero()[:, 0]].long()
        targets, table = targets[counts].long(), self.model.output_table()
        if self.config.loss == "cross_entropy":
            loss = cross_entropy(states, table, targets, weights)
        elif self.sampler is None:
            loss = sampled_softmax(states, table, targets, weights, self.config.n_negatives, generator)
        else:
            drawn = self.sampler.draw(users, self.config.n_negatives, generator)
            loss = binary_cross_entropy(states, table, targets, weights, *drawn)
        return loss / self.targets_per_batch


def _optimizer(model: Backbone, config: TrainingConfig) -> torch.optim.Optimizer:
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def _fingerprint(model: Backbone, rows: Rows, config: TrainingConfig) -> str:
    """Digest of all that determines the result; `epochs` and `patience` may grow between runs."""
    settings = config.model_dump_json(exclude={"epochs", "patience", "checkpoint_every", "device"})
    digest = hashlib.sha256(f"{type(model).__name__} {settings}".encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().contiguous().numpy().data)
    for array in (rows.user, rows.items, rows.targets, rows.weights, rows.pair):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
