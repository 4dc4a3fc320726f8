import json

import polars as pl
import pytest

from seqmend.interactions import read_log
from seqmend.ledger import Ledger
from seqmend.study import run

LOG = [("ann", "a", 1), ("ann", "b", 2), ("ann", "c", 3), ("bob", "b", 1), ("bob", "d", 2), ("cat", "a", 5)]


@pytest.fixture
def small(tmp_path):
    """A log of three users with its items, and the folder."""
    pl.DataFrame(LOG, schema=["user_id", "item_id", "timestamp"], orient="row").write_csv(tmp_path / "log.csv")
    pl.DataFrame({"item_id": list("abcde"), "title": ["Alien", "Brazil", None, "Dune", "Eden"]}).write_csv(
        tmp_path / "items.csv"
    )
    return tmp_path


def ledger_of(folder, kind, **columns):
    """Two proposals (bob's second, cat's only interaction) and one rejected edit, written beside the log."""
    sequences = read_log(folder / "log.csv", folder / "items.csv").sequences
    edits = {
        "user_id": ["bob", "cat", "ann"],
        "position": [1, 0, 0],
        "confidence": [0.9, 0.6, 0.4],
        "item_after": ["e", "e", "e"] if kind == "replace" else [None] * 3,
        "weight": [0.1, 0.4, 0.6] if kind == "reweight" else [None] * 3,
        **columns,
    }
    frame = pl.DataFrame(edits, schema_overrides={"item_after": pl.String, "weight": pl.Float64})
    ledger = Ledger.propose(frame.with_columns(view=pl.lit("train"), kind=pl.lit(kind)), sequences, "denoise")
    ledger.accept(0.5).write(folder / "ledger.parquet")
    ledger.write(folder / "proposed.parquet")


def data_of(folder, log="log.csv"):
    return "--interactions", folder / log, "--items", folder / "items.csv"


@pytest.mark.parametrize("kind", ["replace", "delete", "mask", "reweight"])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_ledger_is_carried_out_and_undone(seqmend, small, kind, ending):
    ledger_of(small, kind)
    mended, back = small / f"mended.{ending}", small / f"back.{ending}"
    code, out, _ = seqmend("apply", small / "ledger.parquet", *data_of(small), "--out", mended)
    assert code == 0
    assert "2 edits carried out" in out
    frame = pl.read_csv(mended) if ending == "csv" else pl.read_parquet(mended)
    rows = {(user, position): item for user, position, item in frame.select("user_id", "position", "item_id").rows()}
    expected = {"replace": "e", "delete": "gone", "mask": None, "reweight": "d"}
    assert rows.get(("bob", 1), "gone") == expected[kind]
    assert ("weight" in frame.columns) == (kind == "reweight")
    data = data_of(small, mended.name)
    code, out, _ = seqmend("apply", small / "ledger.parquet", *data, "--undo", "--out", back)
    assert code == 0
    original = read_log(small / "log.csv", small / "items.csv").sequences
    assert read_log(back, small / "items.csv").sequences.fingerprint == original.fingerprint


def test_a_threshold_and_a_status_choose_the_edits(seqmend, small):
    ledger_of(small, "delete")

    def left(ledger, *options):
        code, _, _ = seqmend("apply", small / ledger, *data_of(small), "--out", small / "mended.csv", *options)
        assert code == 0
        return len(pl.read_csv(small / "mended.csv"))

    assert left("ledger.parquet") == len(LOG) - 2
    assert left("ledger.parquet", "--threshold", 0.8) == len(LOG) - 1
    assert left("ledger.parquet", "--view", "test") == len(LOG)
    assert left("proposed.parquet") == len(LOG)
    assert left("proposed.parquet", "--status", "proposed") == len(LOG) - 3
    assert left("proposed.parquet", "--status", "proposed", "--threshold", 0.5) == len(LOG) - 2


def test_what_does_not_fit_is_refused_and_leaves_nothing(seqmend, small):
    ledger_of(small, "replace")
    (small / "other.csv").write_text((small / "log.csv").read_text().replace("cat,a", "cat,b"))
    ledger = small / "ledger.parquet"
    seqmend("apply", ledger, *data_of(small), "--out", small / "mended.csv")
    before = sorted(small.iterdir())
    wrong = [
        ((ledger, *data_of(small, "other.csv")), "proposed for other data"),
        ((small / "log.csv", *data_of(small)), "cannot read the ledger"),
        ((ledger, *data_of(small), "--status", "maybe"), "accepted or proposed"),
        ((ledger, *data_of(small), "--view", "all"), "train, valid, test"),
        ((ledger,), "no data"),
        ((ledger, "--interactions", small / "log.csv"), "proposed for other data"),
        ((ledger, *data_of(small), "--undo"), "position is missing"),
        ((ledger, *data_of(small, "mended.csv"), "--undo", "--threshold", 0.8), "does not give the log"),
        ((ledger, "--interactions", small / "mended.csv", "--undo"), "--items"),
    ]
    for arguments, message in wrong:
        code, _, err = seqmend("apply", *arguments, "--out", small / "new.csv")
        assert (code, message in err) == (2, True), (message, err)
    code, _, err = seqmend("apply", ledger, *data_of(small), "--out", small / "new.xlsx")
    assert (code, "ending in .parquet, .csv, .tsv" in err) == (2, True)
    assert sorted(small.iterdir()) == before


def test_a_log_is_judged_by_itself(seqmend, noisy_files, tmp_path, tiny_folder):
    interactions, items = noisy_files
    out = tmp_path / "found" / "ledger.parquet"
    less = (
        "--set",
        "denoise.tuning_windows=50",
        "--set",
        "denoise.language_windows=10",
        "--set",
        "language.encoder=none",
    )
    command = ("denoise", "--interactions", interactions, "--items", items, "--model", tiny_folder, *less, "--out", out)
    code, said, _ = seqmend(*command, "--threshold", 0.3, "--json", tmp_path / "said.json")
    assert code == 0
    assert "Language model read" in said
    ledger = Ledger.read(out)
    assert set(ledger.edits["view"]) == {"train", "test"}
    deleted = ledger.edits.filter(pl.col("kind") == "delete")
    assert deleted["confidence"].min() >= 0.3
    figures = json.loads((tmp_path / "said.json").read_text())
    assert figures["views"]["train"]["reweighted"] == len(ledger) - len(deleted) > 10
    assert figures["views"]["train"]["accepted"] == len(deleted.filter(pl.col("view") == "train")) > 10
    assert sorted(file.name for file in out.parent.iterdir()) == ["ledger.journal.sqlite", "ledger.parquet"]

    seqmend(*command, "--threshold", 0.6, "--json", tmp_path / "again.json")
    again = json.loads((tmp_path / "again.json").read_text())
    assert (again["llm"]["calls"], again["noise_rate"]) == (0, figures["noise_rate"])
    assert again["views"]["train"]["accepted"] < figures["views"]["train"]["accepted"]

    code, _, _ = seqmend("apply", out, "--interactions", interactions, "--items", items, "--out", tmp_path / "m.csv")
    assert code == 0


def test_a_log_that_cannot_be_judged_leaves_nothing(seqmend, small, tiny_folder):
    before = sorted(small.iterdir())
    out = small / "new.parquet"
    wrong = [
        ((*data_of(small), "--model", tiny_folder, "--set", "language.encoder=none"), "too few to learn"),
        ((*data_of(small), "--set", "noise.kind=uniform"), "leave [noise] out"),
        ((*data_of(small), "--set", "denoise.treshold=1"), "threshold"),
        ((*data_of(small), "--set", "language.max_money=1"), "prompt_price"),
    ]
    for arguments, message in wrong:
        code, _, err = seqmend("denoise", *arguments, "--out", out)
        assert (code, message in err) == (2, True), (message, err)
    code, _, err = seqmend("denoise", *data_of(small), "--out", small / "new.csv")
    assert (code, "ending in .parquet" in err) == (2, True)
    assert sorted(small.iterdir()) == before


@pytest.fixture(scope="module")
def finished(log_files, make_config, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "small"
    run(make_config(*log_files, seeds=[0], arms=["raw", "mended"], training={"epochs": 1}), out)
    return out


@pytest.mark.parametrize("format_", ["parquet", "csv", "recbole", "rectools", "rectools-csv"])
def test_a_mended_log_is_exported(seqmend, finished, tmp_path, format_):
    code, _, _ = seqmend("export", finished, "--format", format_, "--out", tmp_path / "toys")
    assert code == 0
    interactions, items = sorted((tmp_path / "toys").iterdir(), key=lambda file: "inter" not in file.name)
    order = "file" if format_ == "rectools-csv" else "time"
    exported = read_log(interactions, items, keep_repeats=True, order=order).sequences.to_frame()
    mended = pl.read_parquet(finished / "mended" / "interactions.parquet")
    in_order = [
        frame.select("user_id", pl.col("position").rank("ordinal").over("user_id"), "item_id", "title")
        for frame in (exported, mended)
    ]
    assert in_order[0].sort("user_id", "position").equals(in_order[1].sort("user_id", "position"))
    weights = pl.read_csv(interactions, separator="\t") if format_ == "recbole" else None
    if weights is not None:
        assert 0 < weights["weight:float"].min() < 1


def test_export_refuses_what_it_does_not_know(seqmend, finished, tmp_path):
    before = sorted(finished.rglob("*"))
    assert "expected: recbole" in seqmend("export", finished, "--format", "tfrecord")[2]
    code, _, err = seqmend("export", tmp_path, "--format", "csv")
    assert (code, "not a finished run" in err) == (2, True)
    assert sorted(finished.rglob("*")) == before
    assert "no loss weights" in seqmend("export", finished, "--format", "replay")[2]


def test_runs_are_compared(seqmend, finished, make_config, noisy_files, tmp_path):
    config = make_config(*noisy_files, noise=None, seeds=[0], arms=["raw", "mended"], training={"epochs": 1})
    run(config, tmp_path / "other")
    code, out, _ = seqmend("compare", finished, tmp_path / "other", "--json", tmp_path / "figures.json")
    assert code == 0
    assert "compare within a run only" in out
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert [arm["arm"] for arm in figures["arms"]] == ["raw", "mended", "mended"] * 2
    one = json.loads((finished / "metrics.json").read_text())["arms"][0]
    assert figures["arms"][0]["metrics"] == one["metrics"]
    assert "within a run" not in seqmend("compare", finished, finished)[1]
    code, _, err = seqmend("compare", finished, tmp_path)
    assert (code, "no metrics.json in it" in err) == (2, True)
