"""Several menders in one run: ledgers one after another, leave-one-out, and what a killed run does again."""

import json

import numpy as np
import polars as pl
import pytest

from seqmend.errors import InputError
from seqmend.interactions import leave_one_out
from seqmend.ledger import Ledger
from seqmend.report import write_report
from seqmend.study import RunConfig, estimate, run
from seqmend.study.composition import Version, added_up
from seqmend.study.data import read_data

SMALL = {"tuning_windows": 50, "language_windows": 0, "threshold": 0.3}


@pytest.fixture(scope="module")
def composed(make_log, make_config, tmp_path_factory, tiny_folder):
    folder = tmp_path_factory.mktemp("composed")
    config = make_config(
        *make_log(folder, n_users=60, length=10),
        menders=["denoise", "augment"],
        language={"model": str(tiny_folder), "encoder": None},
        denoise=SMALL,
        augment={"n_items": 2, "n_candidates": 6, "n_recovery": 4, "sample_users": 10, "selection": "model"},
        training={"epochs": 2, "patience": 2},
        seeds=[0],
    )
    return config, folder / "run", run(config, folder / "run")


TRAINING = (pl.col("view") == "train") & (pl.col("status") == "accepted")


def ledgers(folder):
    return [Ledger.read(path) for path in sorted(folder.glob("*.parquet"))]


def test_every_mender_has_its_ledger_for_what_the_one_before_made(composed):
    _, out, metrics = composed
    assert not (out / "ledger.parquet").exists()
    assert [path.name for path in sorted((out / "ledgers").iterdir())] == ["01-denoise.parquet", "02-augment.parquet"]
    denoised, augmented = ledgers(out / "ledgers")
    assert augmented.data_id == denoised.result_id != denoised.data_id
    assert set(augmented.edits["kind"]) == {"prepend"}
    assert "prepend" not in set(denoised.edits["kind"])
    for control in ("random", "llm_free"):
        first, second = ledgers(out / "controls" / control)
        assert second.data_id == first.result_id != denoised.result_id
    assert set(metrics["edits"]["by_mender"]) == {"denoise", "augment"}
    kinds = metrics["edits"]["by_mender"]["augment"]["by_kind"]
    assert kinds == {"prepend": len(augmented.edits.filter(TRAINING))}
    users = pl.read_parquet(out / "users.parquet")
    assert {"user_id", "weight"} <= set(users.columns)
    assert metrics["llm"]["calls"] > 0


def test_leaving_a_mender_out_lets_the_others_work_without_it(composed):
    _, out, metrics = composed
    (only_augmented,) = ledgers(out / "controls" / "without_denoise")
    (only_denoised,) = ledgers(out / "controls" / "without_augment")
    denoised, _ = ledgers(out / "ledgers")
    assert only_denoised.edits.equals(denoised.edits)
    assert only_augmented.data_id == denoised.data_id  # the log itself
    arms = {arm["arm"] for arm in metrics["arms"]}
    assert arms == {"raw", "random", "llm_free", "mended", "oracle", "without_denoise", "without_augment"}
    compared = {(found["a"], found["b"]) for found in metrics["comparisons"]}
    assert {("mended", "without_denoise"), ("mended", "without_augment")} <= compared


def test_the_arm_learns_from_both_channels_of_the_denoised_log(composed):
    config, out, _ = composed
    sequences = read_data(config.data).sequences
    denoised, augmented = ledgers(out / "ledgers")
    # The ledgers are for the noisy log, which the run does not keep: undo its recorded noise the other way round.
    truth = pl.read_parquet(out / "noise_truth.parquet")
    items = sequences.items.copy()
    numbers = {user: number for number, user in enumerate(sequences.user_ids.to_list())}
    rows = [sequences.offsets[numbers[u]] + p for u, p in truth.select("user_id", "position").rows()]
    items[rows] = sequences.catalogue.index_of(truth["item_after"].to_list())
    noisy = type(sequences)(sequences.user_ids, sequences.offsets, items, sequences.timestamps, sequences.catalogue)
    version = Version(leave_one_out(noisy)).then("denoise", denoised).then("augment", augmented)
    arm = version.arm()
    deleted = denoised.edits.filter(TRAINING & (pl.col("kind") == "delete"))
    split = version.given
    assert arm.train.n_interactions == split.train.n_interactions - len(deleted)
    added = augmented.edits.filter(TRAINING)
    assert arm.channels.augmented.n_interactions == arm.train.n_interactions + len(added)
    targets = split.sequences.items[split.sequences.offsets[split.test.users] + split.test.positions]
    for name in ("as_is", "mended"):
        history = arm.test_histories[name]
        assert len(history) == len(targets)
    softened = denoised.edits.filter(TRAINING & (pl.col("kind") == "reweight"))
    assert (arm.weights < 1).sum() == len(softened) > 0
    assert version.split.train.n_interactions == arm.channels.augmented.n_interactions
    np.testing.assert_array_equal(version.split.sequences.lengths - version.split.train_ends, 2)


def test_a_second_run_asks_and_trains_nothing(composed):
    config, out, metrics = composed
    written = {path: path.stat().st_mtime_ns for path in (out / "stages").iterdir()}
    assert run(config, out) == metrics
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_the_menders_of_a_run_share_its_budget(composed, tmp_path):
    config, _, metrics = composed
    wanted = metrics["llm"]["calls"]
    tight = config.model_copy(update={"language": config.language.model_copy(update={"max_calls": wanted - 5})})
    assert 0 < run(tight, tmp_path / "run")["llm"]["calls"] <= wanted - 5


def test_the_report_tells_what_each_mender_gave(composed):
    _, out, _ = composed
    page = write_report(out).read_text(encoding="utf-8")
    assert "Gain by it" in page
    assert "Mended without denoise" in page
    assert page.count('id="edits-1-1"') <= 1


def test_correct_works_after_denoise_on_single_instances(make_log, make_config, tmp_path, tiny_folder):
    config = make_config(
        *make_log(tmp_path, n_users=40, length=8),
        menders=["denoise", "correct"],
        language={"model": str(tiny_folder), "encoder": None},
        denoise={**SMALL, "corruption_rounds": 6},
        correct={"uncertain_share": 0.05, "max_length": 3},
        training={"epochs": 1},
        seeds=[0],
        arms=["raw", "mended"],
    )
    metrics = run(config, tmp_path / "run")
    denoised, corrected = ledgers(tmp_path / "run" / "ledgers")
    assert corrected.data_id == denoised.result_id
    assert set(corrected.edits["scope"]) <= {"instance"}
    assert {arm["arm"] for arm in metrics["arms"]} == {"raw", "mended", "without_denoise", "without_correct"}
    said = json.loads((tmp_path / "run" / "stages" / "correct-mended.json").read_text("utf-8"))
    assert said["uncertain"] > 0


def test_a_served_model_is_asked_by_every_mender(make_log, make_config, served, tmp_path):
    server = {"base_url": f"{served}/exact/v1"}
    config = make_config(
        *make_log(tmp_path, n_users=40, length=8),
        menders=["denoise", "augment"],
        language={"model": "server:tiny", "encoder": None, "server": server},
        denoise={**SMALL, "language_windows": 10, "corruption_rounds": 6},
        augment={"sample_users": 0, "n_items": 2, "n_candidates": 4, "n_recovery": 3, "selection": "model"},
        training={"epochs": 1},
        seeds=[0],
        arms=["raw", "mended"],
    )
    metrics = run(config, tmp_path / "run")
    assert metrics["llm"]["model"].endswith("exact")
    for name in ("denoise", "augment-mended"):
        said = json.loads((tmp_path / "run" / "stages" / f"{name}.json").read_text("utf-8"))
        assert said["llm"]["calls"] > 0, name


@pytest.mark.parametrize(
    ("menders", "message"),
    [
        (["augment", "denoise"], "in the order denoise, correct, augment"),
        (["denoise", "denoise"], "each at most once"),
        (["correct", "augment"], "not both in one run"),
        ([], "menders"),
    ],
)
def test_an_order_without_a_meaning_is_refused(log_files, menders, message):
    data = {"interactions": str(log_files[0]), "items": str(log_files[1])}
    with pytest.raises(InputError, match=message):
        RunConfig.from_dict({"data": data, "menders": menders}, "test")


def test_what_was_asked_is_added_up():
    assert added_up([{"calls": 1, "seconds": 0.5, "model": "a"}, {}, {"calls": 2, "model": "a"}]) == {
        "calls": 3,
        "seconds": 0.5,
        "model": "a",
    }


def test_the_cost_of_several_menders_is_said_beforehand(composed, tmp_path):
    config, _, metrics = composed
    said = estimate(config, rate=1000.0)
    reading = config.model_copy(update={"augment": config.augment.model_copy(update={"selection": "auto"})})
    together, alone = (
        {part["purpose"]: part["calls"] for part in estimate(asked, rate=1000.0)["parts"]}
        for asked in (reading, reading.model_copy(update={"menders": ("augment",)}))
    )
    assert together["titles"] == alone["reading titles"]
    assert set(alone) == {"reading titles"}
    assert "reading titles" not in together  # augment reads what denoise has read
    assert said["total"]["calls"] > together["titles"] == sum(together.values())
    assert metrics["llm"]["calls"] <= said["total"]["calls"] * 1.1
    assert set(said["trainings"]["arms"]) == {arm["arm"] for arm in metrics["arms"]}
