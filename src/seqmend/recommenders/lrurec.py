"""LRURec: linear recurrent units (Yue et al., WSDM 2024)."""

import math
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from seqmend.recommenders.backbone import Backbone, with_bias, with_one
from seqmend.recommenders.dropout import Dropout

_INITIAL_STD = 0.02
_LEAST_RADIUS, _LARGEST_RADIUS = 0.8, 0.99


class LRURecConfig(BaseModel):
    """Size of the model; names as in the project's glossary, defaults as the official code."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["lrurec"] = "lrurec"
    embedding_size: int = Field(default=64, ge=1)
    n_layers: int = Field(default=2, ge=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    max_length: int = Field(default=50, ge=1)


class LRURec(Backbone):
    """Blocks of a linear recurrence with complex eigenvalues and a pointwise feed-forward (section 3).

    h_t = lambda * h_(t-1) + gamma * (B x_t + b) and out_t = Re(C h_t + c), with state twice the embedding's size,
    computed for all columns by a scan in log2 L steps. Deviations: the state is empty before the first input and a
    masked interaction leaves it to decay, so that padding on the left changes nothing and no target is predicted from
    padding; the parameters of the eigenvalues and of gamma have no weight decay (they are vectors, and the training
    loop decays matrices alone).

    Args:
        n_items: V.
        config: Sizes.
        seed: Of the initial weights; the global random state is left alone.
    """

    def __init__(self, n_items: int, config: LRURecConfig, seed: int = 0) -> None:
        super().__init__()
        self.n_items, self.max_length = n_items, config.max_length
        self.config = config
        size = config.embedding_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.items = nn.Embedding(n_items + 1, size, padding_idx=0)
            self.norm = nn.LayerNorm(size)
            self.dropout = Dropout(config.dropout)
            self.blocks = nn.ModuleList(_Block(config) for _ in range(config.n_layers))
            self.output_bias = nn.Parameter(torch.zeros(n_items + 1))
            for module in self.modules():
                if isinstance(module, nn.Embedding | nn.Linear):
                    _truncated_normal(module.weight)
            with torch.no_grad():
                self.items.weight[0] = 0

    def forward(self, items: Tensor, users: Tensor | None = None) -> Tensor:
        """States of all columns, float [B, L, d]; see `Backbone.forward`."""
        is_input = (items != 0)[..., None]
        x = self.norm(self.dropout(self.items(items)))
        for block in self.blocks:
            x = block(x, is_input)
        return with_one(x)

    def output_table(self) -> Tensor:
        """The input embedding with a bias per item, float [V + 1, d]."""
        return with_bias(self.items.weight, self.output_bias)


class _Block(nn.Module):
    def __init__(self, config: LRURecConfig) -> None:
        super().__init__()
        size = config.embedding_size
        self.unit = _LinearRecurrentUnit(size, 2 * size)
        self.unit_norm = nn.LayerNorm(size)
        self.feed_in = nn.Linear(size, 4 * size)
        self.feed_out = nn.Linear(4 * size, size)
        self.feed_norm = nn.LayerNorm(size)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, is_input: Tensor) -> Tensor:
        x = self.unit_norm(x + self.dropout(self.unit(x, is_input)))
        fed = self.feed_out(self.dropout(nn.functional.gelu(self.feed_in(x))))
        return self.feed_norm(x + self.dropout(fed))


class _LinearRecurrentUnit(nn.Module):
    """The recurrence with real and imaginary parts side by side: real arithmetic is faster and works in any
    precision."""

    def __init__(self, size: int, state_size: int) -> None:
        super().__init__()
        self.state_size = state_size
        share = torch.rand(state_size)
        squared = share * (_LARGEST_RADIUS**2 - _LEAST_RADIUS**2) + _LEAST_RADIUS**2
        self.log_decay = nn.Parameter(torch.log(-0.5 * torch.log(squared)))  # nu
        self.log_phase = nn.Parameter(torch.log(torch.rand(state_size) * 2 * math.pi + 1e-6))  # theta
        self.log_gain = nn.Parameter(0.5 * torch.log(1 - squared))  # gamma
        self.into = nn.Linear(size, 2 * state_size)
        self.out = nn.Linear(2 * state_size, size)

    def forward(self, x: Tensor, is_input: Tensor) -> Tensor:
        """x: float [B, L, d]; is_input: bool [B, L, 1]; returns float [B, L, d]."""
        pushed = self.into(x) * (self.log_gain.exp().repeat(2) * is_input)
        with torch.autocast(x.device.type, enabled=False):
            real, imaginary = pushed.float().split(self.state_size, dim=-1)
            states = torch.cat(_scan(real, imaginary, self.log_decay.exp(), self.log_phase.exp()), dim=-1)
        return self.out(states)


def _scan(real: Tensor, imaginary: Tensor, decay: Tensor, phase: Tensor) -> tuple[Tensor, Tensor]:
    """All h_t of h_t = lambda h_(t-1) + x_t with lambda = exp(-decay + i phase), float [B, L, n] each.

    Doubling: after step k every column holds the sum over itself and the 2^k - 1 columns before it.
    """
    reach = 1
    while reach < real.shape[1]:
        size = torch.exp(-decay * reach)
        cosine, sine = size * torch.cos(phase * reach), size * torch.sin(phase * reach)
        before = (real[:, :-reach], imaginary[:, :-reach])
        more_real = before[0] * cosine - before[1] * sine
        more_imaginary = before[0] * sine + before[1] * cosine
        real = real + nn.functional.pad(more_real, (0, 0, reach, 0))
        imaginary = imaginary + nn.functional.pad(more_imaginary, (0, 0, reach, 0))
        reach *= 2
    return real, imaginary


def _truncated_normal(weight: Tensor) -> None:
    nn.init.trunc_normal_(weight, std=_INITIAL_STD, a=-2 * _INITIAL_STD, b=2 * _INITIAL_STD)
