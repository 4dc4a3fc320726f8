import json
import random
import tempfile
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqmend.errors import InputError
from seqmend.interactions import ColumnNames, global_time, read_log

LOG = "user_id,item_id,timestamp\nu1,i2,1600000020\nu1,i1,1600000010\nu2,i1,1600000005\n"
ITEMS = "item_id,title\ni1,Alien\ni2,Brazil\ni3,Casablanca\n"
ROWS = [("u1", "i2", 1600000020), ("u1", "i1", 1600000010), ("u2", "i1", 1600000005)]


def histories(sequences):
    ids = sequences.catalogue.item_ids
    return {user: [ids[int(item)] for item in items] for user, items in zip(sequences.user_ids, sequences, strict=True)}


def quarantined(log):
    return log.quarantine.select("row", "column", "value", "reason").rows()


def test_a_log_becomes_sequences_in_the_order_of_time(write):
    log = read_log(write("log.csv", LOG), write("items.csv", ITEMS))
    assert histories(log.sequences) == {"u1": ["i1", "i2"], "u2": ["i1"]}
    assert log.sequences.timestamps.tolist() == [1600000010, 1600000020, 1600000005]
    assert log.sequences.items.dtype == np.int32
    assert log.sequences.catalogue.titles.to_list() == [None, "Alien", "Brazil", "Casablanca"]
    assert log.quarantine.is_empty()


def test_items_without_interactions_stay_only_where_they_are_listed(write):
    path = write("log.csv", LOG)
    assert len(read_log(path, write("items.csv", ITEMS)).sequences.catalogue) == 3
    assert len(read_log(path).sequences.catalogue) == 2


def test_the_summary_counts_what_a_user_should_know(write):
    rows = [
        *("u1,i1,1600000000", "u1,i2,1600000000", "u1,i3,1600000001", "u2,i1,1600000005", "u3,i4,1600000009"),
        *(",i1,1600000000", "u1,,1600000000", "u1,i1,soon", "u1,i1,99999999999", "u1,i9,1600000000"),
        *("u1,i1,1600000000", "u1,i1,1600000000,4"),
    ]
    items = "item_id,title\ni1,Tom &amp; Jerry\ni2,Tom & Jerry\ni3,\ni4,D\ni5,Q&A\n"
    log = read_log(write("log.csv", "user_id,item_id,timestamp\n" + "\n".join(rows)), write("items.csv", items))
    summary = log.summary.to_dict()
    expected = {
        "rows": 12,
        "interactions": 5,
        "users": 3,
        "items": 5,
        "items_interacted": 4,
        "items_without_title": 1,
        "items_with_equal_title": 2,
        "titles_with_entities": 1,
        "users_with_one_interaction": 2,
        "interactions_at_equal_time": 2,
        "time_unit": "seconds",
        "first_time": 1600000000.0,
        "last_time": 1600000009.0,
        "times_are_positions": False,
        "interactions_format": "comma separated, utf-8",
    }
    assert {name: summary[name] for name in expected} == expected
    assert set(summary["quarantined"].values()) == {1}
    assert len(summary["quarantined"]) + summary["interactions"] == summary["rows"]
    json.dumps(summary, allow_nan=False)


def test_every_unusable_row_is_set_aside_with_row_column_value_and_reason(write):
    rows = [
        *("u1,i1,1600000000", " ,i1,1600000000", "u1,nan,1600000000", "u1,i1,", "u1,i1,2020-01-01", "u1,i1,-1"),
        *("u1,i9,1600000000", "u1,i1,1600000000", "", "u1,i1,1600000000,a,b", "u1"),
    ]
    log = read_log(
        write("log.csv", "user_id,item_id,timestamp\n" + "\n".join(rows) + "\n"), write("items.csv", ITEMS + ",X\n")
    )
    assert quarantined(log) == [
        (2, "user_id", " ", "missing user id"),
        (3, "item_id", "nan", "missing item id"),
        (4, "timestamp", None, "unreadable time"),
        (5, "timestamp", "2020-01-01", "unreadable time"),
        (6, "timestamp", "-1", "time out of range"),
        (7, "item_id", "i9", "item not in the item file"),
        (8, "item_id", "i1", "repeat"),
        (9, "user_id", None, "missing user id"),
        (10, None, "a", "too many fields"),
        (11, "item_id", None, "missing item id"),
        (4, "item_id", None, "missing item id"),
    ]
    assert log.quarantine["file"].str.split("/").list.last().to_list() == ["log.csv"] * 10 + ["items.csv"]
    assert histories(log.sequences) == {"u1": ["i1"]}


def test_repeats_are_kept_on_demand_and_other_times_are_no_repeats(write):
    path = write("log.csv", "user_id,item_id,timestamp\nu,a,1\nu,b,1\nu,a,1\nu,a,2\nv,a,1\n")
    assert histories(read_log(path).sequences) == {"u": ["a", "b", "a"], "v": ["a"]}
    assert histories(read_log(path, keep_repeats=True).sequences) == {"u": ["a", "b", "a", "a"], "v": ["a"]}


def test_ties_keep_the_order_of_the_file(write):
    items = [f"i{n}" for n in random.Random(0).sample(range(100), 100)]
    rows = "\n".join(f"u,{item},1600000000" for item in items)
    assert histories(read_log(write("log.csv", f"user,item,time\n{rows}\n")).sequences) == {"u": items}


def as_jsonl(frame):
    return "".join(json.dumps(row) + "\n" for row in frame.iter_rows(named=True))


def as_inter(frame):
    return "user_id:token\titem_id:token\ttimestamp:float\n" + frame.write_csv(separator="\t", include_header=False)


def test_every_format_gives_the_same_data(write, tmp_path):
    frame = pl.DataFrame(ROWS, schema=["user_id", "item_id", "timestamp"], orient="row")
    frame.write_parquet(tmp_path / "log.parquet")
    paths = [
        tmp_path / "log.parquet",
        write("log.csv", frame.write_csv()),
        write("log.tsv", frame.write_csv(separator="\t")),
        write("log.jsonl", as_jsonl(frame)),
        write("log.inter", as_inter(frame)),
        write("log.dat", frame.write_csv(separator="|").replace("|", "::")),
    ]
    assert len({read_log(path).sequences.fingerprint for path in paths}) == 1


@pytest.mark.parametrize(
    ("times", "unit"),
    [
        ([1600000020, 1600000010, 1600000005], "seconds"),
        ([1600000020.0, 1600000010.0, 1600000005.0], "seconds"),
        (["1600000020", "1600000010", "1600000005"], "seconds"),
        ([1600000020000, 1600000010000, 1600000005000], "milliseconds"),
        ([1600000020 * 10**9, 1600000010 * 10**9, 1600000005 * 10**9], "nanoseconds"),
        ([datetime.fromtimestamp(row[2], UTC) for row in ROWS], "dates"),
        ([datetime.fromtimestamp(row[2], UTC).replace(tzinfo=None) for row in ROWS], "dates"),
        ([datetime.fromtimestamp(row[2], UTC).isoformat() for row in ROWS], "dates"),
    ],
)
def test_times_of_any_type_become_the_same_seconds(tmp_path, times, unit):
    users, items, _ = zip(*ROWS, strict=True)
    pl.DataFrame({"user": users, "item": items, "date": times}).write_parquet(tmp_path / "log.parquet")
    log = read_log(tmp_path / "log.parquet")
    assert log.sequences.timestamps.tolist() == [1600000010, 1600000020, 1600000005]
    assert log.sequences.timestamps.dtype == np.int64
    assert (log.summary.time_unit, log.summary.first_time) == (unit, 1600000005.0)


def test_parts_of_seconds_keep_their_order(write):
    rows = [f"u,i{n},{1_600_000_000_000_000_000 + n}" for n in (3, 1, 2)]
    log = read_log(write("log.csv", "user,item,time\n" + "\n".join(rows)))
    assert histories(log.sequences) == {"u": ["i1", "i2", "i3"]}


def test_dates_of_mixed_forms_and_padded_numbers_are_read(write):
    dates = ["2020-01-03", "2020-01-01 10:00:00", "2020-01-01T09:00:00Z", "2020-02-30", "1960-01-01"]
    log = read_log(write("log.csv", "user,item,date\n" + "\n".join(f"u,i{n},{date}" for n, date in enumerate(dates))))
    assert histories(log.sequences) == {"u": ["i2", "i1", "i0"]}
    assert [row[2:] for row in quarantined(log)] == [
        ("2020-02-30", "unreadable time"),
        ("1960-01-01", "time out of range"),
    ]
    log = read_log(write("log.csv", "user,item,time\nu,a,1600000002\nu,b, 1600000001 \nu,c,1600000001.5\n"))
    assert log.sequences.timestamps.tolist() == [1600000001.0, 1600000001.5, 1600000002.0]


def test_ids_of_mixed_types_are_text(write):
    lines = [{"user": 12, "item": "a", "time": 1}, {"user": 12.0, "item": 5, "time": 2}, {"user": "12", "item": "é"}]
    log = read_log(write("log.jsonl", "".join(json.dumps({"time": 3} | line) + "\n" for line in lines)))
    assert histories(log.sequences) == {"12": ["a", "5", "é"]}


def test_integer_ids_with_gaps_come_back_from_floats(write):
    log = read_log(
        write("log.csv", "user,item,time\n1.0,7,1\n,7,2\n12.0,7,3\n"), write("items.csv", "item,name\n7,X\n")
    )
    assert histories(log.sequences) == {"1": ["7"], "12": ["7"]}


def test_titles_come_from_the_log_where_there_is_no_item_file(write):
    path = write("log.csv", "user,item,time,title\nu,a,1,\nu,a,2,Alien\nv,a,3,alien\nv,b,4,\nv,c,5,C\n")
    assert read_log(path).sequences.catalogue.titles.to_list() == [None, "Alien", None, "C"]
    listed = read_log(path, write("items.csv", "item,name\na,A\nb,B\nc,\n")).sequences.catalogue
    assert listed.titles.to_list() == [None, "A", "B", None]


def test_a_title_column_that_is_not_the_items_is_refused_unless_it_is_named(write):
    path = write("reviews.csv", "user,item,time,title\nu,a,1,great\nv,a,2,awful\nu,b,3,fine\nv,b,4,so so\n")
    with pytest.raises(InputError, match="'title' does not hold the items' titles: it differs"):
        read_log(path)
    assert read_log(path, columns=ColumnNames(title="title")).sequences.catalogue.titles[1] == "great"


def test_file_order_stands_in_for_times(write):
    path = write("log.csv", "user,item,time\nu,b,9\nu,a,soon\nu,b,9\n")
    log = read_log(path, order="file")
    assert histories(log.sequences) == {"u": ["b", "a", "b"]}
    assert log.sequences.timestamps.tolist() == [0, 1, 2]
    assert (log.summary.time_unit, log.summary.first_time) == ("file order", None)
    assert "timestamp" not in log.summary.columns


def test_positions_are_known_as_such_even_with_gaps(write):
    rows = [f"u{user},i{(user + n) % 9},{n}" for user in range(20) for n in range(15)]
    path, items = write("log.csv", "user,item,time\n" + "\n".join(rows)), [f"i{n},T" for n in range(8)]
    log = read_log(path, write("items.csv", "item,name\n" + "\n".join(items)))
    assert log.summary.quarantined["item not in the item file"] > 0
    assert log.summary.times_are_positions
    with pytest.raises(InputError, match="global-time split needs real times"):
        global_time(log.sequences)


def test_the_delimiter_is_that_of_the_log_and_unusual_ones_of_both_files(write):
    tabbed, caret = (write(f"{n}.csv", ITEMS.replace(",", d)) for n, d in enumerate("\t^"))
    assert len(read_log(write("log.csv", LOG.replace(",", ";")), tabbed, delimiter=";").sequences) == 2
    assert len(read_log(write("log.csv", LOG.replace(",", "^")), caret, delimiter="^").sequences) == 2


def test_stages_are_told(write):
    told = []
    read_log(write("log.csv", LOG), write("items.csv", ITEMS), progress=lambda *stage: told.append(stage))
    assert told == [
        ("reading items", 0, 0),
        ("reading interactions", 0, 0),
        ("ordering interactions", 0, 3),
        ("ordering interactions", 3, 3),
    ]


REFUSED = {
    "header only": ("user,item,time\n", {}, ["the file has a header and no rows"]),
    "no time column": ("user,item\nu,i\n", {}, ["no column holds the times", "--order file"]),
    "no item column": ("user,itm,time\nu,i,1\n", {}, ["no column holds the item ids", "'itm'", "--item-column"]),
    "times unreadable": ("user,item,time\nu,i,soon\nu,i,\n", {}, ["no value of the column 'time' is a time", "'soon'"]),
    "times too late": ("user,item,time\nu,i,1e30\n", {}, ["out of any range: 1e+30 to 1e+30", "--time-column"]),
    "times too early": ("user,item,time\nu,i,-5\nu,i,-7\n", {}, ["out of any range: -7 to -5"]),
    "dates too early": ("user,item,time\nu,i,1800-01-01\n", {}, ["no interaction is left", "time out of range: 1"]),
    "nothing left": (
        *("user,item,time\n,i,1\nNaN,i,2\nu,,3\n", {}),
        ["no interaction is left: all 3 rows are set aside (missing user id: 2, missing item id: 1)"],
    ),
    "named column absent": (
        *("user,item,time\nu,i,1\n", {"columns": ColumnNames(timestamp="when")}),
        ["there is no column 'when' for the times", "'user', 'item', 'time'"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unusable_logs_are_refused_with_the_reason(write, case):
    content, options, fragments = REFUSED[case]
    with pytest.raises(InputError) as caught:
        read_log(write("log.csv", content), **options)
    for fragment in (*fragments, "log.csv"):
        assert fragment in str(caught.value)


def test_no_interaction_with_a_listed_item_is_refused(write):
    with pytest.raises(InputError, match=r"item not in the item file: 3[\s\S]*both files use the same item ids"):
        read_log(write("log.csv", LOG), write("items.csv", "item_id,title\nzz,Z\n"))


ids = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), max_size=3).map("u".__add__)
rows = st.lists(
    st.tuples(ids, ids, st.integers(10**9, 2 * 10**9)), min_size=1, max_size=30, unique_by=lambda row: row[2]
)


@settings(max_examples=25)
@given(rows, st.randoms())
def test_the_same_rows_in_another_order_and_format_are_the_same_data(rows, random):
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    shuffled = frame[random.sample(range(len(frame)), len(frame))]
    with tempfile.TemporaryDirectory() as folder:
        frame.write_csv(Path(folder) / "log.csv")
        shuffled.write_parquet(Path(folder) / "log.parquet")
        logs = [read_log(Path(folder) / name) for name in ("log.csv", "log.parquet")]
    for log in logs:
        found = log.sequences
        assert found.n_interactions + len(log.quarantine) == len(rows)
        assert all(np.all(np.diff(found.timestamps[a:b]) >= 0) for a, b in pairwise(found.offsets))
    assert logs[0].sequences.fingerprint == logs[1].sequences.fingerprint
