"""Reliability: how much of what a backbone has learned speaks for the target of an instance, and how sure it is."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from seqmend.recommenders.backbone import Backbone
from seqmend.recommenders.dropout import Dropout
from seqmend.recommenders.rows import Float32, Rows

Judge = Callable[[Tensor, Tensor, Tensor], Mapping[str, Tensor]]
"""(items int32 [b, l], users int64 [b], targets int64 [b]) -> named values, each float [b] or [b, l]."""

_CHUNK_SCORES = 1 << 24  # scores held at once: 64 MB
_CHUNK_ROWS = 1024


@dataclass(frozen=True, eq=False)
class Reliability:
    """What a backbone thinks of R instances.

    Attributes:
        reliability: float32 [R] in [0, 1]; 1 = the target is surely the user's own.
        uncertainty: float32 [R] in [0, 1]; high = the model cannot tell.
        signals: What both were made of, by name; float32 [R], or [R, L] where there is one per input (0 at padding).
    """

    reliability: Float32
    uncertainty: Float32
    signals: dict[str, Float32]


def generic_reliability(model: Backbone, rows: Rows) -> Reliability:
    """What any backbone can say: the rank percentile r of the target, and 1 - r for the uncertainty.

    On rows that the model was trained on, its last ranks are over-confident: train with `ema_decay`, or take
    `TrainingDynamics`. Signals: `rank_percentile` and `target_probability`; see the functions of these names.

    Args:
        model: Left in the mode (training or evaluation) that it was in.
        rows: In instance form, R > 0.
    """

    def judge(items: Tensor, users: Tensor, targets: Tensor) -> dict[str, Tensor]:
        scores = _scores(model, items, users)
        return {
            "rank_percentile": share_below(scores, targets),
            "target_probability": scores.log_softmax(-1).gather(1, targets[:, None])[:, 0].exp(),
        }

    signals = per_row(model, rows, judge)
    rank = signals["rank_percentile"]
    return Reliability(rank, 1 - rank, signals)


def rank_percentile(model: Backbone, rows: Rows, n_negatives: int | None = None, seed: int = 0) -> Float32:
    """Share of the other items that score below the target, float32 [R] in [0, 1]; a tie is not below.

    Args:
        model: Left in the mode that it was in.
        rows: In instance form, R > 0.
        n_negatives: Judge by as many items drawn uniformly, the same for all rows, instead of the whole catalogue.
        seed: Of that draw.
    """
    if n_negatives is None:
        return per_row(
            model, rows, lambda items, users, targets: {"rank": share_below(_scores(model, items, users), targets)}
        )["rank"]
    drawn = torch.randint(1, model.n_items + 1, (n_negatives,), generator=torch.Generator().manual_seed(seed))
    drawn = drawn.to(next(model.parameters()).device)

    def judge(items: Tensor, users: Tensor, targets: Tensor) -> dict[str, Tensor]:
        states, table = model(items, users)[:, -1].float(), model.output_table().float()
        target_scores = (states * table[targets]).sum(-1, keepdim=True)
        is_other = drawn != targets[:, None]
        below = (states @ table[drawn].T < target_scores) & is_other
        return {"rank": below.sum(-1) / is_other.sum(-1).clamp(min=1)}

    return per_row(model, rows, judge)["rank"]


def target_probability(model: Backbone, rows: Rows) -> Float32:
    """Probability of the target under a softmax over the catalogue, float32 [R].

    Of a model trained with a loss of sampled negatives only its order means anything.

    Args:
        model: Left in the mode that it was in.
        rows: In instance form, R > 0.
    """
    return generic_reliability(model, rows).signals["target_probability"]


def dropout_variance(model: Backbone, rows: Rows, passes: int = 8, seed: int = 0) -> Float32:
    """Variance of the target's score while dropout is at work, float32 [R], >= 0.

    Only dropout is switched on: what else a model does in training (noise of other kinds) is left out.

    Args:
        model: Left in the mode that it was in.
        rows: In instance form, R > 0.
        passes: T > 1 forwards per row.
        seed: Of the dropout; the global random state is left alone.
    """
    device = next(model.parameters()).device

    def judge(items: Tensor, users: Tensor, targets: Tensor) -> dict[str, Tensor]:
        for module in model.modules():
            if isinstance(module, (Dropout, nn.Dropout)):
                module.train()
        vectors = model.output_table().float()[targets]
        scores = [(model(items, users)[:, -1].float() * vectors).sum(-1) for _ in range(passes)]
        return {"variance": torch.stack(scores).var(0, correction=0)}

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        return per_row(model, rows, judge)["variance"]


class TrainingDynamics:
    """Mean and standard deviation of the target's rank percentile over the epochs of a training.

    What a model puts high early and always is easy to believe; what it learns late it has learned by heart.

        dynamics = TrainingDynamics(rows, warm_up=2)
        train(model, rows, config, validate, dynamics=dynamics)
        dynamics.reliability()

    Args:
        rows: The instances to watch, in instance form, R > 0.
        warm_up: First looks, one per validation, that are left out.
        n_negatives: Items each target is compared with; drawn anew for every look.
    """

    def __init__(self, rows: Rows, warm_up: int, n_negatives: int = 250) -> None:
        self.rows, self.warm_up, self.n_negatives = rows, warm_up, n_negatives
        self.epochs_seen = 0
        self._mean, self._squares = np.zeros((2, len(rows)), dtype=np.float32)

    @property
    def identity(self) -> str:
        """What is watched, and how; equal for equal."""
        digest = hashlib.sha256(f"{self.warm_up} {self.n_negatives}".encode())
        for array in (self.rows.items, self.rows.targets):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def state_dict(self) -> dict[str, Tensor]:
        """What was seen so far, for a checkpoint."""
        seen = torch.tensor([self.epochs_seen])
        return {"seen": seen, "mean": torch.from_numpy(self._mean), "squares": torch.from_numpy(self._squares)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state_dict` gave."""
        self.epochs_seen = int(state["seen"])
        self._mean, self._squares = (state[name].cpu().numpy().copy() for name in ("mean", "squares"))

    def look(self, model: Backbone) -> None:
        """Take in one more epoch (Welford's running mean and sum of squares: no epoch is kept)."""
        self.epochs_seen += 1
        n = self.epochs_seen - self.warm_up
        if n < 1:
            return
        rank = rank_percentile(model, self.rows, self.n_negatives, seed=self.epochs_seen)
        difference = rank - self._mean
        self._mean += difference / n
        self._squares += difference * (rank - self._mean)

    def reliability(self) -> Reliability:
        """The mean r over epochs, and 1 - r for the uncertainty.

        Signals: `mean_rank_percentile` and `deviation`, the standard deviation over epochs.

        Raises:
            ValueError: No epoch after the warm-up.
        """
        n = self.epochs_seen - self.warm_up
        if n < 1:
            raise ValueError(f"{self.epochs_seen} epochs seen, and the first {self.warm_up} do not count")
        signals = {"mean_rank_percentile": self._mean.copy(), "deviation": np.sqrt(self._squares / n)}
        return Reliability(signals["mean_rank_percentile"], 1 - signals["mean_rank_percentile"], signals)


def per_row(model: Backbone, rows: Rows, judge: Judge) -> dict[str, Float32]:
    """Values of every row, asked for in chunks of rows of like length; memory does not grow with R x V.

    Args:
        model: In evaluation mode while it is asked, then in the mode it was in.
        rows: In instance form, R > 0.
        judge: Asked under `inference_mode`.

    Returns:
        float32 [R], or [R, L] for values per input, 0 at padding.
    """
    if rows.form != "instance" or not len(rows):
        raise ValueError("reliability is of rows in instance form, at least one")
    device = next(model.parameters()).device
    chunk = min(_CHUNK_ROWS, max(1, _CHUNK_SCORES // (model.n_items + 1)))
    order = np.argsort(rows.lengths, kind="stable")  # little padding
    values: dict[str, Float32] = {}
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for start in range(0, len(rows), chunk):
                numbers = order[start : start + chunk]
                width = max(1, int(rows.lengths[numbers].max()))
                items = torch.from_numpy(rows.items[numbers, -width:]).to(device)
                users, targets = (
                    torch.from_numpy(array[numbers].astype(np.int64)).to(device)
                    for array in (rows.user, rows.targets[:, -1])
                )
                for name, value in judge(items, users, targets).items():
                    shape = (len(rows), rows.max_length)[: value.ndim]
                    array = values.setdefault(name, np.zeros(shape, dtype=np.float32))
                    cells = numbers if value.ndim == 1 else (numbers, slice(-width, None))
                    array[cells] = value.float().cpu().numpy()
    finally:
        model.train(was_training)
    return values


def share_below(scores: Tensor, targets: Tensor) -> Tensor:
    """Share of the other items that score below the target, float [b].

    Args:
        scores: float [b, V + 1], minus infinity in column 0, as `Backbone.scores`.
        targets: int64 [b].
    """
    below = (scores < scores.gather(1, targets[:, None])).sum(-1) - 1  # padding is below everything
    return below / max(scores.shape[1] - 2, 1)


def rank_share(values: Float32) -> Float32:
    """Place of every value among all, from 0 (lowest) to 1 (highest), ties at their mean, float32 [R].

    >>> rank_share(np.array([5, 1, 5, 9], dtype=np.float32)).tolist()
    [0.5, 0.0, 0.5, 1.0]
    """
    levels, number, counts = np.unique(values, return_inverse=True, return_counts=True)
    del levels
    places = np.cumsum(counts) - (counts + 1) / 2
    return (places[number] / max(len(values) - 1, 1)).astype(np.float32)


def _scores(model: Backbone, items: Tensor, users: Tensor) -> Tensor:
    return model.scores(model(items, users)[:, -1]).float()
