import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from seqmend.errors import InputError
from seqmend.interactions import Sequences, leave_one_out
from seqmend.menders.denoise import (
    NETWORK_WITNESS,
    SIMPLE_FUSION,
    TITLE_WITNESS,
    WINDOW_WITNESS,
    DenoiseConfig,
    Denoiser,
)
from seqmend.menders.denoise.corruption import corrupt
from seqmend.menders.denoise.windows import cut
from seqmend.menders.denoise.witnesses import SINGLE_WITNESSES

CONFIG = DenoiseConfig(tuning_windows=50, language_replacements=5, edit="replace", soft=1.0)
TREES = CONFIG.model_copy(update={"networks": False})  # where networks change nothing that is tested


@pytest.fixture(scope="module")
def fitted(spoiled, encoder):
    return Denoiser(CONFIG, encoder).fit(spoiled[0])


def test_known_noise_is_found_and_confidence_is_calibrated(fitted, spoiled):
    noisy, is_noise = spoiled
    verdicts = fitted.judge(noisy)
    assert roc_auc_score(is_noise, verdicts.fused) > 0.97
    assert verdicts.fused.mean() == pytest.approx(is_noise.mean(), abs=0.05)
    assert fitted.noise_rate == pytest.approx(is_noise.mean(), abs=0.08)  # from some 60 corrupted cells
    assert ((verdicts.fused >= 0) & (verdicts.fused <= 1)).all()
    for name, alone in verdicts.witnesses.items():
        assert roc_auc_score(is_noise, alone) < roc_auc_score(is_noise, verdicts.fused) + 0.01, name


def test_edits_are_grounded_and_explained(fitted, spoiled):
    noisy, is_noise = spoiled
    ledger = fitted.propose(noisy)
    assert len(ledger) > 50
    assert (ledger.edits["confidence"] >= CONFIG.threshold).all()
    mended = ledger.accept().apply(noisy).sequences
    changed = mended.items != noisy.items
    assert changed.sum() == len(ledger)
    assert is_noise[changed].mean() > 0.8
    kinds_before, kinds_after = (noisy.items - 1) // 12, (mended.items - 1) // 12
    own = np.array([u % 4 for u in range(len(noisy))])[noisy.users]
    assert (kinds_after == own).mean() > (kinds_before == own).mean() + 0.05
    evidence = json.loads(ledger.edits["evidence"][0])
    assert evidence["window"][evidence["index"]] == evidence["title_before"]
    assert set(evidence["witnesses"]) == {*SINGLE_WITNESSES, SIMPLE_FUSION, NETWORK_WITNESS}
    assert ledger.edits["reason"].str.len_chars().min() > 10


def test_held_out_targets_are_neither_seen_nor_edited(clean, encoder):
    split = leave_one_out(clean)
    mender = Denoiser(CONFIG, encoder).fit(split.train)
    before_test = clean.up_to(clean.lengths - 1)
    for view, part in (("train", split.train), ("test", before_test)):
        ledger = mender.propose(part, view)
        assert ledger.data_id == clean.fingerprint
        ends = dict(zip(part.user_ids, part.lengths, strict=True))
        assert all(p < ends[u] for u, p in ledger.edits.select("user_id", "position").rows())
    # Other targets, the same verdicts: nothing that is held out has a say.
    items = clean.items.copy()
    items[clean.offsets[1:] - 1] = 1
    items[clean.offsets[1:] - 2] = 2
    other = leave_one_out(Sequences(clean.user_ids, clean.offsets, items, clean.timestamps, clean.catalogue))
    again = Denoiser(CONFIG, encoder).fit(other.train).judge(other.train)
    np.testing.assert_array_equal(again.fused, mender.judge(split.train).fused)


def test_networks_see_what_the_trees_alone_do_not(fitted, spoiled, encoder):
    noisy, is_noise = spoiled
    alone = Denoiser(TREES, encoder).fit(noisy).judge(noisy).fused
    both = fitted.judge(noisy).fused
    assert roc_auc_score(is_noise, both) > roc_auc_score(is_noise, alone) - 0.005
    assert not np.array_equal(alone, both)


def test_the_same_seed_gives_the_same_ledger(spoiled, encoder, fitted):
    again = Denoiser(CONFIG, encoder).fit(spoiled[0])
    assert again.propose(spoiled[0]).edits.equals(fitted.propose(spoiled[0]).edits)


@pytest.mark.parametrize("edit", ["delete", "mask", "reweight"])
def test_other_kinds_of_edit(spoiled, edit, encoder):
    mender = Denoiser(TREES.model_copy(update={"edit": edit}), encoder).fit(spoiled[0])
    noisy = spoiled[0]
    ledger = mender.propose(noisy).accept()
    assert set(ledger.edits["kind"]) == {edit}
    mended = ledger.apply(noisy)
    assert ledger.undo(mended).fingerprint == noisy.fingerprint
    if edit == "delete":
        assert mended.sequences.n_interactions == noisy.n_interactions - len(ledger)
    if edit == "reweight":
        assert (mended.weights < 0.5).sum() == len(ledger.filter(threshold=0.500001))


def test_by_default_the_surest_are_deleted_and_what_is_in_some_doubt_counts_for_less(spoiled, encoder):
    noisy, is_noise = spoiled
    config = DenoiseConfig(tuning_windows=50, networks=False)
    mender = Denoiser(config, encoder).fit(noisy)
    verdicts = mender.judge(noisy)
    ledger = mender.propose_from(verdicts).accept()
    sure = verdicts.fused >= config.threshold
    doubted = (verdicts.fused >= config.soft) & ~sure
    assert dict(ledger.edits["kind"].value_counts().iter_rows()) == {"delete": sure.sum(), "reweight": doubted.sum()}
    assert is_noise[sure].mean() > is_noise[doubted].mean() > is_noise[~sure & ~doubted].mean()
    mended = ledger.apply(noisy)
    np.testing.assert_allclose(mended.weights, np.where(doubted, 1 - verdicts.fused, 1)[~sure], atol=1e-6)
    assert ledger.undo(mended).fingerprint == noisy.fingerprint
    shown = mender.propose_from(verdicts, "test").edits  # where nothing is learned a weight means nothing
    assert shown["kind"].unique().to_list() == ["delete"]


def test_the_budget_holds_per_user(spoiled, encoder):
    mender = Denoiser(TREES.model_copy(update={"max_edits": 1, "threshold": 0.2}), encoder).fit(spoiled[0])
    ledger = mender.propose(spoiled[0])
    assert ledger.edits.group_by("user_id").len()["len"].max() == 1


def test_a_language_model_is_asked_where_doubt_is_greatest(spoiled, encoder, tiny):
    noisy, _ = spoiled
    mender = Denoiser(CONFIG, encoder, tiny).fit(noisy)
    assert mender._window is not None
    mender._window.trust = 0.5  # a model of random weights earns none
    verdicts = mender.judge(noisy, language_windows=20)
    assert verdicts.asked.sum() == 20
    assert verdicts.asked_interactions.sum() >= 20
    assert {TITLE_WITNESS, WINDOW_WITNESS} <= set(verdicts.witnesses)
    assert (~np.isnan(verdicts.witnesses[WINDOW_WITNESS]) == verdicts.asked_interactions).all()
    assert not np.isnan(verdicts.fused).any()
    ledger = mender.propose_from(verdicts)
    sources = {json.loads(e)["replacement"]["source"] for e in ledger.edits["evidence"]}
    assert "co-occurrence" in sources


def test_without_titles_reading_is_refused_and_behaviour_alone_works(untitled, encoder):
    with pytest.raises(InputError, match="no item has a title"):
        Denoiser(CONFIG, encoder).fit(untitled)
    verdicts = Denoiser(CONFIG).fit(untitled).judge(untitled)
    assert not np.isnan(verdicts.fused).any()


def test_of_a_long_log_a_part_is_learned_from_and_all_of_it_is_judged(spoiled, encoder, monkeypatch):
    noisy, is_noise = spoiled
    seen: list[int] = []

    def counted(items, *arguments):
        seen.append(len(items))
        return corrupt(items, *arguments)

    monkeypatch.setattr("seqmend.menders.denoise.mender.corrupt", counted)
    n_windows = len(cut(noisy, TREES.max_length))
    few = TREES.model_copy(update={"learning_windows": 3 * (n_windows // 2)})
    verdicts = Denoiser(few, encoder).fit(noisy).judge(noisy)
    assert seen == [n_windows // 2] * TREES.corruption_rounds
    assert not np.isnan(verdicts.fused).any()
    assert roc_auc_score(is_noise, verdicts.fused) > 0.9


def test_too_short_a_log_is_refused(encoder):
    log = Sequences.from_lists({"ann": ["a", "b"], "bob": ["b", "c"]}, {"a": "A", "b": "B", "c": "C"})
    with pytest.raises(InputError, match="too few to learn"):
        Denoiser(CONFIG, encoder).fit(log)
