import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqmend.errors import InputError
from seqmend.interactions import Catalogue, Sequences
from seqmend.menders.correct.uncertain import candidates, co_occurrence, pair_counts, select, uncertainty
from seqmend.recommenders import Reliability, TrainingDynamics, rows_from_sequences


def test_pairs_are_counted_once_per_user():
    log = Sequences.from_lists({"ann": list("abab"), "bob": list("bca"), "cid": ["d"]})
    pairs = co_occurrence(log).toarray()
    a, b, c, d = (log.catalogue.index_of([name])[0] for name in "abcd")
    assert (pairs[a, b], pairs[b, a], pairs[a, c], pairs[c, d], pairs[a, a], pairs[d, d]) == (2, 2, 1, 0, 2, 1)
    found = pair_counts(co_occurrence(log), np.array([[0, a, c]], dtype=np.int32), np.array([b], dtype=np.int32))
    assert found.tolist() == [[0, 2, 1]]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.booleans()), max_size=30), st.floats(0, 1))
def test_the_most_uncertain_are_selected_ties_by_co_occurrence_then_id(values, share):
    doubts, closest, allowed = (
        np.array([value[k] for value in values], dtype=t) for k, t in enumerate((float, int, bool))
    )
    ids = np.arange(len(values)) * 3
    chosen = select(doubts, closest, ids, share, allowed).tolist()
    order = sorted((n for n in range(len(values)) if allowed[n]), key=lambda n: (-doubts[n], closest[n], ids[n]))
    assert chosen == order[: math.ceil(round(share * len(values), 9))]


def test_seven_hundredths_of_a_hundred_are_seven():
    none = np.zeros(100, dtype=np.int64)
    assert len(select(none.astype(float), none, np.arange(100), 0.07, none == 0)) == 7
    assert len(select(none.astype(float), none, np.arange(100), 0.0, none == 0)) == 0


def test_every_signal_is_a_share_and_the_native_one_is_the_backbones(backbone, spoiled):
    rows = rows_from_sequences(spoiled, backbone.max_length, "instance")
    closest = np.arange(len(rows))
    for signal in ("native", "rank", "dropout", "co-occurrence", "random"):
        doubts = uncertainty(signal, backbone, rows, closest)
        assert doubts.shape == (len(rows),)
        assert (doubts >= 0).all()
        assert (doubts <= 1).all()
    assert uncertainty("native", backbone, rows, closest) == pytest.approx(backbone.reliability(rows).uncertainty)
    assert uncertainty("co-occurrence", backbone, rows, closest).argmax() == 0
    assert (
        uncertainty("random", backbone, rows, closest, seed=3) == uncertainty("random", backbone, rows, closest, seed=3)
    ).all()


def test_what_was_observed_in_training_goes_before_what_the_trained_model_says(backbone, spoiled):
    rows = rows_from_sequences(spoiled, backbone.max_length, "instance")
    dynamics = TrainingDynamics(rows, warm_up=0, n_negatives=20)
    for _ in range(3):
        dynamics.look(backbone)
    seen, closest = dynamics.reliability(), np.zeros(len(rows))
    assert uncertainty("native", backbone, rows, closest, seen) == pytest.approx(seen.uncertainty)
    assert uncertainty("deviation", backbone, rows, closest, seen) == pytest.approx(2 * seen.signals["deviation"])
    with pytest.raises(InputError, match="epoch to epoch"):
        uncertainty("deviation", backbone, rows, closest)
    short = Reliability(seen.reliability[1:], seen.uncertainty[1:], {})
    with pytest.raises(InputError, match="instances"):
        uncertainty("native", backbone, rows, closest, short)


def test_candidates_are_the_best_other_items(backbone, spoiled):
    n, max_length = 3, 10  # more inputs than the backbone reads
    rows = rows_from_sequences(spoiled, max_length, "instance")
    numbers = np.random.default_rng(0).permutation(len(rows))[:50]
    found = candidates(backbone, spoiled, rows.row_id[numbers], max_length, n)
    table = backbone.table.numpy()
    for row, number in zip(found, numbers, strict=True):
        scores = table @ np.append(table[rows.items[number, -1], :-1], 1.0)
        banned = {0, int(rows.targets[number, -1]), *rows.items[number].tolist()}
        expected = [item for item in np.argsort(-scores).tolist() if item not in banned][:n]
        assert row.tolist() == expected


def test_candidates_have_titles_and_may_be_fewer(make_backbone):
    log = Sequences.from_lists({"ann": list("abc")}, {"a": "A", "b": "B", "c": "C", "d": None, "e": "E"})
    assert candidates(make_backbone(5), log, np.array([1, 2]), 5, 7).tolist() == [
        [5, 3, 0, 0, 0, 0, 0], [5, 0, 0, 0, 0, 0, 0]
    ]  # fmt: skip
    assert candidates(make_backbone(5), log, np.array([1]), 5, 0).shape == (1, 0)
    assert isinstance(log.catalogue, Catalogue)
