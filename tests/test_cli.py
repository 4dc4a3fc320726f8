import json
import os
import signal
import subprocess
import sys
import time

import pytest


@pytest.fixture
def log_file(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("User ID,productId,ts,title\nann,a,3,Alien\nann,b,1,Brazil\nbob,a,,Alien\n")
    return path


def test_check_says_what_was_read_and_what_was_set_aside(seqmend, log_file):
    code, out, _ = seqmend("check", log_file)
    assert code == 0
    assert "First rows set aside" in out
    code, out, _ = seqmend("check", log_file, "--json")
    summary = json.loads(out)
    assert (summary["users"], summary["interactions"]) == (1, 2)
    assert sum(summary["quarantined"].values()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "nowhere.csv"], "nowhere.csv"),
        (["check", "."], "folder"),
        (["run"], "no data"),
        (["run", "--corpus", "movielens-100"], "movielens-100k"),
        (["run", "nowhere.toml"], "cannot read the configuration"),
        (["run", "movielens-100k"], "a known corpus behind --corpus"),
        (["correct", "log.csv"], "a log goes behind --interactions"),
        (["bench", "detect", "nowhere", "--model", "none"], "no such folder"),
        (
            ["bench", "detect", ".", "--train", "medium"],
            "Invalid value for '--train': 'medium' is not one of 'small', 'full'",
        ),
        (["frobnicate"], "frobnicate"),
        (["check"], "Missing argument"),
        (["models", "fetch", "smollm"], "smollm2-135m"),
        (["report", "."], "run"),
        (["train", "--out", "out"], "no data"),
        (["train", "--out", "out", "--corpus", "movielens-100k", "--backbone", "sasrek"], "sasrec"),
        (["train", "--out", "out", "--corpus", "movielens-100k", "--set", "backbone.dropuot=0.1"], "dropout"),
        (["train", "--out", "out", "--corpus", "movielens-100k", "--set", "backbone"], "KEY=VALUE"),
        (["evaluate", "nowhere", "--corpus", "movielens-100k", "--part", "train"], "valid or test"),
        (["evaluate", "nowhere"], "no data"),
    ],
)
def test_wrong_use_is_one_message_and_exit_code_2(seqmend, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, _, err = seqmend(*arguments)
    assert code == 2
    assert message in " ".join(err.split())
    assert "Traceback" not in err
    assert not any(tmp_path.iterdir())


def test_a_defect_is_one_message_without_a_traceback_unless_asked_for(seqmend, monkeypatch, log_file):
    def broken(*_):
        raise RuntimeError("gears [grind]")

    monkeypatch.setattr("seqmend.study.read_data", broken)
    code, _, err = seqmend("check", log_file)
    assert (code, "gears [grind]" in err, "Traceback" in err) == (1, True, False)
    with pytest.raises(RuntimeError):
        seqmend("--debug", "check", log_file)


def test_the_lists_name_the_embedded_defaults(seqmend, tmp_path, monkeypatch):
    monkeypatch.setenv("SEQMEND_CACHE", str(tmp_path / "cache"))
    _, models, _ = seqmend("models")
    _, corpora, _ = seqmend("data", "list")
    assert "smollm2-135m" in models
    assert "minilm-l6" in models
    assert "movielens-100k" in corpora
    code, out, _ = seqmend("models", "remove", "smollm2-135m")
    assert (code, "was not here" in out) == (0, True)


def test_flags_run_the_whole_job(seqmend, log_files, tmp_path, make_config):
    interactions, items = log_files
    make_config(interactions, items, seeds=[0], arms=["raw", "mended"]).write(tmp_path / "c.toml")
    code, out, err = seqmend(
        "run", tmp_path / "c.toml", "--out", tmp_path / "run", "--threshold", "0.3", "--noise", "uniform:0.2"
    )
    assert code == 0, err
    assert (tmp_path / "run" / "report.html").exists()
    assert "report.html" in " ".join(out.split())
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["dataset"]["noise"]["ratio"] == 0.2
    code, out, _ = seqmend("report", tmp_path / "run")
    assert code == 0


@pytest.mark.slow
def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(log_files, tmp_path, make_config):
    config = make_config(*log_files, training={"epochs": 200, "patience": 200})
    config.write(tmp_path / "c.toml")
    command = [sys.executable, "-m", "seqmend", "run", str(tmp_path / "c.toml"), "--out", str(tmp_path / "run")]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
        # A test run in the background of a shell ignores the interrupt, and its children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "run" / "manifest.json").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on" in err
    assert "Traceback" not in err
    assert not [f for f in (tmp_path / "run").rglob("*") if f.name.endswith(".tmp")]


def test_a_backbone_is_trained_and_evaluated(seqmend, log_files, tmp_path):
    interactions, items = log_files
    out = tmp_path / "out"
    sizes = ("--set", "backbone.embedding_size=8", "--set", "training.loss=gbce", "--set", "training.n_negatives=4")
    trained = ("train", "--interactions", interactions, "--items", items, "--out", out, "--backbone", "gru4rec", *sizes)

    code, printed, _ = seqmend(*trained, "--epochs", 1, "--seeds", 2, "--json", tmp_path / "train.json")
    assert code == 0
    assert "gru4rec" in printed
    code, printed, _ = seqmend("evaluate", out, "--negatives", 5, "--memory", 1, "--json", tmp_path / "evaluate.json")
    assert code == 0
    assert "among 5 sampled" in printed

    measured, again = (json.loads((tmp_path / name).read_text()) for name in ("train.json", "evaluate.json"))
    assert [arm["metrics"] for arm in again["arms"]] == [arm["metrics"] for arm in measured["arms"]]
    assert len(measured["arms"]) == 2
