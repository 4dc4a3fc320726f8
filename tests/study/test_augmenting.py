import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from seqmend.errors import InputError
from seqmend.interactions import leave_one_out
from seqmend.ledger import Ledger
from seqmend.study import asrep_ledger, augment, augment_split, estimate_augment, read_data
from seqmend.study.augment_recommenders import SequenceTraining, fit_recommenders
from seqmend.study.readers import Readers

AUGMENT = {"n_items": 4, "sample_users": 10, "selection": "model"}


@pytest.fixture(scope="module")
def short_log(make_log, tmp_path_factory):
    return make_log(tmp_path_factory.mktemp("short"), n_users=60, length=6)


@pytest.fixture(scope="module")
def settings(short_log, make_config, tiny_folder):
    def make(**changes):
        values = {
            "noise": None,
            "language": {"model": str(tiny_folder), "encoder": None},
            "augment": {**AUGMENT, **changes.pop("augment", {})},
            "training": {"epochs": 3, "patience": 3},
        }
        return make_config(*short_log, **{**values, **changes})

    return make


@pytest.fixture(scope="module")
def finished(settings, tmp_path_factory):
    """A finished call: its configuration, its ledger's path, its figures."""
    out = tmp_path_factory.mktemp("augmented") / "ledger.parquet"
    return settings(), out, augment(settings(), out, jobs=1)


def contents(out: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    return Ledger.read(out).edits.drop("decided_at"), pl.read_parquet(out.with_name("users.parquet"))


def test_a_log_becomes_a_ledger_and_a_table_of_users(finished):
    _, out, figures = finished
    edits, users = contents(out)
    assert users.columns == [
        "user_id", "n", "raw", "r0", "weight", "hidden_item", "guess", "n_pseudo", "status",
    ]  # fmt: skip
    assert figures["by_status"] == {"augmented": 60}
    assert (users["n_pseudo"] == 4).all()
    assert users["r0"].count() == 10
    assert len(edits) == 60 * 4 * 2
    assert set(edits["status"]) == {"accepted"}
    by_user = edits.group_by("user_id").agg(pl.col("weight").first(), pl.col("group_id").n_unique())
    joined = by_user.join(users, on="user_id")
    assert (joined["weight"] - joined["weight_right"]).abs().max() < 1e-9
    assert (joined["group_id"] == 1).all()
    assert sum(figures["raw"]["histogram"]["counts"]) == 60
    assert figures["llm"]["calls"] == 2 * 60 + 10 - repeats(figures)
    kept = json.loads((out.with_suffix(".augment") / "augment.json").read_text())
    assert kept == figures
    assert sorted(path.name for path in out.parent.iterdir()) == [
        "ledger.augment", "ledger.journal.sqlite", "ledger.parquet", "users.parquet",
    ]  # fmt: skip


def repeats(figures) -> int:
    return 2 * 60 + 10 - figures["llm"]["calls"]  # users of one kind may stand in the same place: one question


def test_a_second_call_trains_and_asks_nothing(finished, settings, monkeypatch):
    config, out, figures = finished
    before = contents(out)

    def untouchable(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(SequenceTraining, "run", untouchable)
    again = augment(config, out, jobs=1)
    assert again["llm"]["calls"] == 0
    assert again["llm"]["cache_hits"] >= figures["llm"]["calls"] - figures["llm"]["cache_hits"]
    assert all(a.equals(b) for a, b in zip(before, contents(out), strict=True))
    with pytest.raises(AssertionError, match="trained again"):
        augment(settings(backbone={"embedding_size": 8, "n_layers": 1, "max_length": 16}), out, jobs=1)


def test_the_dry_run_foresees_what_was_asked(finished, settings):
    config, _, figures = finished
    forecast = estimate_augment(config, rate=1000.0)
    assert forecast["users"] == 60
    assert forecast["total"]["calls"] == 2 * 60 + 10
    spent = figures["llm"]["prompt_tokens"] / figures["llm"]["calls"] * forecast["total"]["calls"]
    assert forecast["total"]["prompt_tokens"] == pytest.approx(spent, rel=0.1)
    assert forecast["total"]["seconds"] == pytest.approx(forecast["total"]["prompt_tokens"] / 1000)
    assert estimate_augment(settings(augment={"augment_up_to": 5}), rate=1.0)["total"]["calls"] == 10
    crossfit = estimate_augment(settings(augment={"crossfit": True}), rate=1.0)
    assert crossfit["total"]["calls"] == 3 * 60 + 10
    assert estimate_augment(config)["rate"] > 0


def test_by_default_the_model_reads_every_title_once_and_is_asked_nothing(settings, tmp_path):
    config = settings(augment={"selection": "auto"})
    figures = augment(config, tmp_path / "ledger.parquet", jobs=1)
    forecast = estimate_augment(config, rate=1000.0)
    assert [part["purpose"] for part in forecast["parts"]] == ["reading titles"]
    assert figures["llm"]["calls"] == forecast["total"]["calls"] == 48
    assert figures["llm"]["prompt_tokens"] == pytest.approx(forecast["total"]["prompt_tokens"], rel=0.1)
    assert {"recommender", "model, nearest"} <= set(figures["blend"])
    edits, _ = contents(tmp_path / "ledger.parquet")
    assert json.loads(edits["evidence"][0])["selection"] == "rank"


def test_controls_take_the_same_number_of_the_same_candidates(settings, tmp_path):
    config = settings()
    split = leave_one_out(read_data(config.data).sequences)
    found = augment_split(config, split, Readers(None, None), tmp_path, jobs=1)
    assert found.ledger.edits.drop("decided_at").equals(found.llm_free.edits.drop("decided_at"))
    for ledger in (found.llm_free, found.random):
        assert len(ledger) == 60 * 4 * 2
        assert ledger.edits["weight"].is_between(0, 1).all()
    assert found.llm_free.edits["item_after"].to_list() != found.random.edits["item_after"].to_list()
    assert found.figures["llm"]["calls"] == 0
    assert found.figures["gain"]["n"] == 10
    assert found.figures["held_out"]["n"] == 60


def test_nothing_that_is_learned_knows_held_out_items(settings, tmp_path):
    config = settings()
    log = read_data(config.data).sequences
    held_out = log.positions >= log.lengths[log.users] - 2
    items = log.items.copy()
    items[held_out] = np.random.default_rng(1).permutation(items[held_out])
    other = type(log)(log.user_ids, log.offsets, items, log.timestamps, log.catalogue)
    users = [
        augment_split(config, leave_one_out(one), Readers(None, None), tmp_path / name, jobs=1).users
        for name, one in (("one", log), ("other", other))
    ]
    assert (other.items != log.items).any()
    assert users[0].equals(users[1])


def test_the_forward_recommender_never_learns_what_is_hidden(settings, tmp_path, monkeypatch):
    learned = {}
    monkeypatch.setattr(SequenceTraining, "run", lambda self, _: learned.update({self.folder.name: self.sequences}))
    monkeypatch.setattr(SequenceTraining, "load", lambda self: None)
    train = leave_one_out(read_data(settings().data).sequences).train
    fit_recommenders(settings(augment={"crossfit": True}), train, tmp_path, lambda *_: None, jobs=1)
    for real, backward, forward, check in zip(
        train, learned["backward"], learned["forward"], learned["backward-check"], strict=True
    ):
        assert forward.tolist() == real[:-1].tolist()
        assert backward.tolist() == real[::-1].tolist()
        assert check.tolist() == real[:-1][::-1].tolist()


@pytest.mark.parametrize("backbone", ["gru4rec", "bert4rec", "caser"])
def test_any_backbone_can_propose(backbone, settings, tmp_path):
    sizes = {"name": backbone, "max_length": 8}
    config = settings(backbone=sizes, training={"epochs": 1})
    split = leave_one_out(read_data(config.data).sequences)
    found = augment_split(config, split, Readers(None, None), tmp_path, jobs=1)
    assert (found.users["n_pseudo"] == 4).all()
    assert found.figures["truncated"] == 0
    assert [type(model).__name__.lower() for model in (found.recommenders.backward,)] == [backbone]


def test_asrep_continues_short_users_backwards(settings, tmp_path):
    config = settings()
    split = leave_one_out(read_data(config.data).sequences)
    backward = fit_recommenders(config, split.train, tmp_path, lambda *_: None, jobs=1).backward
    ledger = asrep_ledger(backward, split, 3, 6)
    assert len(ledger) == 60 * 3 * 2
    assert (ledger.edits["weight"] == 1).all()
    mended = ledger.apply(split.train)
    for longer, real in zip(mended.sequences, split.train, strict=True):
        assert longer[3:].tolist() == real.tolist()
        assert len(set(longer[:3].tolist()) - set(real.tolist())) == 3
    assert len(asrep_ledger(backward, split, 3, 5)) == 0


def test_a_log_that_cannot_be_augmented_leaves_nothing(settings, make_log, make_config, tmp_path, tiny_folder):
    single = make_config(
        *make_log(tmp_path, n_users=8, length=3), noise=None, language={"model": str(tiny_folder), "encoder": None}
    )
    before = sorted(tmp_path.iterdir())
    for config, message in (
        (settings(noise={"kind": "uniform", "ratio": 0.1}), "leave \\[noise\\] out"),
        (settings(data={"interactions": "nowhere.csv"}), "nowhere.csv"),
    ):
        with pytest.raises(InputError, match=message):
            augment(config, tmp_path / "ledger.parquet", jobs=1)
    with pytest.raises(InputError, match="a file ending in"):
        augment(settings(), tmp_path / "ledger.csv", jobs=1)
    with pytest.raises(InputError, match="three training interactions"):
        augment(single, tmp_path / "ledger.parquet", jobs=1)
    assert {path.name for path in tmp_path.iterdir()} - {path.name for path in before} <= {"ledger.journal.sqlite"}


@pytest.mark.parametrize(("capability", "status"), [("exact", "augmented"), ("label", "unreadable")])
def test_a_served_model_is_asked(capability, status, make_log, make_config, served, tmp_path):
    """With echoed log-probabilities by whole titles; without, by numbers, which random weights do not write."""
    server = {"base_url": f"{served}/{capability}/v1"}
    config = make_config(
        *make_log(tmp_path, n_users=4, length=6),
        noise=None,
        language={"model": "server:tiny", "encoder": None, "server": server},
        augment={"sample_users": 0, "max_new_tokens": 4, "n_items": 2, "n_candidates": 4, "n_recovery": 3},
        training={"epochs": 1},
    )
    figures = augment(config, tmp_path / "ledger.parquet", jobs=1)
    assert figures["by_status"] == {status: 4}
    assert figures["llm"]["model"].endswith(capability)
    assert figures["llm"]["calls"] >= 4
    said = estimate_augment(config)
    # Whose answer cannot be read is not asked again.
    foreseen = said["total"] if status == "augmented" else said["parts"][0]
    assert foreseen["calls"] == figures["llm"]["calls"]
    for tokens in ("prompt_tokens", "completion_tokens"):
        assert foreseen[tokens] == pytest.approx(figures["llm"][tokens], rel=0.1), tokens
