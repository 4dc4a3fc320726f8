import dataclasses
from copy import copy

import numpy as np
import polars as pl
import pytest

from seqmend.errors import InputError
from seqmend.study.denoise_studies import denoise_ceiling
from seqmend.study.denoise_studies.ceiling import Way, confidences, find, make_arm, same_scope
from seqmend.study.denoise_studies.retraining import MENDED, oracle_arm, raw_arm


def test_the_oracle_undoes_everything(case, inserted):
    for known in (case, inserted):
        arm, clean = oracle_arm(known.noisy), known.clean
        np.testing.assert_array_equal(arm.train.items, clean.train.items)
        np.testing.assert_array_equal(arm.test_histories[MENDED].sequences.items, clean.sequences.items)
        assert not np.array_equal(raw_arm(known.noisy).train.items, clean.train.items)


def test_the_oracle_of_the_same_scope_leaves_what_no_replacement_can_undo(case, inserted):
    for known in (case, inserted):
        np.testing.assert_array_equal(same_scope(known), known.noisy.mask)
    replacing = copy(inserted.mender)
    replacing.config = replacing.config.model_copy(update={"edit": "replace"})
    assert not same_scope(dataclasses.replace(inserted, mender=replacing)).any()
    assert inserted.noisy.mask.any()


def test_perfect_detection_flags_exactly_the_noise(case):
    found = find(case, Way("noise", "ours"))
    assert sorted(found.rows["train"]) == np.flatnonzero(case.noisy.mask).tolist()
    assert sorted(found.rows["test"]) == np.flatnonzero(case.noisy.mask).tolist()


def test_perfect_detection_with_the_true_items_is_the_oracle(case, inserted):
    for known in (case, inserted):
        way = Way("noise", "true")
        arm, oracle = make_arm(known, way, find(known, way)), oracle_arm(known.noisy)
        np.testing.assert_array_equal(arm.train.items, oracle.train.items)
        assert arm.test_histories[MENDED].sequences.fingerprint == oracle.test_histories[MENDED].sequences.fingerprint


def test_deleting_what_was_inserted_is_undoing_it(inserted):
    way = Way("noise", "delete")
    arm = make_arm(inserted, way, find(inserted, way))
    np.testing.assert_array_equal(arm.train.items, inserted.clean.train.items)


@pytest.mark.parametrize("completion", ["true", "replace", "delete", "mask", "reweight", "random"])
def test_every_way_of_mending_changes_what_was_found_and_nothing_else(case, completion):
    way = Way("fused", completion)
    found = find(case, way)
    train, rows = case.noisy.split.train, found.rows["train"]
    flagged = np.zeros(case.noisy.split.sequences.n_interactions, dtype=bool)
    flagged[rows] = True
    flagged = flagged[case.rows("train")]
    assert 20 < flagged.sum() < 300
    arm = make_arm(case, way, found)
    if completion == "delete":
        np.testing.assert_array_equal(arm.train.items, train.items[~flagged])
        return
    np.testing.assert_array_equal(arm.train.items[~flagged], train.items[~flagged])
    np.testing.assert_array_equal(arm.weights[~flagged], 1.0)
    after, before = arm.train.items[flagged], train.items[flagged]
    if completion == "reweight":
        np.testing.assert_array_equal(after, before)
        np.testing.assert_allclose(arm.weights[flagged], 1 - case.verdicts["train"].fused[flagged], atol=1e-6)
    elif completion == "mask":
        assert not after.any()
    elif completion == "true":
        np.testing.assert_array_equal(after, case.noisy.items_before[rows])
    else:
        assert (after != before).all()
        assert (after > 0).all()


def test_the_mender_deletes_the_surest_and_weighs_down_what_is_in_some_doubt(case):
    softening = copy(case.mender)
    softening.config = softening.config.model_copy(update={"soft": 0.05})
    case = dataclasses.replace(case, mender=softening)
    fused, threshold = case.verdicts["train"].fused, softening.config.threshold
    ways = {completion: Way("fused", completion) for completion in ("ours", "soft", "delete")}
    found = {completion: find(case, way) for completion, way in ways.items()}
    arms = {completion: make_arm(case, ways[completion], found[completion]) for completion in ways}
    sure = fused >= threshold
    assert 0 < sure.sum() < (fused >= 0.05).sum()
    np.testing.assert_allclose(arms["soft"].weights, np.where(fused >= 0.05, 1 - fused, 1), atol=1e-6)
    np.testing.assert_array_equal(arms["ours"].train.items, case.noisy.split.train.items[~sure])
    np.testing.assert_array_equal(arms["ours"].train.items, arms["delete"].train.items)
    np.testing.assert_allclose(arms["ours"].weights, arms["soft"].weights[~sure], atol=1e-6)
    assert (arms["delete"].weights == 1).all()
    np.testing.assert_array_equal(found["ours"].rows["train"], found["delete"].rows["train"])


def test_as_soft_at_random_is_the_same_confidences_elsewhere(case):
    ours, random = confidences(case, "fused", "train"), confidences(case, "random", "train")
    np.testing.assert_array_equal(np.sort(ours), np.sort(random))
    assert np.corrcoef(ours, random)[0, 1] < 0.2


@pytest.mark.parametrize("detection", ["random", "popularity", "co-occurrence"])
def test_controls_edit_as_much_as_the_mender(case, detection):
    for view in ("train", "test"):
        edits = len(find(case, Way("fused", "ours")).rows[view])
        assert edits == len(find(case, Way(detection, "ours")).rows[view]) > 0
    ours, theirs = (find(case, Way(who, "ours")) for who in ("fused", detection))
    assert len(np.intersect1d(theirs.rows["train"], ours.rows["train"])) < len(ours.rows["train"])
    kinds = [found.ledger.edits.filter(pl.col("view") == "train")["kind"].value_counts() for found in (ours, theirs)]
    assert kinds[0].sort("kind").rows() == kinds[1].sort("kind").rows()


def test_an_unknown_witness_is_named(case):
    with pytest.raises(InputError, match="no witness is called 'hearsay'"):
        confidences(case, "hearsay", "train")


def test_every_arm_is_measured_in_every_scope_and_a_second_run_trains_nothing(setting, tmp_path):
    names = ["mended", "perfect_detection", "random_edits"]
    figures = denoise_ceiling(setting, ("uniform", 0.1), tmp_path / "out", arms=names)
    rows = {(row["arm"], row["scope"]): row for row in figures["rows"]}
    assert set(rows) == {("raw", None)} | {
        (arm, scope) for arm in ("oracle", "oracle_same_scope", *names) for scope in ("train", "test", "both")
    }
    assert figures["oracles_are_one"]
    assert figures["edits"]["perfect_detection"]["precision"]["mean"] == 1
    assert figures["edits"]["perfect_detection"]["recall"]["mean"] == 1
    assert figures["edits"]["random_edits"]["share_edited"] == figures["edits"]["mended"]["share_edited"]
    assert {scope for (arm, scope), row in rows.items() if arm == "mended" and "valid" in row} == {"train"}
    assert rows["raw", None]["valid"]["ndcg@10"]["mean"] != rows["raw", None]["ndcg@10"]["mean"]
    share = rows["oracle", "both"]["ndcg@20"]["recovered_share"]
    assert share["value"] == pytest.approx(1) or share["reason"]
    for row in rows.values():
        low, high = row["ndcg@10"]["ci95"]
        assert low <= row["ndcg@10"]["mean"] <= high
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "stages").iterdir()}
    assert denoise_ceiling(setting, ("uniform", 0.1), tmp_path / "out", arms=names) == figures
    assert {path: path.stat().st_mtime_ns for path in written} == written


@pytest.mark.parametrize(("arms", "ratio", "message"), [(["halo"], 0.1, "halo"), (["mended"], 0.0, "noise ratio is 0")])
def test_what_cannot_be_measured_is_refused(setting, tmp_path, arms, ratio, message):
    with pytest.raises(InputError, match=message):
        denoise_ceiling(setting, ("uniform", ratio), tmp_path / "out", arms=arms)
    assert not (tmp_path / "out").exists()
