from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from seqmend.interactions import Sequences
from seqmend.menders.correct import Labelled, LabelledConfig, co_occurrence, corrupted, label, spoil

CONFIG = LabelledConfig(rows=200, least_pairs=4)


@pytest.fixture(scope="module")
def made(clean: Sequences) -> Labelled:
    return label(clean, CONFIG)


def test_noise_never_meets_the_target_and_the_rest_often_does(made, clean):
    pairs = co_occurrence(clean).toarray()
    counts = pairs[made.inputs, made.targets[:, None]]
    assert len(made) == 200
    assert (counts[~made.relevant] == 0).all()
    assert (counts[made.relevant] >= 4).all()
    assert (made.inputs > 0).all()
    assert len(np.unique(made.instance_id)) == len(made)


def test_relevant_inputs_are_the_last_of_their_instance(clean):
    made = label(clean, CONFIG.model_copy(update={"shuffled_share": 0.0}))
    for id_, inputs, target, relevant in zip(made.instance_id, made.inputs, made.targets, made.relevant, strict=True):
        assert sorted(relevant) == relevant.tolist()
        if relevant.any():
            assert clean.items[id_] == target
            assert inputs[relevant].tolist() == clean.items[id_ - relevant.sum() : id_].tolist()
        else:
            assert id_ >= clean.n_interactions


def test_corrupted_instances_know_what_was_replaced(clean):
    spoiled, is_noise = spoil(clean, 0.3, 0)
    made = corrupted(spoiled, is_noise, CONFIG)
    assert spoiled.lengths.tolist() == clean.lengths.tolist()
    assert ((spoiled.items != clean.items) <= is_noise).all()
    assert 0.2 < is_noise.mean() < 0.4
    assert len(made) == 200
    places = made.instance_id[:, None] - made.inputs.shape[1] + np.arange(made.inputs.shape[1])
    np.testing.assert_array_equal(made.inputs, spoiled.items[places])
    np.testing.assert_array_equal(made.targets, spoiled.items[made.instance_id])
    assert (made.relevant == ~(is_noise[places] | is_noise[made.instance_id][:, None])).all()
    assert 0.4 < made.relevant.mean() < 0.6  # .7 squared


def test_what_replaces_items_has_a_title(clean):
    titles = [title if item in (1, 25) else None for item, title in enumerate(clean.catalogue.titles)]
    scarce = replace(clean, catalogue=replace(clean.catalogue, titles=pl.Series(titles, dtype=pl.String)))
    spoiled, _ = spoil(scarce, 0.9, 0)
    put_there = spoiled.items[spoiled.items != clean.items]
    assert set(put_there.tolist()) <= {1, 25}


def test_about_half_the_rows_are_shuffled_and_the_place_tells_little(made, clean):
    straight = label(clean, CONFIG.model_copy(update={"shuffled_share": 0.0}))
    assert made.targets.tolist() == straight.targets.tolist()
    assert np.sort(made.inputs, axis=1).tolist() == np.sort(straight.inputs, axis=1).tolist()
    moved = (made.inputs != straight.inputs).any(axis=1).mean()
    assert 0.35 < moved < 0.6


def test_the_statistics_are_those_of_the_rows(made):
    told = made.statistics()
    assert told["rows"] == sum(told[f"relevant_{k}"] for k in range(6)) == 200
    assert told["relevant_0"] == 20
    assert told["targets"] == len(set(made.targets.tolist()))
    assert told["noise_share"] == pytest.approx((~made.relevant).mean())


def test_rows_with_few_and_many_relevant_inputs_may_be_about_as_frequent(clean):
    plain = label(clean, CONFIG).statistics()
    made = label(clean, CONFIG.model_copy(update={"balanced": True}))
    told = made.statistics()
    counts = [told[f"relevant_{k}"] for k in range(1, 6)]
    assert max(counts) - min(counts) <= 1 < plain["relevant_5"] - min(plain[f"relevant_{k}"] for k in range(1, 6))
    assert told["relevant_0"] == plain["relevant_0"]
    assert told["rows"] == plain["rows"]
    met = co_occurrence(clean).toarray()[made.inputs, made.targets[:, None]]
    assert (met[made.relevant] >= CONFIG.least_pairs).all()


def test_noise_items_are_used_about_equally_often(clean):
    made = label(clean, CONFIG.model_copy(update={"mismatched_share": 0.9}))
    uses = np.bincount(made.inputs[~made.relevant], minlength=len(clean.catalogue) + 1)[1:]
    assert uses.min() >= 0.8 * uses.max()


def test_noise_shares_no_attribute_with_the_target(clean):
    kinds = [frozenset[str](), *(frozenset({str(item % 3), "all" * (item % 7 == 0)} - {""}) for item in range(1, 49))]
    made = label(clean, CONFIG, kinds)
    assert len(made) > 100
    noise = [(i, t) for row, t, own in zip(made.inputs, made.targets, made.relevant, strict=True) for i in row[~own]]
    assert noise
    assert not any(kinds[item] & kinds[target] for item, target in noise)


def test_a_log_without_reliable_instances_yields_none(clean):
    made = label(clean, CONFIG.model_copy(update={"least_pairs": 10_000}))
    assert len(made) == 0
    assert made.statistics()["rows"] == 0
    untitled = Sequences.from_lists({"ann": list("abcdefgh")}, dict.fromkeys("abcdefgh"))
    assert len(label(untitled, CONFIG)) == 0


def test_parts_share_no_row_and_no_target(made):
    parts = made.parted([40, 30], seed=1)
    assert [len(part) for part in parts] == [40, 30, 130]
    assert sorted(np.concatenate([part.instance_id for part in parts])) == sorted(made.instance_id)
    targets = [set(part.targets.tolist()) for part in parts]
    assert all(targets[a].isdisjoint(targets[b]) for a in range(3) for b in range(a))
    for part in parts:
        at = [made.instance_id.tolist().index(id_) for id_ in part.instance_id]
        assert part.relevant.tolist() == made.relevant[at].tolist()
        assert [(list(q.inputs), q.target) for q in part.questions()] == [
            (made.inputs[n].tolist(), made.targets[n]) for n in at
        ]
    again = made.parted([40, 30], seed=2)
    assert again[0].instance_id.tolist() != parts[0].instance_id.tolist()


def test_nothing_is_parted_into_nothing(made):
    assert [len(part) for part in made.select(np.zeros(0, dtype=np.int64)).parted([3], seed=0)] == [0, 0]
    assert [len(part) for part in made.parted([0], seed=0)] == [0, 200]
