"""Attention over a history whose items may be in doubt."""

import torch
from torch import Tensor, nn

from seqmend.recommenders.dropout import Dropout

_MOST_ABOVE = 20.0  # how far an item that is not seen may score above all that are, before its exponential is cut
_TINY = 1e-9


class DoubtfulAttention(nn.Module):
    """Bidirectional attention blocks in which each column is seen to a degree from 0 to 1.

    Degrees are multiplied into the attention weights before these are made to sum to 1, so that there is a gradient
    also for a column that is not seen: a hard decision can be learned with a straight-through estimator. Positions
    count from the end, and what is not seen keeps its place.

    Args:
        size: d of vectors and states.
        n_layers: Blocks.
        n_heads: A divisor of d.
        dropout: In [0, 1).
        max_length: Most columns.
    """

    def __init__(self, size: int, n_layers: int, n_heads: int, dropout: float, max_length: int) -> None:
        super().__init__()
        self.positions = nn.Embedding(max_length, size)
        nn.init.normal_(self.positions.weight, std=0.02)
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(_Block(size, n_heads, dropout) for _ in range(n_layers))
        self.last_norm = nn.LayerNorm(size)

    def forward(self, vectors: Tensor, seen: Tensor) -> Tensor:
        """States, float [B, L, d]; finite even where nothing is seen.

        Args:
            vectors: float [B, L, d].
            seen: float [B, L] in [0, 1]; 0 at padding.
        """
        x = self.dropout(vectors * seen[..., None] + self.positions.weight[-vectors.shape[1] :])
        for block in self.blocks:
            x = block(x, seen)
        return self.last_norm(x)


class _Block(nn.Module):
    def __init__(self, size: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.attention_norm = nn.LayerNorm(size)
        self.query_key_value = nn.Linear(size, 3 * size)
        self.join = nn.Linear(size, size)
        self.feed_norm = nn.LayerNorm(size)
        self.feed_in = nn.Linear(size, 4 * size)
        self.feed_out = nn.Linear(4 * size, size)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        B, L, d = x.shape
        joined = self.query_key_value(self.attention_norm(x))
        query, key, value = joined.view(B, L, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        scores = (query @ key.transpose(-1, -2)).float() * (d // self.n_heads) ** -0.5
        seen = seen[:, None, None, :]
        highest = scores.detach().masked_fill(seen == 0, -1e4).amax(-1, keepdim=True)
        weights = (scores - highest).clamp(max=_MOST_ABOVE).exp() * seen
        weights = weights / (weights.sum(-1, keepdim=True) + _TINY)
        attended = (weights.to(value.dtype) @ value).transpose(1, 2).reshape(B, L, d)
        x = x + self.dropout(self.join(attended))
        return x + self.dropout(self.feed_out(nn.functional.gelu(self.feed_in(self.feed_norm(x)))))


def straight_through(logits: Tensor, temperature: float | None) -> Tensor:
    """Hard yes-or-no decisions, float 0 or 1 like the logits, with the gradient of soft ones.

    The two-way Gumbel softmax: the difference of two Gumbel numbers is logistic.

    Args:
        logits: float, log odds of yes.
        temperature: Of the soft decision; None = no noise, no gradient.
    """
    if temperature is None:
        return (logits > 0).to(logits.dtype)
    noise = torch.rand_like(logits).clamp(1e-6, 1 - 1e-6).logit()
    soft = ((logits + noise) / temperature).sigmoid()
    return (soft > 0.5).to(soft.dtype) + (soft - soft.detach())  # in this order exactly 0 or 1
