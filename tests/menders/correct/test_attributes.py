import polars as pl
import pytest

from seqmend.errors import InputError
from seqmend.interactions import Catalogue
from seqmend.menders.correct import Attributes

CATALOGUE = Catalogue.from_titles({"a": "Alien", "b": "Brazil", "c": None})


def values(cell, separator=None):
    table = pl.DataFrame({"item_id": ["b"], "genre": [cell]})
    return Attributes.from_frame(table, CATALOGUE, ["genre"], separator).of[2].get("genre", ())


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (["Drama", None, "War "], ("Drama", "War")),
        ("Drama", ("Drama",)),
        ("Drama | War|Drama", ("Drama", "War")),
        ("Smith, Ann; Jones, Bob", ("Smith, Ann", "Jones, Bob")),
        ("['Don Rickles', \"Tom O'Hara\"]", ("Don Rickles", "Tom O'Hara")),
        ("['it\\'s', 'a, b']", ("it's", "a, b")),
        ('["x; y", 3, null]', ("x; y", "3")),
        ("[]", ()),
        ("[" * 100_000 + "]", ()),
        ("[Rec]", ()),
        (" ", ()),
        (None, ()),
        (1999, ("1999",)),
    ],
)
def test_values_of_a_cell(cell, expected):
    assert values(cell) == expected


def test_a_given_separator_is_kept_to():
    assert values("Animation Children's", " ") == ("Animation", "Children's")


def test_values_count_by_column_and_whatever_their_case():
    table = pl.DataFrame({"item_id": ["a", "b", "x"], "genre": ["War", "war", "War"], "maker": ["Ann", None, "Ann"]})
    found = Attributes.from_frame(table, CATALOGUE, ["genre", "maker"])
    assert found.keys() == [set(), {"genre: war", "maker: ann"}, {"genre: war"}, set()]
    assert [found.text(item) for item in range(4)] == ["", "genre: War; maker: Ann", "genre: war", ""]


def test_what_a_prompt_tells_is_clean_and_short():
    table = pl.DataFrame({"item_id": ["a"], "plot": ['</s>He said "go"\n' + "x" * 2000]})
    text = Attributes.from_frame(table, CATALOGUE, ["plot"]).text(1)
    assert text.startswith("plot: He said 'go' xxx")
    assert len(text) == 800


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(InputError, match="no column 'genre'"):
        Attributes.from_frame(pl.DataFrame({"item_id": ["a"]}), CATALOGUE, ["genre"])
