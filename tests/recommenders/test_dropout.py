import pytest
import torch

from seqmend.recommenders.dropout import Dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_values_are_dropped_independently_and_the_mean_is_kept(p: float):
    torch.random.manual_seed(0)
    x = torch.ones(401, 503)

    y = Dropout(p)(x)

    kept = y != 0
    assert abs(float(kept.float().mean()) - (1 - p)) < 0.005
    assert torch.unique(y[kept]).tolist() == pytest.approx([1 / (1 - p)], rel=0.02)
    assert abs(float(y.mean()) - 1) < 0.02
    # neighbours that share a draw are independent
    assert abs(float((kept[:, 1:] & kept[:, :-1]).float().mean()) - (1 - p) ** 2) < 0.01
    assert abs(float(kept.float().mean(0).std()) - (p * (1 - p) / 401) ** 0.5) < 0.005


def test_dropped_values_have_no_gradient():
    x = torch.ones(100, requires_grad=True)
    y = Dropout(0.5)(x)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())


def test_nothing_is_dropped_at_zero_or_in_evaluation():
    x = torch.randn(5)
    assert Dropout(0.0)(x) is x
    assert Dropout(0.5).eval()(x) is x
