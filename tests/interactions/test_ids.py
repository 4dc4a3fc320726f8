from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqmend.errors import InputError
from seqmend.interactions.ids import MISSING_IDS, clean_ids, id_text, number_ids


def as_text(values, dtype=None):
    frame = pl.DataFrame({"id": pl.Series(values, dtype=dtype)})
    return frame.select(id_text("id", frame.schema["id"], Path("log.parquet")))["id"].to_list()


@pytest.mark.parametrize(
    ("values", "dtype", "texts"),
    [
        ([7, None, -1], pl.Int64, ["7", None, "-1"]),
        ([2**64 - 1], pl.UInt64, ["18446744073709551615"]),
        ([12.0, float("nan"), None, 12.5, float("inf"), -0.0], pl.Float64, ["12", None, None, "12.5", None, "0"]),
        (["a", None], pl.Categorical, ["a", None]),
        ([None, None], pl.Null, [None, None]),
    ],
)
def test_ids_of_any_type_become_text(values, dtype, texts):
    assert as_text(values, dtype) == texts


@pytest.mark.parametrize(("values", "dtype"), [([[1]], pl.List(pl.Int64)), ([True], pl.Boolean), ([b"x"], pl.Binary)])
def test_types_without_ids_are_refused(values, dtype):
    with pytest.raises(InputError, match="ids as text or whole numbers"):
        as_text(values, dtype)


def test_missing_ids_are_null_and_others_keep_their_text():
    texts = [*MISSING_IDS, "  ", "NA", "007", " padded ", "None of these"]
    assert clean_ids(pl.Series(texts)).to_list() == [None] * (len(MISSING_IDS) + 1) + [
        *("NA", "007", "padded", "None of these")
    ]


@pytest.mark.parametrize(
    ("texts", "clean"),
    [
        (["12.0", "0.0", None], ["12", "0", None]),
        (["12.0", "x"], ["12.0", "x"]),
        (["1.0", "1.5"], ["1.0", "1.5"]),
        (["01.0"], ["01.0"]),
    ],
)
def test_the_ending_of_floats_goes_only_where_the_whole_column_has_it(texts, clean):
    assert clean_ids(pl.Series(texts)).to_list() == clean


@given(st.lists(st.one_of(st.none(), st.text(st.characters(codec="utf-8"), max_size=3)), min_size=1))
def test_numbers_follow_the_ids_text_and_not_the_rows(texts):
    column = pl.Series(texts, dtype=pl.String)
    ids, rows = number_ids(column.cast(pl.Categorical(pl.Categories.random())))
    clean = clean_ids(column).to_list()
    assert ids.to_list() == sorted({text for text in clean if text is not None}, key=str.encode)
    assert [ids[int(row)] if row >= 0 else None for row in rows] == clean
