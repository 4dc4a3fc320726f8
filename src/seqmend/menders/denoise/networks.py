"""Small networks that judge whole windows, each only those of users that it did not learn from.

What is odd in a log is called clean when one learns from it, so that no user is judged by a network that learned from
that user's windows, nor by statistics that count that user.
"""

import copy
from collections.abc import Callable

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

from seqmend.errors import InputError
from seqmend.menders.denoise.network import WindowNetwork
from seqmend.menders.denoise.network_inputs import ItemTable, read_windows
from seqmend.menders.denoise.statistics import Float64
from seqmend.menders.denoise.windows import Bool, Int32, Int64
from seqmend.progress import Progress, silent

_CHUNK = 2048  # windows that are made ready at a time
_WARM_UP = 50

Corrupt = Callable[[Int64], tuple[Int32, Bool]]
"""Fresh corruptions of the windows of the given numbers: their items, and which cells are corrupted."""

Target = Callable[[Int32, Bool, Int64], Float64]
"""What a network is to say of corrupted windows, float64 [B, L] in [0, 1], from items, corrupted cells and folds."""


class NetworkConfig(BaseModel):
    """Settings of the networks; window length and corruption rate are the mender's.

    Attributes:
        embedding_size: Width of the states.
        n_layers: Attention layers.
        n_heads: Heads of each.
        dropout: Of the layers.
        ids: Whether an item has a vector of its own.
        n_networks: Groups of users, each judged by a network that learned from the other groups; users that are new
            are judged by all networks.
        epochs: Most passes over the training windows, each corrupted anew; the best on unseen users counts.
        batch_size: Windows per step.
        learning_rate: Of AdamW, at its highest.
        weight_decay: Of AdamW.
        seed: Of everything random.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    embedding_size: int = Field(default=48, ge=4)
    n_layers: int = Field(default=1, ge=0)
    n_heads: int = Field(default=4, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=0.5)
    ids: bool = False
    n_networks: int = Field(default=2, ge=2)
    epochs: int = Field(default=12, ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    seed: int = 0

    @model_validator(mode="after")
    def _heads_divide(self) -> "NetworkConfig":
        if self.embedding_size % self.n_heads:
            raise ValueError("embedding_size must be a multiple of n_heads")
        return self


class WindowNetworks:
    """One network per group of users, in evaluation mode; see `WindowNetworks.fit`.

    Args:
        networks: One per group.
        tables: What is known of items: by all users, then by all but those of each fold.
    """

    def __init__(self, networks: list[WindowNetwork], tables: list[ItemTable]) -> None:
        self.networks, self.tables = networks, tables

    @classmethod
    def fit(
        cls,
        tables: list[ItemTable],
        folds: Int64,
        max_length: int,
        corrupted: Corrupt,
        config: NetworkConfig,
        target: Target | None = None,
        progress: Progress = silent,
        what: str = "teaching networks",
    ) -> "WindowNetworks":
        """Learn from fresh corruptions.

        Args:
            tables: What is known of items.
            folds: Fold of every window's user, int64 [B].
            max_length: L.
            corrupted: Corrupts windows.
            config: Settings.
            target: What to say of them; the truth where absent.
            progress: Told about the epochs.
            what: Is being done.

        Raises:
            InputError: There are too few users for every group to have some.
        """
        groups = folds % config.n_networks
        networks: list[WindowNetwork] = []
        for group in range(config.n_networks):
            unseen, seen = np.flatnonzero(groups == group), np.flatnonzero(groups != group)
            if not len(unseen) or not len(seen):
                raise InputError(
                    f"the users are too few for {config.n_networks} groups of users",
                    expected="users in every group",
                    fix="bring a longer log",
                )
            network = fresh_network(config, tables[0], max_length, config.seed + group)
            learner = _Learner(network, tables, folds, corrupted, target, config)

            def tell(epoch: int, before: int = group * config.epochs) -> None:
                progress(what, before + epoch, config.n_networks * config.epochs)

            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(config.seed)
                networks.append(learner.learn(seen, unseen, tell))
        return cls(networks, tables)

    def logits(self, items: Int32, folds: Int64) -> Float64:
        """Log-odds of being corrupted, float64 [B, L]; without meaning in padding.

        Args:
            items: Windows, int32 [B, L], 0 = padding.
            folds: Of their users, int64 [B]; -1 for users that were not learned from.
        """
        logits = np.zeros(items.shape)
        n_networks = len(self.networks)
        for group in range(-1, n_networks):
            rows = np.flatnonzero(folds < 0 if group < 0 else (folds >= 0) & (folds % n_networks == group))
            networks = self.networks if group < 0 else [self.networks[group]]
            logits[rows] = _logits(networks, self.tables, items[rows], folds[rows])
        return logits


class _Learner:
    """One network, and what it learns from."""

    def __init__(
        self,
        network: WindowNetwork,
        tables: list[ItemTable],
        folds: Int64,
        corrupted: Corrupt,
        target: Target | None,
        config: NetworkConfig,
    ) -> None:
        self.network, self.tables, self.folds = network, tables, folds
        self.corrupted, self.target, self.config = corrupted, target, config

    def learn(self, rows: Int64, unseen: Int64, progress: Callable[[int], None]) -> WindowNetwork:
        """The weights after the epoch with the least log loss on windows of unseen users."""
        network, config, rng = self.network, self.config, np.random.default_rng(self.config.seed)
        optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in network.parameters() if p.ndim > 1], "weight_decay": config.weight_decay},
                {"params": [p for p in network.parameters() if p.ndim < 2], "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
        )
        steps = config.epochs * -(-len(rows) // config.batch_size)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min((step + 1) / _WARM_UP, 1.0) * (1 + np.cos(np.pi * min(step / steps, 1.0))) / 2
        )
        items, truth = self.corrupted(unseen)
        _, relations = read_windows(self.tables, items[:_CHUNK], self.folds[unseen][:_CHUNK])
        network.scale(torch.from_numpy(relations), torch.from_numpy(items[:_CHUNK].astype(np.int64)))
        best, best_loss = network.state_dict(), np.inf
        for epoch in range(config.epochs):
            order = rng.permutation(rows)
            for begin in range(0, len(order), _CHUNK):
                self._pass(order[begin : begin + _CHUNK], optimizer, schedule)
            logits = _logits([network], self.tables, items, self.folds[unseen])[items > 0]
            loss = float(np.logaddexp(0, np.where(truth[items > 0], -logits, logits)).mean())
            if loss < best_loss:
                best, best_loss = copy.deepcopy(network.state_dict()), loss
            progress(epoch + 1)
        network.load_state_dict(best)
        return network.eval()

    def _pass(
        self, chosen: Int64, optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler
    ) -> None:
        self.network.train()
        drawn, truth = self.corrupted(chosen)
        targets = truth if self.target is None else self.target(drawn, truth, self.folds[chosen])
        inputs, relations = map(torch.from_numpy, read_windows(self.tables, drawn, self.folds[chosen]))
        items, wanted = torch.from_numpy(drawn.astype(np.int64)), torch.from_numpy(targets.astype(np.float32))
        for at in torch.arange(len(chosen)).split(self.config.batch_size):
            real = items[at] > 0
            logits = self.network(items[at], inputs[at], relations[at])
            loss = nn.functional.binary_cross_entropy_with_logits(logits[real], wanted[at][real])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            optimizer.step()
            schedule.step()


def fresh_network(config: NetworkConfig, table: ItemTable, max_length: int, seed: int) -> WindowNetwork:
    """A network that has learned nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return WindowNetwork(
            len(table.popularity) - 1,
            table.n_inputs,
            table.n_relations,
            max_length,
            config.embedding_size,
            config.n_layers,
            config.n_heads,
            config.dropout,
            config.ids,
        )


def _logits(networks: list[WindowNetwork], tables: list[ItemTable], items: Int32, folds: Int64) -> Float64:
    """Mean log-odds of the networks, float64 [B, L]."""
    logits = np.zeros(items.shape)
    with torch.inference_mode():
        for begin in range(0, len(items), _CHUNK):
            rows = slice(begin, begin + _CHUNK)
            inputs, relations = map(torch.from_numpy, read_windows(tables, items[rows], folds[rows]))
            numbers = torch.from_numpy(items[rows].astype(np.int64))
            for network in networks:
                logits[rows] += network.eval()(numbers, inputs, relations).double().numpy()
    return logits / len(networks)
