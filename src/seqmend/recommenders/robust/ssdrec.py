"""SSDRec: relations of items and users, sequences filled up where they are inconsistent, then denoised (ICDE 2024)."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from seqmend.recommenders.reliability import Reliability, per_row
from seqmend.recommenders.robust.graphs import (
    adjacency,
    alike,
    choices,
    incidence,
    incompatible,
    strongest,
    transitions,
)
from seqmend.recommenders.robust.hsd import HSD, DenoisingConfig
from seqmend.recommenders.rows import Rows

_N_INSERTED = 2


class SSDRecConfig(DenoisingConfig):
    """Sizes, denoising and relations; see `DenoisingConfig`.

    Attributes:
        n_neighbours: Most edges per node and relation.
        insertion_ratio: Share of the histories with room that are filled up in a step. Where all are (1, as the
            paper), the model never sees a history as it will be at prediction, and places are off by two.
    """

    name: Literal["ssdrec"] = "ssdrec"
    n_neighbours: int = Field(default=20, ge=1)
    insertion_ratio: float = Field(default=0.5, ge=0, le=1)


class SSDRec(HSD):
    """HSD on item vectors that have heard from their relations, and on histories that are filled up in training.

    1. Relations, one layer: an item's vector is its own, plus maps of the mean ones of the items after it, of those
       before it and of its users, minus one of its incompatible items; a user's likewise with the items met, the users
       alike and the incompatible users.
    2. In training, where there is room for two more inputs, the input that is hardest to reconstruct gets an item on
       either side, drawn from the catalogue by a hard Gumbel softmax.
    3. HSD on the result.

    All relations come from the training rows alone, once per training, and are no weights: a model that weights are
    loaded into wants `prepare` first. Inferred by us: two nodes are incompatible if they share neighbours (transitions;
    users alike) but nothing else (no user; no item); all maps are linear; an inserted item depends on what is before
    and behind its place. Unlike in the official code every parameter is made with the model, and so is trained.

    Args:
        n_items: V.
        config: Sizes and denoising.
        n_users: Users with a vector of their own; 0 for none, and then no relations of users.
        seed: Of the initial weights; the global random state is left alone.
    """

    config: SSDRecConfig

    def __init__(self, n_items: int, config: SSDRecConfig, n_users: int = 0, seed: int = 0) -> None:
        super().__init__(n_items, config, n_users, seed)
        size = config.embedding_size
        of_items, of_users = ["after", "before", "incompatible"], ["met", "alike", "different"]
        if n_users:
            of_items.append("users")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 1)
            kinds = of_items + (of_users if n_users else [])
            self.relations = nn.ModuleDict({kind: nn.Linear(size, size, bias=False) for kind in kinds})
            self.put_left, self.put_right = nn.Linear(2 * size, size), nn.Linear(2 * size, size)
        for kind in kinds:
            self.register_buffer(f"edges_{kind}", None, persistent=False)

    def prepare(self, rows: Rows) -> None:
        """Find the relations in the training rows."""
        n, most, device = self.n_items + 1, self.config.n_neighbours, next(self.parameters()).device
        (before, after), (users, items) = transitions(rows), choices(rows)
        steps = strongest(before, after, n, most)
        self.edges_after = adjacency(steps, (n, n), device)
        self.edges_before = adjacency(strongest(after, before, n, most), (n, n), device)
        n_met = max(self.n_users, int(users.max(initial=0)) + 1)
        has_met = incidence(users, items, (n_met, n))
        apart = incompatible(incidence(*steps[:2], (n, n)), has_met.T.tocsr(), most)
        self.edges_incompatible = adjacency(apart, (n, n), device)
        if not self.n_users:
            return
        n_users, widest = self.n_users, max(n, n_met)
        met = strongest(users, items, widest, most)
        self.edges_met = adjacency(met, (n_users, n), device)
        self.edges_users = adjacency(strongest(items, users, widest, most), (n, n_users), device)
        friends = alike(incidence(*met[:2], (n_met, n)), most)
        self.edges_alike = adjacency(friends, (n_users, n_users), device)
        strangers = incompatible(incidence(*friends[:2], (n_met, n_met)), has_met, most)
        self.edges_different = adjacency(strangers, (n_users, n_users), device)

    def output_table(self) -> Tensor:
        """Item vectors after the relations, float [V + 1, d]."""
        own = self.items.weight
        heard = self._heard("after", own) + self._heard("before", own) - self._heard("incompatible", own)
        return own + heard + (self._heard("users", self.users.weight) if self.users else 0)

    def _user_vectors(self) -> Tensor | None:
        if self.users is None:
            return None
        own = self.users.weight
        return own + self._heard("met", self.items.weight) + self._heard("alike", own) - self._heard("different", own)

    def _heard(self, kind: str, vectors: Tensor) -> Tensor | float:
        """What nodes hear over one relation; nothing before `prepare`."""
        edges: Tensor | None = getattr(self, f"edges_{kind}")
        if edges is None:
            return 0.0
        with torch.autocast(vectors.device.type, enabled=False):  # sparse products want float32
            return self.relations[kind](torch.sparse.mm(edges, vectors))

    def _training_inputs(self, items: Tensor, table: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """The inputs with an item on either side of the one hardest to reconstruct, where there is room."""
        x, is_input = super()._training_inputs(items, table, temperature)
        room = min(_N_INSERTED, self.max_length - items.shape[1])
        x, is_input = nn.functional.pad(x, (0, 0, room, 0)), nn.functional.pad(is_input, (room, 0))
        around = self._read(x, is_input)
        errors = (self.reconstruct(around) - x).detach().float().square().mean(-1)
        place = errors.masked_fill(~is_input, float("-inf")).argmax(1, keepdim=True)
        has_room = ((is_input.cumsum(1) == 0).sum(1, keepdim=True) >= _N_INSERTED) & is_input.any(1, keepdim=True)
        has_room &= torch.rand(len(x), 1, device=x.device) < self.config.insertion_ratio
        around = around[torch.arange(len(x), device=x.device), place[:, 0]]
        left, right = (self._drawn(put(around), table, temperature) for put in (self.put_left, self.put_right))

        # What was at the place goes one to the left, between the two; what was before it goes two.
        columns = torch.arange(x.shape[1], device=x.device).expand(is_input.shape)
        is_left, is_right = (columns == place - 2) & has_room, (columns == place) & has_room
        moved = torch.where(columns < place - 2, columns + 2, torch.where(columns == place - 1, place, columns))
        moved = torch.where(has_room, moved, columns)
        x = x.gather(1, moved[..., None].expand_as(x))
        x = torch.where(is_left[..., None], left[:, None], torch.where(is_right[..., None], right[:, None], x))
        return x, is_input.gather(1, moved) | is_left | is_right

    def _drawn(self, wanted: Tensor, table: Tensor, temperature: float) -> Tensor:
        """Vectors of items drawn by their likeness to what is wanted, float [B, d]."""
        logits = (wanted @ table.T).float()
        logits = logits.index_fill(1, logits.new_zeros(1, dtype=torch.long), float("-inf"))
        return nn.functional.gumbel_softmax(logits, temperature, hard=True).to(table.dtype) @ self.norm(table)

    def reliability(self, rows: Rows) -> Reliability:
        """As HSD, with one more signal: `inconsistency` [R, L], the squared error of each input's reconstruction."""

        def judge(items: Tensor, users: Tensor, targets: Tensor) -> dict[str, Tensor]:
            is_input = items != 0
            x = self._vectors(items, self.output_table())
            rebuilt = self.reconstruct(self._read(x, is_input))
            return {"inconsistency": (rebuilt - x).float().square().mean(-1) * is_input}

        of_hsd = super().reliability(rows)
        return Reliability(of_hsd.reliability, of_hsd.uncertainty, of_hsd.signals | per_row(self, rows, judge))
