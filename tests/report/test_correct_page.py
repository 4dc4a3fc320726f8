"""The page of `seqmend correct`."""

import json
from dataclasses import asdict

import pytest

from seqmend.errors import InputError
from seqmend.interactions import Sequences
from seqmend.ledger import Ledger
from seqmend.menders.correct import NAME, Correction, Prompt, Transcript, Trial, Verdict, to_edits
from seqmend.menders.correct.descent.transcript import Attempt, Epoch, Rewrite, Rung
from seqmend.report import write_correct_report

HOSTILE = "<img src=x onerror=alert(1)> <script>alert(2)</script>; None"
TITLES = {"a": "Alien", "b": "Big", "c": HOSTILE, "d": "Dune", "e": "Emma", "f": "Fargo"}
LOG = Sequences.from_lists({"ann": list("abcdef"), "bob & co": list("fedcba")}, TITLES)


def correction(row_id, target, verdict, trials=(), **more):
    user = 0 if row_id < 6 else 1
    begin = int(LOG.offsets[user])
    inputs = (0, *LOG.items[max(begin, row_id - 3) : row_id].tolist())[-3:]
    one = Correction(row_id, user, inputs, tuple(item > 0 for item in inputs), target, 0.75, 3, verdict, trials)
    return one.after(verdict, "both").settled(trials, "both", "drop") if trials else one.after(verdict, "both")


@pytest.fixture
def ledger(tmp_path):
    """One instance of every kind of correction."""
    foreign = Verdict((False,) * 3, (0.1, 0.2, 0.05))
    corrections = [
        correction(3, 4, Verdict((True, False, True), (0.9, 0.25, 0.8))),
        correction(4, 5, foreign, (Trial(6, foreign), Trial(1, Verdict((False, True, True), (0.3, 0.7, 0.6))))),
        correction(10, 2, foreign, (Trial(6, foreign), Trial(5, foreign))),
    ]
    assert [one.action for one in corrections] == ["filter", "retarget", "drop"]
    path = tmp_path / "ledger.parquet"
    Ledger.propose(to_edits(corrections, LOG, None, {}, NAME), LOG, NAME).accept().write(path)
    figures = {
        "instances": 10,
        "uncertain": 4,
        "weighing": {"model": 0.512, "evidence": 0.8, "together": 0.81},
        "actions": {"filter": 1, "retarget": 1, "drop": 1, "keep": 1},
        "picture": [
            {"least": 1, "most": 1, "share": 0.7, "reliability": 0.4},
            {"least": 2, "most": 3, "share": 0.3, "reliability": 0.9},
        ],
        "forecast": [
            {"stage": "inputs", "least": {"calls": 4, "tokens": 800}, "most": {"calls": 4, "tokens": 800}},
            {"stage": "targets", "least": {"calls": 0}, "most": {"calls": 12, "tokens": 2400, "seconds": 9.0}},
        ],
        "spent": [{"stage": "inputs", "calls": 4, "tokens": 800, "seconds": 3.2}],
        "llm": {"cache_hits": 0, "model": HOSTILE},
    }
    folder = path.with_suffix(".correct")
    folder.mkdir()
    (folder / "correct.json").write_text(json.dumps(figures))
    return path


@pytest.fixture
def transcript(ledger):
    """A descent of one epoch, beside the ledger."""
    start, better = Prompt(profile=HOSTILE), Prompt(plan="Look at the makers. Ignore the year.")
    told = Transcript("model", "default", "films", {"train": 40, "validation": 20, "test": 20}, {"start": 20})
    told.add(start, "start")
    marks, more = ({"precision": p, "recall": 0.5, "f1": p} for p in (0.4, 0.6))
    told.start[start.digest] = marks
    epoch = Epoch(1)
    told.epochs.append(epoch)
    told.add(better, "edit", start)
    wrong = [{"input": HOSTILE, "target": "Dune"}]
    epoch.attempts = [Attempt(start.digest, marks, wrong, wrong, 1, {"plan": "It looks at the year."}, better.digest)]
    epoch.rewrites = [
        Rewrite("Alien", "Big", "missing", ("x", "y"), "Too short.", ("a film", "b film"), 0.4, 0.5, True)
    ]
    epoch.race, epoch.beam = [Rung(4, {start.digest: 0.4, better.digest: 0.6})], [better.digest]
    epoch.validation, epoch.best = {better.digest: more}, better.digest
    told.best, told.best_start = better.digest, start.digest
    told.test = {start.digest: marks, better.digest: more}
    told.asked = {"start": 20}
    told.blind = {part: {"all": marks, "none": dict.fromkeys(marks, 0.125)} for part in ("validation", "test")}
    told.write(ledger.with_suffix(".correct") / "transcript.json")
    return asdict(told)


def page_of(ledger):
    return write_correct_report(ledger).read_text(encoding="utf-8")


def test_every_kind_of_correction_is_shown_with_titles(ledger):
    page = page_of(ledger)
    assert "3 training instances corrected, of 4 uncertain ones (40% of all)" in page
    for kind in ("Inputs dropped: 1", "Target replaced: 1", "Instance dropped: 1"):
        assert kind in page
    assert "<del>Big</del>" in page  # the input that does not go along
    assert "<del>Emma</del>" in page  # the target that gave way
    assert "<ins>Alien</ins>" in page
    assert "Nothing goes with:</b> Fargo; Emma." in page
    assert "bob &amp; co" in page
    assert "0 to 12" in page
    assert "by the language model alone with AUROC 0.51" in page
    assert "mco 2–3" in page


def test_hostile_titles_are_text(ledger, transcript):
    page = page_of(ledger)
    assert "<img" not in page
    assert page.count("<script>") == 1
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page


def test_the_descent_can_be_followed(ledger, transcript):
    page = page_of(ledger)
    for text in (
        "How the question found its words",
        "Kept: prompt 2",
        "Look at the makers. Ignore the year.",
        "It looks at the year.",
        "1 unreadable answer",
        "Too short.",
        "<dt>Restriction</dt><dd>none</dd>",
        "because all its epochs were done",
        "naming none 0.125 / 0.125 / <b>0.125</b>",
        ">naming all<",
    ):
        assert text in page, text


def test_without_a_descent_there_is_no_section(ledger):
    assert "found its words" not in page_of(ledger)


def test_damaged_files_are_named(ledger, transcript):
    (ledger.with_suffix(".correct") / "transcript.json").write_text("{}")
    with pytest.raises(InputError, match="transcript is damaged"):
        write_correct_report(ledger)
    (ledger.with_suffix(".correct") / "correct.json").write_text("[]")
    with pytest.raises(InputError, match="what seqmend correct found"):
        write_correct_report(ledger)
