from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from seqmend.errors import InputError
from seqmend.interactions import NoiseKind, Sequences, Targets, global_time, inject, leave_one_out, nearest_items, undo

KINDS = get_args(NoiseKind)
N_ITEMS = 30


def split_of(lengths, seed=0, how=leave_one_out):
    rng = np.random.default_rng(seed)
    histories = {f"u{n}": [f"i{k}" for k in rng.integers(0, N_ITEMS, length)] for n, length in enumerate(lengths)}
    base = Sequences.from_lists(histories, {f"i{k}": f"Title {k}" for k in range(N_ITEMS + 3)})
    times = np.sort(rng.integers(10**9, 2 * 10**9, base.n_interactions))[np.argsort(rng.permutation(base.users))]
    order = np.lexsort((times, base.users))
    return how(Sequences(base.user_ids, base.offsets, base.items, times[order], base.catalogue))


def neighbours_of(split):
    """Every item's neighbours are itself and the next three by number; padding and the last two items have none."""
    v = len(split.sequences.catalogue) + 1
    table = (np.arange(v)[:, None] - 1 + np.arange(4)) % (v - 1) + 1
    table[[0, -1, -2]] = 0
    return table.astype(np.int32)


def spoil(split, kind, ratio=0.2, seed=1, **options):
    options = {"neighbours": neighbours_of(split)} | options if kind == "hard" else options
    return inject(split, kind, ratio, np.random.default_rng(seed), **options)


def targets_with_items(split, targets: Targets):
    sequences = split.sequences
    return [(int(u), int(sequences[u][p])) for u, p in zip(targets.users, targets.positions, strict=True)]


sizes = st.lists(st.integers(3, 25), min_size=5, max_size=25)


@pytest.mark.parametrize("kind", KINDS)
@given(sizes, st.floats(0, 0.5), st.integers(0, 1000), st.sampled_from([leave_one_out, global_time]))
def test_noise_stays_in_training_and_is_taken_back_exactly(kind, lengths, ratio, seed, how):
    try:
        clean = split_of(lengths, seed, how)
        noisy = spoil(clean, kind, ratio, seed)
    except InputError:
        reject()  # too small for this split, or for this much noise
    sequences = noisy.split.sequences
    assert np.flatnonzero(noisy.mask).tolist() == [
        row for row in range(sequences.n_interactions) if sequences.items[row] != noisy.items_before[row]
    ]
    assert (sequences.positions[noisy.mask] < noisy.split.train_ends[sequences.users[noisy.mask]]).all()
    assert set(sequences.items[noisy.mask].tolist()) <= set(clean.train.items.tolist())
    for view in ("valid", "test"):
        assert targets_with_items(noisy.split, noisy.split.targets(view)) == targets_with_items(
            clean, clean.targets(view)
        )
    back = undo(noisy)
    assert back.sequences.fingerprint == clean.sequences.fingerprint
    assert back.train_ends.tolist() == clean.train_ends.tolist()
    assert back.test.positions.tolist() == clean.test.positions.tolist()
    assert back.valid.positions.tolist() == clean.valid.positions.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_the_ratio_is_kept(kind):
    clean = split_of([20] * 60)
    for ratio in (0.0, 0.05, 0.1, 0.3):
        noisy = spoil(clean, kind, ratio)
        expected = round(ratio * clean.train.n_interactions)
        assert noisy.mask.sum() == expected
        assert len(noisy.truth) == expected
        grown = expected if kind == "insertion" else 0
        assert noisy.split.sequences.n_interactions == clean.sequences.n_interactions + grown


@pytest.mark.parametrize("kind", KINDS)
def test_one_seed_gives_one_result(kind):
    clean = split_of([20] * 40)
    first, again, other = (spoil(clean, kind, seed=seed).split.sequences.fingerprint for seed in (5, 5, 6))
    assert first == again
    assert first != other


@pytest.mark.parametrize("kind", KINDS)
def test_the_truth_says_what_was_there(kind):
    clean = split_of([20] * 40)
    noisy = spoil(clean, kind)
    sequences = noisy.split.sequences
    users = {user: number for number, user in enumerate(sequences.user_ids)}
    before = {
        user: [clean.sequences.catalogue.item_ids[int(i)] for i in clean.sequences[n]] for user, n in users.items()
    }
    for user, position, how, item_before, item_after in noisy.truth.rows():
        assert sequences.catalogue.item_ids[int(sequences[users[user]][position])] == item_after
        if kind == "insertion":
            assert (how, item_before) == ("inserted", None)
        else:
            assert (how, item_before) == ("replaced", before[user][position])
            assert item_before != item_after
    assert noisy.truth.select("user_id", "position").is_unique().all()


@pytest.mark.parametrize("kind", KINDS)
def test_part_of_the_noise_can_be_taken_back(kind):
    clean = split_of([20] * 40)
    noisy = spoil(clean, kind)
    where = np.random.default_rng(2).random(len(noisy.mask)) < 0.5
    back = undo(noisy, where)
    kept = ~(where & noisy.mask) | (noisy.items_before > 0)
    expected = np.where(where, noisy.items_before, noisy.split.sequences.items)[kept]
    assert back.sequences.items.tolist() == expected.tolist()
    assert back.sequences.fingerprint not in (clean.sequences.fingerprint, noisy.split.sequences.fingerprint)
    assert targets_with_items(back, back.test) == targets_with_items(clean, clean.test)
    assert undo(noisy, np.zeros_like(noisy.mask)).sequences.fingerprint == noisy.split.sequences.fingerprint


def test_uniform_and_popularity_noise_differ_as_they_should():
    rng = np.random.default_rng(0)
    popular = {f"u{n}": ["hit"] * 30 + [f"i{k}" for k in rng.integers(0, 20, 12)] for n in range(100)}
    clean = leave_one_out(Sequences.from_lists(popular))
    hit = clean.sequences.catalogue.index_of(["hit"])[0]
    shares = {}
    for kind in ("uniform", "popularity"):
        noisy = spoil(clean, kind, 0.5)
        drawn = noisy.split.sequences.items[noisy.mask & (noisy.items_before != hit)]
        shares[kind] = (drawn == hit).mean()
    assert shares["uniform"] == pytest.approx(1 / 20, abs=0.03)  # one of the 20 other items
    assert shares["popularity"] == pytest.approx(3000 / 4000, abs=0.06)  # its share of the training interactions


def test_hard_noise_draws_neighbours_only():
    clean = split_of([20] * 40)
    noisy = spoil(clean, "hard")
    table = neighbours_of(clean)
    rows = np.flatnonzero(noisy.mask)
    assert len(rows)
    assert all(noisy.split.sequences.items[row] in table[noisy.items_before[row]] for row in rows)


def test_bursts_promote_one_item_over_many_users_close_in_time():
    clean = split_of([20] * 60)
    noisy = spoil(clean, "burst", 60 / clean.train.n_interactions, burst_users=20)
    sequences = noisy.split.sequences
    rows = np.flatnonzero(noisy.mask)
    assert len(rows) == len(set(sequences.users[rows].tolist())) == 60
    by_time = rows[np.argsort(sequences.timestamps[rows], kind="stable")]
    bursts = sequences.items[by_time].reshape(3, 20)
    assert (bursts == bursts[:, :1]).all()


def test_shared_accounts_get_blocks_of_one_other_user():
    clean = split_of([40] * 30)
    noisy = spoil(clean, "shared-account", 0.1, block_length=4)
    sequences, train = noisy.split.sequences, clean.train
    circles = {user: [*items.tolist(), *items.tolist()] for user, items in enumerate(train)}
    runs = np.split(np.flatnonzero(noisy.mask), np.flatnonzero(np.diff(np.flatnonzero(noisy.mask)) > 1) + 1)
    lengths = [len(run) for run in runs]
    assert max(lengths) >= 4
    assert np.mean(lengths) > 3
    for run in runs:
        if len(run) > 4:  # two blocks side by side
            continue
        block = sequences.items[run].tolist()
        lenders = [
            user
            for user, circle in circles.items()
            if any(circle[k : k + len(block)] == block for k in range(len(circle)))
        ]
        assert set(lenders) - {int(sequences.users[run[0]])}


def test_insertions_take_the_time_of_a_neighbour_and_not_its_item():
    clean = split_of([20] * 40)
    noisy = spoil(clean, "insertion", 0.3)
    sequences = noisy.split.sequences
    assert all(np.all(np.diff(sequences.timestamps[a:b]) >= 0) for a, b in pairwise(sequences.offsets))
    positions, ends = sequences.positions[noisy.mask], noisy.split.train_ends[sequences.users[noisy.mask]]
    assert (positions == 0).any()
    assert (positions == ends - 1).any()
    assert noisy.split.train_ends.sum() == clean.train_ends.sum() + noisy.mask.sum()


def test_bad_orders_are_refused():
    clean = split_of([5] * 4)
    with pytest.raises(InputError, match=r"the noise ratio is 1\.5"):
        spoil(clean, "uniform", 1.5)
    with pytest.raises(InputError, match="hard noise needs the neighbours"):
        inject(clean, "hard", 0.1, np.random.default_rng(0))
    with pytest.raises(InputError, match="have an item with a usable neighbour"):
        spoil(clean, "hard", 0.5, neighbours=np.zeros((N_ITEMS + 4, 3), np.int32))
    with pytest.raises(InputError, match="at least two different items"):
        spoil(leave_one_out(Sequences.from_lists({"a": ["x"] * 9, "b": ["x"] * 5})), "uniform", 0.5)
    with pytest.raises(InputError, match="at least two users"):
        spoil(leave_one_out(Sequences.from_lists({"a": ["x", "y"] * 5})), "shared-account", 0.5)


def test_nearest_items_are_the_most_alike_and_never_the_same():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(1500, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[[0, 7]] = 0  # padding, and an item without title
    vectors[9] = vectors[8]  # equal titles
    found = nearest_items(vectors, 5)
    likeness = vectors @ vectors.T
    for item in (1, 8, 1030):
        others = [
            other for other in np.argsort(-likeness[item]) if likeness[item, other] < 0.9999 and vectors[other].any()
        ]
        assert found[item].tolist() == others[:5]
    assert not found[[0, 7]].any()
    assert nearest_items(vectors[:4], 10)[1].tolist()[2:] == [0] * 8
