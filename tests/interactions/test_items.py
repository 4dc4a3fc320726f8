import polars as pl
import pytest

from seqmend.errors import InputError
from seqmend.interactions import ColumnNames, read_items


def test_items_are_numbered_by_id_and_keep_their_titles_as_written(write):
    listing = read_items(
        write("items.csv", 'movieId,title,genres\n2,"Tom &amp; Jerry, again",x\n10,  ,y\n1,Amélie,z\n')
    )
    assert listing.catalogue.item_ids.to_list() == ["", "1", "10", "2"]
    assert listing.catalogue.titles.to_list() == [None, "Amélie", None, "Tom &amp; Jerry, again"]
    assert listing.columns == {"item_id": "movieId", "title": "title"}
    assert listing.quarantine.is_empty()


def test_an_item_listed_again_keeps_its_first_title_and_is_set_aside(write):
    path = write("items.csv", "item_id,title\na,\na,First\na,Second\n,Nothing\nb,B,surplus\n")
    listing = read_items(path)
    assert listing.catalogue.item_ids.to_list() == ["", "a"]
    assert listing.catalogue.titles.to_list() == [None, "First"]
    assert listing.quarantine.rows() == [
        (str(path), 2, "item_id", "a", "item listed again"),
        (str(path), 3, "item_id", "a", "item listed again"),
        (str(path), 4, "item_id", None, "missing item id"),
        (str(path), 5, None, "surplus", "too many fields"),
    ]


def test_recbole_items_are_not_quoted(write):
    path = write("ml.item", 'item_id:token\tmovie_title:token_seq\tyear:token\n1\t"Weird Al"\t1989\n')
    assert read_items(path).catalogue.titles.to_list() == [None, '"Weird Al"']


def test_a_named_title_column_is_taken(write):
    path = write("items.csv", "item_id,title,title_original\na,T,O\n")
    assert read_items(path, columns=ColumnNames(title="title_original")).catalogue.titles[1] == "O"


def test_the_logs_name_of_the_item_column_need_not_be_that_of_the_item_file(write):
    assert len(read_items(write("items.csv", "sku,name\na,T\n"), columns=ColumnNames(item_id="thing")).catalogue) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("items.csv", "item_id,film\na,T\n", "no column holds the titles"),
        ("items.csv", "item_id,title\n", "a header and no rows"),
        ("items.csv", "item_id,title\n,T\nnan,T\n", "no row of the item file has an item id"),
    ],
)
def test_unusable_item_files_are_refused(write, name, content, message):
    with pytest.raises(InputError, match=message):
        read_items(write(name, content))


def test_titles_that_are_lists_are_refused(tmp_path):
    pl.DataFrame({"item_id": ["a"], "title": [["x", "y"]]}).write_parquet(tmp_path / "items.parquet")
    with pytest.raises(InputError, match=r"the column 'title' has the type List\(String\)"):
        read_items(tmp_path / "items.parquet")
