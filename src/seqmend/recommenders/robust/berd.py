"""BERD-like: instances of high loss and low uncertainty are left out (after Sun et al., IJCAI 2021)."""

import math
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from seqmend.recommenders.backbone import Backbone, Batch, Objective
from seqmend.recommenders.plain import PlainConfig, make_plain
from seqmend.recommenders.reliability import Reliability, per_row, rank_share, share_below
from seqmend.recommenders.robust.graphs import adjacency, choices, strongest, transitions
from seqmend.recommenders.rows import Form, Rows
from seqmend.recommenders.sasrec import SASRecConfig

_INITIAL_STD = 0.02
_LEAST_VARIANCE = 1e-6
_ENTROPY_OF_ONE = 0.5 * math.log(2 * math.pi * math.e)  # of a Gaussian of variance 1
_JURY = 250


class BERDConfig(BaseModel):
    """The encoder, the Gaussian around its state, the filter and the graph.

    Attributes:
        encoder: The plain backbone inside.
        n_samples: Points drawn from a state's Gaussian per step.
        sample_weight: Of the loss of these points, and of the entropy below its threshold: as the spread learns from
            nothing else, only their ratio decides about it.
        entropy_threshold: Mean entropy per dimension, in nats, that a Gaussian is kept at.
        forget_rate: Share of a batch that is left out in the end.
        forget_epochs: Epochs over which that share grows from 0.
        graph: Spread item (and user) vectors over the transitions (and choices) of the training rows.
        n_graph_layers: Hops.
        n_neighbours: Most edges of one kind per node; the most frequent are kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["berd"] = "berd"
    encoder: PlainConfig = SASRecConfig()
    n_samples: int = Field(default=4, ge=1)
    sample_weight: float = Field(default=0.001, ge=0)
    entropy_threshold: float = 1.0
    forget_rate: float = Field(default=0.06, ge=0, lt=1)
    forget_epochs: int = Field(default=20, ge=1)
    graph: bool = True
    n_graph_layers: int = Field(default=2, ge=1)
    n_neighbours: int = Field(default=20, ge=1)


class BERD(Backbone):
    """A plain encoder whose state is a Gaussian, trained without the instances that are wrong rather than uncertain.

    There is no public code. From the papers is the structure: Gaussian states, a graph network that attenuates what is
    uncertain and compensates it, a filter that drops high loss with low uncertainty. From BirDRec's code,
    which kept BERD's options, are the defaults. Inferred by us are all formulas:

    - mean = encoder + user; variance = ELU(W mean + b) + 1, its mean over dimensions being the uncertainty u;
    - loss = objective(mean) + 0.001 (mean cross entropy of 4 samples + max(0, 1 - entropy));
    - left out is the share of a batch with the largest sum of two ranks, that of the loss and that of -u;
    - a node's vector is the mean over layers of x, G x, G G x, with G_ij = u_i (D^-1/2 A D^-1/2)_ij exp(-u_j);
    - the graph works on the item vectors that states are multiplied with and on user vectors, not inside the encoder;
    - samples, and the loss that instances are filtered by, are judged by 250 uniform items instead of the catalogue.

    The graph is not saved with the weights: a model that weights are loaded into wants `prepare` first.

    Args:
        n_items: V.
        config: Encoder and filter.
        n_users: Users with a vector of their own, added to the state; 0 for none.
        seed: Of the initial weights; the global random state is left alone.
    """

    forms: ClassVar[tuple[Form, ...]] = ("instance",)
    is_causal: ClassVar[bool] = False

    def __init__(self, n_items: int, config: BERDConfig, n_users: int = 0, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.encoder = make_plain(config.encoder, n_items, seed=seed)
        self.n_items, self.n_users, self.max_length = n_items, n_users, self.encoder.max_length
        size = self.encoder.output_table().shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 1)
            self.users = nn.Embedding(n_users, size) if n_users else None
            if self.users:
                nn.init.normal_(self.users.weight, std=_INITIAL_STD)
            self.spread = nn.Linear(size, size)
            self.node_spread = nn.Linear(size, size) if config.graph else None
        self.register_buffer("edges", None, persistent=False)
        self.edges: Tensor | None

    def forward(self, items: Tensor, users: Tensor | None = None) -> Tensor:
        """Means of the Gaussians, float [B, L, d], of which the last is a prediction."""
        states = self.encoder(items, users)
        vectors = None if users is None else self._vectors()[1]
        return states if users is None or vectors is None else states + vectors[users][:, None]

    def output_table(self) -> Tensor:
        """The encoder's, spread over the graph."""
        return self._vectors()[0]

    def prepare(self, rows: Rows) -> None:
        """Build the graph."""
        self.encoder.prepare(rows)
        if not self.config.graph:
            return
        n, most = self.n_items + 1 + self.n_users, self.config.n_neighbours
        before, after = transitions(rows)
        kinds = [(before, after), (after, before)]
        if self.n_users:
            users, items = choices(rows)
            kinds += [(users + self.n_items + 1, items), (items, users + self.n_items + 1)]
        sources, targets, counts = (
            np.concatenate(parts) for parts in zip(*(strongest(*ends, n, most) for ends in kinds), strict=True)
        )
        self.edges = adjacency((sources, targets, counts), (n, n), next(self.parameters()).device)

    def training_loss(self, batch: Batch, objective: Objective) -> Tensor:
        """The objective and the Gaussian's own losses, without what the filter leaves out."""
        table, user_vectors = self._vectors()
        means = self.encoder(batch.items, batch.users)[:, -1]
        if user_vectors is not None:
            means = means + user_vectors[batch.users]
        targets, weights = batch.targets[:, -1].long(), batch.weights[:, -1]
        variances = _variance(self.spread, means)
        noise = torch.randn(self.config.n_samples, *means.shape, device=means.device)
        points = torch.cat([means[None], means + noise * variances.sqrt()])
        losses = _jury_losses(points, table, targets)

        share = self.config.forget_rate * min(1.0, batch.epoch / self.config.forget_epochs)
        weights = weights * _is_kept(losses[0].detach(), variances.detach().mean(-1), int(share * len(weights)))
        entropy = _ENTROPY_OF_ONE + variances.log().mean(-1) / 2
        own = losses[1:].mean(0) + (self.config.entropy_threshold - entropy).clamp(min=0)
        return (
            objective(means, table, targets, weights, batch.users) + self.config.sample_weight * (weights * own).sum()
        )

    def _vectors(self) -> tuple[Tensor, Tensor | None]:
        """Vectors of items [V + 1, d] and of users [U, d], after the graph."""
        table, users = self.encoder.output_table(), None if self.users is None else self.users.weight
        if self.edges is None or self.node_spread is None:
            return table, users
        nodes = table if users is None else torch.cat([table, users])
        with torch.autocast(nodes.device.type, enabled=False):  # sparse products want float32
            uncertainty = _variance(self.node_spread, nodes).mean(-1, keepdim=True)
            layers = [nodes]
            for _ in range(self.config.n_graph_layers):
                layers.append(uncertainty * torch.sparse.mm(self.edges, (-uncertainty).exp() * layers[-1]))
            nodes = torch.stack(layers).mean(0)
        return nodes[: len(table)], None if users is None else nodes[len(table) :]

    def reliability(self, rows: Rows) -> Reliability:
        """The rank percentile of the target; uncertain is high loss *and* high variance.

        u = min(rank of the loss, rank of the variance), both from 0 to 1 over the rows.

        Signals, float32 [R]: `rank_percentile`; `loss`, the cross entropy of the target over the catalogue; `variance`,
        the mean over dimensions.
        """

        def judge(items: Tensor, users: Tensor, targets: Tensor) -> dict[str, Tensor]:
            states = self(items, users)[:, -1]
            scores = self.scores(states).float()
            return {
                "rank_percentile": share_below(scores, targets),
                "loss": -scores.log_softmax(-1).gather(1, targets[:, None])[:, 0],
                "variance": _variance(self.spread, states).mean(-1),
            }

        signals = per_row(self, rows, judge)
        uncertainty = np.minimum(rank_share(signals["loss"]), rank_share(signals["variance"]))
        return Reliability(signals["rank_percentile"], uncertainty, signals)


def _variance(spread: nn.Linear, means: Tensor) -> Tensor:
    """Variances around means, float32, above 0."""
    return nn.functional.elu(spread(means).float()) + 1 + _LEAST_VARIANCE


def _jury_losses(states: Tensor, table: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy of the target among random items, or among all where there are few.

    Args:
        states: float [S, B, d].
        table: float [V + 1, d].
        targets: int64 [B].

    Returns:
        float32 [S, B].
    """
    n_items = len(table) - 1
    jury = torch.arange(1, n_items + 1, device=states.device)
    if n_items > _JURY:
        jury = torch.randint(1, n_items + 1, (_JURY,), device=states.device)
    states, table = states.float(), table.float()
    scores = (states @ table[jury].T).masked_fill(jury == targets[:, None], float("-inf"))
    target_scores = (states * nn.functional.embedding(targets, table)).sum(-1, keepdim=True)
    return torch.cat([target_scores, scores], -1).logsumexp(-1) - target_scores[..., 0]


def _is_kept(losses: Tensor, uncertainties: Tensor, n_dropped: int) -> Tensor:
    """All but the `n_dropped` instances with the largest sum of ranks, by loss and by certainty; bool [B]."""
    doubt = losses.argsort().argsort() + (-uncertainties).argsort().argsort()
    kept = torch.ones_like(doubt, dtype=torch.bool)
    kept[doubt.topk(n_dropped).indices] = False
    return kept
