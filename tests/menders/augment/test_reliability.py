from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqmend.menders.augment import AugmentConfig, final_weights, with_prefix
from seqmend.menders.augment.candidates import by_backbone
from seqmend.menders.augment.mender import _without_last
from seqmend.menders.augment.prompt import Renderer
from seqmend.menders.augment.question import Teacher
from seqmend.menders.augment.reliability import ALONE, Mixing, Recoverer, learned_mixing

RAW = st.lists(st.one_of(st.floats(-0.5, 1.5), st.just(float("nan"))), min_size=1, max_size=12)


@given(RAW, st.sampled_from(["raw", "rank", "hit"]), st.integers(0, 9), st.floats(0, 1))
def test_weights_stay_within_bounds_and_decay_silences_long_users(raw, weight_map, long_after, decay):
    raw = np.array(raw)
    totals, is_hit = np.arange(len(raw)), np.arange(len(raw)) % 2 == 0
    weights = final_weights(raw, is_hit, totals, weight_map, long_after, decay)
    assert ((weights >= 0) & (weights <= 1)).all()
    assert (weights[np.isnan(raw)] == 0).all()
    full = final_weights(raw, is_hit, totals, weight_map, 99, decay)
    is_long = totals > long_after
    assert np.allclose(weights, np.where(is_long, decay * full, full))
    assert (final_weights(raw, is_hit, totals, weight_map, long_after, 0.0)[is_long] == 0).all()


def test_weight_maps():
    raw, hit, short = np.array([0.2, 0.9, 0.9, 0.4]), np.array([False, True, False, False]), np.zeros(4, dtype=int)
    assert final_weights(raw, hit, short, "raw", 1, 0.5).tolist() == [0.2, 0.9, 0.9, 0.4]
    assert final_weights(raw, hit, short, "rank", 1, 0.5).tolist() == [0.25, 1.0, 1.0, 0.5]
    assert final_weights(raw, hit, short, "hit", 1, 0.5).tolist() == [0.2, 1.0, 0.9, 0.4]


def example(rng, useful_recommender, useful_model):
    place = int(rng.integers(8))
    shares, said = rng.normal(size=8), rng.normal(size=8)
    shares[place] += 2 * useful_recommender
    said[place] += 2 * useful_model
    said = np.exp(said) / np.exp(said).sum()
    return shares - np.log(np.exp(shares).sum()), tuple(said.tolist()), place


def test_the_mixing_learns_whom_to_hear():
    rng = np.random.default_rng(0)
    only_model = learned_mixing([example(rng, False, True) for _ in range(300)])
    assert only_model.language > 1.2
    assert only_model.pool < 0.2
    only_recommender = learned_mixing([example(rng, True, False) for _ in range(300)])
    assert only_recommender.pool > 1.2
    assert only_recommender.language < 0.2
    misleading = [
        (s, tuple((1 - np.array(p)) / 7), place) for s, p, place in (example(rng, True, True) for _ in range(300))
    ]
    assert learned_mixing(misleading).language == 0  # it may be silent, but not count backwards
    assert learned_mixing([example(rng, True, True)] * 3) == Mixing(1.0, 1.0)


def recovered(config, log, backbone, model, vectors, mixing=ALONE):
    shorter, last = _without_last(log)
    users = np.flatnonzero(log.lengths > 1)
    teacher = Teacher(model, Renderer.of(log.catalogue, AugmentConfig()), config.answers) if model else None
    recoverer = Recoverer(config, partial(by_backbone, backbone), backbone.n_items, teacher, vectors)
    return recoverer.recover(users, shorter, shorter, last[users], mixing), last[users]


@pytest.fixture
def vectors(log, words):
    return words.embed(log.catalogue.prompt_titles)


def test_reliability_is_how_alike_guess_and_truth_are(log, backbone, make_chooser, vectors):
    model = make_chooser(lambda _, title: 9.0 if title.endswith(" 7") else 1.0)
    found, hidden = recovered(AugmentConfig(), log, backbone, model, vectors)
    for guess, raw, truth in zip(found.guess, found.raw, hidden, strict=True):
        a, b = vectors[guess].astype(float), vectors[truth].astype(float)
        assert raw == pytest.approx(1.0 if guess == truth else min(max(a @ b, 0), 1), abs=1e-6)
    assert 0 < (found.raw == 1).sum() < len(hidden)


def test_without_an_encoder_only_hits_count(log, backbone, low_numbers):
    found, hidden = recovered(AugmentConfig(), log, backbone, low_numbers, None)
    assert found.raw.tolist() == (found.guess == hidden).astype(float).tolist()


def test_expected_similarity_lies_between_those_of_the_candidates(log, backbone, make_chooser, vectors):
    certain = make_chooser(lambda _, title: 1e9 if title.endswith(" 29") else 1.0)
    config = AugmentConfig(reliability="expected")
    expected, _ = recovered(config, log, backbone, certain, vectors)
    plain, _ = recovered(AugmentConfig(), log, backbone, certain, vectors)
    has_29 = expected.guess % 30 == 0  # the number that the model is certain of
    assert has_29.sum() > 10
    assert np.allclose(expected.raw[has_29], plain.raw[has_29], atol=1e-5)
    even, _ = recovered(config, log, backbone, make_chooser(lambda *_: 1.0), vectors)
    assert even.raw.std() < plain.raw.std()


def test_the_probability_of_the_hidden_item_is_its_share_among_the_candidates(log, backbone, make_chooser, vectors):
    model = make_chooser(lambda *_: 1.0)
    found, hidden = recovered(AugmentConfig(reliability="probability"), log, backbone, model, vectors)
    plain, _ = recovered(AugmentConfig(), log, backbone, make_chooser(lambda *_: 1.0), vectors)
    sizes = [len(question.choices) for question in model.questions]
    assert set(sizes) == {10, 11}
    assert np.allclose(found.raw, 1 / np.array(sizes))
    assert (found.guess[np.array(sizes) == 11] != hidden[np.array(sizes) == 11]).all()
    assert len(plain.examples) == sizes.count(10)


def test_the_recommender_alone_guesses_what_it_ranks_first(log, backbone, vectors):
    found, _ = recovered(AugmentConfig(), log, backbone, None, vectors)
    shorter, _ = _without_last(log)
    for guess, user in zip(found.guess, np.flatnonzero(log.lengths > 1), strict=True):
        kind = (int(shorter[user][-1]) - 1) // 30
        free = set(range(kind * 30 + 1, kind * 30 + 31)) - set(shorter[user].tolist())
        assert guess == max(free)


def test_pseudo_items_show_in_the_question(log, backbone, make_chooser, vectors):
    model = make_chooser(lambda *_: 1.0)
    shorter, last = _without_last(log)
    pseudo = np.zeros((len(log), 2), dtype=np.int32)
    pseudo[:, 0] = 77
    context = with_prefix(shorter, pseudo)
    teacher = Teacher(model, Renderer.of(log.catalogue, AugmentConfig()))
    recoverer = Recoverer(AugmentConfig(), partial(by_backbone, backbone), backbone.n_items, teacher, vectors)
    recoverer.recover(np.arange(4), shorter, context, last[:4], ALONE)
    assert all(question.prompt.splitlines()[1] == log.catalogue.prompt_titles[77] for question in model.questions)
