"""LLM4DSR as published, in a run: with a random model, so that what is checked is the plumbing and not the verdicts."""

import json

import polars as pl
import pytest

from seqmend.errors import InputError
from seqmend.ledger import Ledger
from seqmend.report import write_report
from seqmend.study import run

TUNING = {"enabled": True, "windows": 16, "held_out": 4, "lora": {"epochs": 1, "batch_size": 8}}


def settings(tiny_folder, encoder_like_model=True, **llm4dsr):
    return {
        "language": {"model": str(tiny_folder), "encoder": None},
        "denoise": {"method": "llm4dsr", "llm4dsr": {"grounding": "model", "max_new_tokens": 3, **llm4dsr}},
        "seeds": [0],
        "training": {"epochs": 1, "patience": 1},
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_folder, make_log, make_config):
    files = make_log(tmp_path_factory.mktemp("log"), n_users=40)
    out = tmp_path_factory.mktemp("runs") / "published"
    published = {"threshold": 0.05, "above_none": False, "tuning": TUNING}
    config = make_config(*files, **settings(tiny_folder, **published))
    return config, out, run(config, out)


def test_a_run_tunes_asks_and_edits(finished):
    config, out, metrics = finished
    assert (out / "adapter" / "adapter_model.safetensors").exists()
    assert metrics["llm"]["calls"] > 0
    assert "+" in metrics["llm"]["model"]  # the adapter is part of who was asked
    assert metrics["llm"]["windows_asked"] == metrics["llm"]["windows_total"]
    ledger = Ledger.read(out / "ledger.parquet")
    assert len(ledger.filter(status="accepted")) == len(ledger) > 5
    assert all("score" in json.loads(text) for text in ledger.edits["evidence"])
    control = Ledger.read(out / "controls" / "llm_free.parquet")
    assert "llm_free" in json.loads(control.edits["evidence"][0])
    assert {"raw", "random", "llm_free", "mended", "oracle"} == {arm["arm"] for arm in metrics["arms"]}
    assert metrics["detection"]["controls"]["llm_free"]["auroc"] > 0.6
    mended = pl.read_parquet(out / "mended" / "interactions.parquet")
    accepted = ledger.edits.filter(pl.col("view") == "train")
    joined = accepted.join(mended, on=["user_id", "position"])
    assert (joined["item_id"] == joined["item_after"]).all()
    assert write_report(out).exists()
    stages = [stage for stage in json.loads((out / "manifest.json").read_text())["stages"] if not stage["reused"]]
    assert stages
    assert run(config, out) == metrics


def test_a_model_is_needed(log_files, make_config, tiny_folder):
    values = settings(tiny_folder)
    with pytest.raises(InputError, match="need a language model"):
        make_config(*log_files, **{**values, "language": {"model": None, "encoder": None}})


@pytest.mark.slow
def test_the_paper_s_form_edits_single_instances(tmp_path, tiny_folder, make_log, make_config):
    files = make_log(tmp_path, n_users=30)
    training = {"epochs": 3, "patience": 3}
    values = {
        **settings(tiny_folder, mode="paper"),
        "training": training,
        "arms": ["raw", "mended"],
        "noise": {"kind": "uniform", "ratio": 0.4},
    }
    with pytest.raises(InputError, match='set form = "instance"'):
        make_config(*files, **values)
    metrics = run(make_config(*files, **values, form="instance"), tmp_path / "out")
    ledger = Ledger.read(tmp_path / "out" / "ledger.parquet")
    by_view = dict(ledger.edits.group_by("view").agg(pl.col("scope").unique()).iter_rows())
    assert by_view == {"train": ["instance"], "test": ["history"]}
    assert metrics["edits"]["accepted"] > 10
    ranks = [pl.read_parquet(tmp_path / "out" / "stages" / f"ranks-{arm}-0.parquet") for arm in ("raw", "mended")]
    assert not ranks[0]["as_is"].equals(ranks[1]["as_is"])  # what was trained on differs
