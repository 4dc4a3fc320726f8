from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy.special import logit

from seqmend.menders.correct import (
    Correction,
    KnownNoise,
    LabelledConfig,
    LearnedScore,
    doubted_dropped,
    least_sure_dropped,
    of_interactions,
    spoil,
    witnesses,
)
from seqmend.recommenders import rows_from_sequences

L = 4


@pytest.fixture(scope="module")
def company(many):
    return LearnedScore.fit(many, L, {})


def believed(sequences, is_noise, rng):
    """How far a recommender believes in the targets: less where they are noise; NaN where there is no instance."""
    rows = rows_from_sequences(sequences, L, "instance")
    numbers = rows.row_id[rows.has_loss]
    reliability = np.clip(rng.normal(np.where(is_noise[numbers], 0.3, 0.8), 0.12), 0, 1)
    return of_interactions(sequences.n_interactions, numbers, reliability)


def learned(company, spoiled, is_known, doubts, rng):
    there = LearnedScore.fit(spoiled, L, {})
    of_users = rng.random(len(spoiled)) < 0.5
    return KnownNoise.learn(company, there, spoiled, is_known, doubts, of_users[spoiled.users])


def test_witnesses_look_at_the_same_user_alone_and_past_masked_interactions(many, company):
    masked = many.items.copy()
    masked[2] = 0
    log = replace(many, items=masked, source=None)
    seen = witnesses(log, np.full(log.n_interactions, 0.2), company)
    own, length = int(log.items[0]), int(log.lengths[0])
    beside = np.array([item for item in log.items[1 : min(11, length)].tolist() if item], dtype=np.int64)
    odds = np.sort(company.log_odds(np.full(len(beside), own, dtype=np.int64), beside))[::-1]
    assert seen[0].tolist() == pytest.approx([0.2, np.log(0.8), odds.mean(), *odds[:3], seen[0, 6]])
    assert seen[0, 6] == pytest.approx(np.log1p(len(np.unique(many.users[many.items == own]))))


def test_a_lonely_interaction_has_no_company(many, company):
    lonely = replace(
        many, items=np.where(np.arange(many.n_interactions) < many.lengths[0] - 1, 0, many.items), source=None
    )
    seen = witnesses(lonely, np.full(many.n_interactions, np.nan), company)
    number = int(many.lengths[0]) - 1
    assert np.isnan(seen[number, :6]).all()
    assert np.isfinite(seen[number, 6])


def test_without_titles_nothing_is_replaced(many):
    titles = pl.Series([None] * len(many.catalogue.titles), dtype=pl.String)
    spoiled, is_noise = spoil(replace(many, catalogue=replace(many.catalogue, titles=titles)), 0.5, 0)
    assert not is_noise.any()
    assert spoiled.items.tolist() == many.items.tolist()


@pytest.mark.parametrize("own_noise", [0.05, 0.2])
def test_what_is_learned_where_noise_is_known_holds_for_the_logs_own(many, own_noise):
    rng = np.random.default_rng(0)
    log, is_noise = spoil(many, own_noise, 7)
    spoiled, is_known = spoil(log, 0.2, 8)
    known = learned(LearnedScore.fit(log, L, {}), spoiled, is_known, believed(spoiled, is_noise | is_known, rng), rng)
    strangers = known.strangers
    assert strangers.noise_rate == pytest.approx(own_noise, abs=0.07)

    foreign = strangers.probability(strangers.log_odds(log, believed(log, is_noise, rng)))
    assert ((foreign >= 0) & (foreign <= 1)).all()
    assert foreign.mean() == pytest.approx(is_noise.mean(), abs=0.07)
    assert is_noise[foreign > 0.5].mean() > 0.8
    assert is_noise[foreign > 0.5].sum() > 0.15 * is_noise.sum()


def test_of_a_log_without_noise_hardly_anything_is_doubted(many, company):
    rng = np.random.default_rng(0)
    spoiled, is_known = spoil(many, 0.2, 8)
    strangers = learned(company, spoiled, is_known, believed(spoiled, is_known, rng), rng).strangers
    odds = strangers.log_odds(many, believed(many, np.zeros_like(is_known), rng))
    assert (strangers.probability(odds) > 0.5).mean() < 0.02


def test_where_noise_cannot_be_told_nothing_is_doubted(many, company):
    rng = np.random.default_rng(0)
    spoiled, is_known = spoil(many, 0.2, 8)
    known = learned(company, spoiled, rng.permutation(is_known), believed(spoiled, is_known, rng), rng)
    assert known.strangers.noise_rate <= known.strangers.replaced_share
    doubted = known.strangers.probability(known.log_odds) > 0.5
    assert doubted.mean() < 0.01


def test_of_a_tiny_log_nothing_is_told(many, company):
    spoiled, is_known = spoil(many, 0.2, 8)
    few = is_known & (np.arange(len(is_known)) < 60)
    rng = np.random.default_rng(0)
    assert learned(company, spoiled, few, believed(spoiled, few, rng), rng) is None


def test_rows_to_weigh_by_are_of_users_that_nothing_was_learned_from(many, company):
    rng = np.random.default_rng(0)
    spoiled, is_known = spoil(many, 0.2, 8)
    known = learned(company, spoiled, is_known, believed(spoiled, is_known, rng), rng)
    rows = known.rows(LabelledConfig(rows=200, max_length=L), 1.0, skip_doubted=False)
    assert len(rows) == 200
    assert not known.is_learned_from[rows.instance_id].any()
    places = rows.instance_id[:, None] + np.arange(-L, 0)
    assert rows.inputs.tolist() == spoiled.items[places].tolist()
    assert rows.relevant.tolist() == (~is_known[places]).tolist()  # whatever their targets are
    assert rows.strange.tolist() == known.log_odds[places].tolist()
    assert rows.questions()[3].strange == tuple(rows.strange[3].tolist())
    assert (rows.select(np.array([3])).strange == rows.strange[3]).all()


def test_rows_to_weigh_by_are_those_that_would_be_asked_about(many, company):
    rng = np.random.default_rng(0)
    spoiled, is_known = spoil(many, 0.2, 8)
    known = learned(company, spoiled, is_known, believed(spoiled, is_known, rng), rng)
    others = ~known.is_learned_from & ~np.isnan(known.believed)
    least = np.quantile(known.believed[others], 0.3)
    is_doubted = known.strangers.probability(known.log_odds) > 0.5

    def targets(n, skip_doubted):
        return known.rows(LabelledConfig(rows=n, max_length=L), 0.3, skip_doubted=skip_doubted).instance_id

    uncertain = targets(100, False)
    assert known.believed[uncertain].max() <= least
    assert is_doubted[uncertain].mean() > 0.3
    assert not is_doubted[targets(20, True)].any()
    assert known.believed[targets(20, True)].max() <= least
    more = targets(400, True)  # than are uncertain and not doubted: the next in doubt join them
    assert not is_doubted[more].any()
    assert known.believed[more].max() > least
    assert known.believed[more].max() < np.quantile(known.believed[others], 0.95)


def test_log_odds_say_more_of_noise_than_of_others(many, company):
    rng = np.random.default_rng(0)
    spoiled, is_known = spoil(many, 0.2, 8)
    known = learned(company, spoiled, is_known, believed(spoiled, is_known, rng), rng)
    alone = logit(0.2)
    assert known.log_odds[is_known].mean() > alone > known.log_odds[~is_known].mean()


def test_controls_drop_the_doubted_or_as_many_of_the_least_sure():
    found = [
        Correction(n, 0, (1, 2), (True, True), 3, uncertainty, 1, foreign=foreign)
        for n, (uncertainty, foreign) in enumerate([(0.9, 0.2), (0.8, 0.7), (0.7, None), (0.6, 0.5), (0.5, 0.9)])
    ]
    assert [one.action for one in doubted_dropped(found)] == ["keep", "drop", "keep", "keep", "drop"]
    assert [one.action for one in least_sure_dropped(found)] == ["drop", "drop", "keep", "keep", "keep"]
