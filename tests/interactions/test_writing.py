import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqmend.errors import InputError
from seqmend.interactions import Sequences, read_log, write_interactions

SEQUENCES = Sequences.from_lists({"u1": ["a", "b"], "u2": ["a"]}, {"a": 'Twelve\t"Angry" Men', "b": None})


@pytest.mark.parametrize("name", ["log.parquet", "log.csv", "log.tsv", "log.inter"])
def test_what_is_written_can_be_read(tmp_path, name):
    write_interactions(SEQUENCES, tmp_path / "new" / name, titles=True, weights=np.array([1, 0.5, 2], np.float32))
    log = read_log(tmp_path / "new" / name)
    assert log.sequences.fingerprint == SEQUENCES.fingerprint or name == "log.inter"
    assert [items.tolist() for items in log.sequences] == [[1, 2], [1]]
    assert log.quarantine.is_empty()
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


def test_columns_are_those_of_the_contract(tmp_path):
    write_interactions(SEQUENCES, tmp_path / "log.parquet")
    assert pl.read_parquet(tmp_path / "log.parquet").columns == ["user_id", "item_id", "timestamp", "position"]
    write_interactions(SEQUENCES, tmp_path / "log.inter", titles=True, weights=np.ones(3, np.float32))
    assert (tmp_path / "log.inter").read_text().splitlines()[:2] == [
        "user_id:token\titem_id:token\ttitle:token_seq\ttimestamp:float\tposition:float\tweight:float",
        'u1\ta\tTwelve "Angry" Men\t0\t0\t1.0',
    ]


ids = st.text(st.characters(codec="utf-8", categories=("L", "N", "P"))).map("u".__add__)


@settings(max_examples=20)
@given(st.sets(ids, min_size=1), st.sampled_from([".parquet", ".csv", ".tsv", ".inter"]))
def test_any_id_survives(users, suffix):
    sequences = Sequences.from_lists({user: ["x", "y"] for user in sorted(users, key=str.encode)})
    with tempfile.TemporaryDirectory() as folder:
        write_interactions(sequences, Path(folder) / f"log{suffix}")
        assert read_log(Path(folder) / f"log{suffix}").sequences.fingerprint == sequences.fingerprint


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot be written as \.xlsx"):
        write_interactions(SEQUENCES, tmp_path / "log.xlsx")


def test_ids_that_recbole_cannot_hold_are_refused_and_nothing_is_written(tmp_path):
    sequences = Sequences.from_lists({"a\tb": ["x"]})
    with pytest.raises(InputError, match=r"the user_id 'a\\tb' holds a tab"):
        write_interactions(sequences, tmp_path / "log.inter")
    assert not list(tmp_path.iterdir())


def test_a_path_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot write here"):
        write_interactions(SEQUENCES, tmp_path / "file" / "log.csv")
