import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqmend.errors import InputError
from seqmend.interactions import Catalogue, Sequences, export_log, read_log

FORMATS = ["recbole", "rectools", "rectools-csv", "replay"]
TIMES = [1_600_000_000, 1_600_000_000, 1_600_000_001]


def log_of(users: dict[str, list[str]], titles: dict[str, str | None], times: list) -> Sequences:
    """Sequences as `read_log` gives them: users and items in the order of their ids, times ascending."""
    titles = dict(sorted(titles.items(), key=lambda item: item[0].encode()))
    plain = Sequences.from_lists({user: users[user] for user in sorted(users, key=str.encode)}, titles)
    return Sequences(
        plain.user_ids,
        plain.offsets,
        plain.items,
        np.array(times, dtype=np.int64 if all(isinstance(time, int) for time in times) else np.float64),
        plain.catalogue,
    )


LOG = log_of({"u1": ["a", "b"], "u2": ["a"]}, {"a": '"Weird Al", 1994', "b": None, "c": "Never met"}, TIMES)

texts = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), max_size=8)
ids = texts.map("i".__add__)
titles = st.none() | texts.map(lambda text: f'"{text} x')
seconds = st.integers(0, 4_000_000_000) | st.integers(0, 4 * 10**15).map(lambda ticks: ticks / 10**6)


@st.composite
def logs(draw) -> Sequences:
    items = draw(st.dictionaries(ids, titles, min_size=1, max_size=5))
    histories = st.lists(st.sampled_from(sorted(items)), min_size=1, max_size=6)
    users = draw(st.dictionaries(ids, histories, min_size=1, max_size=4))
    ordered = sorted(users, key=str.encode)
    times = [time for user in ordered for time in sorted(draw(seconds) for _ in users[user])]
    return log_of(users, items, times)


@pytest.mark.parametrize("format_", FORMATS)
@settings(max_examples=20)
@given(logs())
def test_what_is_exported_reads_back_as_the_same_sequences(format_, sequences):
    with tempfile.TemporaryDirectory() as folder:
        export = export_log(sequences, Path(folder) / "log", format_)
        log = read_log(export.interactions, export.items, keep_repeats=True)
    assert log.quarantine.is_empty()
    assert log.sequences.fingerprint == sequences.fingerprint


def test_recbole_has_typed_headers_in_a_folder_of_its_name(tmp_path):
    export = export_log(LOG, tmp_path / "films", "recbole", weights=np.array([1, 0.5, 1], np.float32))
    assert (export.interactions.name, export.items.name) == ("films.inter", "films.item")
    assert export.interactions.read_text().splitlines()[:3] == [
        "user_id:token\titem_id:token\ttimestamp:float\tposition:float\tweight:float",
        "u1\ta\t1600000000\t0\t1.0",
        "u1\tb\t1600000000\t1\t0.5",
    ]
    assert export.items.read_text().splitlines()[:2] == ["item_id:token\ttitle:token_seq", 'a\t "Weird Al", 1994']


def test_rectools_has_its_columns_and_types(tmp_path):
    export = export_log(LOG, tmp_path, "rectools", weights=np.array([1, 0.5, 1], np.float32))
    frame = pl.read_parquet(export.interactions)
    assert frame.schema == {
        "user_id": pl.String,
        "item_id": pl.String,
        "weight": pl.Float32,
        "datetime": pl.Datetime("us"),
    }
    assert frame["weight"].to_list() == [1, 0.5, 1]
    assert str(frame["datetime"][2]) == "2020-09-13 12:26:41"


def test_replay_has_queries(tmp_path):
    export = export_log(LOG, tmp_path, "replay")
    assert pl.read_parquet(export.interactions).to_dict(as_series=False) == {
        "query_id": ["u1", "u1", "u2"],
        "item_id": ["a", "b", "a"],
        "timestamp": TIMES,
    }


@pytest.mark.parametrize("bad", ["a\tb", "a\nb", '"a', "NA", "a\x00"])
def test_ids_that_recbole_cannot_hold_are_refused(tmp_path, bad):
    with pytest.raises(InputError, match=r"the user_id .* tab or a line end"):
        export_log(Sequences.from_lists({bad: ["x"]}), tmp_path / "log", "recbole")
    with pytest.raises(InputError, match=r"the item_id .* tab or a line end"):
        export_log(Sequences.from_lists({"u": [bad]}), tmp_path / "log", "recbole")
    assert not list(tmp_path.rglob("*.*"))


def test_times_that_are_no_date_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"1600000000\.1234567 has no exact date"):
        export_log(log_of({"u": ["x"]}, {"x": None}, [1_600_000_000.1234567]), tmp_path, "rectools")


def test_what_a_format_cannot_hold_is_refused(tmp_path):
    with pytest.raises(InputError, match="RePlay knows no loss weights"):
        export_log(LOG, tmp_path, "replay", weights=np.ones(3, np.float32))
    masked = Sequences(
        LOG.user_ids, LOG.offsets, np.array([1, 0, 1], np.int32), LOG.timestamps, Catalogue.from_titles({"a": None})
    )
    with pytest.raises(InputError, match="masked interaction"):
        export_log(masked, tmp_path, "rectools")
    assert not list(tmp_path.iterdir())
