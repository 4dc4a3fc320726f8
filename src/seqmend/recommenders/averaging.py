"""An exponential moving average of a model's weights."""

import copy

import torch

from seqmend.recommenders.backbone import Backbone


class WeightAverage:
    """Averaged weights, which rank better and judge training instances with less over-confidence than the last ones.

    The decay grows from 0.1 to its end value as min(decay, (t + 1) / (t + 10)) over the updates t (as BirDRec's
    official code and TensorFlow's `ExponentialMovingAverage`).

    Args:
        model: Whose weights are averaged; the average starts as a copy.
        decay: Its end value, in (0, 1).
    """

    def __init__(self, model: Backbone, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).requires_grad_(False).eval()

    def update(self, model: Backbone, updates: int) -> None:
        """Move towards the model's weights, of which `updates` earlier ones have been seen."""
        decay = min(self.decay, (updates + 1) / (updates + 10))
        with torch.no_grad():
            for mean, now in zip(self.model.parameters(), model.parameters(), strict=True):
                mean.lerp_(now, 1 - decay)
