import json

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from seqmend.cli import app
from seqmend.errors import InputError
from seqmend.interactions import Catalogue
from seqmend.llm import Usage
from seqmend.study import bench_scorers
from seqmend.study.scorers import WAYS, title_likeness

N_USERS, N_ITEMS, KINDS = 240, 1600, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Laid out like llm4dsr-toy; every user stays within one kind of item, but for the noise."""
    root = tmp_path_factory.mktemp("toy")
    rng = np.random.default_rng(0)
    pl.DataFrame(
        {
            "item_id": [str(i) for i in range(1, N_ITEMS + 1)],
            "title": [f"kind {i % KINDS} thing {i}" for i in range(N_ITEMS)],
        }
    ).write_parquet(root / "items.parquet")
    splits = root / "official_splits" / "noise_user0.1"
    splits.mkdir(parents=True)
    rows = []
    for user in range(N_USERS):
        true = rng.choice(np.arange(user % KINDS, N_ITEMS, KINDS), 11, replace=False) + 1
        mask = (rng.random(11) < 0.1) & (np.arange(11) < 10)
        items = np.where(mask, rng.integers(1, N_ITEMS + 1, 11), true)
        rows.append((user, items.tolist(), mask.astype(int).tolist(), user))
    frame = pl.DataFrame(rows, schema=["user_id", "item_ids", "mask", "timestamp"], orient="row")
    frame.head(160).write_parquet(splits / "train_5000.parquet")
    frame.slice(160, 40).write_parquet(splits / "valid.parquet")
    frame.tail(40).write_parquet(splits / "test.parquet")
    return root


class KindModel:
    """Knows what kind every title is of."""

    identity = "kinds"
    usage = Usage()

    def embed(self, texts):
        self.usage.calls += len(texts)
        kinds = np.array([int(text.split()[1]) for text in texts])
        return np.eye(KINDS, dtype=np.float32)[kinds] + 1e-3 * np.random.default_rng(0).random(
            (len(texts), KINDS), np.float32
        )


def knowing(items, catalogue, model):
    """How many others of the window are of the same kind."""
    kinds = np.where(items > 0, (items - 1) % KINDS, -1)
    return (kinds[:, :, None] == kinds[:, None, :]).sum(2) * (items > 0) * 1.0


def guessing(items, catalogue, model):
    return np.random.default_rng(1).random(items.shape)


@pytest.fixture(scope="module")
def figures(folder):
    ways = {"knowing": knowing, "guessing": guessing, "titles": title_likeness}
    return bench_scorers(folder, {"kinds": KindModel()}, encoder=None, ways=ways, tuning_windows=60)


def test_a_way_that_knows_gains_and_one_that_guesses_does_not(figures):
    ways = figures["models"]["kinds"]
    assert ways["knowing"]["auroc_alone"] > 0.85 > 0.7 > ways["guessing"]["auroc_alone"]
    assert ways["knowing"]["trust"] > 0
    assert ways["knowing"]["gain"]["difference"] >= ways["guessing"]["gain"]["difference"]
    for row in ways.values():
        low, high = row["gain"]["ci95"]
        assert low <= row["gain"]["difference"] <= high
        assert row["auroc_fused"] - figures["llm_free"]["auroc"] == pytest.approx(row["gain"]["difference"])


def test_what_is_asked_once_per_item_is_counted_once(figures):
    assert figures["models"]["kinds"]["titles"]["calls"] <= N_ITEMS
    assert (figures["n_windows"], figures["n_positions"]) == (40, 400)


def test_the_truth_is_read_by_the_judge_alone(folder, figures, with_inverted_masks):
    after = bench_scorers(
        with_inverted_masks(folder), {"kinds": KindModel()}, encoder=None, ways={"knowing": knowing}, tuning_windows=60
    )
    before, now = figures["models"]["kinds"]["knowing"], after["models"]["kinds"]["knowing"]
    assert now["auroc_alone"] == pytest.approx(1 - before["auroc_alone"])
    assert now["trust"] == before["trust"]


def test_titles_that_are_like_no_other_are_the_lowest():
    catalogue = Catalogue.from_titles({str(i): f"kind {i % 2} thing {i}" for i in range(8)} | {"x": None})
    items = np.array([[0, 1, 3, 5, 2], [0, 0, 0, 0, 4], [9, 1, 3, 0, 0]], dtype=np.int32)
    found = title_likeness(items, catalogue, KindModel())
    assert found.shape == items.shape
    assert found[0, 4] < found[0, 1:4].min()
    assert not found[items == 0].any()
    assert found[1, 4] == 0
    assert found[2, 0] == 0 < found[2, 1]


def test_a_real_model_is_asked_in_every_way(folder, tiny_folder, tmp_path, monkeypatch):
    from seqmend.study import scorers

    monkeypatch.setattr(scorers.SentenceEncoder, "load", lambda *_: None)
    options = ["--model", str(tiny_folder), "--windows", "12", "--tuning-windows", "50", "--split", "test"]
    monkeypatch.setattr(scorers.assets, "resolve", lambda *_: tiny_folder)
    result = CliRunner().invoke(app, ["bench", "scorers", str(folder), *options, "--json", str(tmp_path / "f.json")])
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "f.json").read_text())
    ways = figures["models"][str(tiny_folder)]
    assert set(ways) == set(WAYS)
    assert all(row["prompt_tokens"] > 0 for row in ways.values())
    assert "tuned" not in figures
    assert figures["split"] == "test"
    assert figures["n_windows"] == 12


def test_a_tuned_model_is_asked_beside_the_untuned(folder, tiny_folder, tmp_path, monkeypatch):
    from seqmend.study import scorers

    monkeypatch.setattr(scorers.SentenceEncoder, "load", lambda *_: None)
    monkeypatch.setattr(scorers.assets, "resolve", lambda *_: tiny_folder)
    lesson = {"windows": 8, "held_out": 2, "lora": {"epochs": 1, "batch_size": 4, "learning_rate": 0.01}}
    found = scorers.bench_scorers_by_name(folder, (str(tiny_folder),), "test", 8, 50, tmp_path / "adapters", lesson)
    untuned, tuned = (found["models"][name] for name in (str(tiny_folder), f"{tiny_folder}, tuned"))
    assert set(tuned) == set(scorers.PUBLISHED)
    assert tuned["LLM4DSR full_title"]["prompt_tokens"] == untuned["LLM4DSR full_title"]["prompt_tokens"]
    assert tuned["LLM4DSR full_title"]["auroc_alone"] != untuned["LLM4DSR full_title"]["auroc_alone"]
    assert found["tuned"]["lesson"]["windows"] == 8
    assert (tmp_path / "adapters" / tiny_folder.name).is_dir()


def test_a_missing_folder_is_refused(tmp_path):
    result = CliRunner().invoke(app, ["bench", "scorers", str(tmp_path / "nowhere")])
    assert isinstance(result.exception, InputError)
