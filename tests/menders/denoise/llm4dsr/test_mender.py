import json

import numpy as np
import pytest

from seqmend.errors import InputError
from seqmend.interactions import Sequences, leave_one_out
from seqmend.llm import LocalModel
from seqmend.menders.denoise.llm4dsr import LLM4DSR, LastState, LLM4DSRConfig

PAPER = LLM4DSRConfig(mode="paper", grounding="encoder")


def with_items(sequences: Sequences, items) -> Sequences:
    return Sequences(
        sequences.user_ids, sequences.offsets, items.astype(np.int32), sequences.timestamps, sequences.catalogue
    )


@pytest.fixture
def fitted(oracle, encoder, clean):
    return LLM4DSR(LLM4DSRConfig(), oracle, encoder).fit(clean)


def test_one_switch_decides_the_defaults_and_each_can_still_be_set():
    default, paper = LLM4DSRConfig(), LLM4DSRConfig(mode="paper")
    assert (default.scorer, default.verdicts, default.edits_by, default.gate) == (
        "trie", "interaction", "position", "probability",
    )  # fmt: skip
    assert (paper.scorer, paper.verdicts, paper.edits_by, paper.gate) == ("first_token", "window", "item", "quantile")
    assert (paper.quantile, paper.max_edits, paper.quantile_test, paper.max_edits_test) == (0.6, 2, 0.9, 1)
    assert (paper.tuning.clean_share, paper.tuning.loss, paper.tuning.held_out) == (0.0, "text", 0)
    lora = default.tuning.lora
    assert lora == paper.tuning.lora
    assert (lora.rank, lora.alpha, lora.target_modules, lora.epochs) == (8, 16, ("q_proj", "v_proj"), 50)
    mixed = LLM4DSRConfig(mode="paper", scorer="trie", tuning={"loss": "response", "lora": {"rank": 4}})
    assert (mixed.scorer, mixed.tuning.loss, mixed.tuning.clean_share) == ("trie", "response", 0.0)
    assert (mixed.tuning.lora.rank, mixed.tuning.lora.epochs) == (4, 50)
    again = LLM4DSRConfig.model_validate(mixed.model_dump(mode="json", exclude_none=True))
    assert again == mixed
    with pytest.raises(ValueError, match="edits by item"):
        LLM4DSRConfig(edits_by="item")


def test_what_is_named_is_replaced_by_what_is_written(fitted, spoiled):
    noisy, is_noise = spoiled
    assert 0 < fitted.threshold < 1
    ledger = fitted.propose(noisy)
    mended = ledger.accept().apply(noisy).sequences
    changed = mended.items != noisy.items
    assert changed.sum() == len(ledger) > 40
    assert is_noise[changed].mean() > 0.9
    assert set(ledger.edits["kind"]) == {"replace"}
    facts = json.loads(ledger.edits["evidence"][0])
    assert facts["window"][facts["index"]] == facts["title_before"]
    assert facts["replacement"]["text"] == "wooden train number 3"
    assert 0 <= facts["score"]["p_none"] <= 1
    assert np.array_equal(np.diff(mended.offsets), noisy.lengths)  # length invariant
    flagged = ledger.edits["position"].to_numpy() // 10
    per_block = ledger.edits.with_columns(block=flagged).group_by("user_id", "block").len()["len"]
    assert per_block.max() == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"max_edits": 0},
        {"threshold": 1.0},
        {"mode": "paper", "max_edits": 0, "max_edits_test": 0},
        {"mode": "paper", "quantile": 1.0, "quantile_test": 1.0},
    ],
)
def test_no_edits_or_the_highest_threshold_is_the_identity(spoiled, oracle, encoder, changes):
    """Check 5."""
    noisy, _ = spoiled
    config = LLM4DSRConfig.model_validate({**changes, "grounding": "encoder"})
    mender = LLM4DSR(config, oracle, encoder).fit(noisy)
    for view in ("train", "test"):
        assert len(mender.propose(noisy, view)) == 0
    assert not oracle.prompts  # nothing passed, so nothing was written


def test_targets_are_neither_seen_nor_edited(clean, spoiled, encoder, make_oracle):
    """Check 5: no held-out target is modified, and none has a say."""
    noisy, _ = spoiled
    other = noisy.items.copy()
    other[noisy.offsets[1:] - 1] = 1
    other[noisy.offsets[1:] - 2] = 2
    ledgers = []
    for log in (noisy, with_items(noisy, other)):
        split = leave_one_out(log)
        mender = LLM4DSR(LLM4DSRConfig(threshold=0.3), make_oracle(), encoder).fit(split.train)
        ledgers.append(mender.propose(split.train).edits.drop("timestamp"))
        test = mender.propose(log.up_to(log.lengths - 1), "test")
        lengths = dict(zip(log.user_ids, log.lengths, strict=True))
        assert len(test) > 10
        assert all(position < lengths[user] - 1 for user, position in test.edits.select("user_id", "position").rows())
    assert ledgers[0].equals(ledgers[1])


@pytest.mark.parametrize("config", [LLM4DSRConfig(threshold=0.3), PAPER], ids=["default", "paper"])
def test_permuting_test_users_changes_no_edit(spoiled, oracle, encoder, config):
    """Check 5."""
    noisy, _ = spoiled
    mender = LLM4DSR(config, oracle, encoder).fit(noisy)
    order = np.random.default_rng(0).permutation(len(noisy))
    shuffled = Sequences(
        noisy.user_ids.gather(order),
        np.concatenate([[0], np.cumsum(noisy.lengths[order])]),
        np.concatenate([noisy[user] for user in order]),
        np.concatenate([noisy.timestamps[noisy.offsets[u] : noisy.offsets[u + 1]] for u in order]),
        noisy.catalogue,
    )
    columns = ["user_id", "position", "item_before", "item_after", "confidence"]
    one, other = (mender.propose(log, "test").edits.select(columns).sort(columns) for log in (noisy, shuffled))
    assert len(one) > 5
    assert one.equals(other)


def test_the_paper_s_form_judges_every_window_and_may_retarget(spoiled, oracle, encoder):
    noisy, _ = spoiled
    mender = LLM4DSR(PAPER, oracle, encoder).fit(noisy)
    train = mender.propose(noisy)
    assert set(train.edits["scope"]) == {"instance"}
    assert set(train.edits["kind"]) == {"replace", "retarget"}
    retargeted = train.edits["kind"] == "retarget"
    assert (train.edits["position"] == train.edits["target_position"]).to_list() == retargeted.to_list()
    reach = train.edits["target_position"] - train.edits["position"]
    assert reach.min() >= 0
    assert reach.max() <= 10
    assert train.edits.select("user_id", "position").is_duplicated().any()  # one interaction, several verdicts
    accepted = train.accept()
    assert len(accepted.filter(status="accepted")) == len(train)
    test = mender.propose(noisy, "test")
    assert set(test.edits["scope"]) == {"history"}
    assert test.edits.group_by("user_id").len()["len"].max() <= 10


def test_by_item_all_occurrences_go_by_position_one(clean, encoder, make_oracle):
    items = clean.items.copy()
    stranger = (items[2] + 23) % 48 + 1
    items[[2, 6]] = stranger
    log = with_items(clean, items).up_to(np.where(np.arange(len(clean)) == 0, 11, 0))
    by_item = LLM4DSR(
        LLM4DSRConfig(mode="paper", quantile=0.5, max_edits=1, grounding="encoder"), make_oracle(), encoder
    ).fit(clean)
    assert by_item.propose(log).edits["position"].to_list() == [2, 6]
    by_position = LLM4DSR(LLM4DSRConfig(threshold=0.1), make_oracle(), encoder).fit(clean)
    assert by_position.propose(log).edits["position"].to_list() == [2]


@pytest.mark.parametrize("text", ["", "\n", "   ", "<|im_end|>", '"'])
def test_an_empty_generation_keeps_the_item(spoiled, encoder, clean, make_oracle, text):
    mender = LLM4DSR(LLM4DSRConfig(threshold=0.3), make_oracle(text), encoder).fit(clean)
    assert len(mender.propose(spoiled[0])) == 0


def test_an_endless_generation_is_cut_and_grounded(spoiled, encoder, clean, make_oracle):
    mender = LLM4DSR(LLM4DSRConfig(threshold=0.3), make_oracle("card game " * 500), encoder).fit(clean)
    ledger = mender.propose(spoiled[0])
    assert len(ledger) > 20
    titles = [json.loads(text)["title_after"] for text in ledger.edits["evidence"]]
    assert all(title.startswith("card game") for title in titles)
    assert all(len(json.loads(text)["replacement"]["text"]) <= 200 for text in ledger.edits["evidence"])


def test_a_random_model_judges_awkward_titles(tiny: LocalModel, awkward, encoder):
    ids = awkward.item_ids.to_list()[1:]
    histories = {
        "one": ids[:1],
        "all": ids,
        "same": [ids[0]] * 4,
        "none": ids[9:11],
        "untitled": ids[9:10],
        "empty": [],
    }
    log = Sequences.from_lists(histories, dict(zip(ids, awkward.titles.to_list()[1:], strict=True)))
    for config in (LLM4DSRConfig(threshold=0.0, above_none=False, max_new_tokens=4), PAPER):
        config = config.model_copy(update={"max_new_tokens": 4})
        mender = LLM4DSR(config, tiny, encoder).fit(log)
        confidence = mender.confidence(mender.judge(log), log)
        assert ((confidence >= 0) & (confidence <= 1)).all()
        ledger = mender.propose(log).accept()
        for evidence in ledger.edits["evidence"]:
            facts = json.loads(evidence)
            assert facts["window"][facts["index"]] == facts["title_before"] != "(untitled)"


def test_the_base_model_s_last_state_grounds_too(tiny: LocalModel, clean, spoiled, make_oracle, tmp_path):
    reader = LastState(tiny)
    mender = LLM4DSR(LLM4DSRConfig(threshold=0.3), make_oracle("card game number 4"), reader, table=tmp_path / "t").fit(
        clean
    )
    vectors = reader.embed(["card game number 4"])
    np.testing.assert_allclose(vectors, tiny.hidden_states(["card game number 4"], -1, "last"))
    assert len(mender.propose(spoiled[0])) > 10
    calls = tiny.usage.calls
    LLM4DSR(LLM4DSRConfig(threshold=0.3), make_oracle(), reader, table=tmp_path / "t").fit(clean)
    assert tiny.usage.calls == calls  # the table is kept


def test_a_grounding_table_of_another_catalogue_is_refused(clean, encoder, oracle, tmp_path, untitled, tiny):
    config = LLM4DSRConfig(threshold=0.3)
    LLM4DSR(config, oracle, encoder, table=tmp_path / "table").fit(clean)
    with pytest.raises(InputError, match="another catalogue"):
        LLM4DSR(config, oracle, encoder, table=tmp_path / "table").fit(untitled)
    with pytest.raises(InputError, match="another catalogue or by another model"):
        LLM4DSR(config, oracle, LastState(tiny), table=tmp_path / "table").fit(clean)
    (tmp_path / "table").write_bytes(b"no table")
    with pytest.raises(InputError, match="cannot read the grounding table"):
        LLM4DSR(config, oracle, encoder, table=tmp_path / "table").fit(clean)


@pytest.mark.parametrize("edit", ["delete", "mask", "reweight"])
def test_other_kinds_of_edit_need_no_suggestion(spoiled, oracle, clean, edit):
    mender = LLM4DSR(LLM4DSRConfig(threshold=0.3), oracle, None, edit).fit(clean)
    ledger = mender.propose(spoiled[0]).accept()
    assert set(ledger.edits["kind"]) == {edit}
    assert not oracle.prompts
    mended = ledger.apply(spoiled[0])
    assert ledger.undo(mended).fingerprint == spoiled[0].fingerprint
    if edit == "reweight":
        assert (mended.weights < 1).sum() == len(ledger)


def test_what_cannot_be_done_is_refused(oracle, encoder):
    with pytest.raises(InputError, match="replacing needs"):
        LLM4DSR(LLM4DSRConfig(), oracle, None)
    with pytest.raises(InputError, match="can only replace"):
        LLM4DSR(PAPER, oracle, encoder, "delete")
