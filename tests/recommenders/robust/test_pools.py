import numpy as np
import pytest
import torch

from seqmend.recommenders import Rows, rows_from_sequences
from seqmend.recommenders.robust.pools import TargetPool, frequent_successors, next_targets

CPU = torch.device("cpu")


@pytest.fixture
def rows(sequences_of) -> Rows:
    return rows_from_sequences(sequences_of([1, 2, 3, 4], [5, 2, 3], [6, 2, 1]), max_length=3, form="instance")


def test_next_targets_stay_within_the_user(rows: Rows):
    assert rows.targets[:, -1].tolist() == [2, 3, 4, 2, 3, 2, 1]
    assert next_targets(rows, 2).tolist() == [[3, 4], [4, 0], [0, 0], [3, 0], [0, 0], [1, 0], [0, 0]]
    shuffled = np.array([6, 2, 0, 4, 1, 5, 3])
    np.testing.assert_array_equal(next_targets(rows.select(shuffled), 2), next_targets(rows, 2)[shuffled])


def test_frequent_successors_come_by_count(rows: Rows):
    table = frequent_successors(rows, n_items=6, n=2)
    assert table.tolist() == [[0, 0], [2, 0], [3, 1], [4, 0], [0, 0], [2, 0], [2, 0]]


def test_uniform_candidates_of_a_row_are_its_own_whatever_rows_there_are(rows: Rows):
    pools = TargetPool(rows, n_items=6, n_pool=30, seed=1, device=CPU)(torch.arange(7))
    some = TargetPool(rows.select(rows.user != 1), n_items=6, n_pool=30, seed=1, device=CPU)

    assert pools[0, :2].tolist() == [3, 4]
    assert pools[4, :2].tolist() == [3, 1]  # no later target: what follows item 2
    assert torch.equal(some(torch.tensor([4]))[:, 2:], pools[[6], 2:])
    assert not torch.equal(TargetPool(rows, 6, 30, 2, CPU)(torch.arange(7)), pools)


def test_uniform_candidates_are_uniform(rows: Rows):
    drawn = TargetPool(rows, n_items=50, n_pool=5002, seed=0, device=CPU)(torch.arange(7))[:, 2:]
    counts = torch.bincount(drawn.flatten(), minlength=51)
    assert counts[0] == 0
    assert len(counts) == 51
    chi_square = float(((counts[1:] - 700) ** 2 / 700).sum())
    assert 20 < chi_square < 95  # 49 degrees of freedom
