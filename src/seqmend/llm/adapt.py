"""LoRA: fitting a local model to passages whose scored parts it shall find likely."""

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from seqmend.errors import InputError, ResourceError
from seqmend.files import write_atomic
from seqmend.llm.frozen import Reader
from seqmend.llm.local import LocalModel
from seqmend.llm.protocol import Judged, Passage
from seqmend.llm.scoring import HEAD_ROWS, Int64, Row, batches, padded
from seqmend.llm.weights import fingerprint, quiet_transformers
from seqmend.progress import Progress, silent

Tensors = dict[str, torch.Tensor]


class LoRAConfig(BaseModel):
    """How an adapter is fitted. The defaults are LLM4DSR's (arXiv 2408.08208, train_denoise_model.py), early stop ours.

    Attributes:
        rank: Rank r of the added matrices.
        alpha: They are scaled by alpha / rank.
        dropout: On what enters them, while fitting.
        target_modules: Names of the linear layers that get them.
        last_layers: Only the last n blocks of the model get them, so that the gradient goes no deeper; None = all.
        learning_rate: AdamW's, after the warm-up; it then falls linearly to 0 at the last step.
        warmup_steps: Steps over which the learning rate rises linearly.
        epochs: Passes over the examples.
        batch_size: Examples per optimiser step, gathered from as many smaller passes as memory asks for.
        batch_tokens: Tokens of one such pass, padding included.
        max_gradient_norm: The gradient is clipped to it.
        evaluate_every: Steps between looks at the held-out loss.
        patience: Looks without a better loss after which fitting ends.
        max_seconds: Time after which fitting ends; None = no limit.
        checkpoint_seconds: A killed run loses at most about this much.
        seed: Of the order of the examples, the initial adapter and the dropout.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(default=8, ge=1)
    alpha: float = Field(default=16, gt=0)
    dropout: float = Field(default=0.05, ge=0, lt=1)
    target_modules: tuple[str, ...] = ("q_proj", "v_proj")
    last_layers: int | None = Field(default=None, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0)
    warmup_steps: int = Field(default=20, ge=0)
    epochs: int = Field(default=1, ge=1)
    batch_size: int = Field(default=128, ge=1)
    batch_tokens: int = Field(default=2048, ge=1)
    max_gradient_norm: float = Field(default=1.0, gt=0)
    evaluate_every: int = Field(default=10, ge=1)
    patience: int = Field(default=3, ge=1)
    max_seconds: float | None = Field(default=None, gt=0)
    checkpoint_seconds: float = Field(default=20, ge=0)
    seed: int = 0


@dataclass
class _State:
    """Where a fit stands, beside its tensors."""

    step: int = 0
    best_loss: float = float("inf")
    best_step: int = 0
    looks_without_gain: int = 0
    seconds: float = 0.0
    over: str = ""


@dataclass(frozen=True)
class Adaptation:
    """A fitted adapter.

    Attributes:
        folder: Holds the adapter in PEFT's layout; for `LocalModel.load(..., adapter=folder)`.
        identity: Twelve hexadecimal digits of its files.
        steps: Optimiser steps taken.
        best_step: Step of the weights that were kept.
        held_out_loss: Their mean loss per scored held-out token, in nats; None without held-out passages.
        seconds: Time spent fitting, over all runs.
        ended_by: `epochs`, `patience` or `seconds`.
    """

    folder: Path
    identity: str
    steps: int
    best_step: int
    held_out_loss: float | None
    seconds: float
    ended_by: str


def adapt(
    model: LocalModel,
    examples: Sequence[Passage] | Sequence[Judged],
    held_out: Sequence[Passage] | Sequence[Judged],
    folder: Path,
    config: LoRAConfig | None = None,
    progress: Progress = silent,
) -> Adaptation:
    """Fit a LoRA adapter to judgements, or to the scored parts of passages: an answer, or all titles of a list.

    A killed fit is taken up where its last checkpoint (beside `folder`) stands and ends with the same adapter as if it
    had not been killed. A folder that was made of the same model, examples and settings is returned as it is.

    Args:
        model: The model; it is the same after as before.
        examples: What to fit to; the loss is over scored parts only, each token of a step counting the same, or over
            every judged choice's yes against no.
        held_out: Examples of the same kind that decide when to stop and which weights to keep; may be empty.
        folder: Where the adapter is put.
        config: Settings.
        progress: Told the steps.

    Raises:
        InputError: No example has a scored part, one is too long, or the model has no layer of the configured names.
        ResourceError: The checkpoint is damaged.
    """
    config = config or LoRAConfig()
    rows, held_out_rows = _rows(model, examples), _rows(model, held_out)
    among = model.tokens.yes_no() if rows and rows[0].targets is not None else None
    if not rows:
        raise InputError("there is nothing to fit the language model to", expected="passages with scored parts")
    key = _key(model, rows, held_out_rows, config)
    if (done := _finished(folder, key)) is not None:
        return done
    checkpoint = folder.with_name(f"{folder.name}.checkpoint.safetensors")
    with torch.random.fork_rng(devices=[model.model.device] if model.model.device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        tuned = _with_lora(model, config)
        try:
            n_frozen = min(_last(model, config.last_layers) or [0])
            reader = Reader(model.scorer, [*rows, *held_out_rows], n_frozen, progress)
            fit = _Fit(model, tuned, reader, rows, held_out_rows, config, checkpoint, key, among)
            fit.run(progress)
            state = fit.state
            _write_adapter(tuned, fit.best, folder, {"key": key, **asdict(state)}, model.identity)
        finally:
            tuned.unload()
            model.model.requires_grad_(False).eval()
    checkpoint.unlink(missing_ok=True)
    found = _finished(folder, key)
    assert found is not None
    return found


class _Fit:
    """One fit: its tensors, where it stands, and how it goes on."""

    def __init__(
        self,
        model: LocalModel,
        tuned: Any,
        reader: Reader,
        rows: list[Row],
        held_out: list[Row],
        config: LoRAConfig,
        checkpoint: Path,
        key: str,
        among: Int64 | None,
    ) -> None:
        self.scorer = model.scorer
        self.tuned = tuned
        self.reader = reader
        self.rows = rows
        self.held_out = held_out
        self.config = config
        self.checkpoint = checkpoint
        self.key = key
        self.among = among
        self.state = _State()
        self.weights: Tensors = {name: weight for name, weight in tuned.named_parameters() if weight.requires_grad}
        self.best: Tensors = {name: weight.detach().clone() for name, weight in self.weights.items()}
        self.optimizer = torch.optim.AdamW(self.weights.values(), lr=config.learning_rate, weight_decay=0.0)
        self.steps_per_epoch = -(-len(rows) // config.batch_size)
        self.n_steps = self.steps_per_epoch * config.epochs
        if checkpoint.is_file():
            self._load()

    def run(self, progress: Progress) -> None:
        """Go on until the epochs, the patience or the time is spent."""
        config, state = self.config, self.state
        begin = time.monotonic() - state.seconds
        saved = state.seconds
        while not state.over:
            progress("fitting the language model", state.step, self.n_steps)
            self._step()
            state.step += 1
            state.seconds = time.monotonic() - begin
            if state.step == self.n_steps:
                state.over = "epochs"
            elif config.max_seconds is not None and state.seconds >= config.max_seconds:
                state.over = "seconds"
            looks = bool(state.over) or state.step % config.evaluate_every == 0
            if looks:
                self._look()
            if looks or state.seconds - saved >= config.checkpoint_seconds:
                self._save()
                saved = state.seconds
        progress("fitting the language model", state.step, state.step)

    def _step(self) -> None:
        config, step = self.config, self.state.step
        epoch, place = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([config.seed, epoch]).permutation(len(self.rows))
        chosen = [self.rows[index] for index in order[place * config.batch_size : (place + 1) * config.batch_size]]
        torch.manual_seed(
            config.seed * 1_000_003 + step + 1
        )  # the dropout of a step does not depend on what came before
        self.tuned.train()
        n_tokens = sum(int(row.wanted.sum()) for row in chosen)
        for group in batches([len(row.tokens) for row in chosen], config.batch_tokens):
            self._backward([chosen[index] for index in group], n_tokens)
        torch.nn.utils.clip_grad_norm_(self.weights.values(), config.max_gradient_norm)
        warm = min(1.0, (step + 1) / max(config.warmup_steps, 1))
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * warm * (1 - step / self.n_steps)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def _backward(self, rows: list[Row], n_tokens: int) -> None:
        """Add the gradient of some rows' summed loss over `n_tokens`."""
        inputs, wanted_tokens, wanted = (column.to(self.scorer.device) for column in padded(rows))
        hidden = self.reader.hidden(rows, inputs)[wanted]
        # The logits are by far the largest tensor. Few at a time are made, and their gradient goes straight into that
        # of the hidden states, so that never all of them are held.
        leaf = hidden.detach().requires_grad_()
        targets = wanted_tokens[wanted]
        for states, labels in zip(leaf.split(HEAD_ROWS), targets.split(HEAD_ROWS), strict=True):
            (-self.scorer.log_softmax_at(states, labels, self.among).sum() / n_tokens).backward()
        hidden.backward(leaf.grad)

    def _look(self) -> None:
        """Keep the weights if they are the best so far; without held-out passages the latest are."""
        state = self.state
        if self.held_out:
            self.tuned.eval()
            loss = self._held_out_loss()
            state.looks_without_gain += 1
            if loss < state.best_loss:
                state.best_loss, state.looks_without_gain = loss, 0
            elif state.looks_without_gain >= self.config.patience:
                state.over = state.over or "patience"
        if state.looks_without_gain == 0:
            state.best_step = state.step
            self.best = {name: weight.detach().clone() for name, weight in self.weights.items()}

    @torch.inference_mode()
    def _held_out_loss(self) -> float:
        values: list[torch.Tensor] = []
        for group in batches([len(row.tokens) for row in self.held_out], self.scorer.batch_tokens):
            rows = [self.held_out[index] for index in group]
            inputs, targets, wanted = (column.to(self.scorer.device) for column in padded(rows))
            hidden = self.reader.hidden(rows, inputs)[wanted]
            values.append(self.scorer.log_softmax_at(hidden, targets[wanted], self.among).double().cpu())
        return float(-torch.cat(values).mean())

    def _save(self) -> None:
        tensors: Tensors = {}
        for name, weight in self.weights.items():
            moments = self.optimizer.state[weight]
            tensors[f"weight.{name}"] = weight.detach()
            tensors[f"best.{name}"] = self.best[name]
            tensors[f"mean.{name}"], tensors[f"square.{name}"] = moments["exp_avg"], moments["exp_avg_sq"]
        note = {"key": self.key, "state": json.dumps(asdict(self.state))}
        with write_atomic(self.checkpoint) as temporary:
            save_file(tensors, temporary, metadata=note)

    def _load(self) -> None:
        """Go on from the checkpoint, if it is of the same fit."""
        try:
            with safe_open(self.checkpoint, "pt", device=str(self.scorer.device)) as file:
                note = file.metadata() or {}
                if note.get("key") != self.key:
                    return
                tensors: Tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        except SafetensorError as error:
            raise ResourceError(
                f"the checkpoint is damaged: {error}", where=str(self.checkpoint), fix="remove it and run again"
            ) from error
        self.state = _State(**json.loads(note["state"]))
        for name, weight in self.weights.items():
            weight.data.copy_(tensors[f"weight.{name}"])
            self.best[name] = tensors[f"best.{name}"]
            self.optimizer.state[weight] = {
                "step": torch.tensor(float(self.state.step)),
                "exp_avg": tensors[f"mean.{name}"],
                "exp_avg_sq": tensors[f"square.{name}"],
            }


def _rows(model: LocalModel, examples: Sequence[Passage] | Sequence[Judged]) -> list[Row]:
    judged = [example for example in examples if isinstance(example, Judged)]
    if judged:
        no_yes = model.tokens.yes_no()
        encoded = model.tokens.in_place([(one.question.prompt, one.question.choices) for one in judged])
        return [
            Row.judging(tokens, ends, no_yes[np.array(one.goes, dtype=np.int64)])
            for one, (tokens, ends) in zip(judged, encoded, strict=True)
        ]
    rows: list[Row] = []
    for passage in model.tokens.passages([example for example in examples if isinstance(example, Passage)]):
        wanted = passage.owners >= 0
        if wanted.any():
            end = int(np.flatnonzero(wanted)[-1]) + 1
            rows.append(Row(passage.tokens[:end], wanted[:end]))
    return rows


def _with_lora(model: LocalModel, config: LoRAConfig) -> Any:
    import peft  # takes seconds, which only fitting should cost

    settings = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]  # any number does
        lora_dropout=config.dropout,
        layers_to_transform=_last(model, config.last_layers),
        target_modules=list(config.target_modules),
        bias="none",
        task_type="CAUSAL_LM",
    )
    try:
        with quiet_transformers():
            return peft.get_peft_model(model.model, settings)
    except ValueError as error:
        raise InputError(f"the model cannot be fitted: {error}", where=", ".join(config.target_modules)) from error


def _last(model: LocalModel, n: int | None) -> list[int] | None:
    n_layers: int = model.model.config.get_text_config().num_hidden_layers
    return None if n is None else list(range(max(n_layers - n, 0), n_layers))


def _key(model: LocalModel, rows: list[Row], held_out: list[Row], config: LoRAConfig) -> str:
    """What an adapter follows from: the model, the examples and the settings that change it."""
    digest = hashlib.sha256()
    settings = config.model_dump(exclude={"checkpoint_seconds", "batch_tokens"})
    digest.update(json.dumps([model.identity, settings, len(rows), len(held_out)], sort_keys=True).encode())
    for row in (*rows, *held_out):
        digest.update(len(row.tokens).to_bytes(8, "little") + row.tokens.astype("<i8").tobytes() + row.wanted.tobytes())
        digest.update(b"" if row.targets is None else row.targets.astype("<i8").tobytes())
    return digest.hexdigest()


def _write_adapter(tuned: Any, best: Tensors, folder: Path, note: dict[str, Any], base: str) -> None:
    """The adapter in PEFT's layout, as a whole folder or not at all."""
    for name, weight in tuned.named_parameters():
        if name in best:
            weight.data.copy_(best[name])
    tuned.peft_config["default"].base_model_name_or_path = base  # not a path of this machine
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    with quiet_transformers():
        tuned.save_pretrained(str(temporary), safe_serialization=True)
    (temporary / "README.md").unlink(missing_ok=True)  # a form that nobody has filled in
    (temporary / "fit.json").write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def _finished(folder: Path, key: str) -> Adaptation | None:
    try:
        note = json.loads((folder / "fit.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if note.get("key") != key:
        return None
    loss = note["best_loss"] if np.isfinite(note["best_loss"]) else None
    return Adaptation(folder, fingerprint(folder), note["step"], note["best_step"], loss, note["seconds"], note["over"])
