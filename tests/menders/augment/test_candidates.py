import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqmend.interactions import Sequences
from seqmend.menders.augment import generated, reversed_in_time, with_prefix
from seqmend.menders.augment.candidates import best, by_backbone, by_control

HISTORIES = st.lists(st.lists(st.sampled_from("abcde"), max_size=5), min_size=1, max_size=6)


def sequences_of(histories):
    return Sequences.from_lists({f"u{u}": list(h) for u, h in enumerate(histories)}, dict.fromkeys("abcde"))


def naive(scores, n, left_out):
    """Items from 1 up by score, the best first, without those left out."""
    order = sorted(range(1, len(scores)), key=lambda item: -scores[item])
    return [item for item in order if item not in left_out][:n]


@given(HISTORIES)
def test_what_is_reversed_twice_is_as_it_was(histories):
    sequences = sequences_of(histories)
    backwards = reversed_in_time(sequences)
    assert [items.tolist() for items in backwards] == [items.tolist()[::-1] for items in sequences]
    assert reversed_in_time(backwards).items.tolist() == sequences.items.tolist()


@given(HISTORIES, st.integers(0, 3), st.randoms(use_true_random=False))
def test_a_prefix_leaves_what_is_real_as_it_is(histories, width, random):
    sequences = sequences_of(histories)
    pseudo = np.array([[random.randint(0, 5) for _ in range(width)] for _ in histories], dtype=np.int32)
    longer = with_prefix(sequences, pseudo.reshape(len(histories), width))
    for user, real in enumerate(sequences):
        added = [item for item in pseudo[user].tolist() if item]
        assert longer[user].tolist() == [*added[::-1], *real.tolist()]


def test_pools_are_the_best_of_all_items_but_those_left_out(log, backbone):
    users = np.arange(len(log))[::2]
    scorer = by_backbone(backbone, log)
    pools = best(scorer, users, len(log), backbone.n_items, 20, log)
    scores = scorer(users).detach().numpy()
    for row, user in enumerate(users.tolist()):
        assert pools.items[user].tolist() == naive(scores[row], 20, set(log[user].tolist()))
    assert (pools.items[1::2] == 0).all()  # nobody asked
    assert np.allclose(np.exp(pools.log_shares[users]).sum(1), 1)
    with_seen = best(scorer, users, len(log), backbone.n_items, 20)
    assert (with_seen.items[users] != pools.items[users]).any()


def test_a_small_catalogue_gives_small_pools(make_backbone):
    few = Sequences.from_lists({"u0": ["a", "b"], "u1": ["c"]}, dict.fromkeys("abcd"))
    pools = best(by_backbone(make_backbone(4), few), np.arange(2), 2, 4, 20, few)
    assert pools.items.shape == (2, 20)
    assert pools.sizes.tolist() == [2, 3]
    assert [set(pools.items[0, :2].tolist()), set(pools.items[1, :3].tolist())] == [{3, 4}, {1, 2, 4}]
    assert np.isneginf(pools.scores[0, 2:]).all()


def test_a_user_who_chose_everything_has_no_candidates(make_backbone):
    full = Sequences.from_lists({"u0": ["a", "b", "c"]}, dict.fromkeys("abc"))
    assert best(by_backbone(make_backbone(3), full), np.arange(1), 1, 3, 5, full).sizes.tolist() == [0]


@pytest.mark.parametrize("kind", ["random", "popular", "neighbours"])
def test_controls_need_no_recommender(kind, log):
    users, n_items = np.arange(len(log)), len(log.catalogue)
    pools = best(by_control(kind, log, 0), users, len(log), n_items, 5, log)
    assert (pools.items > 0).all()
    for user in users.tolist():
        assert not set(pools.items[user].tolist()) & set(log[user].tolist())
    again = best(by_control(kind, log, 0), users[::-1].copy(), len(log), n_items, 5, log)
    assert (again.items == pools.items).all()  # whoever else is asked about


def test_neighbours_are_what_most_users_share_with_the_user(log):
    scores = by_control("neighbours", log, 0)(np.array([5])).numpy()[0]
    together = np.zeros(len(log.catalogue) + 1)
    for mine in set(log[5].tolist()):
        for other in log:
            if mine in other:
                together[list(set(other.tolist()))] += 1
    assert np.allclose(np.expm1(scores), together, atol=1e-3)


def test_what_is_written_backwards_is_new_and_follows_from_what_was_written(log, backbone):
    users = np.arange(0, len(log), 3)
    pseudo = generated(backbone, log, users, 4)
    for user in users.tolist():
        real = log[user].tolist()
        written = []
        for _ in range(4):
            latest = [*written[::-1], *real][0]
            scores = backbone.scores(backbone(torch.tensor([[latest]])))[0, -1]
            written.append(naive(scores.tolist(), 1, {*written, *real})[0])
        assert pseudo[user].tolist() == written
    assert (np.delete(pseudo, users, axis=0) == 0).all()
