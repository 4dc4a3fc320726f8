import json

import polars as pl
import pytest

from seqmend.ledger import Ledger

SMALL = (
    "--set", "backbone.embedding_size=8", "--set", "backbone.n_layers=1", "--set", "backbone.max_length=12",
    "--set", "training.epochs=1", "--set", "language.encoder=none", "--set", "augment.sample_users=3",
)  # fmt: skip


@pytest.fixture
def short_files(make_log, tmp_path):
    folder = tmp_path / "log"
    folder.mkdir()
    return make_log(folder, n_users=12, length=6)


def test_a_log_is_augmented_and_its_ledger_carried_out(seqmend, short_files, tmp_path, tiny_folder):
    interactions, items = short_files
    out = tmp_path / "found" / "ledger.parquet"
    data = ("--interactions", interactions, "--items", items)
    command = ("augment", *data, "--model", tiny_folder, *SMALL, "--pseudo-items", 3)
    code, said, _ = seqmend(*command, "--dry-run", "--rate", 100, "--json", tmp_path / "cost.json")
    assert code == 0
    assert "12 users would be augmented" in said
    forecast = json.loads((tmp_path / "cost.json").read_text())
    assert not out.parent.exists()

    code, said, _ = seqmend(*command, "--dry-run", "--model", "none")
    assert (code, "12 users would be augmented; no language model is asked" in said) == (0, True)

    code, said, _ = seqmend(*command, "--out", out, "--json", tmp_path / "said.json")
    assert code == 0
    assert "Pseudo items: 36" in said
    figures = json.loads((tmp_path / "said.json").read_text())
    assert figures["llm"]["calls"] <= forecast["total"]["calls"] == 48  # the titles
    assert "Weights in the pool: recommender" in said
    assert (Ledger.read(out).edits["kind"] == "prepend").all()
    assert len(pl.read_parquet(out.parent / "users.parquet")) == 12

    code, _, _ = seqmend("apply", out, *data, "--out", tmp_path / "longer.csv")
    assert code == 0
    assert len(pl.read_csv(tmp_path / "longer.csv")) == 12 * (6 + 3)


def test_what_cannot_be_augmented_leaves_nothing(seqmend, short_files, tmp_path, tiny_folder):
    interactions, items = short_files
    data = ("--interactions", interactions, "--items", items, "--model", tiny_folder, *SMALL)
    before = sorted(tmp_path.rglob("*"))
    out = ("--out", tmp_path / "new.parquet")
    wrong = [
        ((*data, "--set", "noise.kind=uniform", *out), "leave [noise] out"),
        ((*data, "--set", "augment.n_item=1", *out), "n_items"),
        ((*data, "--set", "augment.decay=2", *out), "augment.decay"),
        ((*data, "--pseudo-items", 0, *out), "augment.n_items"),
        ((*data, "--out", tmp_path / "new.csv"), "ending in .parquet"),
        ((*data, "--dry-run", "--set", "augment.mode=paper"), "cannot be foreseen"),
        ((*data, "--dry-run", "--rate", 0), "no rate"),
    ]
    for arguments, message in wrong:
        code, _, err = seqmend("augment", *arguments)
        assert (code, message in err) == (2, True), (message, err)
    assert sorted(tmp_path.rglob("*")) == before
