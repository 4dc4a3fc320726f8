import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from seqmend.errors import InputError
from seqmend.ledger import Ledger
from seqmend.report import write_report
from seqmend.study import run


@pytest.fixture(scope="module")
def finished(log_files, tmp_path_factory, tiny_folder, make_config):
    out = tmp_path_factory.mktemp("runs") / "small"
    language = {"model": str(tiny_folder), "encoder": None, "test_windows": 5}
    denoise = {"networks": True, "tuning_windows": 50, "language_windows": 20, "noise_rate": 0.1, "threshold": 0.3}
    config = make_config(*log_files, language=language, denoise=denoise)
    return config, out, run(config, out)


def test_the_run_directory_holds_what_the_contract_says(finished):
    _, out, metrics = finished
    write_report(out)
    for name in ("config.toml", "manifest.json", "quarantine.parquet", "ledger.parquet", "noise_truth.parquet"):
        assert (out / name).exists(), name
    assert not [f for f in out.rglob("*") if f.suffix in (".pkl", ".pt", ".bin", ".tmp")]
    arms = {(arm["arm"], arm["test_history"]) for arm in metrics["arms"]}
    assert {("raw", "as_is"), ("mended", "as_is"), ("mended", "mended"), ("oracle", "mended")} <= arms
    for comparison in metrics["comparisons"]:
        assert comparison["ci95"][0] <= comparison["difference"] <= comparison["ci95"][1]
    for share in metrics["recovered_share"]:
        assert share["value"] is not None or share["reason"]
    manifest = json.loads((out / "manifest.json").read_text())
    assert {"versions", "seeds", "inputs", "device", "stages"} <= set(manifest)
    assert metrics["llm"]["calls"] > 0
    assert metrics["detection"]["auroc"] > 0.8
    assert set(metrics["detection"]["controls"]) >= {"llm_free", "popularity", "co-occurrence"}


def test_the_checker_of_the_contract_agrees(finished):
    checker = Path(__file__).parents[3] / "shared" / "check_run.py"
    if not checker.exists():
        checker = Path(os.environ.get("SEQMEND_CHECK_RUN", "/nonexistent"))
    _, out, _ = finished
    write_report(out)
    if checker.exists():
        done = subprocess.run([sys.executable, str(checker), str(out)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
    else:
        assert json.loads((out / "metrics.json").read_text())["schema"] == 1


def test_edits_are_applied_to_training_alone_and_the_ledger_undoes_them(finished):
    _, out, _ = finished
    ledger = Ledger.read(out / "ledger.parquet")
    mended = pl.read_parquet(out / "mended" / "interactions.parquet")
    accepted = ledger.edits.filter((pl.col("status") == "accepted") & (pl.col("view") == "train"))
    assert len(accepted) > 20
    joined = accepted.join(mended, on=["user_id", "position"])
    assert (joined["item_id"] == joined["item_after"]).all()
    last = mended.group_by("user_id").agg(pl.col("position").max().alias("last"))
    assert (accepted.join(last, on="user_id").select(pl.col("last") - pl.col("position")).to_series() >= 2).all()


def test_a_second_run_computes_nothing_again_and_says_the_same(finished):
    config, out, metrics = finished
    begin = time.monotonic()
    again = run(config, out)
    assert time.monotonic() - begin < 20
    assert again == metrics
    stages = json.loads((out / "manifest.json").read_text())["stages"]
    assert all(stage["reused"] for stage in stages)


def test_a_changed_setting_redoes_only_what_it_changes(finished, log_files):
    config, out, _ = finished
    changed = config.model_copy(update={"seeds": (0, 1, 2)})
    run(changed, out)
    stages = json.loads((out / "manifest.json").read_text())["stages"]
    redone = {stage["name"] for stage in stages if not stage["reused"]}
    assert redone
    assert all(name.endswith(" 2") for name in redone)


def test_another_model_in_the_same_folder_is_asked_anew(tmp_path, make_log, make_config, tiny_folder):
    model = tmp_path / "model"
    shutil.copytree(tiny_folder, model)
    config = make_config(
        *make_log(tmp_path, n_users=40, length=8),
        language={"model": str(model), "encoder": None},
        denoise={"tuning_windows": 50, "language_windows": 0, "corruption_rounds": 6},
        training={"epochs": 1},
        seeds=[0],
        arms=["raw", "mended"],
    )
    asked = run(config, tmp_path / "run")["llm"]["calls"]
    assert asked > 0
    assert run(config, tmp_path / "run")["llm"]["calls"] == asked  # the stage's, kept
    settings = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(settings | {"revision": "second"}))
    run(config, tmp_path / "run")
    stages = json.loads((tmp_path / "run" / "manifest.json").read_text())["stages"]
    assert not next(stage for stage in stages if stage["name"] == "denoise")["reused"]


def test_the_folder_of_a_run_on_other_data_is_refused(finished, tmp_path, make_log, make_config):
    _, out, _ = finished
    interactions, items = make_log(tmp_path, n_users=60)
    with pytest.raises(InputError, match="run on other data"):
        run(make_config(interactions, items), out)


def test_a_folder_with_something_else_is_refused(log_files, tmp_path, make_config):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="something else than a run"):
        run(make_config(*log_files), tmp_path)
    assert [f.name for f in tmp_path.iterdir()] == ["thesis.txt"]


def test_without_noise_there_is_no_truth_and_no_oracle(log_files, tmp_path, make_config):
    config = make_config(*log_files, noise=None, seeds=[0], arms=["raw", "mended", "oracle"])
    metrics = run(config, tmp_path / "out")
    assert "detection" not in metrics
    assert {arm["arm"] for arm in metrics["arms"]} == {"raw", "mended"}
    assert not (tmp_path / "out" / "noise_truth.parquet").exists()
    assert write_report(tmp_path / "out").exists()


def test_global_time_with_several_targets_per_user(log_files, tmp_path, make_config):
    config = make_config(*log_files, split="global-time", seeds=[0])
    metrics = run(config, tmp_path / "out")
    assert {arm["metrics"]["n"] for arm in metrics["arms"]} == {metrics["dataset"]["test_targets"]}


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.5, 3.0])
def test_a_run_killed_at_any_moment_resumes_to_the_same_result(log_files, tmp_path, make_config, delay):
    script = (
        "import sys; from pathlib import Path; from seqmend.study import run, RunConfig;"
        "run(RunConfig.read(Path(sys.argv[1])), Path(sys.argv[2]))"
    )
    config = make_config(*log_files, denoise={"networks": True})
    config.write(tmp_path / "config.toml")
    whole = run(config, tmp_path / "whole")
    victim = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "config.toml"), str(tmp_path / "killed")])
    deadline = time.monotonic() + 60
    while not (tmp_path / "killed" / "manifest.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(delay)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert run(config, tmp_path / "killed") == whole
