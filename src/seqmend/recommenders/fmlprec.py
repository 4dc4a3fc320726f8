"""FMLP-Rec: learned filters in the frequency domain instead of attention (Zhou et al., WWW 2022)."""

from typing import ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from seqmend.recommenders.backbone import Backbone
from seqmend.recommenders.dropout import Dropout
from seqmend.recommenders.rows import Form

_INITIAL_STD = 0.02


class FMLPRecConfig(BaseModel):
    """Size of the model; names as in the project's glossary, defaults as the official code."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["fmlprec"] = "fmlprec"
    embedding_size: int = Field(default=64, ge=1)
    n_layers: int = Field(default=2, ge=1)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    max_length: int = Field(default=50, ge=1)


class FMLPRec(Backbone):
    """Filter layers and pointwise feed-forward layers; the state of the last column predicts (section 3).

    A filter is a circular convolution over all columns: a column sees later ones, so only rows in instance form teach
    it. Deviation: padding is zero before every filter, so that what stands there has no say; the official code lets
    position vectors and the padding row through.

    Args:
        n_items: V.
        config: Sizes.
        seed: Of the initial weights; the global random state is left alone.
    """

    forms: ClassVar[tuple[Form, ...]] = ("instance",)
    is_causal: ClassVar[bool] = False

    def __init__(self, n_items: int, config: FMLPRecConfig, seed: int = 0) -> None:
        super().__init__()
        self.n_items, self.max_length = n_items, config.max_length
        self.config = config
        size = config.embedding_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.items = nn.Embedding(n_items + 1, size, padding_idx=0)
            self.positions = nn.Embedding(config.max_length, size)
            self.norm = nn.LayerNorm(size)
            self.dropout = Dropout(config.dropout)
            self.blocks = nn.ModuleList(_Block(config) for _ in range(config.n_layers))
            for module in self.modules():
                if isinstance(module, nn.Embedding | nn.Linear):
                    nn.init.normal_(module.weight, std=_INITIAL_STD)
            with torch.no_grad():
                self.items.weight[0] = 0

    def forward(self, items: Tensor, users: Tensor | None = None) -> Tensor:
        """States, float [B, L, d], of which the last is a prediction; see `Backbone.forward`."""
        length = items.shape[1]
        padded = nn.functional.pad(items, (self.max_length - length, 0))
        is_input = (padded != 0)[..., None]
        x = self.dropout(self.norm(self.items(padded) + self.positions.weight))
        for block in self.blocks:
            x = block(x * is_input)
        return x[:, -length:]

    def output_table(self) -> Tensor:
        """The input embedding, float [V + 1, d]."""
        return self.items.weight


class _Block(nn.Module):
    def __init__(self, config: FMLPRecConfig) -> None:
        super().__init__()
        size = config.embedding_size
        n_frequencies = config.max_length // 2 + 1
        self.filter = nn.Parameter(torch.randn(n_frequencies, size, 2) * _INITIAL_STD)
        self.filter_norm = nn.LayerNorm(size)
        self.feed_in = nn.Linear(size, 4 * size)
        self.feed_out = nn.Linear(4 * size, size)
        self.feed_norm = nn.LayerNorm(size)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # Fourier transforms want float32
            x = x.float()
            spectrum = torch.fft.rfft(x, dim=1, norm="ortho") * torch.view_as_complex(self.filter.float())
            filtered = torch.fft.irfft(spectrum, n=x.shape[1], dim=1, norm="ortho")
        x = self.filter_norm(x + self.dropout(filtered))
        return self.feed_norm(x + self.dropout(self.feed_out(nn.functional.gelu(self.feed_in(x)))))
