import json

import pytest
from typer.testing import CliRunner

from seqmend.cli import app
from seqmend.errors import InputError
from seqmend.study import bench_scoring, windows_of_titles

WINDOWS = [
    ["Toy Story", "The Lion King", "A Bug's Life", "Munchkin, a card game"],
    ["Amélie", "Seven", "Seven", "Construction Puzzle (24 pieces)"],
    ["七人の侍", "Toy Story"],
]


@pytest.fixture(scope="module")
def figures(tiny_folder):
    return bench_scoring(str(tiny_folder), WINDOWS, dtype="float32", threads=1, repeats=1)


@pytest.mark.parametrize("workload", ["question", "passage"])
def test_both_ways_give_the_same_scores(figures, workload):
    assert figures["workloads"][workload]["max_difference"] < 1e-3


def test_a_shared_prompt_is_read_once_and_the_reference_reads_it_for_every_title(figures):
    question, passage = figures["workloads"]["question"], figures["workloads"]["passage"]
    assert question["seqmend"]["tokens"] < question["reference"]["tokens"] / 2
    assert passage["seqmend"]["tokens"] <= passage["reference"]["tokens"]


def test_rates_follow_from_seconds_and_work(figures):
    assert figures["peak_flops"] > 0
    for sides in figures["workloads"].values():
        assert sides["ratio"] == pytest.approx(sides["reference"]["seconds"] / sides["seqmend"]["seconds"])
        for side in ("reference", "seqmend"):
            row = sides[side]
            assert row["windows_per_second"] * row["seconds"] == pytest.approx(len(WINDOWS))
            assert row["tokens_per_second"] * row["seconds"] == pytest.approx(row["tokens"])
            assert 0 < row["utilisation"] < 1


def test_windows_come_from_a_folder(tmp_path, log_files):
    import polars as pl

    interactions, items = log_files
    pl.read_csv(interactions).write_parquet(tmp_path / "interactions.parquet")
    pl.read_csv(items).write_parquet(tmp_path / "items.parquet")
    windows = windows_of_titles(tmp_path, 5)
    assert [len(window) for window in windows] == [10] * 5
    known = set(pl.read_csv(items)["title"])
    assert all(title in known for window in windows for title in window)
    assert windows == windows_of_titles(tmp_path, 5)


def test_no_windows_are_refused(tiny_folder):
    with pytest.raises(InputError, match="no windows"):
        bench_scoring(str(tiny_folder), [])


def test_the_command_prints_what_it_writes(tmp_path, log_files, tiny_folder):
    import polars as pl

    interactions, items = log_files
    pl.read_csv(interactions).write_parquet(tmp_path / "interactions.parquet")
    pl.read_csv(items).write_parquet(tmp_path / "items.parquet")
    options = ["--model", str(tiny_folder), "--windows", "2", "--repeats", "1", "--dtype", "float32", "--threads", "1"]
    result = CliRunner().invoke(app, ["bench", "scoring", str(tmp_path), *options, "--json", str(tmp_path / "f.json")])
    assert result.exit_code == 0, result.output
    ratio = json.loads((tmp_path / "f.json").read_text())["workloads"]["question"]["ratio"]
    assert f"{ratio:.1f}" in result.output
