"""A training's state in one file: safetensors with JSON in its header, written atomically."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from seqmend.errors import InputError
from seqmend.files import write_atomic

_STATE = "state"
_OPTIMIZER = "optimizer"


@dataclass
class TrainingState:
    """Where a training is after a whole number of epochs.

    Random state is not part of it: every epoch draws from generators seeded by the training's seed and its own number.

    Attributes:
        epoch: Epochs done.
        best_epoch: Epoch of the best validation score, counted from 1; 0 = none yet.
        best_score: That score.
        seconds: Time spent training so far, over all interrupted runs.
        steps: Optimizer steps done.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_score: float = float("-inf")
    seconds: float = 0.0
    steps: int = 0


def save_checkpoint(
    path: Path,
    fingerprint: str,
    state: TrainingState,
    optimizer: torch.optim.Optimizer,
    weights: dict[str, dict[str, Tensor]],
) -> None:
    """Write what a training needs to go on.

    Args:
        path: File to write; its folder is made.
        fingerprint: Of all that determines the result; see `load_checkpoint`.
        state: Progress.
        optimizer: Its moments.
        weights: By name ("model", "best", ...) the weights of a model.
    """
    tensors = {f"{name}.{key}": tensor for name, part in weights.items() for key, tensor in part.items()}
    for number, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"{_OPTIMIZER}.{number}.{name}": tensor for name, tensor in moments.items()}
    header = {"fingerprint": fingerprint, _STATE: json.dumps(asdict(state))}
    with write_atomic(path) as temporary:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary, header)


def load_checkpoint(
    path: Path, fingerprint: str, optimizer: torch.optim.Optimizer, device: torch.device
) -> tuple[TrainingState, dict[str, dict[str, Tensor]]]:
    """Bring an optimizer to where a training stopped.

    Returns:
        Progress, and the weights as they were given to `save_checkpoint`, on the device.

    Raises:
        InputError: The file is no checkpoint, or is one of a training on other rows, weights or settings.
    """
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            header = file.metadata() or {}
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(
            "this is not a checkpoint", where=str(path), fix="delete it to train from the start"
        ) from error
    if header.get("fingerprint") != fingerprint:
        raise InputError(
            "this checkpoint is of another training: its architecture, catalogue, rows, initial weights or settings "
            "differ",
            where=str(path),
            fix="delete it to train from the start, or name another file",
        )
    weights: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        part, _, key = name.partition(".")
        weights.setdefault(part, {})[key] = tensor
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in weights.pop(_OPTIMIZER, {}).items():
        number, _, key = name.partition(".")
        moments.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    return TrainingState(**json.loads(header[_STATE])), weights
