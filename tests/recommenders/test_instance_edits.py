import numpy as np
import polars as pl
import pytest

from seqmend.errors import InputError
from seqmend.interactions import Sequences
from seqmend.ledger import Ledger
from seqmend.recommenders import rows_from_sequences, with_instance_edits

LOG = Sequences.from_lists({"ann": list("abcd"), "bob": list("bca")})


def ledger(*edits, **more):
    columns = ["user_id", "target_position", "position", "kind", "item_after"]
    frame = pl.DataFrame(edits, schema=columns, orient="row").with_columns(
        scope=pl.lit("instance"), view=pl.lit("train"), confidence=pl.lit(0.9), **more
    )
    return Ledger.propose(frame, LOG, "test").accept()


def test_an_edit_changes_the_row_of_its_target_and_no_other():
    mended = ledger(
        ("ann", 2, 1, "replace", "d"), ("ann", 3, 1, "mask", None), ("bob", 2, 2, "retarget", "d"),
        ("ann", 1, 0, "replace", "c"),
    ).apply(LOG)  # fmt: skip
    rows = rows_from_sequences(mended.sequences, 2, "instance")
    edited = with_instance_edits(rows, mended)
    #                     ann: a>b    ab>c    bc>d    bob: b>c    bc>a
    assert rows.items.tolist() == [[0, 1], [1, 2], [2, 3], [0, 2], [2, 3]]
    assert rows.targets[:, -1].tolist() == [2, 3, 4, 3, 1]
    assert edited.items.tolist() == [[0, 3], [1, 4], [0, 3], [0, 2], [2, 3]]
    assert edited.targets[:, -1].tolist() == [2, 3, 4, 3, 4]
    assert edited.targets[:, :-1].tolist() == rows.targets[:, :-1].tolist()


def test_inputs_that_a_row_does_not_reach_change_nothing():
    mended = ledger(("ann", 3, 0, "replace", "d")).apply(LOG)
    rows = rows_from_sequences(mended.sequences, 2, "instance")
    assert with_instance_edits(rows, mended).items.tolist() == rows.items.tolist()


def test_positions_are_original_ones_whatever_else_is_edited():
    both = ledger(("ann", 3, 2, "replace", "a"))
    deleted = pl.DataFrame({"user_id": ["ann"], "view": ["train"], "position": [0], "kind": ["delete"]})
    mended = both.merge(Ledger.propose(deleted.with_columns(confidence=pl.lit(1.0)), LOG, "test").accept()).apply(LOG)
    rows = rows_from_sequences(mended.sequences, 2, "instance")
    assert rows.items.tolist() == [[0, 2], [2, 3], [0, 2], [2, 3]]
    assert with_instance_edits(rows, mended).items.tolist() == [[0, 2], [2, 1], [0, 2], [2, 3]]


def test_rows_of_sequences_and_unknown_kinds_are_refused():
    mended = ledger(("ann", 2, 1, "replace", "d")).apply(LOG)
    with pytest.raises(InputError, match="need a row for every target"):
        with_instance_edits(rows_from_sequences(LOG, 2, "sequence"), mended)
    mended = ledger(("ann", 2, 1, "reweight", None), weight=pl.lit(0.5)).apply(LOG)
    with pytest.raises(InputError, match="cannot carry out 'reweight'"):
        with_instance_edits(rows_from_sequences(LOG, 2, "instance"), mended)
    history = pl.DataFrame({"user_id": ["ann"], "view": ["train"], "position": [0], "kind": ["mask"]})
    untouched = rows_from_sequences(LOG, 2, "sequence")
    assert with_instance_edits(untouched, Ledger.propose(history, LOG, "test").apply(LOG)) is untouched


def test_a_dropped_input_leaves_no_gap_and_a_dropped_instance_no_row():
    mended = ledger(
        ("ann", 3, 1, "drop_input", None), ("ann", 3, 3, "retarget", "b"), ("bob", 1, 1, "drop_instance", None),
    ).apply(LOG)  # fmt: skip
    rows = rows_from_sequences(mended.sequences, 3, "instance", np.arange(1, 8, dtype=np.float32))
    edited = with_instance_edits(rows, mended)
    #                     ann: a>b         ab>c       abc>d     bob: b>c      bc>a
    assert rows.items.tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [0, 0, 2], [0, 2, 3]]
    assert edited.items.tolist() == [[0, 0, 1], [0, 1, 2], [0, 1, 3], [0, 2, 3]]
    assert edited.targets[:, -1].tolist() == [2, 3, 2, 1]
    assert edited.row_id.tolist() == [1, 2, 3, 6]
    assert edited.weights[:, -1].tolist() == [2, 3, 4, 7]


def test_a_masked_input_keeps_its_place_beside_a_dropped_one():
    mended = ledger(("ann", 3, 0, "mask", None), ("ann", 3, 2, "drop_input", None)).apply(LOG)
    edited = with_instance_edits(rows_from_sequences(mended.sequences, 3, "instance"), mended)
    assert edited.items[2].tolist() == [0, 0, 2]
    mended = ledger(("ann", 3, 1, "mask", None), ("ann", 3, 0, "drop_input", None)).apply(LOG)
    edited = with_instance_edits(rows_from_sequences(mended.sequences, 3, "instance"), mended)
    assert edited.items[2].tolist() == [0, 0, 3]
    mended = ledger(("ann", 3, 1, "mask", None), ("ann", 3, 2, "drop_input", None)).apply(LOG)
    edited = with_instance_edits(rows_from_sequences(mended.sequences, 3, "instance"), mended)
    assert edited.items[2].tolist() == [0, 1, 0]


def test_a_row_that_keeps_no_input_goes():
    mended = ledger(("ann", 3, 1, "drop_input", None), ("ann", 3, 2, "drop_input", None)).apply(LOG)
    assert with_instance_edits(rows_from_sequences(LOG, 2, "instance"), mended).row_id.tolist() == [1, 2, 5, 6]
    assert with_instance_edits(rows_from_sequences(LOG, 3, "instance"), mended).items[2].tolist() == [0, 0, 1]


def test_edits_of_what_another_edit_deleted_change_nothing():
    instance = ledger(("ann", 2, 1, "replace", "d"), ("ann", 1, 0, "mask", None))
    deleted = pl.DataFrame({"user_id": ["ann"], "view": ["train"], "position": [1], "kind": ["delete"]})
    mended = instance.merge(Ledger.propose(deleted.with_columns(confidence=pl.lit(1.0)), LOG, "test").accept()).apply(
        LOG
    )
    rows = rows_from_sequences(mended.sequences, 2, "instance")
    assert with_instance_edits(rows, mended).items.tolist() == rows.items.tolist()
