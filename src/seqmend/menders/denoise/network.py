"""A network that judges windows: bidirectional attention over a window whose items are compared pair by pair."""

import torch
from torch import Tensor, nn

_LEARNED = 4  # similarities that are learned beside those that the statistics know
_LEARNED_SIZE = 12
_PAIR_SIZE = 16
_STRANGER = -3.0  # how alike nothing is, in standard deviations: for the only item of a window
_FIRST_GUESS = -2.2  # log-odds of one corrupted cell in ten, so that training does not begin by learning the rate


class WindowNetwork(nn.Module):
    """A noise logit for every cell of a window.

    An item's state begins with its vectors, its popularity, and how it relates to the others of the window: the mean,
    the strongest and the second strongest of every relation, as they are and relative to the window. In the attention
    layers that follow, a pair's relations bias who is looked at and are part of what is seen.

    Args:
        n_items: V.
        n_inputs: C, numbers that describe an item; the first is its popularity.
        n_relations: R, relations of a pair of items.
        max_length: L, the widest window.
        embedding_size: Width of the states.
        n_layers: Attention layers.
        n_heads: Heads of each; divides `embedding_size`.
        dropout: Of layers; an item's numbers are dropped at twice that rate.
        ids: Whether an item has a vector of its own. In training it is left out half of the time, so that nothing
            relies on it.
    """

    relation_means: Tensor
    relation_spreads: Tensor

    def __init__(
        self,
        n_items: int,
        n_inputs: int,
        n_relations: int,
        max_length: int,
        embedding_size: int,
        n_layers: int,
        n_heads: int,
        dropout: float,
        ids: bool,
    ) -> None:
        super().__init__()
        size, n_pairs = embedding_size, n_relations + _LEARNED
        self.dropout = dropout
        self.inputs = nn.Linear(n_inputs, size)
        self.ids = nn.Embedding(n_items + 1, size, padding_idx=0) if ids else None
        self.similarity = nn.Linear(size, _LEARNED * _LEARNED_SIZE)
        self.pairs = nn.Linear(n_pairs, _PAIR_SIZE)
        self.distances = nn.Embedding(max_length, _PAIR_SIZE)
        self.around = nn.Sequential(nn.Linear(6 * n_pairs + 3, size), nn.GELU(), nn.Linear(size, size))
        self.layers = nn.ModuleList(_Layer(size, n_heads, dropout) for _ in range(n_layers))
        self.norm, self.hidden, self.logit = nn.LayerNorm(size), nn.Linear(size, size), nn.Linear(size, 1)
        nn.init.zeros_(self.logit.weight)
        nn.init.constant_(self.logit.bias, _FIRST_GUESS)
        if self.ids is not None:
            nn.init.normal_(self.ids.weight, std=0.02)
            with torch.no_grad():
                self.ids.weight[0] = 0
        self.register_buffer("relation_means", torch.zeros(n_relations))
        self.register_buffer("relation_spreads", torch.ones(n_relations))

    def scale(self, relations: Tensor, items: Tensor) -> None:
        """Note mean and spread of every relation over real pairs, so that relations come in one scale."""
        known = relations[_others(items)]
        if len(known) > 1:
            self.relation_means.copy_(known.mean(0))
            self.relation_spreads.copy_(known.std(0) + 1e-3)

    def forward(self, items: Tensor, inputs: Tensor, relations: Tensor) -> Tensor:
        """Log-odds of being corrupted, float [B, L]; without meaning in padding.

        Args:
            items: Windows, int64 [B, L], 0 = padding.
            inputs: What describes every item, float [B, L, C].
            relations: How every two cells relate, float [B, L, L, R].
        """
        real, others = items > 0, _others(items)
        x = self.inputs(nn.functional.dropout(inputs, 2 * self.dropout, self.training))
        if self.ids is not None:
            own = self.ids(items)
            x = x + (2 * own * (torch.rand(items.shape)[:, :, None] > 0.5) if self.training else own)
        x = x * real[:, :, None]
        known = self._relations(x, relations)
        x = x + self.around(_surroundings(known, inputs[:, :, :1], real, others))
        if self.layers:
            places = torch.arange(items.shape[1])
            distances = self.distances((places[:, None] - places).abs())
            pairs = nn.functional.gelu(self.pairs(known) + distances) * others[:, :, :, None]
            # A padding column, and the only item of a window, may look at itself: a softmax needs something.
            may_see = others | torch.eye(items.shape[1], dtype=torch.bool)
            bias = torch.zeros(others.shape).masked_fill(~may_see, float("-inf"))
            for layer in self.layers:
                x = layer(x, pairs, bias)
        return self.logit(nn.functional.gelu(self.hidden(self.norm(x)))).squeeze(-1)

    def _relations(self, x: Tensor, relations: Tensor) -> Tensor:
        """Relations in one scale, and the learned ones, float [B, L, L, R + learned]."""
        B, L, _ = x.shape
        views = nn.functional.normalize(self.similarity(x).view(B, L, _LEARNED, _LEARNED_SIZE).transpose(1, 2), dim=-1)
        learned = (views @ views.transpose(-1, -2)).permute(0, 2, 3, 1)
        return torch.cat([(relations - self.relation_means) / self.relation_spreads, -_STRANGER * learned], dim=-1)


class _Layer(nn.Module):
    def __init__(self, size: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads, self.dropout = n_heads, dropout
        self.attention_norm, self.query_key_value = nn.LayerNorm(size), nn.Linear(size, 3 * size)
        self.pair_bias = nn.Linear(_PAIR_SIZE, n_heads)
        self.join = nn.Linear(size + n_heads * _PAIR_SIZE, size)
        self.feed_norm, self.feed_in, self.feed_out = (
            nn.LayerNorm(size),
            nn.Linear(size, 2 * size),
            nn.Linear(2 * size, size),
        )

    def forward(self, x: Tensor, pairs: Tensor, bias: Tensor) -> Tensor:
        B, L, d = x.shape
        query, key, value = (
            self.query_key_value(self.attention_norm(x)).view(B, L, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        )
        logits = query @ key.transpose(-1, -2) / (d // self.n_heads) ** 0.5
        weights = (logits + self.pair_bias(pairs).permute(0, 3, 1, 2) + bias[:, None]).softmax(-1)
        items_seen = (weights @ value).transpose(1, 2).reshape(B, L, d)
        pairs_seen = (weights.transpose(1, 2) @ pairs).reshape(B, L, -1)
        seen = self.join(torch.cat([items_seen, pairs_seen], dim=-1))
        x = x + nn.functional.dropout(seen, self.dropout, self.training)
        fed = self.feed_out(nn.functional.gelu(self.feed_in(self.feed_norm(x))))
        return x + nn.functional.dropout(fed, self.dropout, self.training)


def _others(items: Tensor) -> Tensor:
    """Which pairs of cells are two different real cells, bool [B, L, L]."""
    real = items > 0
    return real[:, :, None] & real[:, None, :] & ~torch.eye(items.shape[1], dtype=torch.bool)


def _surroundings(relations: Tensor, popularity: Tensor, real: Tensor, others: Tensor) -> Tensor:
    """How every item relates to the others of its window, float [B, L, 6 R + 3]."""
    mean = (relations * others[:, :, :, None]).sum(2) / others.sum(2).clamp(min=1)[:, :, None]
    present = relations.masked_fill(~others[:, :, :, None], _STRANGER)
    strongest, at = present.max(2, keepdim=True)
    second = present.scatter(2, at, _STRANGER).amax(2)
    own = torch.cat([mean, strongest.squeeze(2), second], dim=-1) * real[:, :, None]
    lengths = real.sum(1)[:, None, None].clamp(min=1)
    typical, typical_popularity = (
        (values * real[:, :, None]).sum(1, keepdim=True) / lengths for values in (own, popularity)
    )
    window = torch.cat([typical_popularity, lengths / real.shape[1]], dim=-1).expand(-1, real.shape[1], -1)
    return torch.cat([own, own - typical, popularity - typical_popularity, window], dim=-1)
