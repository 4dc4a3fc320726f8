"""BirDRec's decisions, with a judge whose scores are given."""

import pytest
import torch
from torch import Tensor

from seqmend.recommenders import Backbone, SASRecConfig, rows_from_sequences
from seqmend.recommenders.backbone import Batch
from seqmend.recommenders.robust.birdrec import BirDRec, BirDRecConfig

N_ITEMS = 10


class Judge(Backbone):
    """Scores items by their number; from item 7 as the last input, by its negative."""

    def __init__(self) -> None:
        super().__init__()
        self.n_items, self.max_length = N_ITEMS, 3

    def forward(self, items: Tensor, users: Tensor | None = None) -> Tensor:
        return torch.where(items == 7, -1.0, 1.0)[..., None]

    def output_table(self) -> Tensor:
        return torch.arange(N_ITEMS + 1.0)[:, None]


def rectified(sequences_of, user: list[int], **ratios: float) -> tuple[list[int], int, bool]:
    """Inputs, target and whether it is taught, of the last instance of a user."""
    rows = rows_from_sequences(sequences_of(user, [10, 10]), max_length=3, form="instance")
    config = BirDRecConfig(encoder=SASRecConfig(embedding_size=4, max_length=3), n_pool=40, **ratios)
    model = BirDRec(N_ITEMS, config)
    model.prepare(rows)
    number = torch.tensor([len(user) - 2])
    tensors = (torch.from_numpy(array)[number] for array in (rows.items, rows.targets, rows.weights))
    batch = Batch(number, *tensors, torch.zeros(1, dtype=torch.long), teacher=Judge())
    negatives = torch.arange(1, N_ITEMS + 1)[None]
    items, targets, is_kept = model._rectified(batch, negatives)
    return items[0].tolist(), int(targets), bool(is_kept)


def test_a_target_that_most_negatives_are_below_is_taught_as_it_is(sequences_of):
    assert rectified(sequences_of, [1, 2, 3, 10]) == ([1, 2, 3], 10, True)


def test_last_input_is_left_out_where_it_speaks_against_the_target(sequences_of):
    assert rectified(sequences_of, [1, 2, 7, 10]) == ([0, 1, 2], 10, True)
    assert rectified(sequences_of, [7, 10], delete_ratio=1, replace_ratio=1)[0] == [0, 0, 7]  # the only one stays


def test_between_the_thresholds_an_instance_is_left_out(sequences_of):
    assert rectified(sequences_of, [1, 2, 3, 8]) == ([0, 1, 2], 8, False)
    assert rectified(sequences_of, [1, 2, 3, 8], delete_ratio=0.4, input_ratio=0.4) == ([1, 2, 3], 8, True)


@pytest.mark.parametrize("paper", [False, True])
def test_a_hopeless_target_is_replaced_and_in_the_papers_code_always_deleted(sequences_of, paper: bool):
    assert rectified(sequences_of, [1, 2, 3, 2], paper=paper) == ([0, 1, 2], 10, not paper)
