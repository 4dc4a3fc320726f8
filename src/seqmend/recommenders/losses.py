"""Losses of next-item prediction: sums over targets, each target's loss times its weight."""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

LossName = Literal["cross_entropy", "sampled_softmax", "binary_cross_entropy", "gbce", "bpr"]

_CHUNK_SCORES_CPU = 1 << 19  # scores held at once: 2 MB, a core's second-level cache
_CHUNK_SCORES_GPU = 1 << 26
_LEAST_CHUNK = 16  # targets: fewer make matrix products slow, however large the catalogue


def cross_entropy(
    states: Tensor, table: Tensor, targets: Tensor, weights: Tensor, number: torch.dtype | None = None
) -> Tensor:
    """Cross entropy of the softmax over the whole catalogue.

    Args:
        states: float [T, d].
        table: float [V + 1, d], item vectors; row 0 is left out.
        targets: int64 [T], 1..V.
        weights: float [T].
        number: Format of the matrix products; everything else is in that of the states.

    Returns:
        The weighted sum, a scalar.
    """
    return _CrossEntropy.apply(states, table, targets, weights, number)  # pyright: ignore[reportReturnType]


def sampled_softmax(
    states: Tensor, table: Tensor, targets: Tensor, weights: Tensor, n_negatives: int, generator: torch.Generator
) -> Tensor:
    """Cross entropy with the catalogue estimated from uniform negatives that all targets of a batch share.

    Negatives stand for the V - 1 others, so their scores are raised by log((V - 1) / n): with more negatives the value
    approaches `cross_entropy`. A negative that is the target itself does not count.

    Args:
        states: float [T, d].
        table: float [V + 1, d].
        targets: int64 [T], 1..V.
        weights: float [T].
        n_negatives: n.
        generator: On the device of the states.
    """
    n_items = len(table) - 1
    negatives = torch.randint(1, n_items + 1, (n_negatives,), generator=generator, device=states.device)
    scores = states @ embedding(negatives, table).T + math.log(max(n_items - 1, 1) / n_negatives)
    scores = scores.masked_fill(negatives == targets[:, None], float("-inf"))
    target_scores = (states * embedding(targets, table)).sum(-1, keepdim=True)
    losses = torch.cat([target_scores, scores], dim=1).logsumexp(-1) - target_scores[:, 0]
    return (weights * losses).sum()


def binary_cross_entropy(
    states: Tensor, table: Tensor, targets: Tensor, weights: Tensor, negatives: Tensor, is_new: Tensor
) -> Tensor:
    """SASRec's own loss (section III-E): the target against negatives, each a yes-or-no question.

    Args:
        states: float [T, d].
        table: float [V + 1, d].
        targets: int64 [T], 1..V.
        weights: float [T].
        negatives: int64 [T, n].
        is_new: bool [T, n]; a negative that the user has met does not count.
    """
    target_scores, scores = _target_and_negatives(states, table, targets, negatives)
    losses = nn.functional.softplus(-target_scores) + (nn.functional.softplus(scores) * is_new).sum(-1)
    return (weights * losses).sum()


def gbce(
    states: Tensor, table: Tensor, targets: Tensor, weights: Tensor, negatives: Tensor, calibration: float = 0.75
) -> Tensor:
    """gBCE (gSASRec, Petrov and Macdonald, RecSys 2023, section 4): the target's probability raised to a power.

    Few negatives of many items make plain binary cross entropy over-confident; the power beta = a (t (1 - 1 / a) + 1 /
    a) with the sampling rate a = n / (V - 1) undoes that for t = 1 and is plain binary cross entropy for t = 0.
    Negatives are uniform over the catalogue, as in the authors' code; one that is the target does not count.

    Args:
        states: float [T, d].
        table: float [V + 1, d].
        targets: int64 [T], 1..V.
        weights: float [T].
        negatives: int64 [T, n].
        calibration: t in [0, 1]; the paper's choice by default.
    """
    rate = min(1.0, negatives.shape[1] / max(len(table) - 2, 1))
    power = rate * (calibration * (1 - 1 / rate) + 1 / rate)
    target_scores, scores = _target_and_negatives(states, table, targets, negatives)
    is_other = negatives != targets[:, None]
    losses = power * nn.functional.softplus(-target_scores) + (nn.functional.softplus(scores) * is_other).sum(-1)
    return (weights * losses).sum()


def bpr(states: Tensor, table: Tensor, targets: Tensor, weights: Tensor, negatives: Tensor, is_new: Tensor) -> Tensor:
    """BPR (Rendle et al., UAI 2009): the target above each negative, averaged over the negatives that count.

    Args:
        states: float [T, d].
        table: float [V + 1, d].
        targets: int64 [T], 1..V.
        weights: float [T].
        negatives: int64 [T, n].
        is_new: bool [T, n]; a negative that the user has met does not count.
    """
    target_scores, scores = _target_and_negatives(states, table, targets, negatives)
    losses = (nn.functional.softplus(scores - target_scores[:, None]) * is_new).sum(-1) / is_new.sum(-1).clamp_(min=1)
    return (weights * losses).sum()


def _target_and_negatives(states: Tensor, table: Tensor, targets: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
    """Scores of the targets, float [T], and of their negatives, float [T, n]."""
    return (states * embedding(targets, table)).sum(-1), (embedding(negatives, table) @ states[..., None])[..., 0]


class _CrossEntropy(torch.autograd.Function):
    """Value and gradient in one pass over chunks of targets, so that all scores are never held at once.

    On a CPU this takes half the time of a score matrix and `F.cross_entropy`, because the scores stay in the cache; and
    memory does not grow with targets x catalogue.
    """

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, table: Tensor, targets: Tensor, weights: Tensor, number: torch.dtype | None
    ) -> Tensor:
        number = number or states.dtype
        with torch.autocast(states.device.type, enabled=False):
            loss, gradients = _CrossEntropy.sweep(states.to(number), table.to(number), targets, weights, states.dtype)
        ctx.save_for_backward(*gradients)
        return loss

    @staticmethod
    def sweep(
        states: Tensor, table: Tensor, targets: Tensor, weights: Tensor, sums: torch.dtype
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Loss, and its gradients by states and table; everything but the products in the format of the sums."""
        chunk_scores = _CHUNK_SCORES_CPU if states.device.type == "cpu" else _CHUNK_SCORES_GPU
        chunk = max(_LEAST_CHUNK, chunk_scores // len(table))
        states_gradient = torch.empty_like(states, dtype=sums)
        table_gradient = torch.zeros_like(table, dtype=sums)
        loss = table_gradient.new_zeros(())
        for start in range(0, len(states), chunk):
            part = slice(start, start + chunk)
            target, weight = targets[part, None], weights[part, None]
            scores = (states[part] @ table.T).to(sums)
            scores[:, 0] = float("-inf")
            scores -= scores.amax(-1, keepdim=True)
            target_scores = scores.gather(1, target)
            total = scores.exp_().sum(-1, keepdim=True)
            loss += (weight * (total.log() - target_scores)).sum()
            # The gradient of a score is weight x (its probability - 1 at the target).
            scores *= weight / total
            scores.scatter_add_(1, target, -weight)
            slopes = scores.to(states.dtype)
            if slopes.dtype == sums:
                torch.mm(slopes, table, out=states_gradient[part])
                table_gradient.addmm_(slopes.T, states[part])
            else:
                states_gradient[part] = slopes @ table
                table_gradient += slopes.T @ states[part]
        return loss, (states_gradient, table_gradient)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        states_gradient, table_gradient = ctx.saved_tensors
        return gradients[0] * states_gradient, gradients[0] * table_gradient, None, None, None
