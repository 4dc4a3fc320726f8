import numpy as np

from seqmend.menders.denoise.corruption import corrupt


def test_labels_are_exactly_what_changed_and_intruders_are_strangers():
    rng = np.random.default_rng(0)
    items = rng.integers(0, 40, (500, 10)).astype(np.int32)
    universe = np.arange(1, 41, dtype=np.int32)
    corrupted, labels = corrupt(items, universe, 0.2, rng)
    assert ((corrupted != items) == labels).all()
    assert not labels[items == 0].any()
    for before, after, label in zip(items, corrupted, labels, strict=True):
        assert not set(after[label]) & set(before)
    assert abs(labels[items > 0].mean() - 0.2) < 0.02


def test_a_window_that_holds_the_whole_universe_is_left_alone():
    items = np.array([[1, 2, 3]], dtype=np.int32)
    corrupted, labels = corrupt(items, np.array([1, 2, 3], dtype=np.int32), 0.4, np.random.default_rng(0))
    assert corrupted.tolist() == items.tolist()
    assert not labels.any()
