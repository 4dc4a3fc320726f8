import json
import re

import numpy as np
import polars as pl
import pytest

from seqmend.errors import InputError
from seqmend.interactions import leave_one_out
from seqmend.ledger import Ledger
from seqmend.llm import Answer, Budget, Journal, JournaledModel, LocalModel, Usage
from seqmend.menders.correct.config import CorrectTuningConfig, CorrectWeighingConfig
from seqmend.progress import silent
from seqmend.recommenders import rows_from_sequences, with_instance_edits
from seqmend.study import correct, correct_split, read_data
from seqmend.study.readers import Readers

SMALL = {
    "language": {"model": "smollm2-135m", "encoder": None},  # a stub answers
    "training": {"epochs": 2, "batch_size": 64},
    "correct": {"uncertain_share": 0.15, "max_length": 4, "known_noise": 0},
    "noise": None,
}


class KnowsKinds:
    """Says that an input goes with a target of its kind; dies when it has answered so many questions."""

    identity = "knows kinds"
    capability = "exact"

    def __init__(self, dies_after=None):
        self.usage, self.questions, self.dies_after = Usage(), [], dies_after

    def choose(self, questions):
        if self.dies_after is not None and len(self.questions) >= self.dies_after:
            raise KeyboardInterrupt
        self.questions += questions
        self.usage.add(Usage(len(questions), 10 * len(questions), 0, 0.01))
        return [Answer(np.array([self._goes(c, q.verdict) for c in q.choices]), None) for q in questions]

    def _goes(self, choice, verdict):
        target = re.findall('"([^"]*)"', verdict)[0]
        return 0.9 if choice.strip('"').split()[:2] == target.split()[:2] else 0.1


@pytest.fixture(scope="module")
def noisy(tmp_path_factory, make_log, make_config):
    """Settings and split of a log in which every tenth interaction is of another kind."""
    folder = tmp_path_factory.mktemp("log")
    interactions, items = make_log(folder, n_users=60, length=12)
    rng = np.random.default_rng(1)
    log = pl.read_csv(interactions)
    other = pl.Series([f"i{(int(item[1]) + 1 + rng.integers(3)) % 4}{item[2:]}" for item in log["item_id"]])
    is_noise = pl.Series(rng.random(len(log)) < 0.1)
    log.with_columns(item_id=pl.when(is_noise).then(other).otherwise("item_id")).write_csv(interactions)
    config = make_config(interactions, items, **SMALL)
    return config, leave_one_out(read_data(config.data).sequences)


def corrected(noisy, model, folder, budget=None, **changes):
    config, split = noisy
    config = config.model_copy(update={"correct": config.correct.model_copy(update=changes)})
    journaled = JournaledModel(model, Journal(folder / "journal.sqlite"), budget or Budget(), chunk=8)
    with journaled.journal:
        return correct_split(config, split, Readers(None, journaled), folder / "work", silent)


def test_a_run_that_is_killed_after_any_call_asks_nothing_twice(noisy, tmp_path):
    whole = KnowsKinds()
    expected = corrected(noisy, whole, tmp_path / "whole")
    killed = [KnowsKinds(dies_after=n) for n in (0, 8, 40)]
    for model in killed:
        with pytest.raises(KeyboardInterrupt):
            corrected(noisy, model, tmp_path / "killed")
    last = KnowsKinds()
    found = corrected(noisy, last, tmp_path / "killed")
    asked = [question for model in (*killed, last) for question in model.questions]
    assert len(asked) == len(whole.questions) > 60
    assert set(asked) == set(whole.questions)
    columns = ["edit_id", "confidence", "status"]
    for ours, theirs in ((found.ledger, expected.ledger), (found.random, expected.random)):
        assert len(ours) > 0
        assert ours.edits.select(columns).equals(theirs.edits.select(columns))


def test_calls_are_as_foreseen(noisy, tmp_path):
    figures = corrected(noisy, KnowsKinds(), tmp_path).figures
    spent = {part["stage"]: part["calls"] for part in figures["spent"]}
    bounds = {part["stage"]: (part["least"]["calls"], part["most"]["calls"]) for part in figures["forecast"]}
    assert bounds["inputs"] == (spent["inputs"],) * 2
    assert 0 < spent["inputs"] <= figures["uncertain"]  # the same question is asked once
    assert 0 < spent["targets"] <= bounds["targets"][1] <= 3 * figures["uncertain"]
    assert sum(spent.values()) == figures["llm"]["calls"]


def test_tokens_are_as_foreseen(noisy, tiny_folder, tmp_path):
    model = LocalModel.load(tiny_folder, device="cpu", dtype="float32")
    figures = corrected(noisy, model, tmp_path, uncertain_share=0.1, stages="inputs").figures
    (part,) = figures["forecast"]
    assert part["least"] == part["most"]
    assert part["most"]["seconds"] > 0
    assert figures["llm"]["prompt_tokens"] == pytest.approx(part["most"]["tokens"], rel=0.02)


def test_a_tuned_model_is_asked_what_it_could_change_and_that_is_foreseen(noisy, tiny_folder, tmp_path):
    config, split = noisy
    config = config.model_copy(update={"language": config.language.model_copy(update={"model": str(tiny_folder)})})
    model = LocalModel.load(tiny_folder, device="cpu", dtype="float32")
    lora = {"epochs": 1, "batch_size": 8, "last_layers": 1, "rank": 2}
    tuning = CorrectTuningConfig.model_validate({"rows": 40, "copies": 1, "orders": 1, "lora": lora})
    weighing = CorrectWeighingConfig(rows=40)
    settings = {
        "teacher": "lora", "known_noise": 0.2, "uncertain_share": 0.3, "tuning": tuning, "weighing": weighing
    }  # fmt: skip
    found = corrected((config, split), model, tmp_path / "some", **settings)
    spent = {part["stage"]: part["calls"] for part in found.figures["spent"]}
    foreseen = {part["stage"]: part["most"]["calls"] for part in found.figures["forecast"]}
    assert spent["inputs"] == foreseen["inputs"] < len(found.corrections) - found.figures["doubted"]
    assert found.figures["decided"] == sum(one.is_decided for one in found.corrections) > 0
    told = found.figures["weighing"]
    assert told["evidence"] > 0.7 > told["model"] > 0.3  # the model is too small to tell
    assert told["together"] >= told["evidence"] - 0.01
    weighing = weighing.model_copy(update={"ask": "all"})
    whole = corrected((config, split), model, tmp_path / "all", **settings | {"weighing": weighing})
    assert whole.figures["decided"] == 0
    agree = [one.kept == other.kept for one, other in zip(found.corrections, whole.corrections, strict=True)]
    assert np.mean(agree) > 0.95


@pytest.mark.parametrize("calls", [0, 5, 60])
def test_where_the_budget_ends_before_answers_are_weighed_nobody_is_believed(calls, noisy, tmp_path):
    """What was paid for is kept: the same call with more goes on."""
    model = KnowsKinds()
    settings = {"known_noise": 0.2, "uncertain_share": 0.3}
    poor = corrected(noisy, model, tmp_path, Budget(calls=calls), **settings)
    assert len(model.questions) <= calls
    assert poor.figures["weighing"] == {}
    open_ = [one for one in poor.corrections if not one.is_doubted]
    assert {(one.action, one.verdict) for one in open_} == {("unasked", None)}
    assert {one.action for one in poor.corrections if one.is_doubted} == {"drop"}
    before = list(model.questions)
    rich = corrected(noisy, model, tmp_path, **settings)
    assert model.questions[: len(before)] == before
    assert len(set(model.questions)) == len(model.questions)
    assert rich.figures["weighing"]["model"] > 0.7


def test_what_the_recommender_doubts_for_good_reason_goes_unasked(noisy, tmp_path):
    """By what a second recommender doubts in a log whose noise is known, noise targets are found, and no more asked."""
    train = noisy[1].train
    found = corrected(noisy, KnowsKinds(), tmp_path, known_noise=0.2, uncertain_share=0.3)
    doubted = [one for one in found.corrections if one.is_doubted]
    assert len(doubted) > 5
    assert {(one.action, one.verdict) for one in doubted} == {("drop", None)}
    foreseen = {part["stage"]: part["most"]["calls"] for part in found.figures["forecast"]}
    assert foreseen["inputs"] <= len(found.corrections) - len(doubted)
    assert 0 < found.figures["noise_rate"] < 1
    edits = {(row["kind"], row["reason"]): row["confidence"] for row in found.ledger.edits.iter_rows(named=True)}
    gone = {key: value for key, value in edits.items() if "would not have expected" in key[1]}
    assert {kind for kind, _ in gone} == {"drop_instance"}
    assert min(gone.values()) > 0.5
    titles = train.catalogue.prompt_titles

    def is_foreign(one):  # of another kind than most of its user's items
        kinds = [titles[item].split()[0] for item in train.items[train.users == one.user]]
        return titles[one.target].split()[0] != max(set(kinds), key=kinds.count)

    share = np.mean([is_foreign(one) for one in doubted])
    assert share > 0.5
    assert share > 2 * np.mean([is_foreign(one) for one in found.corrections if not one.is_doubted])


def test_what_is_doubted_may_be_asked_about_instead(noisy, tmp_path):
    found = corrected(noisy, KnowsKinds(), tmp_path, known_noise=0.2, uncertain_share=0.3, doubted="ask")
    doubted = [one for one in found.corrections if one.is_doubted]
    assert {one.verdict for one in doubted} == {None}
    assert {one.action for one in doubted} <= {"retarget", "drop"}
    assert all(one.trials for one in doubted)
    assert "retarget" in {one.action for one in doubted}


def test_controls_change_as_much_as_the_mender_and_other_things(noisy, tmp_path):
    found = corrected(noisy, KnowsKinds(), tmp_path)
    kinds = [ledger.edits["kind"].value_counts().sort("kind") for ledger in (found.ledger, found.random)]
    assert kinds[0].equals(kinds[1])
    for control in (found.random, found.llm_free):
        assert len(control) > 0
        assert set(control.edits["edit_id"]) != set(found.ledger.edits["edit_id"])
        assert (control.edits["status"] == "accepted").all()
    train = noisy[1].train
    rows = rows_from_sequences(train, 4, "instance")
    changed = with_instance_edits(rows, found.ledger.apply(train))
    assert len(changed) < len(rows) or (changed.targets != rows.targets).any()


def test_an_edited_split_is_corrected_as_it_is(noisy, tmp_path):
    """Edits of a composed run are proposed for what the mender before has made."""
    config, split = noisy
    items = split.sequences.items.copy()
    items[split.sequences.offsets[:-1]] = 1
    sequences = type(split.sequences)(
        split.sequences.user_ids, split.sequences.offsets, items, split.sequences.timestamps, split.sequences.catalogue
    )
    found = corrected((config, leave_one_out(sequences)), KnowsKinds(), tmp_path)
    assert found.ledger.data_id == sequences.fingerprint != split.sequences.fingerprint


def test_the_picture_covers_all_instances(noisy, tmp_path):
    figures = corrected(noisy, KnowsKinds(), tmp_path).figures
    assert sum(bucket["share"] for bucket in figures["picture"]) == pytest.approx(1)
    assert figures["picture"][0]["least"] == 1
    assert figures["picture"][-1]["reliability"] > figures["picture"][0]["reliability"]


@pytest.mark.parametrize("capability", ["exact", "label", "typed"])
def test_a_served_model_corrects(capability, noisy, served, tmp_path):
    config, _ = noisy
    language = {"model": "server:tiny", "encoder": None, "server": {"base_url": f"{served}/{capability}/v1"}}
    values = {**config.model_dump(), "language": language}
    values["correct"] = {"uncertain_share": 0.1, "max_length": 4, "stages": "inputs", "weighing": {"rows": 20}}
    figures = correct(type(config).from_dict(values, "test"), tmp_path / "ledger.parquet")
    assert figures["llm"]["model"].endswith(capability)
    spent, foreseen = ({part["stage"]: part for part in figures[key]} for key in ("spent", "forecast"))
    most = foreseen["inputs"]["most"]
    assert 0 < spent["inputs"]["calls"] <= most["calls"] <= spent["inputs"]["calls"] + 1  # known from the weighing
    assert most["tokens"] / most["calls"] == pytest.approx(
        spent["inputs"]["tokens"] / spent["inputs"]["calls"], rel=0.1
    )
    assert 0 < spent["weighing"]["calls"] <= foreseen["weighing"]["most"]["calls"] == 20


# ------------------------------------------------------------------------------------------------------ command line

LESS = (
    "language.encoder=none", "training.epochs=1", "backbone.embedding_size=16", "backbone.n_layers=1",
    "backbone.n_heads=1", "backbone.max_length=8", "correct.weighing.rows=20",
)  # fmt: skip


def test_a_log_is_corrected_by_itself(seqmend, noisy, tiny_folder, tmp_path):
    data = noisy[0].data
    out = tmp_path / "found" / "ledger.parquet"
    options = [part for setting in LESS for part in ("--set", setting)]
    log = ("--interactions", data.interactions, "--items", data.items)
    command = ("correct", *log, "--model", tiny_folder, "--share", 0.1, *options, "--out", out)
    code, said, err = seqmend(*command, "--json", tmp_path / "f.json")
    assert code == 0, err
    assert "The language model will be asked" in said
    assert "It was asked" in said
    figures = json.loads((tmp_path / "f.json").read_text())
    ledger = Ledger.read(out)
    assert set(ledger.edits["scope"]) <= {"instance"}
    assert sum(figures["edits"].values()) == len(ledger) > 0
    names = {"ledger.correct", "ledger.html", "ledger.journal.sqlite", "ledger.parquet"}
    assert {file.name for file in out.parent.iterdir()} == names
    code, _, _ = seqmend(*command, "--json", tmp_path / "again.json")
    again = json.loads((tmp_path / "again.json").read_text())
    assert (again["llm"]["calls"], again["edits"], again["picture"]) == (0, figures["edits"], figures["picture"])
    code, said, _ = seqmend("apply", out, *log, "--out", tmp_path / "mended.csv")
    assert code == 0
    assert "none of the log" in " ".join(said.split())


def test_what_cannot_be_corrected_leaves_nothing(seqmend, noisy, tmp_path):
    data = noisy[0].data
    wrong = [
        (("--model", "none"), "there is none"),
        (("--model", "server:tiny", "--teacher", "lora"), "cannot be tuned"),
        (("--set", "noise.kind=uniform"), "leave [noise] out"),
        (("--share", 2), "uncertain_share"),
        (("--set", "correct.signel=rank"), "signal"),
        (("--out", tmp_path / "new.csv"), "ending in .parquet"),
    ]
    for arguments, message in wrong:
        out = () if "--out" in arguments else ("--out", tmp_path / "new.parquet")
        code, _, err = seqmend("correct", "--interactions", data.interactions, "--items", data.items, *arguments, *out)
        assert (code, message in " ".join(err.split())) == (2, True), (message, err)
    assert list(tmp_path.iterdir()) == []


def test_a_normal_ledger_is_no_page(tmp_path):
    from seqmend.report import write_correct_report

    with pytest.raises(InputError, match="no such ledger"):
        write_correct_report(tmp_path / "ledger.parquet")
