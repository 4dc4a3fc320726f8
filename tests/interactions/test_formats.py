import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from seqmend.errors import InputError
from seqmend.interactions.formats import open_table

CSV = "user_id,item_id,timestamp\nu1,i1,10\nu2,é,20\n"
ROWS = [("u1", "i1", "10"), ("u2", "é", "20")]


def rows_of(path, **options):
    table = open_table(path, **options)
    return table.collect(*(pl.col(name) for name in table.columns)).rows()


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|", "::"])
def test_delimiters_are_detected_and_can_be_given(write, delimiter):
    path = write("log.csv", CSV.replace(",", delimiter))
    assert rows_of(path) == ROWS
    assert rows_of(path, delimiter=delimiter) == ROWS


@pytest.mark.parametrize("delimiter", ["^", " ", ":"])
def test_other_delimiters_can_be_given(write, delimiter):
    assert rows_of(write("log.txt", CSV.replace(",", delimiter)), delimiter=delimiter) == ROWS


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (CSV.encode(), None),
        (CSV.encode("utf-8-sig"), None),
        (CSV.encode("utf-16"), None),
        (CSV.encode("utf-16-be"), "utf-16-be"),
        (CSV.encode("latin-1"), "latin-1"),
        (CSV.encode("cp1252"), "cp1252"),
        (CSV.replace("\n", "\r\n").encode(), None),
        (CSV.replace("\n", "\r").encode(), None),
    ],
)
def test_encodings_and_line_ends(write, content, encoding):
    assert rows_of(write("log.csv", content), encoding=encoding) == ROWS
    assert rows_of(write("log.csv.gz", gzip.compress(content)), encoding=encoding) == ROWS


def test_a_file_can_be_read_twice(write):
    table = open_table(write("log.csv", CSV.encode("latin-1")), encoding="latin-1")
    assert table.collect(pl.col("item_id")).equals(table.collect(pl.col("item_id")))


def test_quoted_fields_hold_delimiters_lines_and_quotes(write):
    path = write("log.csv", 'user_id,item_id,timestamp\n"a,b","two\nlines",1\nx,"say ""hi""",2\n')
    assert rows_of(path) == [("a,b", "two\nlines", "1"), ("x", 'say "hi"', "2")]


def test_numbers_stay_text_in_text_files(write):
    assert rows_of(write("log.csv", "user_id,item_id\n007,1e5\n")) == [("007", "1e5")]


def test_fields_beyond_the_header_are_seen(write):
    for name, content in (("log.csv", "a,b\n1,2\n1,2,3,4\n1\n"), ("log.dat", "a::b\n1::2\n1::2::3::4\n1\n")):
        table = open_table(write(name, content))
        assert table.collect(table.surplus.alias("surplus"))["surplus"].to_list() == [None, "3", None]


def test_json_lines_have_the_columns_of_all_lines(write):
    lines = [{"user_id": 1, "item_id": "é"}, {"user_id": 2.0, "extra": [1]}, {"user_id": "3", "item_id": None}]
    content = "\n".join(json.dumps(line) for line in lines) + "\n"
    expected = [("1", "é", None), ("2", None, "[1]"), ("3", None, None)]
    assert rows_of(write("log.jsonl", content)) == expected
    assert rows_of(write("log.json.gz", gzip.compress(content.encode()))) == expected


def test_a_file_name_is_not_a_pattern(write):
    write("log1.csv", CSV)
    assert rows_of(write("log[1].csv", "a,b\n1,2\n")) == [("1", "2")]


REFUSED = {
    "empty": ("log.csv", "", {}, ["the file is empty", "log.csv"]),
    "blank": ("log.csv", "\n \n", {}, ["the file is empty"]),
    "first line empty": ("log.csv", "\na,b\n1,2\n", {}, ["the first line is empty"]),
    "one column": (
        "log.csv",
        "a^b\n1^2\n",
        {},
        ["everything is in one column", "whose first line is 'a^b'", "--delimiter"],
    ),
    "wrong delimiter": (
        *("log.csv", CSV, {"delimiter": ";"}),
        [
            "the delimiter ';' leaves everything in one column",
            "whose first line is 'user_id,item_id,timestamp'",
            "--delimiter ',' seems right: it gives the columns 'user_id', 'item_id', 'timestamp'",
        ],
    ),
    "impossible delimiter": (
        "log.csv",
        CSV,
        {"delimiter": "ab"},
        ["'ab' cannot be a delimiter", "one ASCII character"],
    ),
    "quote as delimiter": ("log.csv", CSV, {"delimiter": '"'}, ["cannot be a delimiter"]),
    "unknown encoding": ("log.csv", CSV, {"encoding": "utf-99"}, ["'utf-99' is no text encoding", "latin-1"]),
    "not a text encoding": ("log.csv", CSV, {"encoding": "base64"}, ["'base64' is no text encoding"]),
    "wrong encoding": ("log.csv", CSV, {"encoding": "ascii"}, ["the text is not ascii"]),
    "latin-1 rows": (
        *("log.csv", CSV.encode("latin-1"), {}),
        ["the byte 0xE9 is not UTF-8 text", "log.csv, line 3, byte 4", "--encoding latin-1"],
    ),
    "latin-1 header": ("log.csv", "a,é\n1,2\n".encode("latin-1"), {}, ["0xE9", "line 1, byte 3"]),
    "utf-16 without mark": (
        "log.csv",
        CSV.encode("utf-16-le"),
        {},
        ["the text holds zero bytes", "--encoding utf-16-le"],
    ),
    "repeated names": ("log.csv", "a,b,a\n1,2,3\n", {}, ["column names occur twice: 'a'"]),
    "unclosed quote": (
        *("log.csv", 'a,b\n1,2\n3,"4\n5,6\n', {}),
        ["the quotes of the text are out of order", "the row that starts at line 3"],
    ),
    "quote inside": ("log.csv", 'a,b\n3,"4"4\n5,6\n', {}, ["the row that starts at line 2", 'doubled ("")']),
    "damaged gzip": ("log.csv.gz", gzip.compress(CSV.encode())[:-12], {}, ["the compressed file is damaged"]),
    "not gzip": ("log.jsonl.gz", "{}", {}, ["the compressed file is damaged", "Not a gzipped file"]),
    "damaged parquet": ("log.parquet", b"PAR1 and nothing else", {}, ["the Parquet file is damaged", "log.parquet"]),
    "compressed parquet": ("log.parquet.gz", b"x", {}, ["files ending in .parquet.gz cannot be read"]),
    "unknown ending": ("log.xlsx", b"x", {}, ["files ending in .xlsx cannot be read", ".csv", ".parquet", ".inter"]),
    "no ending": ("log", b"x", {}, ["files ending in (nothing) cannot be read"]),
    "json array": ("log.json", '[{"user_id": 1}]', {}, ["a line is no JSON object", "log.json, line 1"]),
    "broken json": (
        "log.jsonl",
        '{"user_id": 1}\n{"user_id":\n',
        {},
        ["a line is no JSON object", "log.jsonl, line 2"],
    ),
    "late broken json": (
        *("log.jsonl", '{"user_id": 1}\n' * 1500 + "oops\n", {}),
        ["a line is no JSON object", "log.jsonl, line 1501"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unusable_files_are_refused_with_the_reason(write, case):
    name, content, options, fragments = REFUSED[case]
    with pytest.raises(InputError) as caught:
        rows_of(write(name, content), **options)
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_a_missing_file_suggests_its_neighbours(write):
    path = write("interactions.csv", CSV)
    with pytest.raises(InputError, match=r"there is no such file[^?]*did you mean interactions\.csv\?"):
        open_table(path.with_name("interaction.csv"))
    with pytest.raises(InputError, match="its folder is absent too"):
        open_table(path.parent / "nowhere" / "log.csv")


def test_a_folder_is_refused_and_shows_what_is_in_it(write):
    folder = write("log.parquet", b"").parent
    with pytest.raises(InputError, match=r"this is a folder, not a file[\s\S]*name a file in it: log\.parquet"):
        open_table(folder)


def test_a_file_without_permission_is_refused(write, monkeypatch):
    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    path = write("log.csv", CSV)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match="the file may not be read"):
        open_table(path)
