"""SASRec as a short PyTorch script would have it: the floor that `bench backbones` measures against.

Nothing here is tuned: PyTorch's own encoder layers, the full score matrix of every column, PyTorch's cross entropy.
"""

import time

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from seqmend.progress import Progress
from seqmend.recommenders import Rows, SASRecConfig, TrainingConfig


class PlainSASRec(nn.Module):
    """Same sizes as `SASRec`; padding is on the right, so that the causal mask is all that is needed.

    Args:
        n_items: V.
        config: Sizes.
    """

    def __init__(self, n_items: int, config: SASRecConfig) -> None:
        super().__init__()
        size = config.embedding_size
        self.items = nn.Embedding(n_items + 1, size, padding_idx=0)
        self.positions = nn.Embedding(config.max_length, size)
        self.dropout = config.dropout
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(size, config.n_heads, size, config.dropout, batch_first=True, norm_first=True)
            for _ in range(config.n_layers)
        )
        self.norm = nn.LayerNorm(size)
        for table in (self.items, self.positions):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, items: Tensor) -> Tensor:
        """States of all columns, float [B, L, d], of int64 [B, L], padded on the right with 0."""
        length = items.shape[1]
        x = self.items(items) * self.items.embedding_dim**0.5 + self.positions.weight[:length]
        x = functional.dropout(x, self.dropout, self.training)
        causal = nn.Transformer.generate_square_subsequent_mask(length)
        for layer in self.layers:
            x = layer(x, src_mask=causal, is_causal=True)
        return self.norm(x)


def train_plain(
    rows: Rows, n_items: int, sizes: SASRecConfig, training: TrainingConfig, progress: Progress
) -> tuple[PlainSASRec, list[float]]:
    """A model trained with Adam, and the seconds of every epoch."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        model = PlainSASRec(n_items, sizes)
        optimizer = torch.optim.Adam(model.parameters(), lr=training.learning_rate)
        items, targets = (torch.from_numpy(_to_the_left(array)).long() for array in (rows.items, rows.targets))
        seconds: list[float] = []
        for epoch in range(training.epochs):
            begin = time.perf_counter()
            model.train()
            for batch in torch.randperm(len(rows)).split(training.batch_size):
                logits = model(items[batch]) @ model.items.weight.T
                loss = functional.cross_entropy(logits.flatten(0, 1), targets[batch].flatten(), ignore_index=0)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            seconds.append(time.perf_counter() - begin)
            progress("training plain PyTorch", epoch + 1, training.epochs)
    return model.eval(), seconds


def plain_scores(model: PlainSASRec, windows: npt.NDArray[np.int32], batch_size: int = 256) -> npt.NDArray[np.float32]:
    """Scores of all items after every window, float32 [M, V + 1], of windows int32 [M, L] padded on the left."""
    items = torch.from_numpy(_to_the_left(windows)).long()
    with torch.inference_mode():
        parts = [
            model(part)[torch.arange(len(part)), (part != 0).sum(1) - 1] @ model.items.weight.T
            for part in items.split(batch_size)
        ]
    return torch.cat(parts).numpy()


def _to_the_left(rows: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Rows padded on the right instead of the left."""
    order = np.argsort(rows == 0, axis=1, kind="stable")
    return np.take_along_axis(rows, order, axis=1)
