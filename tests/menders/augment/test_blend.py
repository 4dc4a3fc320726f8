import numpy as np
import pytest
import torch

from seqmend.errors import BudgetExceeded
from seqmend.interactions import Sequences, leave_one_out
from seqmend.llm import Budget, Journal, JournaledModel, Usage, title_vectors
from seqmend.menders.augment import AugmentConfig, Augmenter
from seqmend.menders.augment.blend import RECOMMENDER, Sources, conditional_logit, learned_weights
from seqmend.menders.augment.candidates import best, by_backbone
from seqmend.menders.augment.mender import _without_last


@pytest.fixture(scope="module")
def vectors(log, words):
    return title_vectors(words, log.catalogue)


def of_readers(*names):
    return [f"{name}, {reading}" for name in names for reading in ("nearest", "mean", "closest")]


def noise(seed, n=121, d=8):
    drawn = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def test_sources_are_the_recommender_and_three_readings_of_titles(log, backbone, vectors):
    shown = log.up_to(np.maximum(log.lengths - 1, 0))
    sources = Sources(backbone, shown, {"words": vectors, "noise": noise(1)}, 4)
    assert sources.names == (RECOMMENDER, *of_readers("words", "noise"))
    users = np.array([7, 0, 21])
    candidates = np.array([[3, 60, 119], [1, 2, 5], [90, 91, 30]], dtype=np.int32)
    found = sources.of_candidates(users, candidates)
    assert found.shape == (3, 7, 3)
    with torch.inference_mode():
        plain = by_backbone(backbone, shown)(users).numpy()
    for row, (user, items) in enumerate(zip(users, candidates, strict=True)):
        history = shown[user][-4:]
        np.testing.assert_allclose(found[row, 0], plain[row, items], rtol=1e-5)
        alike = vectors[items] @ vectors[history].T
        np.testing.assert_allclose(found[row, 1:4], [alike[:, -1], alike.mean(1), alike.max(1)], atol=1e-5)


def test_nothing_shown_says_nothing_of_titles(log, backbone, vectors):
    nothing = log.up_to(np.zeros(len(log), dtype=np.int64))
    found = Sources(backbone, nothing, {"words": vectors}, 4).of_candidates(np.arange(2), np.array([[1, 2], [3, 4]]))
    assert not found[:, 1:].any()


def test_scores_are_weighted_sums(log, backbone, vectors):
    sources = Sources(backbone, log, {"words": vectors}, 6)
    weights = dict(zip(sources.names, (0.3, 1.0, 0.0, 2.0), strict=True))
    users = np.arange(5)
    with torch.inference_mode():
        scores = sources.scorer(weights)(users).numpy()
    everything = np.tile(np.arange(121, dtype=np.int32), (5, 1))
    by_hand = np.einsum("k,mkn->mn", list(weights.values()), sources.of_candidates(users, everything))
    np.testing.assert_allclose(scores, by_hand, rtol=1e-4, atol=1e-4)


def weighed(log, backbone, vectors):
    shorter, hidden = _without_last(log)
    users = np.flatnonzero(log.lengths > 1)
    sources = Sources(backbone, shorter, vectors, 6)
    return learned_weights(sources, users, hidden[users], shorter), sources


def test_weights_are_learned_from_what_is_known(make_log, backbone, vectors):
    log = make_log([3 + user % 8 for user in range(300)])
    found, sources = weighed(log, backbone, {"words": vectors, "noise": noise(2)})
    usual = sources.usual_weights()
    told = {name: sum(found[reading] for reading in of_readers(name)) for name in ("words", "noise")}
    assert told["words"] > 3 * told["noise"]  # the words tell the kinds
    assert min(found.values()) >= 0
    assert found != usual


def test_too_few_known_items_teach_nothing(make_log, backbone, vectors):
    found, sources = weighed(make_log([4] * 9), backbone, {"words": vectors})
    assert found == sources.usual_weights()
    assert weighed(make_log([4] * 60), backbone, {})[0] == {RECOMMENDER: 1.0}


def test_a_source_that_misleads_is_silenced():
    rng = np.random.default_rng(0)
    features, places = [], []
    for _ in range(400):
        place = int(rng.integers(6))
        said = rng.normal(size=(2, 6))
        said[:, place] += [2.0, -2.0]
        features.append(said)
        places.append(place)
    helpful, misleading = conditional_logit(features, places, np.ones(2))
    assert helpful > 1.3
    assert misleading == 0


class Reader:
    """Knows the kind of a title, and is never asked anything."""

    identity = "reader"
    capability = "exact"

    def __init__(self):
        self.usage = Usage()

    def embed(self, texts):
        self.usage.add(Usage(len(texts), 5 * len(texts)))
        kinds = np.array([sum(map(ord, text.split()[0])) for text in texts])
        return (noise(3, 4096)[kinds] + 0.1 * noise(4, len(texts))).astype(np.float32)


def of_kinds(log: Sequences, items: np.ndarray) -> np.ndarray:
    return (items - 1) // (len(log.catalogue) // 4)


def test_a_model_that_reads_titles_mends_what_the_recommender_cannot_know(make_log, backbone, make_backbone):
    log = make_log([3 + user % 8 for user in range(120)])
    split = leave_one_out(log)
    blind = make_backbone()
    with torch.no_grad():
        for weight in blind.parameters():
            weight.normal_(0, 0.01, generator=torch.Generator().manual_seed(0))
    own = of_kinds(log, log.items[log.offsets[:-1]])

    def right(model):
        config = AugmentConfig(n_items=5)
        found = Augmenter(config, model, None, blind, blind).fit(split.train).judge(split.train, log.lengths)
        return (of_kinds(log, found.pseudo) == own[:, None]).mean()

    model = Reader()
    assert right(model) > 0.9
    assert model.usage.calls == len(log.catalogue)
    assert right(None) < 0.5


def test_the_order_of_the_pool_is_that_of_its_shares(log, backbone, words):
    split = leave_one_out(log)
    mender = Augmenter(AugmentConfig(), Reader(), words, backbone, backbone).fit(split.train)
    found = mender.judge(split.train, log.lengths)
    assert (found.ranks == np.arange(1, 11)).all()
    assert (np.diff(found.probabilities, axis=1) <= 0).all()
    assert set(mender.blend) == {RECOMMENDER, *of_readers("titles", "model")}
    free = mender.control(split.train)
    assert not any(name.startswith("model") for name in free.blend)
    assert (free.control(split.train).judge(split.train).pseudo == free.judge(split.train).pseudo).all()


def test_without_titles_the_recommender_stands_alone(make_log, backbone, words):
    known = make_log([3]).catalogue.item_ids.to_list()[1:]
    log = make_log([5] * 30, titles=dict.fromkeys(known))
    model = Reader()
    assert Augmenter(AugmentConfig(), model, words, backbone, backbone).fit(log).blend == {RECOMMENDER: 1.0}
    assert model.usage.calls == 0


def test_pools_leave_out_what_the_user_had(log, backbone, vectors):
    sources = Sources(backbone, log, {"words": vectors}, 6)
    users = np.arange(len(log))
    pools = best(sources.scorer(sources.usual_weights()), users, len(log), backbone.n_items, 10, log)
    for user in users:
        assert not set(pools.items[user].tolist()) & set(log[user].tolist())


def test_titles_that_the_budget_does_not_pay_for_stop_the_mender(log, backbone, words, tmp_path):
    model = JournaledModel(Reader(), Journal(tmp_path / "journal.sqlite"), Budget(calls=7))
    with pytest.raises(BudgetExceeded):
        Augmenter(AugmentConfig(), model, words, backbone, backbone).fit(log)
