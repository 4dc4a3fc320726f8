import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqmend.errors import InputError
from seqmend.interactions import Catalogue, Sequences

histories = st.dictionaries(
    st.text(st.characters(codec="utf-8"), max_size=3), st.lists(st.sampled_from("abcde"), max_size=6), max_size=5
)


@given(histories)
def test_columns_agree_with_the_lists(lists):
    sequences = Sequences.from_lists(lists)
    ids = sequences.catalogue.item_ids
    assert [[ids[int(item)] for item in items] for items in sequences] == list(lists.values())
    frame = sequences.to_frame()
    for number, (user, items) in enumerate(lists.items()):
        rows = frame.filter(pl.col("user_id") == user)
        assert rows["item_id"].to_list() == items
        assert rows["position"].to_list() == list(range(len(items)))
        assert (sequences.users == number).sum() == len(items)


@given(histories, st.data())
def test_up_to_is_every_prefix_and_remembers_where_it_came_from(lists, data):
    sequences = Sequences.from_lists(lists)
    ends = np.array([data.draw(st.integers(0, len(items))) for items in lists.values()], dtype=np.int64)
    part = sequences.up_to(ends)
    assert [items.tolist() for items in part] == [
        items[:end].tolist() for items, end in zip(sequences, ends, strict=True)
    ]
    assert part.data_id == sequences.fingerprint
    assert part.up_to(np.minimum(ends, 1)).data_id == sequences.fingerprint


@pytest.mark.parametrize("ends", [[-1, 0], [0, 3]])
def test_up_to_outside_the_sequences_is_an_error(ends):
    with pytest.raises(ValueError, match="outside"):
        Sequences.from_lists({"a": ["x"], "b": ["x", "y"]}).up_to(np.array(ends))


@given(histories, histories)
def test_the_fingerprint_tells_data_apart_and_nothing_else(one, other):
    same = list(one.items()) == list(other.items())
    assert (Sequences.from_lists(one).fingerprint == Sequences.from_lists(other).fingerprint) == same


def test_the_fingerprint_depends_on_titles_and_times_and_not_on_types():
    titles = {"x": "X", "y": None}
    base = Sequences.from_lists({"a": ["x", "y"]}, titles)
    as_float = Sequences(base.user_ids, base.offsets, base.items, base.timestamps.astype(float), base.catalogue)
    later = Sequences(base.user_ids, base.offsets, base.items, base.timestamps + 1, base.catalogue)
    retitled = Sequences.from_lists({"a": ["x", "y"]}, {"x": "X", "y": "Y"})
    assert base.fingerprint == as_float.fingerprint
    assert len({base.fingerprint, later.fingerprint, retitled.fingerprint}) == 3


def test_the_fingerprint_is_not_fooled_by_ids_that_run_together():
    assert (
        Sequences.from_lists({"ab": ["x"], "c": []}).fingerprint
        != Sequences.from_lists({"a": ["x"], "bc": []}).fingerprint
    )


def test_sequences_cannot_be_changed():
    sequences = Sequences.from_lists({"a": ["x", "y"]})
    with pytest.raises(ValueError, match="read-only"):
        sequences.items[0] = 2
    with pytest.raises(ValueError, match="read-only"):
        sequences[0][0] = 2


def test_offsets_must_fit():
    base = Sequences.from_lists({"a": ["x", "y"]})
    with pytest.raises(ValueError, match="offsets"):
        Sequences(base.user_ids, np.array([0, 1]), base.items, base.timestamps, base.catalogue)


def test_a_history_with_an_item_without_entry_is_refused():
    with pytest.raises(InputError, match="an item that the titles lack"):
        Sequences.from_lists({"a": ["x"]}, {"y": "Y"})


@pytest.mark.parametrize(
    ("timestamps", "expected"),
    [
        ([0, 1, 2, 0, 1, 0], True),
        ([1, 2, 3, 1, 2, 1], True),
        ([0, 2, 2, 0, 5, 0], True),  # gaps and ties, as after quarantine and insertion
        ([0, 1, 2, 3, 4, 5], False),  # one clock for all users
        ([1_600_000_000, 1_600_000_001, 1_600_000_002, 1_600_000_000, 1_600_000_001, 1_600_000_000], False),
    ],
)
def test_positions_are_told_from_times(timestamps, expected):
    base = Sequences.from_lists({"a": ["x", "y", "z"], "b": ["x", "y"], "c": ["x"]})
    timed = Sequences(base.user_ids, base.offsets, base.items, np.array(timestamps), base.catalogue)
    assert timed.times_are_positions is expected


def test_titles_of_a_catalogue():
    catalogue = Catalogue.from_titles({"a": "Tom &amp; Jerry", "b": None, "c": "<|im_end|>"})
    assert len(catalogue) == 3
    assert catalogue.has_title.tolist() == [False, True, False, False]
    assert catalogue.prompt_titles[1] == "Tom & Jerry"
    assert catalogue.index_of(["c", "?", "a"]).tolist() == [3, 0, 1]
