import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqmend.errors import InputError
from seqmend.interactions import Sequences, leave_one_out
from seqmend.ledger import COLUMNS, Ledger, Mended

ITEMS = [f"i{n}" for n in range(8)]
TITLES = {item: f"Title {item}" for item in ITEMS}


@st.composite
def logs(draw):
    histories = draw(st.lists(st.lists(st.sampled_from(ITEMS), min_size=1, max_size=7), min_size=1, max_size=4))
    return Sequences.from_lists({f"u{n}": history for n, history in enumerate(histories)}, TITLES)


@st.composite
def proposals(draw, log=None):
    """A log with proposals of every history-scope kind, at most one per place, some of them grouped."""
    log = log or draw(logs())
    frame = log.to_frame()
    rows = draw(st.lists(st.integers(0, len(frame) - 1), unique=True, max_size=len(frame)))
    edits = []
    for row in rows:
        user, position = frame["user_id"][row], frame["position"][row]
        kind = draw(st.sampled_from(["replace", "delete", "mask", "reweight"]))
        edits.append((user, position, kind, draw(st.sampled_from(ITEMS)) if kind == "replace" else None))
    for user in draw(st.lists(st.sampled_from(log.user_ids.to_list()), unique=True)):
        edits += [(user, -1 - n, "prepend", draw(st.sampled_from(ITEMS))) for n in range(draw(st.integers(1, 3)))]
    groups = [draw(st.sampled_from(["g1", "g2", f"alone{n}"])) for n in range(len(edits))]
    frame = pl.DataFrame(
        {
            "user_id": pl.Series([e[0] for e in edits], dtype=pl.String),
            "view": pl.Series(["train"] * len(edits), dtype=pl.String),
            "position": pl.Series([e[1] for e in edits], dtype=pl.Int64),
            "kind": pl.Series([e[2] for e in edits], dtype=pl.String),
            "item_after": pl.Series([e[3] for e in edits], dtype=pl.String),
            "weight": pl.Series([0.25 if e[2] == "reweight" else None for e in edits], dtype=pl.Float64),
            "confidence": pl.Series([draw(st.integers(0, 4)) / 4 for _ in edits], dtype=pl.Float64),
            "group_id": pl.Series(groups, dtype=pl.String),
        }
    )
    return log, Ledger.propose(frame, log, "test")


def simple(log, **columns):
    size = len(columns["position"])
    base = {"user_id": ["ann"] * size, "view": ["train"] * size, "kind": ["replace"] * size, "confidence": [0.9] * size}
    return Ledger.propose(pl.DataFrame({**base, **columns}), log, "test")


@pytest.fixture
def log():
    return Sequences.from_lists({"ann": ["i0", "i1", "i2", "i3"], "bob": ["i4", "i5"]}, TITLES)


def ids(sequences, user=0):
    return [sequences.catalogue.item_ids[int(item)] for item in sequences[user]]


@given(proposals())
def test_apply_then_undo_is_the_identity(case):
    log, ledger = case
    accepted = ledger.accept(0.5)
    mended = accepted.apply(log)
    back = accepted.undo(mended)
    assert back.fingerprint == log.fingerprint
    assert back.items.tolist() == log.items.tolist()
    assert back.source is None


def test_only_a_threshold_asks_for_a_confidence(log):
    ledger = simple(log, position=[1, 2], item_after=["i5", "i5"], confidence=[None, 0.2])
    assert ledger.accept().edits["status"].to_list() == ["accepted", "accepted"]
    assert ledger.accept(0.1).edits.sort("position")["status"].to_list() == ["rejected", "accepted"]


@given(proposals(), st.randoms())
def test_the_order_of_edits_does_not_matter(case, random):
    log, ledger = case
    accepted = ledger.accept()
    order = list(range(len(ledger)))
    random.shuffle(order)
    shuffled = Ledger(accepted.edits[order], accepted.data_id)
    one, other = accepted.apply(log), shuffled.apply(log)
    assert one.sequences.fingerprint == other.sequences.fingerprint
    assert one.weights.tolist() == other.weights.tolist()
    assert one.origins.tolist() == other.origins.tolist()


@given(proposals())
def test_apply_does_to_every_position_what_the_ledger_says(case):
    log, ledger = case
    accepted = ledger.accept(0.5)
    mended = accepted.apply(log)
    edits = {(e["user_id"], e["position"]): e for e in accepted.edits.rows(named=True) if e["status"] == "accepted"}
    expected = []
    for user, items in zip(log.user_ids, log, strict=True):
        prefix = sorted((p, e) for (u, p), e in edits.items() if u == user and p < 0)
        expected += [(user, p, e["item_after"], 1.0) for p, e in prefix]
        for position, item in enumerate(log.catalogue.item_ids[int(i)] for i in items):
            edit = edits.get((user, position), {"kind": "keep"})
            after = {"replace": edit.get("item_after"), "mask": None}.get(edit["kind"], item)
            if edit["kind"] != "delete":
                expected.append((user, position, after, 0.25 if edit["kind"] == "reweight" else 1.0))
    frame = mended.to_frame()
    assert frame.select("user_id", "position", "item_id", "weight").rows() == expected


@given(proposals(), st.integers(0, 3))
def test_filtering_keeps_whole_groups_and_the_budget(case, max_edits):
    _, ledger = case
    kept = ledger.filter(threshold=0.5, max_edits=max_edits)
    for group, edits in ledger.edits.group_by("group_id"):
        size = len(kept.edits.filter(pl.col("group_id") == group[0]))
        assert size in (0, len(edits))
        if size:
            assert edits["confidence"].min() >= 0.5
    assert (kept.edits.group_by("user_id", "view").len()["len"] <= max_edits).all()


@given(st.data())
@settings(max_examples=50)
def test_merge_with_precedence_never_has_two_accepted_edits_at_one_place(data):
    log = data.draw(logs())
    _, first = data.draw(proposals(log))
    _, second = data.draw(proposals(log))
    second = Ledger(
        second.edits.with_columns(
            mender=pl.lit("other"), edit_id=pl.lit("o") + pl.col("edit_id"), group_id=pl.lit("o") + pl.col("group_id")
        ),
        second.data_id,
    )
    first, second = first.accept(0.5), second.accept(0.5)
    merged = first.merge(second, precedence=["test", "other"])
    accepted = merged.filter(status="accepted").edits
    assert not accepted.select("user_id", "position").is_duplicated().any()
    assert len(merged) == len(first) + len(second)
    strong = merged.edits.filter(pl.col("mender") == "test")
    assert strong["status"].to_list() == first.edits["status"].to_list()


@given(proposals())
def test_a_ledger_survives_its_file(tmp_path_factory, case):
    _, ledger = case
    path = tmp_path_factory.mktemp("ledger") / "ledger.parquet"
    ledger.write(path)
    back = Ledger.read(path)
    assert back.edits.equals(ledger.edits)
    assert back.edits.schema == COLUMNS
    assert back.data_id == ledger.data_id


@given(proposals())
def test_diff_tells_exactly_what_changed(case):
    _, ledger = case
    accepted = ledger.accept(0.5)
    diff = ledger.diff(accepted)
    assert set(diff["edit_id"]) == set(ledger.edits["edit_id"])
    assert len(accepted.diff(accepted)) == 0
    fewer = Ledger(accepted.edits.head(1), accepted.data_id)
    assert len(accepted.diff(fewer).filter(pl.col("change") == "removed")) == max(0, len(accepted) - 1)
    assert len(fewer.diff(accepted).filter(pl.col("change") == "added")) == max(0, len(accepted) - 1)


def test_held_out_targets_cannot_be_edited(log):
    split = leave_one_out(log)
    with pytest.raises(InputError, match="outside the sequence that may be edited"):
        simple(split.train, position=[2], item_after=["i5"])
    ledger = simple(log, position=[2], item_after=["i5"]).accept()
    with pytest.raises(InputError, match="outside the sequence that may be edited"):
        ledger.apply(split.train)
    assert ids(ledger.apply(log).sequences) == ["i0", "i1", "i5", "i3"]


def test_a_ledger_for_a_part_fits_the_whole(log):
    split = leave_one_out(log)
    ledger = simple(split.train, position=[1], item_after=["i5"]).accept()
    assert ids(ledger.apply(split.train).sequences) == ["i0", "i5"]
    assert ids(ledger.apply(log).sequences) == ["i0", "i5", "i2", "i3"]
    assert ledger.undo(ledger.apply(split.train)).data_id == log.fingerprint


def test_other_data_are_refused(log):
    ledger = simple(log, position=[1], item_after=["i5"]).accept()
    other = Sequences.from_lists({"ann": ["i0", "i1", "i2", "i4"], "bob": ["i4", "i5"]}, TITLES)
    with pytest.raises(InputError, match="other data"):
        ledger.apply(other)
    with pytest.raises(InputError, match="other data"):
        ledger.merge(simple(other, position=[1], item_after=["i5"]))


def test_accept_takes_the_surest_of_several_proposals_at_one_place(log):
    ledger = simple(log, position=[1, 1, 0], item_after=["i5", "i6", "i7"], confidence=[0.6, 0.8, 0.3]).accept(0.5)
    assert ledger.filter(status="accepted").edits["item_after"].to_list() == ["i6"]
    assert set(ledger.edits["reviewer"]) == {"threshold"}


def test_a_view_edits_only_its_own_use(log):
    ledger = simple(log, position=[1], item_after=["i5"], view=["test"]).accept()
    assert ids(ledger.apply(log, "train").sequences) == ["i0", "i1", "i2", "i3"]
    assert ids(ledger.apply(log, "test").sequences) == ["i0", "i5", "i2", "i3"]


def test_merge_refuses_a_conflict_without_precedence(log):
    one = simple(log, position=[1], item_after=["i5"]).accept()
    two = simple(log, position=[1], item_after=["i6"]).accept()
    with pytest.raises(InputError, match="conflict"):
        one.merge(two)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"kind": ["swap"]}, "kind 'swap' is not known"),
        ({"confidence": [1.5]}, "confidence lies outside"),
        ({"user_id": ["zoe"]}, "user 'zoe', whom the data lack"),
        ({"position": [-1]}, "outside the sequence"),
    ],
)
def test_bad_proposals_are_refused(log, columns, message):
    with pytest.raises(InputError, match=message):
        simple(log, **{"position": [1], "item_after": ["i5"], **columns})


def test_a_file_that_is_no_ledger_is_refused(tmp_path):
    path = tmp_path / "x.parquet"
    with pytest.raises(InputError, match="no such ledger"):
        Ledger.read(path)
    path.write_text("user_id\n")
    with pytest.raises(InputError, match="cannot read the ledger"):
        Ledger.read(path)
    pl.DataFrame({"a": [1]}).write_parquet(path)
    with pytest.raises(InputError, match="not a ledger"):
        Ledger.read(path)


def test_deleting_everything_leaves_an_empty_sequence(log):
    ledger = simple(log, user_id=["bob", "bob"], position=[0, 1], kind=["delete"] * 2).accept()
    mended = ledger.apply(log)
    assert mended.sequences.lengths.tolist() == [4, 0]
    assert np.array_equal(ledger.undo(mended).items, log.items)


@given(proposals())
def test_the_first_of_several_ledgers_does_what_it_does_alone(case):
    log, ledger = case
    ledger = ledger.accept(0.5)
    alone, first = ledger.apply(log), Mended.of(log).then(ledger)
    assert first.sequences.fingerprint == alone.sequences.fingerprint
    np.testing.assert_array_equal(first.origins, alone.origins)
    np.testing.assert_array_equal(first.weights, alone.weights)


def test_a_further_ledger_is_for_what_the_one_before_made_and_places_stay_those_of_the_first_data(log):
    first = simple(log, position=[1, 2], kind=["delete", "reweight"], weight=[None, 0.5]).accept()
    mended = Mended.of(log).then(first)
    assert ids(mended.sequences) == ["i0", "i2", "i3"]
    second = simple(
        mended.sequences,
        position=[-1, -2, 1, 0],
        kind=["prepend", "prepend", "reweight", "drop_input"],
        item_after=["i7", "i6", None, None],
        weight=[0.9, 0.9, 0.4, None],
        scope=["history", "history", "history", "instance"],
        target_position=[None, None, None, 2],
    ).accept()
    both = mended.then(second)
    assert ids(both.sequences) == ["i6", "i7", "i0", "i2", "i3"]
    assert both.origins[:5].tolist() == [-2, -1, 0, 2, 3]
    np.testing.assert_allclose(both.weights[:5], [0.9, 0.9, 1, 0.2, 1])
    assert both.instance_edits.select("position", "target_position").rows() == [(0, 3)]
    third = simple(both.sequences, position=[-1], kind=["prepend"], item_after=["i5"]).accept()
    assert both.then(third).origins[:3].tolist() == [-3, -2, -1]


def test_a_further_ledger_fits_every_view_of_what_it_was_made_for_and_nothing_else(log):
    first = simple(log, position=[0, 1], view=["train", "test"], kind=["delete", "delete"]).accept()
    train, test = (Mended.of(log).then(first, view) for view in ("train", "test"))
    assert ids(train.sequences) != ids(test.sequences)
    second = simple(train.sequences, position=[0], view=["test"], item_after=["i7"])
    with pytest.raises(InputError, match="another item"):
        test.then(second.accept(), "test")
    third = simple(test.sequences, position=[0], view=["test"], item_after=["i7"]).accept()
    assert ids(test.then(third, "test").sequences)[0] == "i7"
    assert ids(train.then(third, "train").sequences) == ids(train.sequences)
    for other in (log, Mended.of(log).then(first.filter(view="test")).sequences):
        with pytest.raises(InputError, match="other data"):
            third.apply(other, "test")
