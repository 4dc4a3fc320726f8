import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seqmend.interactions import Sequences
from seqmend.menders.denoise.statistics import count, describe

histories = st.lists(st.lists(st.integers(0, 6), min_size=0, max_size=9), min_size=1, max_size=5)


def log_of(histories):
    return Sequences.from_lists(
        {f"u{u}": [f"i{n}" for n in history] for u, history in enumerate(histories)}, {f"i{n}": None for n in range(7)}
    )


@given(histories, st.integers(1, 5))
def test_counts_are_those_of_a_naive_loop(histories, context):
    sequences = log_of(histories)
    found = count(sequences, np.ones(len(sequences), dtype=bool), context)
    pairs = np.zeros((8, 8))
    for history in sequences:
        for a in range(len(history)):
            for b in range(len(history)):
                if a != b and abs(a - b) <= context and history[a] != history[b]:
                    pairs[history[a], history[b]] += 1
    np.testing.assert_array_equal(found.pairs.toarray(), pairs)
    np.testing.assert_array_equal(found.popularity, np.bincount(sequences.items, minlength=8))


@given(histories)
def test_a_group_of_users_is_left_out_by_subtraction(histories):
    sequences = log_of(histories)
    some = np.arange(len(sequences)) % 2 == 0
    everyone = np.ones(len(sequences), dtype=bool)
    rest = count(sequences, everyone) - count(sequences, some)
    np.testing.assert_array_equal(rest.pairs.toarray(), count(sequences, ~some).pairs.toarray())
    np.testing.assert_array_equal(rest.popularity, count(sequences, ~some).popularity)


def test_vectors_place_items_of_one_kind_together(clean, encoder):
    titles = np.concatenate([np.zeros((1, 20)), encoder.embed(clean.catalogue.prompt_titles[1:])]).astype(np.float32)
    everyone = np.ones(len(clean), dtype=bool)
    statistics = describe(count(clean, everyone), titles, embedding_size=8)
    kind = (np.arange(1, 49) - 1) // 12
    same = kind[:, None] == kind[None, :]
    for name in ("behaviour", "title_behaviour", "blend"):
        vectors = statistics.vectors[name][1:]
        likeness = vectors @ vectors.T
        assert likeness[same].mean() > likeness[~same].mean() + 0.5, name
