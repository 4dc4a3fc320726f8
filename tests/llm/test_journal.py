import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel

from seqmend.errors import BudgetExceeded, InputError, ResourceError
from seqmend.llm import Budget, Failure, Journal, JournaledModel, LocalModel, Passage, Question

PASSAGES = [Passage(("Bought: ", f"title number {n}" * (n + 1)), (False, True)) for n in range(10)]
QUESTIONS = [Question(f"Ann bought {n}", (" Toy Story", " nothing", " Toy Story")) for n in range(3)]


def test_what_is_kept_is_not_asked_again(tiny: LocalModel, tmp_path: Path) -> None:
    with Journal(tmp_path / "new" / "journal.sqlite") as journal:
        model = JournaledModel(tiny, journal, chunk=3)
        assert model.identity == tiny.identity
        scores, answers, texts = model.score(PASSAGES), model.choose(QUESTIONS), model.write(["Ann", "Bob"], 4)
        vectors = model.embed(["Ann", "Bob"])
        assert (tiny.usage.calls, model.cache_hits, len(journal)) == (17, 0, 17)
    with Journal(tmp_path / "new" / "journal.sqlite") as journal:
        model = JournaledModel(tiny, journal)
        for found, score in zip(model.score(PASSAGES[::-1])[::-1], scores, strict=True):
            assert found.log_probabilities.tolist() == score.log_probabilities.tolist()
            assert found.n_tokens.dtype == np.int32
        for found, answer in zip(model.choose(QUESTIONS), answers, strict=True):
            assert found.probabilities.tolist() == answer.probabilities.tolist()
            assert found.log_likelihoods is not None
        assert model.write(["Ann", "Bob"], 4) == texts
        assert model.embed(["Bob", "Ann"]).tolist() == vectors[::-1].tolist()
        assert (tiny.usage.calls, model.cache_hits) == (17, 17)
        model.write(["Ann"], 5)
        assert tiny.usage.calls == 18


def test_equal_requests_are_asked_once(tiny: LocalModel, tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        found = JournaledModel(tiny, journal).score([PASSAGES[0], PASSAGES[1], PASSAGES[0]])
    assert tiny.usage.calls == 2
    assert found[0].log_probabilities == found[2].log_probabilities != found[1].log_probabilities


def test_answers_of_one_model_are_not_taken_for_those_of_another(
    tiny: LocalModel, sliding_folder: Path, tmp_path: Path
) -> None:
    other = LocalModel.load(sliding_folder, dtype="float32")
    with Journal(tmp_path / "journal.sqlite") as journal:
        first = JournaledModel(tiny, journal).score(PASSAGES[:1])[0]
        second = JournaledModel(other, journal).score(PASSAGES[:1])[0]
        assert len(journal) == 2
    assert first.log_probabilities != second.log_probabilities


def test_a_spent_budget_stops_and_a_larger_one_goes_on(tiny: LocalModel, tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        with pytest.raises(BudgetExceeded, match=r"budget of 4 calls is spent, 6 answers are missing"):
            JournaledModel(tiny, journal, Budget(calls=4), chunk=3).score(PASSAGES)
        assert len(journal) == 4
        with pytest.raises(BudgetExceeded, match="budget of 1 tokens is spent but for 1, 6 answers"):
            JournaledModel(tiny, journal, Budget(tokens=1)).score(PASSAGES)
        with pytest.raises(BudgetExceeded, match="seconds is spent"):
            JournaledModel(tiny, journal, Budget(seconds=0)).score(PASSAGES)
        assert len(journal) == 4
        model = JournaledModel(tiny, journal, Budget(calls=6))
        assert len(model.score(PASSAGES)) == 10
        assert model.cache_hits == 4
        JournaledModel(tiny, journal, Budget(calls=0)).score(PASSAGES)  # what is kept is free


@pytest.mark.parametrize(
    "budget", [Budget(tokens=500), Budget(money=0.001, prompt_price=2.0), Budget(money=0.001, completion_price=20.0)]
)
def test_tokens_and_money_are_never_overdrawn_and_nearly_used_up(tiny: LocalModel, tmp_path: Path, budget) -> None:
    prompts = [f"Bought: title number {n}" for n in range(200)]
    with Journal(tmp_path / "journal.sqlite") as journal:
        model = JournaledModel(tiny, journal, budget)
        with pytest.raises(BudgetExceeded):
            model.write(prompts, 5)
        ((_, limit, taken),) = budget.limits(model.account)
        assert 0.8 * limit < taken <= limit
        assert len(journal) == tiny.usage.calls > 0


def test_models_of_one_account_share_the_budget(tiny: LocalModel, tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        first = JournaledModel(tiny, journal, Budget(calls=5))
        first.score(PASSAGES[:3])
        second = JournaledModel(tiny, journal, Budget(calls=5), account=first.account)
        with pytest.raises(BudgetExceeded, match="budget of 5 calls is spent, 5 answers"):
            second.score(PASSAGES)
        assert tiny.usage.calls == len(journal) == 5
        assert second.cache_hits == 3


def test_a_budget_of_seconds_is_overrun_by_little(tiny: LocalModel, tmp_path: Path) -> None:
    prompts = [f"Bought: title number {n}" for n in range(2000)]
    with Journal(tmp_path / "journal.sqlite") as journal:
        model = JournaledModel(tiny, journal, Budget(seconds=0.5))
        with pytest.raises(BudgetExceeded, match=r"budget of 0\.5 seconds is spent"):
            model.write(prompts, 5)
        assert len(journal) > 1
        assert model.account.seconds < 3


class Verdict(BaseModel):
    item: str


def test_failures_are_not_kept(tiny: LocalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny, "write", lambda prompts, _: ['{"item": "a"}' if "good" in p else "?" for p in prompts])
    with Journal(tmp_path / "journal.sqlite") as journal:
        model = JournaledModel(tiny, journal)
        first = model.write_objects(["good", "bad"], Verdict)
        assert first[0] == Verdict(item="a")
        assert isinstance(first[1], Failure)
        assert len(journal) == 1
        assert model.write_objects(["good", "bad"], Verdict)[0] == Verdict(item="a")
        assert model.cache_hits == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from seqmend.llm import Journal, JournaledModel, LocalModel, Passage

def die(what, done, total):
    if done >= 4:
        os.kill(os.getpid(), signal.SIGKILL)

passages = [Passage(("Bought: ", f"title number {n}" * (n + 1)), (False, True)) for n in range(10)]
model = LocalModel.load(sys.argv[1], device="cpu", dtype="float32", batch_tokens=120)
JournaledModel(model, Journal(Path(sys.argv[2])), progress=die, chunk=2).score(passages)
"""


def test_a_killed_run_goes_on_where_it_was(tiny: LocalModel, tiny_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tiny_folder), str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    with Journal(path) as journal:
        assert len(journal) == 4
        found = JournaledModel(tiny, journal).score(PASSAGES)
    assert tiny.usage.calls == 6
    for score, alone in zip(found, tiny.score(PASSAGES), strict=True):
        np.testing.assert_allclose(score.log_probabilities, alone.log_probabilities, atol=1e-5)


def test_two_may_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    write = (
        "import sys; from pathlib import Path; from seqmend.llm import Journal\n"
        "with Journal(Path(sys.argv[1])) as journal:\n"
        "    for n in range(200): journal.keep({f'{sys.argv[2]}{n % 150}'.encode(): n})"
    )
    processes = [subprocess.Popen([sys.executable, "-c", write, str(path), name]) for name in "ab"]
    assert [process.wait() for process in processes] == [0, 0]
    with Journal(path) as journal:
        assert len(journal) == 300
        assert journal.find([b"a149", b"b0", b"c0"]) == {b"a149": 149, b"b0": 150}


def test_a_damaged_journal_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"no database at all, but long enough to look at" * 100)
    with pytest.raises(ResourceError, match="damaged or is no journal") as failure:
        Journal(path)
    assert str(path) in str(failure.value)
    path.unlink()
    with Journal(path) as journal:
        journal.keep({bytes([n]): "x" * 3000 for n in range(200)})
    content = bytearray(path.read_bytes())
    content[4096:-4096] = b"\xff" * (len(content) - 8192)
    path.write_bytes(content)
    with Journal(path) as journal, pytest.raises(ResourceError, match="damaged"):
        journal.find([bytes([n]) for n in range(200)])


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot open the journal"):
        Journal(tmp_path / "file" / "journal.sqlite")
    with pytest.raises(InputError, match="cannot open the journal"):
        Journal(tmp_path)


def test_a_reader_is_not_disturbed_by_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        journal.keep({b"a": 1})
        writer = sqlite3.connect(path)
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO answers VALUES (?, ?)", (b"b", "2"))
        assert journal.find([b"a", b"b"]) == {b"a": 1}
        writer.rollback()
        writer.close()
