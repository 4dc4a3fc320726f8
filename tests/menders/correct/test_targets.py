from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from seqmend.menders.correct import (
    Correction,
    LearnedScore,
    TargetNoise,
    doubted_dropped,
    least_sure_dropped,
    spoil,
    witnesses,
)
from seqmend.recommenders import rows_from_sequences

L = 4


@pytest.fixture(scope="module")
def company(many):
    return LearnedScore.fit(many, L, {})


def instances(sequences, is_noise, rng):
    """Inputs, targets, a recommender's reliability (lower where the target is noise), which targets are, users."""
    rows = rows_from_sequences(sequences, L, "instance")
    rows = rows.select(rows.has_loss)
    noise = is_noise[rows.row_id]
    reliability = np.clip(rng.normal(np.where(noise, 0.3, 0.8), 0.12), 0, 1).astype(np.float32)
    return rows.items, rows.targets[:, -1], reliability, noise, rows.user


def test_witnesses_leave_padding_out(many, company):
    item, other, target = many.items[:3].tolist()
    inputs = np.array([[0, 0, 0, item], [0, 0, other, item]], dtype=np.int32)
    seen = witnesses(inputs, np.array([target, target], dtype=np.int32), np.array([0.2, 1.0], np.float32), company)
    alone = company.log_odds(np.array([item]), np.array([target]))[0]
    both = company.log_odds(np.array([other, item]), np.array([target, target]))
    assert seen["company"].tolist() == pytest.approx([alone, both.mean()])
    assert seen["best"].tolist() == pytest.approx([alone, both.max()])
    assert seen["second"].tolist() == pytest.approx([alone, both.min()])
    assert seen["belief"].tolist() == pytest.approx([0.2, 1.0])
    assert seen["doubt"][0] == pytest.approx(np.log(0.8))
    assert np.isfinite(seen["doubt"][1])


def test_a_row_of_masked_inputs_says_nothing(many, company):
    inputs, target = np.zeros((1, L), dtype=np.int32), many.items[:1].astype(np.int32)
    seen = witnesses(inputs, target, np.array([0.5], np.float32), company)
    assert [seen[name].tolist() for name in ("company", "best", "second")] == [[0.0]] * 3


def test_without_titles_nothing_is_replaced(many):
    titles = pl.Series([None] * len(many.catalogue.titles), dtype=pl.String)
    spoiled, is_noise = spoil(replace(many, catalogue=replace(many.catalogue, titles=titles)), 0.5, 0)
    assert not is_noise.any()
    assert spoiled.items.tolist() == many.items.tolist()


@pytest.mark.parametrize("own_noise", [0.05, 0.2])
def test_what_is_learned_where_noise_is_known_holds_for_the_logs_own(many, company, own_noise):
    rng = np.random.default_rng(0)
    log, is_noise = spoil(many, own_noise, 7)
    spoiled, is_known = spoil(log, 0.2, 8)
    inputs, targets, reliability, _, users = instances(spoiled, is_noise | is_known, rng)
    known = is_known[rows_of(spoiled)]
    seen = witnesses(inputs, targets, reliability, company)
    doubt = TargetNoise.learn(company, seen, known, rng.random(len(log))[users] < 0.5)
    assert doubt.noise_rate == pytest.approx(own_noise, abs=0.07)

    inputs, targets, reliability, truth, _ = instances(log, is_noise, rng)
    foreign = doubt.probability(inputs, targets, reliability)
    assert ((foreign >= 0) & (foreign <= 1)).all()
    assert foreign.mean() == pytest.approx(truth.mean(), abs=0.07)
    assert truth[foreign > 0.5].mean() > 0.6
    assert truth[foreign > 0.5].sum() > 0.2 * truth.sum()


def rows_of(sequences):
    rows = rows_from_sequences(sequences, L, "instance")
    return rows.row_id[rows.has_loss]


def test_of_a_log_without_noise_hardly_a_target_is_doubted(many, company):
    rng = np.random.default_rng(0)
    spoiled, is_known = spoil(many, 0.2, 8)
    inputs, targets, reliability, known, users = instances(spoiled, is_known, rng)
    seen = witnesses(inputs, targets, reliability, company)
    doubt = TargetNoise.learn(company, seen, known, rng.random(len(many))[users] < 0.5)
    inputs, targets, reliability, _, _ = instances(many, np.zeros_like(is_known), rng)
    assert (doubt.probability(inputs, targets, reliability) > 0.5).mean() < 0.02


def test_where_noise_cannot_be_told_no_target_is_doubted(many, company):
    rng = np.random.default_rng(0)
    spoiled, is_known = spoil(many, 0.2, 8)
    inputs, targets, reliability, known, users = instances(spoiled, is_known, rng)
    told = witnesses(inputs, targets, reliability, company)
    nothing = {name: rng.permutation(values) for name, values in told.items()}
    doubt = TargetNoise.learn(company, nothing, known, rng.random(len(many))[users] < 0.5)
    assert doubt.noise_rate <= doubt.replaced_share
    assert (doubt.probability(inputs, targets, reliability) < 0.5).all()


def test_of_a_tiny_log_nothing_is_told(many, company):
    rng = np.random.default_rng(0)
    spoiled, is_known = spoil(many, 0.2, 8)
    inputs, targets, reliability, known, _ = (values[:60] for values in instances(spoiled, is_known, rng))
    seen = witnesses(inputs, targets, reliability, company)
    assert TargetNoise.learn(company, seen, known, np.arange(len(known)) % 2 == 0) is None


def test_controls_drop_the_doubted_or_as_many_of_the_least_sure():
    found = [
        Correction(n, 0, (1, 2), (True, True), 3, uncertainty, 1, foreign=foreign)
        for n, (uncertainty, foreign) in enumerate([(0.9, 0.2), (0.8, 0.7), (0.7, None), (0.6, 0.5), (0.5, 0.9)])
    ]
    assert [one.action for one in doubted_dropped(found)] == ["keep", "drop", "keep", "keep", "drop"]
    assert [one.action for one in least_sure_dropped(found)] == ["drop", "drop", "keep", "keep", "keep"]
