"""The loss that a training asks for, with its negatives."""

import torch
from torch import Tensor

from seqmend.errors import InputError
from seqmend.recommenders.losses import (
    LossName,
    binary_cross_entropy,
    bpr,
    cross_entropy,
    gbce,
    sampled_softmax,
)
from seqmend.recommenders.negatives import NegativeSampler
from seqmend.recommenders.rows import Rows


class NextItemObjective:
    """One of the losses, drawing what it needs; an `Objective`.

    Args:
        loss: Which.
        n_negatives: Per target, or per batch for the sampled softmax.
        rows: What users have met, for losses whose negatives are new to the user.
        n_items: V.
        device: Where the states are.
        number: Format of the matrix products over the whole catalogue.
    """

    def __init__(
        self,
        loss: LossName,
        n_negatives: int,
        rows: Rows,
        n_items: int,
        device: torch.device,
        number: torch.dtype = torch.float32,
    ) -> None:
        self.loss, self.n_negatives, self.n_items, self.device = loss, n_negatives, n_items, device
        self.number = number
        self.generator = torch.Generator(device)
        needs_new = loss in ("binary_cross_entropy", "bpr")
        self.sampler = NegativeSampler(rows, n_items, device) if needs_new else None

    def seed(self, seed: int) -> None:
        """Start the draws anew."""
        self.generator.manual_seed(seed)

    def __call__(self, states: Tensor, table: Tensor, targets: Tensor, weights: Tensor, users: Tensor) -> Tensor:
        """The weighted sum of the losses of T targets; see `Objective`."""
        states, table = states.float(), table.float()
        if self.loss == "cross_entropy":
            return cross_entropy(states, table, targets, weights, self.number)
        if self.loss == "sampled_softmax":
            return sampled_softmax(states, table, targets, weights, self.n_negatives, self.generator)
        if self.sampler is None:
            shape = (len(targets), self.n_negatives)
            negatives = torch.randint(1, self.n_items + 1, shape, generator=self.generator, device=self.device)
            return gbce(states, table, targets, weights, negatives)
        negatives, is_new = self.sampler.draw(users, self.n_negatives, self.generator)
        loss = binary_cross_entropy if self.loss == "binary_cross_entropy" else bpr
        return loss(states, table, targets, weights, negatives, is_new)


def refuse_too_many_negatives(loss: LossName, n_negatives: int, n_items: int) -> None:
    """Raise an `InputError` for more negatives than there are other items."""
    most = max(n_items - 1, 1)
    if loss != "cross_entropy" and n_negatives > most:
        raise InputError(
            f"{n_negatives} negatives cannot be drawn from a catalogue of {n_items} items",
            where=f"n_negatives = {n_negatives}",
            expected=f"at most {most}",
            fix='lower n_negatives, or take loss = "cross_entropy", which uses the whole catalogue',
        )
