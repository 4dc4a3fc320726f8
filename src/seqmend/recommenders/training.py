"""The one training loop: rows and a backbone in, the weights of its best epoch out."""

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from seqmend.devices import bfloat16_pays, choose_device
from seqmend.errors import InputError, SeqMendError
from seqmend.progress import Progress, silent
from seqmend.recommenders.averaging import WeightAverage
from seqmend.recommenders.backbone import Backbone, Batch
from seqmend.recommenders.batches import batches, n_batches
from seqmend.recommenders.checkpoints import TrainingState, load_checkpoint, save_checkpoint
from seqmend.recommenders.losses import LossName
from seqmend.recommenders.objective import NextItemObjective, refuse_too_many_negatives
from seqmend.recommenders.reliability import TrainingDynamics
from seqmend.recommenders.rows import Form, Int64, Rows


class TrainingConfig(BaseModel):
    """How a backbone is trained; names as in the project's glossary.

    Attributes:
        epochs: Most passes over the rows.
        patience: Stop after this many epochs without a better validation score; at least `validate_every`.
        validate_every: Epochs from one validation to the next.
        steps_per_epoch: Steps that count as an epoch, so that trainings on more and on fewer rows take equally many;
            the rows are shuffled again where they are used up. By default an epoch is one pass over the rows.
        batch_size: Rows per step; those of one `pair` count once.
        learning_rate: Of AdamW, constant.
        weight_decay: Of AdamW, on matrices and not on biases and norms.
        loss: "cross_entropy" over the whole catalogue, "sampled_softmax", "binary_cross_entropy" (SASRec's own), "gbce"
            or "bpr"; see `losses`.
        n_negatives: Per target, or per batch for the sampled softmax.
        ema_decay: Validate, keep and return an exponential moving average of the weights with this decay.
        clip_norm: Largest norm of the gradient of a step; no limit if absent.
        precision: Of matrix products; weights, softmax and sums are float32 in any case. "auto" takes bfloat16 where
            this device is faster with it: on a GPU throughout, on a CPU for products with the whole catalogue alone.
        compile: Let `torch.compile` fuse the model; pays on a GPU, after a minute or so.
        seed: Of order, dropout and negatives; initial weights come with the model.
        device: "auto" takes a GPU where there is one.
        checkpoint_every: Epochs from one checkpoint to the next.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=100, ge=1)
    patience: int = Field(default=10, ge=1)
    validate_every: int = Field(default=1, ge=1)
    steps_per_epoch: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    loss: LossName = "cross_entropy"
    n_negatives: int = Field(default=1, ge=1)
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    clip_norm: float | None = Field(default=None, gt=0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = False
    seed: int = Field(default=0, ge=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    checkpoint_every: int = Field(default=5, ge=1)

    @model_validator(mode="after")
    def _is_patient(self) -> "TrainingConfig":
        if self.patience < min(self.validate_every, self.epochs):
            raise ValueError("patience must reach to the first validation: it is less than validate_every")
        return self


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


class TrainingDivergedError(SeqMendError):
    """The loss is not a number.

    Attributes:
        users: Numbers of the users of the first batch with such a loss.
    """

    def __init__(self, epoch: int, loss: float, users: list[int], checkpoint: Path | None) -> None:
        self.users = users
        kept = f"; the last good state is kept in {checkpoint}" if checkpoint and checkpoint.exists() else ""
        super().__init__(
            f"the training loss of epoch {epoch} is {loss}, not a number",
            where=f"the batch of users number {_few(users)}",
            fix=f"lower learning_rate, or set clip_norm{kept}",
        )

    def naming(self, user_ids: pl.Series) -> SeqMendError:
        """The same error with the ids of the users instead of their numbers.

        Args:
            user_ids: Ids of all users, by number.
        """
        where = f"the batch of users {_few(user_ids[self.users].to_list())}"
        return SeqMendError(self.what, where=where, fix=self.fix)


def _few(names: Sequence[int | str]) -> str:
    return ", ".join(map(str, names[:10])) + (f" and {len(names) - 10} others" if len(names) > 10 else "")


def train(
    model: Backbone,
    rows: Rows,
    config: TrainingConfig,
    validate: Callable[[Backbone], float],
    *,
    checkpoint: Path | None = None,
    dynamics: TrainingDynamics | None = None,
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
        validate: Score of the model on validation targets, higher is better.
        checkpoint: Where to keep the state of the training; read first if it exists.
        dynamics: Looks at the model after every validation; the checkpoint keeps what it has seen.
        progress: Told after every batch.

    Raises:
        InputError: Nothing to learn from, rows of a form that the model cannot learn from, more negatives than items,
            or a checkpoint of another training.
        TrainingDivergedError: The loss is not a number; a checkpoint stays as it was before.
        SeqMendError: The score is not a number.
    """
    rows = rows if rows.has_loss.all() else rows.select(rows.has_loss)
    refuse_untrainable(model, rows.form, config)
    if not len(rows):
        raise InputError(
            "there is nothing to train on: no target with a weight above 0",
            expected="a user with two training interactions",
        )
    device = choose_device(config.device)
    is_bfloat16 = config.precision == "bfloat16" or (config.precision == "auto" and bfloat16_pays(device))
    fingerprint = _fingerprint(model, rows, config, is_bfloat16, dynamics) if checkpoint else ""
    model.to(device)
    model.prepare(rows)
    passes = _Passes(model, rows, config, device, is_bfloat16)
    optimizer, state, best = _optimizer(model, config), TrainingState(), _copy(model)
    if checkpoint and checkpoint.exists():
        state, weights = load_checkpoint(checkpoint, fingerprint, optimizer, device)
        best = weights["best"]
        model.load_state_dict(weights["model"])
        if passes.average:
            passes.average.model.load_state_dict(weights["average"])
        if dynamics:
            dynamics.load_state_dict(weights["dynamics"])

    def save() -> None:
        if checkpoint:
            weights = {"model": model.state_dict(), "best": best}
            if passes.average:
                weights["average"] = passes.average.model.state_dict()
            if dynamics:
                weights["dynamics"] = dynamics.state_dict()
            save_checkpoint(checkpoint, fingerprint, state, optimizer, weights)

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        while state.epoch < config.epochs and state.epoch - state.best_epoch < config.patience:
            started = time.perf_counter()
            diverged = passes.run(state, optimizer, progress)
            state.epoch += 1
            if diverged:
                raise TrainingDivergedError(state.epoch, *diverged, checkpoint)
            if state.epoch % config.validate_every == 0 or state.epoch == config.epochs:
                judged = passes.average.model if passes.average else model.eval()
                score = validate(judged)
                if not math.isfinite(score):
                    raise SeqMendError(f"the validation score of epoch {state.epoch} is {score}, not a number")
                if score > state.best_score:
                    state.best_score, state.best_epoch = score, state.epoch
                    best = _copy(judged)
                if dynamics:
                    dynamics.look(judged)
            state.seconds += time.perf_counter() - started
            if state.epoch % config.checkpoint_every == 0:
                save()
    save()
    model.load_state_dict(best)
    model.eval()
    return TrainingResult(state.best_score, state.best_epoch, state.epoch, state.seconds)


def refuse_untrainable(model: Backbone, form: Form, config: TrainingConfig) -> None:
    """Say what is wrong with a training before anything is read or written for it.

    Raises:
        InputError: A catalogue of one item, rows of a form that the model cannot learn from, more negatives than items,
            or a GPU that is not there.
    """
    if model.n_items < 2:
        raise InputError("the catalogue has one item: there is nothing to choose from", expected="two items or more")
    if form not in model.forms:
        raise InputError(
            f"{type(model).__name__} cannot learn from rows in {form} form",
            expected=" or ".join(model.forms),
            fix=f'set form = "{model.forms[0]}"',
        )
    refuse_too_many_negatives(config.loss, config.n_negatives, model.n_items)
    choose_device(config.device)


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


class _Passes:
    """One pass after another over rows that stay on the device."""

    def __init__(
        self, model: Backbone, rows: Rows, config: TrainingConfig, device: torch.device, is_bfloat16: bool
    ) -> None:
        self.model, self.rows, self.config, self.device = model, rows, config, device
        self.items, self.targets, self.weights = (
            torch.from_numpy(array).to(device) for array in (rows.items, rows.targets, rows.weights)
        )
        self.users = torch.from_numpy(rows.user).to(device).long()
        self.targets_per_batch = int((rows.targets != 0).sum()) / n_batches(rows, config.batch_size)
        number = torch.bfloat16 if is_bfloat16 else torch.float32
        self.objective = NextItemObjective(config.loss, config.n_negatives, rows, model.n_items, device, number)
        self.average = WeightAverage(model, config.ema_decay) if config.ema_decay else None
        everywhere = is_bfloat16 and (config.precision == "bfloat16" or device.type == "cuda")
        self.precision = torch.autocast(device.type, torch.bfloat16, enabled=everywhere)
        if config.compile:
            model.compile(dynamic=True)

    def run(
        self, state: TrainingState, optimizer: torch.optim.Optimizer, progress: Progress
    ) -> tuple[float, list[int]] | None:
        """One pass over all rows in an order, and with dropout and negatives, that seed and epoch determine.

        Returns:
            The first loss that is not a number and the users of its batch, if there is one.
        """
        seeds = np.random.SeedSequence([self.config.seed, state.epoch]).generate_state(3).tolist()
        order = torch.Generator().manual_seed(seeds[0])
        self.objective.seed(seeds[1])
        torch.default_generator.manual_seed(seeds[2])
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seeds[2])
        self.model.train()
        parameters = list(self.model.parameters())
        divided = self._batches(order)
        widths = [int(self.rows.lengths[numbers].max()) for numbers in divided]
        on_device = torch.from_numpy(np.concatenate(divided)).to(self.device).split([len(part) for part in divided])
        losses: list[Tensor] = []
        for done, (numbers, width) in enumerate(zip(on_device, widths, strict=True), 1):
            batch = self._batch(numbers, width, state.epoch)
            with self.precision:
                loss = self.model.training_loss(batch, self.objective) / self.targets_per_batch
            optimizer.zero_grad()
            loss.backward()
            if self.config.clip_norm:
                nn.utils.clip_grad_norm_(parameters, self.config.clip_norm)
            optimizer.step()
            if self.average:
                self.average.update(self.model, state.steps)
            state.steps += 1
            losses.append(loss.detach())
            progress(f"training, epoch {state.epoch + 1}/{self.config.epochs}", done, len(divided))
        values = torch.stack(losses).tolist()
        bad = next((number for number, value in enumerate(values) if not math.isfinite(value)), None)
        return None if bad is None else (values[bad], sorted(set(self.rows.user[divided[bad]].tolist())))

    def _batches(self, order: torch.Generator) -> list[Int64]:
        """Row numbers of every step of an epoch."""
        divided = batches(self.rows, self.config.batch_size, order)
        n_steps = self.config.steps_per_epoch or len(divided)
        while len(divided) < n_steps:
            divided += batches(self.rows, self.config.batch_size, order)
        return divided[:n_steps]

    def _batch(self, numbers: Tensor, width: int, epoch: int) -> Batch:
        return Batch(
            numbers,
            self.items[numbers, -width:],
            self.targets[numbers, -width:],
            self.weights[numbers, -width:],
            self.users[numbers],
            epoch,
            self.average.model if self.average else None,
        )


def _optimizer(model: Backbone, config: TrainingConfig) -> torch.optim.Optimizer:
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def _fingerprint(
    model: Backbone, rows: Rows, config: TrainingConfig, is_bfloat16: bool, dynamics: TrainingDynamics | None
) -> str:
    """Digest of all that determines the result; `epochs` and `patience` may grow between runs."""
    settings = config.model_dump_json(
        exclude={"epochs", "patience", "checkpoint_every", "device", "compile", "precision"}
    )
    digest = hashlib.sha256(f"{type(model).__name__} {is_bfloat16} {settings}".encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().contiguous().numpy().data)
    if dynamics:
        digest.update(dynamics.identity.encode())
    for array in (rows.user, rows.items, rows.targets, rows.weights, rows.pair):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
