"""The filters and gates of BERD, HSD and SSDRec, and attention over doubtful items."""

import math

import pytest
import torch

from seqmend.recommenders.robust.attention import DoubtfulAttention, straight_through
from seqmend.recommenders.robust.berd import _is_kept, _jury_losses
from seqmend.recommenders.robust.hsd import _kept
from seqmend.recommenders.robust.ssdrec import SSDRec, SSDRecConfig


def test_berd_drops_high_loss_with_low_uncertainty():
    losses = torch.tensor([9.0, 9.5, 1.0, 2.0])
    uncertainties = torch.tensor([0.1, 0.9, 0.2, 0.8])
    assert _is_kept(losses, uncertainties, 1).tolist() == [False, True, True, True]
    assert _is_kept(losses, uncertainties, 0).all()


def test_berd_judges_by_all_items_where_there_are_few():
    states, table, targets = torch.randn(3, 4, 5), torch.randn(8, 5), torch.tensor([1, 7, 2, 2])
    logits = states @ table[1:].T
    expected = torch.stack([torch.nn.functional.cross_entropy(part, targets - 1, reduction="none") for part in logits])
    torch.testing.assert_close(_jury_losses(states, table, targets), expected)


def test_hsd_drops_what_both_judges_reject_and_keeps_at_least_one():
    is_input = torch.tensor([[False, True, True, True], [False, False, True, True]])
    by_sequence = torch.tensor([[9.0, -1.0, 1.0, -1.0], [9.0, 9.0, -2.0, -1.0]])
    by_item = torch.tensor([[9.0, -1.0, -1.0, 1.0], [9.0, 9.0, -1.0, -1.0]])
    assert _kept(by_sequence, by_item, is_input, None).tolist() == [[0, 0, 1, 1], [0, 0, 0, 1]]
    nothing = torch.zeros_like(is_input)
    assert (_kept(by_sequence, by_item, nothing, None) == 0).all()


def test_hard_decisions_follow_their_odds_and_have_a_gradient():
    torch.manual_seed(0)
    logits = torch.full((20_000,), math.log(3.0), requires_grad=True)
    decisions = straight_through(logits, 0.5)
    assert set(decisions.unique().tolist()) == {0, 1}
    assert abs(float(decisions.detach().mean()) - 0.75) < 0.02
    decisions.sum().backward()
    assert (logits.grad >= 0).all()
    assert logits.grad.mean() > 0.1


def test_what_is_not_seen_changes_nothing_but_can_be_learned_to_be_seen():
    torch.manual_seed(0)
    attention = DoubtfulAttention(8, n_layers=2, n_heads=2, dropout=0.0, max_length=5)
    vectors = torch.randn(1, 4, 8)
    seen = torch.tensor([[0.0, 1.0, 0.0, 1.0]], requires_grad=True)
    changed = vectors.clone()
    changed[:, 2] += 5

    state = attention(vectors, seen)[:, -1]

    torch.testing.assert_close(attention(changed, seen)[:, -1], state)
    state[0, 0].backward()
    assert (seen.grad != 0).all()
    assert torch.isfinite(attention(vectors, torch.zeros(1, 4))).all()


@pytest.fixture
def ssdrec() -> SSDRec:
    """Reconstructs zero: the hardest is the input of the longest vector."""
    config = SSDRecConfig(embedding_size=4, n_layers=1, n_heads=1, max_length=6, insertion_ratio=1)
    model = SSDRec(9, config).eval()
    with torch.no_grad():
        model.reconstruct.weight.zero_()
        model.norm = torch.nn.Identity()
        model.items.weight.copy_(torch.arange(10.0)[:, None].expand(10, 4))
    return model


def test_ssdrec_fills_up_around_the_hardest_input_where_there_is_room(ssdrec: SSDRec):
    items = torch.tensor([[0, 3, 9, 4], [1, 2, 3, 9], [0, 0, 0, 0]])

    x, is_input = ssdrec._training_inputs(items, ssdrec.output_table(), 0.5)

    assert x.shape == (3, 6, 4)
    assert x[0, [1, 3, 5], 0].tolist() == [3, 9, 4]
    assert (x[0, [2, 4], 0] >= 1).all()  # what was drawn
    assert x[1, [0, 1, 2, 4], 0].tolist() == [1, 2, 3, 9]
    assert is_input.tolist() == [[False] + [True] * 5, [True] * 6, [False] * 6]


def test_ssdrec_leaves_histories_without_room_alone(ssdrec: SSDRec):
    items = torch.tensor([[0, 3, 9, 4, 2, 1]])
    x, is_input = ssdrec._training_inputs(items, ssdrec.output_table(), 0.5)
    assert x[0, :, 0].tolist() == [0, 3, 9, 4, 2, 1]
    assert is_input.tolist() == [[False] + [True] * 5]
