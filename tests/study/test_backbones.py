import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from seqmend.errors import InputError, ResourceError
from seqmend.interactions import leave_one_out
from seqmend.recommenders import SASRecConfig, rows_from_sequences
from seqmend.study import BackbonesConfig, backbones, bench_backbones, bench_scaling
from seqmend.study.backbones import generate, last_windows
from seqmend.study.plain_sasrec import PlainSASRec, plain_scores

SIZES = SASRecConfig(embedding_size=8, n_layers=1, n_heads=1, max_length=6)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [(f"u{user}", f"i{(user + step) % 9}", step) for user in range(20) for step in range(12)]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    frame.write_parquet(tmp_path / "interactions.parquet")
    return tmp_path


def test_every_side_is_trained_and_judged(folder):
    threads = torch.get_num_threads()
    figures = bench_backbones(BackbonesConfig(corpus_folder=folder, sizes=SIZES, epochs=3, batch_size=8, n_threads=1))
    assert figures["corpus"]["validation_users"] == 20
    assert list(figures["sides"]) == [
        "seqmend, last windows",
        "seqmend, last windows, float32",
        "seqmend, all windows",
        "plain PyTorch, last windows",
    ]
    for side in figures["sides"].values():
        assert side["epochs"] == 3
        assert side["seconds_per_epoch"] > 0
        assert side["evaluation_seconds"] >= 0
        assert 0 <= side["ndcg@10"] <= 1
    assert [side["rows"] for side in figures["sides"].values()] == [20, 20, 40, 20]
    assert torch.get_num_threads() == threads
    json.dumps(figures, allow_nan=False)


def test_a_framework_that_is_not_there_is_named(folder):
    config = BackbonesConfig(
        corpus_folder=folder, sizes=SIZES, epochs=2, n_threads=1, pythons={"replay": Path(sys.executable)}
    )
    with pytest.raises(ResourceError, match="RePlay cannot be imported"):
        bench_backbones(config)


def test_a_folder_without_a_log_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no interactions\.parquet"):
        bench_backbones(BackbonesConfig(corpus_folder=tmp_path))


def test_the_exponent_is_the_slope_of_the_logarithms(monkeypatch):
    monkeypatch.setattr(
        backbones, "_epoch_seconds_at", lambda size, *_: size["users"] * size["items"] ** 0.5 * size["length"] ** 2
    )
    found = bench_scaling(BackbonesConfig())
    assert {name: row["exponent"] for name, row in found.items()} == {"users": 1, "items": 0.5, "length": 2}


def test_last_windows_are_what_other_frameworks_cut():
    train = leave_one_out(generate(5, 30, 17)).train
    rows = last_windows(rows_from_sequences(train, 6))
    for user, items, targets in zip(rows.user, rows.items, rows.targets, strict=True):
        assert items.tolist() == train[user][-7:-1].tolist()
        assert targets.tolist() == train[user][-6:].tolist()
    assert len(rows) == 5


def test_plain_scores_look_at_the_last_real_column():
    torch.manual_seed(0)
    model = PlainSASRec(9, SIZES).eval()
    windows = np.array([[0, 0, 0, 3, 1, 2], [4, 5, 6, 3, 1, 2]], dtype=np.int32)
    scores = plain_scores(model, windows)
    with torch.inference_mode():
        alone = model(torch.tensor([[3, 1, 2]]))[0, -1] @ model.items.weight.T
    np.testing.assert_allclose(scores[0], alone.numpy(), rtol=1e-4, atol=1e-5)
