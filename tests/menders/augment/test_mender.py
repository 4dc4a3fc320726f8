import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from seqmend.errors import InputError
from seqmend.interactions import Sequences, leave_one_out
from seqmend.llm import Budget, Journal, JournaledModel
from seqmend.menders.augment import AugmentConfig, Augmenter

KINDS = ("wooden train", "card game", "plush bear", "science kit")
TITLES = {f"i{kind}{n:02}": f"{name} number {n}" for kind, name in enumerate(KINDS) for n in range(30)}
ALL_OF_IT = {"sample_users": 0, "mixing": "model"}


def augmenter(model, backbone, encoder, **settings):
    """One that asks, unless told otherwise."""
    asking = {} if model is None else {"candidates": "reversed", "selection": "model"}
    config = AugmentConfig(**{**asking, **settings})
    return Augmenter(config, model, encoder, backbone, backbone, backbone if config.crossfit else None)


def judged(log, model, backbone, encoder, **settings):
    split = leave_one_out(log)
    mender = augmenter(model, backbone, encoder, **settings).fit(split.train)
    return split, mender.judge(split.train, log.lengths)


def swapped(log: Sequences) -> Sequences:
    """The same log with all validation and test items dealt to other users."""
    held_out = log.positions >= log.lengths[log.users] - 2
    items = log.items.copy()
    items[held_out] = np.random.default_rng(5).permutation(items[held_out])
    return Sequences(log.user_ids, log.offsets, items, log.timestamps, log.catalogue)


# ------------------------------------------------------------------------------------- the checks of section 6.4


@pytest.mark.parametrize("candidates", ["reversed", "random", "popular", "neighbours"])
def test_pseudo_items_are_few_new_and_know_nothing_held_out(candidates, log, backbone, low_numbers, words):
    split, found = judged(log, low_numbers, backbone, words, candidates=candidates, n_items=6)
    _, other = judged(swapped(log), low_numbers, backbone, words, candidates=candidates, n_items=6)
    assert found.pseudo.shape[1] == 6
    for pseudo, real in zip(found.pseudo, split.train, strict=True):
        assert (pseudo > 0).all()
        assert len(set(pseudo.tolist())) == 6
        assert not set(pseudo.tolist()) & set(real.tolist())
    assert found.users.equals(other.users)
    assert (found.pseudo == other.pseudo).all()
    assert len(set(found.status)) == 1


def test_what_is_real_stays_and_so_does_its_length(log, backbone, low_numbers, words):
    split = leave_one_out(log)
    mender = augmenter(low_numbers, backbone, words, n_items=5, **ALL_OF_IT).fit(split.train)
    found = mender.judge(split.train, log.lengths)
    assert found.users["n"].to_list() == log.lengths.tolist()
    is_tested = np.arange(len(log)) % 2 == 0
    ledger = mender.propose_from(found, is_tested).accept()
    before_test = log.up_to(log.lengths - 1)
    for view, part in (("train", split.train), ("test", before_test)):
        mended = ledger.apply(part, view)
        gets = np.ones(len(log), dtype=bool) if view == "train" else is_tested
        for user, real in enumerate(part):
            pseudo = found.pseudo[user][::-1].tolist() if gets[user] else []
            assert mended.sequences[user].tolist() == [*pseudo, *real.tolist()]
        here = mended.origins < 0
        assert np.allclose(mended.weights[here], found.weights[mended.sequences.users[here]])
        assert (mended.weights[~here] == 1).all()
        assert (ledger.undo(mended, view).items == part.items).all()
    edits = ledger.edits
    assert edits.group_by("user_id").agg(pl.col("group_id").n_unique())["group_id"].unique().to_list() == [1]
    assert edits.filter(pl.col("view") == "train")["position"].unique().sort().to_list() == [-5, -4, -3, -2, -1]
    assert edits["confidence"].equals(edits["weight"].rename("confidence"))


def test_users_with_three_interactions_run_through_all_stages(make_log, backbone, low_numbers, words):
    log = make_log([3] * 12 + [5] * 4)
    for settings in ({}, {"one_item": "median"}, {"crossfit": True}):
        split, found = judged(log, low_numbers, backbone, words, **settings, **ALL_OF_IT)
        short = split.train.lengths == 1
        assert short.sum() == 12
        assert (found.pseudo[short] > 0).all()
        if settings.get("one_item") == "median":
            assert found.raw[short].tolist() == [np.median(found.raw[~short])] * 12
            assert (found.hidden[short] == 0).all()
        else:
            assert found.hidden[short].tolist() == [int(split.train[user][0]) for user in np.flatnonzero(short)]
        assert found.users["weight"].is_between(0, 1).all()
    titles = {"\n".join(log.catalogue.prompt_titles[item] for item in row[3::-1]) + "\n" for row in found.pseudo[short]}
    told = {question.prompt.partition("\n")[2] for question in low_numbers.questions}
    assert titles <= told  # the nearest four pseudo items and nothing else


def test_kept_answers_give_the_same_ledger_and_cost_nothing(log, backbone, low_numbers, words, tmp_path):
    def once():
        with Journal(tmp_path / "journal.sqlite") as journal:
            model = JournaledModel(low_numbers, journal)
            split = leave_one_out(log)
            mender = augmenter(model, backbone, words).fit(split.train)
            return mender.propose(split.train, log.lengths).edits

    first, asked = once(), len(low_numbers.questions)
    assert asked > 0
    assert once().equals(first)
    assert len(low_numbers.questions) == asked


GARBAGE = [
    "",
    "no",
    "{}",
    "[]",
    '{"choices": []}',
    '{"choices": [99, 0, -1]}',
    '{"choices": "all"}',
    "対象はありません",
]


@pytest.mark.parametrize("text", GARBAGE)
def test_users_whose_answers_cannot_be_read_stay_as_they_are(text, log, backbone, make_writer, words):
    split, found = judged(log, make_writer(lambda _: text), backbone, words)
    assert set(found.status) == {"unreadable"}
    assert (found.weights == 0).all()
    assert (found.pseudo == 0).all()
    assert len(found.users) == len(split.train)
    assert len(found.to_ledger("augment", {})) == 0


# ------------------------------------------------------------------------------------------------- what is selected


def test_the_likeliest_stand_next_to_the_first_item(log, backbone, low_numbers, words):
    orders = {}
    for order in ("best_last", "best_first", "random"):
        _, found = judged(log, low_numbers, backbone, words, order=order, **ALL_OF_IT)
        orders[order] = found
    numbers = (orders["best_last"].pseudo - 1) % 30
    assert (np.diff(numbers, axis=1) > 0).all()  # this model likes low numbers
    assert (orders["best_first"].pseudo == orders["best_last"].pseudo[:, ::-1]).all()
    assert (np.sort(orders["random"].pseudo) == np.sort(orders["best_last"].pseudo)).all()
    assert (orders["random"].pseudo != orders["best_last"].pseudo).any()
    assert (np.diff(orders["best_last"].probabilities, axis=1) < 0).all()


def test_fewer_items_are_a_slice_of_the_same_answer(log, backbone, low_numbers, words):
    _, many = judged(log, low_numbers, backbone, words, n_items=12, **ALL_OF_IT)
    prompts = {q.prompt for q in low_numbers.questions if "latest first" in q.prompt}
    for n in (2, 5):
        low_numbers.questions.clear()
        _, few = judged(log, low_numbers, backbone, words, n_items=n, **ALL_OF_IT)
        assert (few.pseudo == many.pseudo[:, :n]).all()
        assert {q.prompt for q in low_numbers.questions if "latest first" in q.prompt} == prompts


def test_a_model_that_always_names_one_number_leaves_the_rest_to_the_rank(log, backbone, make_writer, words):
    model = make_writer(lambda _: '{"choices": [3, 3, 3, 3]}')
    split, found = judged(log, model, backbone, words, n_items=4)
    assert set(found.status) == {"augmented"}
    assert found.ranks.tolist() == [[3, 1, 2, 4]] * len(split.train)
    assert found.filled.tolist() == [[False, True, True, True]] * len(split.train)
    _, shorter = judged(log, model, backbone, words, n_items=4, shortfall="shorter")
    assert (shorter.users["n_pseudo"] == 1).all()
    evidence = [json.loads(text) for text in found.to_ledger("augment", {}).edits["evidence"]]
    assert {one["source"] for one in evidence} == {"selected", "filled"}


def test_numbers_and_probabilities_lead_to_the_same_items(log, backbone, low_numbers, make_writer, words):
    def by_low_numbers(prompt):
        listed = re.findall(r'^(\d+)\. ".* (\d+)"$', prompt, re.M)
        return json.dumps({"choices": [int(place) for place, number in sorted(listed, key=lambda one: int(one[1]))]})

    _, written = judged(log, make_writer(by_low_numbers), backbone, words, **ALL_OF_IT)
    _, closed = judged(log, low_numbers, backbone, words, **ALL_OF_IT)
    assert (written.pseudo == closed.pseudo).all()
    assert (written.guess == closed.guess).all()
    assert np.isnan(written.probabilities).all()


def test_controls_select_without_a_model(log, backbone, words):
    found = {s: judged(log, None, backbone, words, selection=s)[1] for s in ("rank", "random", "similar")}
    assert (found["rank"].ranks == np.arange(1, 11)).all()
    assert (np.sort(found["random"].ranks) != np.arange(1, 11)).any()
    vectors = words.embed(log.catalogue.prompt_titles)
    train = leave_one_out(log).train
    for user, pseudo in enumerate(found["similar"].pseudo):
        alike = vectors[pseudo] @ vectors[train[user]].mean(axis=0)
        assert (np.diff(alike) <= 1e-6).all()
    assert (found["rank"].raw >= 0).all()  # the recommender alone recovers


# ------------------------------------------------------------------------------------------------------- questions


def test_two_questions_per_user_and_one_for_each_of_the_sample(log, backbone, low_numbers, words):
    judged(log, low_numbers, backbone, words, sample_users=7)
    assert len(low_numbers.questions) == 2 * len(log) + 7
    low_numbers.questions.clear()
    judged(log, low_numbers, backbone, words, crossfit=True, **ALL_OF_IT)
    n_single = int((leave_one_out(log).train.lengths == 1).sum())
    assert len(low_numbers.questions) == 3 * len(log) - n_single


def test_no_question_of_the_cross_fitted_check_knows_the_hidden_item(log, backbone, low_numbers, words):
    split, found = judged(log, low_numbers, backbone, words, crossfit=True, max_history=9, **ALL_OF_IT)
    titles = log.catalogue.prompt_titles
    hidden = {titles[item] for item, n in zip(found.hidden, split.train.lengths, strict=True) if n > 1}
    n_multiple = int((split.train.lengths > 1).sum())
    again = low_numbers.questions[len(log) : len(log) + n_multiple]
    assert sorted(len(q.prompt.splitlines()) for q in again) == sorted(split.train.lengths[split.train.lengths > 1])
    latest = [question.prompt.splitlines()[1] for question in again]
    assert sorted(latest) == sorted(titles[real[-2]] for real in split.train if len(real) > 1)
    assert hidden


def test_r0_is_what_recovery_gives_without_pseudo_items(log, backbone, low_numbers, words):
    split, found = judged(log, low_numbers, backbone, words, sample_users=9, mixing="model", max_history=9)
    assert np.isfinite(found.raw_without).sum() == 9
    plain = low_numbers.questions[:9]
    titles = log.catalogue.prompt_titles
    assert {tuple(q.prompt.splitlines()[1:]) for q in plain} <= {
        tuple(titles[item] for item in real[:-1]) for real in split.train if len(real) > 1
    }
    assert np.isnan(found.raw_without[split.train.lengths == 1]).all()


def test_only_short_users_are_augmented_where_that_is_asked(log, backbone, low_numbers, words):
    _, found = judged(log, low_numbers, backbone, words, augment_up_to=5, **ALL_OF_IT)
    is_short = log.lengths <= 5
    assert [s == "augmented" for s in found.status] == is_short.tolist()
    assert len(low_numbers.questions) == 2 * is_short.sum()
    assert (found.weights[~is_short] == 0).all()


@pytest.mark.parametrize(("calls", "n_whole"), [(2, 0), (99, 48), (70, 0), (48, 0)])
def test_a_spent_budget_leaves_users_as_they_are(calls, n_whole, log, backbone, low_numbers, words, tmp_path):
    with Journal(tmp_path / "journal.sqlite") as journal:
        model = JournaledModel(low_numbers, journal, Budget(calls=calls))
        _, found = judged(log, model, backbone, words, **ALL_OF_IT)
    assert found.status.count("augmented") == n_whole
    assert found.status.count("unasked") == len(log) - n_whole
    assert ((found.pseudo > 0).all(axis=1) == (found.weights > 0)).all()


def test_what_a_budget_pays_for_is_whole_users_the_shortest_first(make_log, backbone, low_numbers, words, monkeypatch):
    monkeypatch.setattr("seqmend.menders.augment.mender._USERS_AT_ONCE", 8)
    log = make_log([3 + user % 8 for user in range(48)])
    with Journal(Path(":memory:")) as journal:
        model = JournaledModel(low_numbers, journal, Budget(calls=40))
        _, found = judged(log, model, backbone, words, **ALL_OF_IT)
    whole = np.array([status == "augmented" for status in found.status])
    assert whole.sum() == 16
    assert log.lengths[whole].max() <= log.lengths[~whole].min()


# ------------------------------------------------------------------------------------------------------- bad input


def test_items_without_a_title_are_told_by_their_id(make_log, backbone, low_numbers, make_chooser, words):
    titles = {item: None if number % 3 else title for number, (item, title) in enumerate(TITLES.items())}
    log = make_log([3, 4, 6, 8], titles=titles)
    model = make_chooser(lambda _, title: 2.0 if "untitled" in title else 1.0)
    _, found = judged(log, model, backbone, words, n_items=6, **ALL_OF_IT)
    assert set(found.status) == {"augmented"}
    untitled = ~log.catalogue.has_title[found.pseudo]
    assert untitled.mean() > 0.9
    assert all("(untitled) i" in question.prompt + str(question.choices) for question in model.questions)


def test_pools_smaller_than_asked_for(make_backbone, make_chooser, words):
    few = Sequences.from_lists({"u0": list("abcd"), "u1": list("bca"), "u2": list("abcde")}, dict.fromkeys("abcde"))
    _, found = judged(few, make_chooser(lambda *_: 1.0), make_backbone(5), words, n_items=10, **ALL_OF_IT)
    assert found.users["n_pseudo"].to_list() == [3, 4, 2]
    everything = Sequences.from_lists({"u0": list("abcab")}, dict.fromkeys("abc"))
    _, none = judged(everything, make_chooser(lambda *_: 1.0), make_backbone(3), words, **ALL_OF_IT)
    assert none.status == ["no_candidates"]
    assert none.weights.tolist() == [0.0]


def test_a_length_limit_drops_pseudo_items_first(log, backbone, low_numbers, words):
    assert backbone.max_length < 10 + log.lengths.max()
    _, found = judged(log, low_numbers, backbone, words, **ALL_OF_IT)
    assert np.isfinite(found.raw).all()
    train = leave_one_out(log).train
    longer = found.to_ledger("augment", {}).accept().apply(train).sequences
    shown = [items[-backbone.max_length :].tolist() for items in longer]
    assert all(row[-len(real) :] == real.tolist() for row, real in zip(shown, train, strict=True))


def test_recommenders_of_another_catalogue_are_refused(log, backbone, make_backbone, low_numbers, words):
    with pytest.raises(InputError, match="knows 7 items"):
        Augmenter(AugmentConfig(), low_numbers, words, backbone, make_backbone(7)).fit(log)
    with pytest.raises(InputError, match="crossfit"):
        Augmenter(AugmentConfig(crossfit=True), low_numbers, words, backbone, backbone).fit(log)


# ------------------------------------------------------------------------------------------------------ as published


def test_the_published_form_matches_names_and_puts_the_best_farthest(log, backbone, make_writer, words):
    config = AugmentConfig(mode="paper")
    assert (config.answers, config.order, config.exclude_seen, config.sees_validation) == (
        "names", "best_first", False, True
    )  # fmt: skip
    assert AugmentConfig(mode="paper", order="best_last").order == "best_last"
    model = make_writer(lambda prompt: "card game number 3\nnumber 5")
    seen = log.up_to(log.lengths - 1)
    found = Augmenter(config, model, words, backbone, backbone).fit(seen).judge(seen, log.lengths)
    assert set(found.users["n_pseudo"]) == {12}
    assert found.hidden.tolist() == [int(real[-2]) for real in log]  # the validation item: trap T1
    vectors = words.embed(log.catalogue.prompt_titles)
    reply = words.embed(["card game number 3\nnumber 5"])[0]
    for pseudo in found.pseudo:
        assert (np.diff(vectors[pseudo] @ reply) >= -1e-6).all()
    repeats = [bool(set(p.tolist()) & set(real.tolist())) for p, real in zip(found.pseudo, seen, strict=True)]
    assert any(repeats)
    silent = Augmenter(config, make_writer(lambda _: " "), words, backbone, backbone).fit(seen)
    assert set(silent.judge(seen).status) == {"unreadable"}
    with pytest.raises(InputError, match="sentence encoder"):
        Augmenter(config, model, None, backbone, backbone).fit(seen).judge(seen)
