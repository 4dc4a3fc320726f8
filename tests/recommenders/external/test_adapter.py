import stat
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from seqmend.errors import InputError, ResourceError
from seqmend.evaluation import Histories, rank_scores, ranking_metrics
from seqmend.interactions import Sequences, leave_one_out
from seqmend.recommenders.external import ExternalConfig, external_scores

LOG = Sequences.from_lists({f"u{user}": ["a", "b", "c", "d"] for user in range(3)}, dict.fromkeys("abcd"))


@pytest.fixture
def interpreter(tmp_path: Path):
    """A stand-in for another environment's Python: runs the given code and not the framework's script."""

    def make(code: str) -> Path:
        path = tmp_path / "venv" / "python"
        path.parent.mkdir()
        (path.parent / "code.py").write_text(code)
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{path.parent}/code.py" "$@"\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return make


def scores_by(python: Path, workdir: Path, **changes):
    config = ExternalConfig(**{"framework": "rectools", "python": python, "epochs": 2, **changes})
    return external_scores(LOG, LOG, config, workdir)


GOOD = """
import json, sys
import numpy as np
job = json.load(open(sys.argv[2]))
np.save(job["scores"], np.zeros(({rows}, 5), dtype=np.{dtype}))
json.dump({{"version": "9", "rows": 3, "epoch_seconds": [1, 2], "scoring_seconds": 0.5}}, open(job["result"], "w"))
"""


def test_the_answer_is_read_back_and_mapped(interpreter, tmp_path):
    done = scores_by(interpreter(GOOD.format(rows=3, dtype="float32")), tmp_path / "work")
    assert isinstance(done.scores, np.memmap)
    assert (done.scores.shape, done.version, done.epoch_seconds) == ((3, 5), "9", (1, 2))


def test_a_missing_interpreter_says_how_to_get_one(tmp_path):
    with pytest.raises(ResourceError, match=r"no Python interpreter for RecTools(.|\n)*rectools\[torch\]"):
        scores_by(tmp_path / "venv" / "bin" / "python", tmp_path / "work")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("framework", ["recbole", "rectools", "replay"])
def test_an_environment_without_the_framework_is_named(framework, tmp_path):
    """Our own environment: it has none of the three."""
    with pytest.raises(ResourceError, match=r"cannot be imported: ModuleNotFoundError(.|\n)*pip install"):
        scores_by(Path(sys.executable), tmp_path / "work", framework=framework)


def test_a_crash_shows_the_last_lines_of_what_was_said(interpreter, tmp_path):
    python = interpreter("import sys\nfor n in range(99): print('line', n, file=sys.stderr)\nsys.exit(7)")
    with pytest.raises(ResourceError, match="exit code 7") as caught:
        scores_by(python, tmp_path / "work")
    assert "line 98" in str(caught.value)
    assert "line 80" not in str(caught.value)


def test_what_a_framework_refuses_is_the_users_error(interpreter, tmp_path):
    python = interpreter("import sys\nprint('RecTools 9 has no model Foo', file=sys.stderr)\nsys.exit(2)")
    with pytest.raises(InputError, match="has no model Foo"):
        scores_by(python, tmp_path / "work", model="Foo")


def test_a_job_that_takes_too_long_is_ended(interpreter, tmp_path):
    python = interpreter("import time\nprint('seqmend epoch 1', flush=True)\ntime.sleep(60)")
    begin = time.monotonic()
    with pytest.raises(ResourceError, match="not done after 1 seconds"):
        scores_by(python, tmp_path / "work", timeout=1)
    assert time.monotonic() - begin < 30


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("", "left no scores that can be read"),
        (GOOD.format(rows=2, dtype="float32"), r"left scores float32 \(2, 5\)"),
        (GOOD.format(rows=3, dtype="float64"), "left scores float64"),
        (GOOD.format(rows=3, dtype="object_"), "no scores that can be read"),
    ],
)
def test_a_wrong_answer_is_not_used(interpreter, tmp_path, code, message):
    with pytest.raises(ResourceError, match=message):
        scores_by(interpreter(code), tmp_path / "work")


def test_answers_of_an_earlier_job_are_not_taken_for_this_one(interpreter, tmp_path):
    python = interpreter(GOOD.format(rows=3, dtype="float32"))
    scores_by(python, tmp_path / "work")
    (python.parent / "code.py").write_text("")
    with pytest.raises(ResourceError, match="left no scores"):
        scores_by(python, tmp_path / "work")


def test_weights_are_refused_where_nothing_learns_with_them(interpreter, tmp_path):
    config = ExternalConfig(framework="recbole", python=interpreter(""))
    with pytest.raises(InputError, match="RecBole knows no loss weights"):
        external_scores(LOG, LOG, config, tmp_path / "work", weights=np.ones(12, np.float32))


def test_no_held_out_item_and_no_variable_of_our_python_reaches_the_job(interpreter, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/ours")
    python = interpreter(
        "import os, pathlib, sys\nassert 'PYTHONPATH' not in os.environ\n"
        "text = ''.join(p.read_text() for p in pathlib.Path('.').rglob('interactions.csv'))\n"
        "print('held out' if ',d,' in text else 'clean', file=sys.stderr)\nsys.exit(2)"
    )
    split = leave_one_out(LOG)
    config = ExternalConfig(framework="rectools", python=python)
    with pytest.raises(InputError, match="clean"):
        external_scores(split.train, Histories.before(LOG, split.valid).cut(), config, tmp_path / "work")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("framework", "model", "epochs"),
    [
        ("recbole", "SASRec", 8),
        ("recbole", "GRU4Rec", 8),
        ("rectools", "SASRec", 60),
        ("rectools", "BERT4Rec", 60),
        ("replay", "SASRec", 60),
    ],
)
def test_a_real_framework_learns_a_simple_order(framework, model, epochs, python_of, tmp_path):
    """Every user goes round a ring of 12 items, so the item after the last one is sure. Ids and their order are odd."""
    ring = ["é, 1", *(f"i{number}" for number in range(10)), "0"]
    start = np.random.default_rng(0).integers(12, size=60)
    users = {f"u {number}": [ring[(first + step) % 12] for step in range(14)] for number, first in enumerate(start)}
    titles = dict.fromkeys([*reversed(ring), "never met"])
    split = leave_one_out(Sequences.from_lists(users, titles))
    histories = Histories.before(split.sequences, split.valid)
    targets = split.sequences.items[split.sequences.offsets[split.valid.users] + split.valid.positions]
    config = ExternalConfig(
        framework=framework,
        python=python_of(framework),
        model=model,
        embedding_size=16,
        max_length=8,
        epochs=epochs,
        batch_size=16,
        learning_rate=3e-3,
        n_threads=1,
    )
    heard: list[int] = []
    done = external_scores(
        split.train, histories.cut(), config, tmp_path / "work", progress=lambda what, done, total: heard.append(done)
    )
    assert ranking_metrics(rank_scores(done.scores, targets, histories))["hr@1"] > 0.9
    assert heard == list(range(epochs + 1))
    assert len(done.epoch_seconds) == epochs
    assert (done.scores[:, 0] == -np.inf).all()
    assert done.rows == (60 * 11 if framework == "recbole" else 60)
    # the same job again gives the same scores
    again = external_scores(split.train, histories.cut(), config, tmp_path / "again")
    np.testing.assert_allclose(again.scores, done.scores, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["recbole", "rectools", "replay"])
def test_a_real_framework_refuses_a_model_that_it_does_not_have(framework, python_of, tmp_path):
    with pytest.raises(InputError, match="Nope"):
        scores_by(python_of(framework), tmp_path / "work", framework=framework, model="Nope")
