import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from seqmend.errors import SeqMendError
from seqmend.evaluation import (
    METRICS,
    Histories,
    length_groups,
    metric_values,
    metrics_by_group,
    rank_scores,
    rank_targets,
    ranking,
    ranking_metrics,
)
from seqmend.interactions import Sequences, Targets
from seqmend.recommenders import Backbone


class Fixed(Backbone):
    """Scores that depend on the last item of a history alone: row `last` of a table."""

    def __init__(self, table: list[list[float]], max_length: int = 3) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(torch.tensor(table, dtype=torch.float32))
        self.n_items, self.max_length = self.table.shape[1] - 1, max_length
        self.asked: list[list[int]] = []

    def forward(self, items: Tensor, users: Tensor | None = None) -> Tensor:
        assert not self.training
        self.asked += items.tolist()
        return self.table[items]

    def output_table(self) -> Tensor:
        return torch.eye(self.n_items + 1)

    def scores(self, states: Tensor) -> Tensor:
        return states


def one_row_for_all(scores: list[float]) -> Fixed:
    return Fixed([[9.0, *scores]] * (len(scores) + 1))


SEQUENCES = Sequences.from_lists({"ann": ["a", "b", "c", "d"], "bob": ["d"], "eve": []}, dict.fromkeys("abcde"))


def ranks_of(model: Backbone, users: list[int], targets: list[int], histories: Sequences = SEQUENCES) -> list[int]:
    numbers = np.array(users, dtype=np.int32)
    seen = Histories.whole(SEQUENCES, numbers)
    return rank_targets(model, Histories.whole(histories, numbers), np.array(targets, dtype=np.int32), seen).tolist()


def test_hand_made_ranking_with_ties_and_seen_items():
    model = one_row_for_all([0.9, 0.9, 0.5, 0.9, 0.5])

    # eve has seen nothing: b ties with a and d, and both count as better; c ties with e
    assert ranks_of(model, [2, 2], [2, 3]) == [3, 5]
    # bob has seen d
    assert ranks_of(model, [1, 1], [2, 3]) == [2, 4]
    # ann has seen all but e; a target that was seen is ranked all the same
    assert ranks_of(model, [0, 0], [5, 1]) == [1, 1]


def test_padding_is_never_ranked():
    model = Fixed([[9.0, -1e30, -2e30]] * 3)
    sequences = Sequences.from_lists({"ann": []}, dict.fromkeys("ab"))
    history = Histories.whole(sequences, np.array([0], dtype=np.int32))
    assert rank_targets(model, history, np.array([1], dtype=np.int32), history).tolist() == [1]


@pytest.mark.parametrize("extreme", [float("inf"), float("-inf")])
def test_infinite_scores_are_ties(extreme: float):
    assert ranks_of(one_row_for_all([extreme] * 5), [2, 1], [1, 1]) == [5, 4]


def test_scores_that_are_not_numbers_are_an_error():
    model = one_row_for_all([0.1, float("nan"), 0.2, 0.3, 0.4])
    with pytest.raises(SeqMendError, match="not numbers"):
        ranks_of(model, [2], [1])
    seen = Histories.whole(SEQUENCES, np.array([2], dtype=np.int32))
    with pytest.raises(SeqMendError, match="not numbers"):
        rank_scores(np.array([[0, 1, np.nan, 2, 3, 4]], dtype=np.float32), np.array([1], dtype=np.int32), seen)


def test_all_arms_leave_out_the_same_items():
    """The mended history decides what the model is shown, the real one what is left out."""
    mended = Sequences.from_lists({"ann": ["a"], "bob": ["e"], "eve": []}, dict.fromkeys("abcde"))
    table = [[0.0, *scores] for scores in ([0] * 5, [5, 4, 3, 2, 1], [0] * 5, [0] * 5, [0] * 5, [1, 2, 3, 4, 5])]
    model = Fixed(table)

    assert ranks_of(model, [0, 1], [5, 5], mended) == [1, 1]
    assert ranks_of(model, [1], [3], mended) == [2]  # e before c, d left out
    assert [0, 0, 1][-len(model.asked[0]) :] in model.asked


def test_histories_end_before_their_target():
    targets = Targets(np.array([0, 0, 1], dtype=np.int32), np.array([3, 1, 0]))
    histories = Histories.before(SEQUENCES, targets)

    assert histories.windows(np.array([0, 1, 2]), 2).tolist() == [[2, 3], [0, 1], [0, 0]]
    places, items = histories.cells(np.array([1, 2, 0]))
    assert list(zip(places.tolist(), items.tolist(), strict=True)) == [(0, 1), (2, 1), (2, 2), (2, 3)]


@given(data=st.data(), n_items=st.integers(1, 6), chunk=st.integers(1, 3), block=st.integers(1, 7))
def test_ranks_are_those_of_a_naive_loop(data, n_items, chunk, block):
    """Also when only a few scores may be held at once, so that the catalogue is ranked in parts."""
    ids = [f"i{number}" for number in range(1, n_items + 1)]
    lists = data.draw(st.lists(st.lists(st.sampled_from(ids), max_size=5), min_size=1, max_size=4))
    sequences = Sequences.from_lists({f"u{k}": items for k, items in enumerate(lists)}, dict.fromkeys(ids))
    score = st.integers(-1, 1).map(float)
    table = [data.draw(st.lists(score, min_size=n_items + 1, max_size=n_items + 1)) for _ in range(n_items + 1)]
    targets = np.array(data.draw(st.lists(st.integers(1, n_items), min_size=len(lists), max_size=len(lists))), np.int32)
    histories = Histories.whole(sequences, np.arange(len(lists), dtype=np.int32))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "_CHUNK_HISTORIES", chunk)
        patch.setattr(ranking, "_CHUNK_RANKED", chunk)
        patch.setattr(ranking, "_SHARD", 2 * chunk)
        patch.setattr(ranking, "_LEAST_BLOCK", block)
        ranks = rank_targets(Fixed(table), histories, targets, histories, memory=1)
        patch.setattr(ranking, "MEMORY", 1)
        last = [int(sequences[user][-1]) if len(sequences[user]) else 0 for user in range(len(lists))]
        scores = np.array([table[number] for number in last], dtype=np.float32)
        assert rank_scores(scores, targets, histories).tolist() == ranks.tolist()

    for user, target in enumerate(targets.tolist()):
        last = int(sequences[user][-1]) if len(sequences[user]) else 0
        better = 0
        for item in range(1, n_items + 1):
            if item != target and item not in sequences[user] and table[last][item] >= table[last][target]:
                better += 1
        assert ranks[user] == 1 + better


@given(ranks=st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_metrics_are_those_of_a_naive_loop(ranks):
    expected = dict.fromkeys(METRICS, 0.0)
    for rank in ranks:
        for k in (1, 5, 10, 20):
            expected[f"hr@{k}"] += (rank <= k) / len(ranks)
            if k > 1:
                expected[f"ndcg@{k}"] += (math.log(2) / math.log(rank + 1) if rank <= k else 0) / len(ranks)
        expected["mrr"] += 1 / rank / len(ranks)

    metrics = ranking_metrics(np.array(ranks))

    assert metrics.pop("n") == len(ranks)
    assert metrics == pytest.approx(expected)
    assert list(metrics) == ["hr@1", "hr@5", "hr@10", "hr@20", "ndcg@5", "ndcg@10", "ndcg@20", "mrr"]


def test_groups_divide_the_targets():
    lengths, ranks = np.array([1, 5, 6, 20, 20]), np.array([1, 1, 2, 20, 21])

    groups = metrics_by_group(ranks, lengths)

    assert {name: group["n"] for name, group in groups.items()} == {"short": 2, "medium": 3}
    assert groups["short"]["hr@1"] == 1
    assert groups["medium"]["hr@20"] == pytest.approx(2 / 3)
    assert sum(mask.astype(int) for mask in length_groups(lengths, (1, 6)).values()).tolist() == [1] * 5


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ValueError, match="no ranks"):
        ranking_metrics(np.zeros(0, dtype=np.int64))
    with pytest.raises(ValueError, match="unknown metric"):
        metric_values(np.array([1]), "map@10")
