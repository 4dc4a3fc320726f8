import numpy as np

from seqmend.menders.denoise.statistics import count, describe
from seqmend.menders.denoise.windows import cut
from seqmend.menders.denoise.witnesses import LANGUAGE_FEATURES, LLM_FREE_FEATURES, SINGLE_WITNESSES, features


def statistics_of(clean, encoder, language):
    titles = np.concatenate([np.zeros((1, 20)), encoder.embed(clean.catalogue.prompt_titles[1:])]).astype(np.float32)
    everyone = np.ones(len(clean), dtype=bool)
    return describe(count(clean, everyone), titles, titles if language else None, embedding_size=8)


def test_every_single_witness_tells_a_stranger_from_a_friend(clean, spoiled, encoder):
    noisy, is_noise = spoiled
    windows = cut(noisy, 10)
    found = features(windows.items, statistics_of(clean, encoder, language=False))
    assert found.shape == (*windows.items.shape, len(LLM_FREE_FEATURES))
    noise = is_noise[(noisy.offsets[windows.users][:, None] + np.maximum(windows.positions, 0))] & windows.real
    for name in ("pmi_mean", "title_first", "behaviour_mean", "blend_first"):
        values = found[:, :, LLM_FREE_FEATURES.index(name)]
        assert values[noise].mean() < values[~noise & windows.real].mean(), name
    assert set(SINGLE_WITNESSES.values()) <= set(LLM_FREE_FEATURES)


def test_language_evidence_follows_and_changes_nothing_before(clean, encoder):
    windows = cut(clean, 10)
    without = features(windows.items, statistics_of(clean, encoder, language=False))
    with_model = features(windows.items, statistics_of(clean, encoder, language=True))
    assert with_model.shape[2] == len(LLM_FREE_FEATURES) + len(LANGUAGE_FEATURES)
    np.testing.assert_array_equal(with_model[:, :, : without.shape[2]], without)


def test_padding_says_nothing_and_changes_nothing(clean, encoder):
    statistics = statistics_of(clean, encoder, language=False)
    row = clean[0][:4]
    short = features(row[None], statistics)
    padded = features(np.concatenate([np.zeros(3, np.int32), row])[None], statistics)
    np.testing.assert_allclose(padded[0, 3:], short[0], rtol=1e-5)
    assert not padded[0, :3].any()


def test_a_window_of_one_item_has_no_relations(clean, encoder):
    found = features(np.array([[0, 0, 5]], dtype=np.int32), statistics_of(clean, encoder, language=False))
    assert np.isfinite(found).all()
    assert found[0, 2, LLM_FREE_FEATURES.index("title_first")] == 0
