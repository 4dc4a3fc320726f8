import numpy as np
import pytest
import torch
from torch import nn

from seqmend.recommenders import losses, rows_from_sequences
from seqmend.recommenders.negatives import NegativeSampler


@pytest.fixture
def case() -> tuple[torch.Tensor, ...]:
    """States, table, targets and weights in float64."""
    torch.random.manual_seed(0)
    states = torch.randn(17, 6, dtype=torch.float64, requires_grad=True)
    table = torch.randn(12, 6, dtype=torch.float64, requires_grad=True)
    return states, table, torch.randint(1, 12, (17,)), torch.rand(17, dtype=torch.float64)


def test_cross_entropy_and_its_gradients_are_those_of_torch(case, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(losses, "_CHUNK_SCORES_CPU", 5 * 12)  # four chunks
    monkeypatch.setattr(losses, "_LEAST_CHUNK", 1)
    states, table, targets, weights = case
    scores = (states @ table.T)[:, 1:]
    expected = (nn.functional.cross_entropy(scores, targets - 1, reduction="none") * weights).sum()

    loss = losses.cross_entropy(states, table, targets, weights)

    torch.testing.assert_close(loss, expected)
    for mine, theirs in zip(
        torch.autograd.grad(3 * loss, (states, table)), torch.autograd.grad(3 * expected, (states, table)), strict=True
    ):
        torch.testing.assert_close(mine, theirs)


def test_cross_entropy_with_products_in_bfloat16_is_close(case):
    states, table, targets, weights = (tensor.float() if tensor.is_floating_point() else tensor for tensor in case)
    exact, rough = (losses.cross_entropy(states, table, targets, weights, n) for n in (None, torch.bfloat16))
    torch.testing.assert_close(rough, exact, rtol=0.01, atol=0)
    for mine, theirs in zip(
        torch.autograd.grad(rough, (states, table)), torch.autograd.grad(exact, (states, table)), strict=True
    ):
        assert mine.dtype == torch.float32
        assert 0 < (mine - theirs).norm() < 0.02 * theirs.norm()


def test_cross_entropy_of_large_scores_is_finite(case):
    states, table, targets, weights = case
    assert torch.isfinite(losses.cross_entropy(states * 1e4, table, targets, weights))


def test_sampled_softmax_approaches_cross_entropy(case):
    states, table, targets, weights = case
    full = losses.cross_entropy(states, table, targets, weights)
    many = losses.sampled_softmax(states, table, targets, weights, 50_000, torch.Generator().manual_seed(1))
    # the estimate has V draws of V - 1 others: the target's own draws do not count
    torch.testing.assert_close(many, full, rtol=0.05, atol=0)


def test_binary_cross_entropy_is_that_of_torch(case):
    states, table, targets, weights = case
    negatives = torch.randint(1, 12, (17, 3))
    is_new = torch.rand(17, 3) < 0.7
    expected = 0.0
    for t in range(17):
        questions = [(targets[t], 1.0)] + [(negatives[t, j], 0.0) for j in range(3) if is_new[t, j]]
        for item, answer in questions:
            score = states[t] @ table[item]
            target = torch.tensor(answer, dtype=score.dtype)
            expected += weights[t] * nn.functional.binary_cross_entropy_with_logits(score, target)

    loss = losses.binary_cross_entropy(states, table, targets, weights, negatives, is_new)

    torch.testing.assert_close(loss, expected)


def test_gbce_raises_the_targets_probability_to_the_calibrated_power(case):
    """Against the formulas of the paper, in probabilities; t = 0 is plain binary cross entropy."""
    states, table, targets, weights = case
    negatives = torch.randint(1, 12, (17, 3))
    rate = 3 / 10  # three of the ten other items
    power = rate * (0.75 * (1 - 1 / rate) + 1 / rate)
    expected = 0.0
    for t in range(17):
        expected -= weights[t] * torch.log(torch.sigmoid(states[t] @ table[targets[t]]) ** power)
        for item in negatives[t][negatives[t] != targets[t]]:
            expected -= weights[t] * torch.log(1 - torch.sigmoid(states[t] @ table[item]))

    torch.testing.assert_close(losses.gbce(states, table, targets, weights, negatives), expected)
    plain = losses.binary_cross_entropy(states, table, targets, weights, negatives, negatives != targets[:, None])
    torch.testing.assert_close(losses.gbce(states, table, targets, weights, negatives, calibration=0.0), plain)


def test_bpr_compares_the_target_with_every_negative_that_counts(case):
    states, table, targets, weights = case
    negatives = torch.randint(1, 12, (17, 3))
    is_new = torch.rand(17, 3) < 0.7
    is_new[0] = False
    expected = 0.0
    for t in range(17):
        found = [-torch.log(torch.sigmoid(states[t] @ (table[targets[t]] - table[n]))) for n in negatives[t][is_new[t]]]
        expected += weights[t] * sum(found) / max(len(found), 1)

    torch.testing.assert_close(losses.bpr(states, table, targets, weights, negatives, is_new), expected)


def test_negatives_are_uniform_over_what_the_user_has_not_met(sequences_of):
    rows = rows_from_sequences(sequences_of([1, 2, 3], [4, 5, 6, 7, 8, 1, 2, 3]), max_length=10)
    sampler = NegativeSampler(rows, n_items=8, device=torch.device("cpu"))

    items, is_new = sampler.draw(torch.tensor([0] * 3000 + [1]), 2, torch.Generator().manual_seed(0))

    drawn = items[:3000][is_new[:3000]].numpy()
    assert is_new[:3000].float().mean() > 0.97
    shares = np.bincount(drawn, minlength=9) / len(drawn)
    assert shares[:4].tolist() == [0, 0, 0, 0]
    np.testing.assert_allclose(shares[4:], 0.2, atol=0.03)
    assert not is_new[3000].any()  # this user has met everything
