import numpy as np
import pytest
import torch
from torch import Tensor

from seqmend.errors import InputError
from seqmend.evaluation import Histories, rank_among, sampled_negatives
from seqmend.interactions import Sequences
from seqmend.recommenders import Backbone

ITEMS = [f"i{number}" for number in range(30)]
LISTS = {"ann": ["i0", "i1", "i2"], "bob": ["i5"], "eve": []}


def histories_of(lists: dict[str, list[str]], users: list[str]) -> Histories:
    sequences = Sequences.from_lists(lists, dict.fromkeys(ITEMS))
    return Histories.whole(sequences, np.array([list(lists).index(user) for user in users], dtype=np.int32))


class ByNumber(Backbone):
    """Scores every item by its number, halved and rounded down: neighbours tie."""

    def __init__(self) -> None:
        super().__init__()
        self.n_items, self.max_length, self.weight = len(ITEMS), 3, torch.nn.Parameter(torch.ones(1))

    def forward(self, items: Tensor, users: Tensor | None = None) -> Tensor:
        return torch.ones(*items.shape, 1)

    def output_table(self) -> Tensor:
        return (torch.arange(self.n_items + 1) // 2).float()[:, None]


def test_lists_depend_on_user_and_seed_alone():
    seen, targets = histories_of(LISTS, ["ann", "bob", "eve"]), np.array([4, 4, 4], dtype=np.int32)
    negatives = sampled_negatives(seen, targets, len(ITEMS), 10)

    alone = sampled_negatives(histories_of({"bob": LISTS["bob"]}, ["bob"]), targets[:1], len(ITEMS), 10)
    assert alone.tolist() == negatives[1:2].tolist()
    assert sampled_negatives(seen, targets, len(ITEMS), 10, seed=1).tolist() != negatives.tolist()
    for row, met in zip(negatives.tolist(), ({1, 2, 3}, {6}, set()), strict=True):
        assert len(set(row)) == 10
        assert not set(row) & (met | {4})
        assert set(row) <= set(range(1, 31))


def test_user_who_has_met_nearly_everything_is_refused():
    seen = histories_of({"ann": ITEMS[:-3]}, ["ann"])
    assert sorted(sampled_negatives(seen, np.array([30], dtype=np.int32), 30, 2)[0].tolist()) == [28, 29]
    with pytest.raises(InputError, match="user ann has met all but 2 items"):
        sampled_negatives(seen, np.array([30], dtype=np.int32), 30, 3)


def test_rank_among_negatives_counts_ties_against_the_target():
    seen = histories_of(LISTS, ["ann", "bob"])
    negatives = np.array([[30, 11, 2], [1, 2, 3]], dtype=np.int32)
    assert rank_among(ByNumber(), seen, np.array([10, 10], dtype=np.int32), negatives).tolist() == [3, 1]
