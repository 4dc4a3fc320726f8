import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqmend.errors import InputError
from seqmend.interactions import Sequences
from seqmend.ledger import Ledger
from seqmend.recommenders import (
    AUGMENTED,
    BERT4RecConfig,
    Channels,
    GRU4RecConfig,
    Rows,
    SASRecConfig,
    TrainingConfig,
    dual_channel_rows,
    make_backbone,
    rows_from_sequences,
    train,
)
from seqmend.recommenders.batches import batches, n_batches
from seqmend.recommenders.negatives import NegativeSampler

REAL, ALL = 10, 16  # items 11 to 16 are never real ones
CONFIG = TrainingConfig(epochs=2, batch_size=4, device="cpu", precision="float32")
SIZES = {"embedding_size": 8, "dropout": 0.0, "max_length": 5}
BACKBONES = {
    "sasrec": SASRecConfig(n_layers=1, n_heads=1, **SIZES),
    "gru4rec": GRU4RecConfig(hidden_size=8, **SIZES),
    "bert4rec": BERT4RecConfig(n_layers=1, n_heads=1, mask_ratio=1.0, last_only=0.0, **SIZES),
}


def log(seed: int = 0, n_users: int = 12) -> tuple[list[list[int]], list[list[int]]]:
    """Real sequences of 1 to 8 items, and up to three pseudo items of each user."""
    rng = np.random.default_rng(seed)
    real = [rng.integers(1, REAL + 1, n).tolist() for n in rng.integers(1, 9, n_users)]
    real[0], real[1] = [3], [1, 2, 3, 4, 5, 6, 7, 8]
    pseudo = [rng.integers(REAL + 1, ALL + 1, n).tolist() for n in rng.integers(1, 4, n_users)]
    return real, pseudo


@pytest.fixture
def made(sequences_of):
    def make(w, *, pseudo=None, form="sequence", **options) -> tuple[Sequences, Channels, Rows]:
        real, drawn = log()
        pseudo = drawn if pseudo is None else pseudo
        original = sequences_of(*real)
        augmented = sequences_of(*(before + own for before, own in zip(pseudo, real, strict=True)))
        weights = np.broadcast_to(np.float32(w), len(real)).astype(np.float32)
        channels = Channels(augmented, weights, **options)
        return original, channels, dual_channel_rows(original, channels, 5, form)

    return make


def model_of(name: str):
    return make_backbone(BACKBONES[name], ALL, seed=1)


def trained(name: str, rows: Rows) -> dict[str, torch.Tensor]:
    model = model_of(name)
    scores = iter(range(100))
    train(model, rows, CONFIG, lambda judged: float(next(scores)))
    return model.state_dict()


def gradient(name: str, rows: Rows) -> dict[str, torch.Tensor]:
    """Of one step over all rows, not divided by the number of targets."""
    model = model_of(name)
    config = CONFIG.model_copy(update={"epochs": 1, "batch_size": 1000})
    train(model, rows, config, lambda judged: 1.0)
    n_targets = int((rows.targets != 0).sum())
    return {key: p.grad * n_targets for key, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("form", ["sequence", "instance"])
def test_without_weight_the_training_is_the_plain_one_bit_for_bit(made, name, form):
    original, _, rows = made(0.0, form=form, mean_over="targets")
    plain = rows_from_sequences(original, 5, form)
    expected, found = trained(name, plain), trained(name, rows)
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    _, _, some = made(0.5, form=form, mean_over="targets")
    other = trained(name, some)
    assert not all(torch.equal(expected[key], other[key]) for key in expected)


@pytest.mark.parametrize("form", ["sequence", "instance"])
def test_with_all_weight_only_the_augmented_sequences_are_learned_from(made, form):
    _, channels, rows = made(1.0, form=form, mean_over="targets")
    is_real = (channels.augmented.items <= REAL).astype(np.float32)
    alone = rows_from_sequences(channels.augmented, 5, form, is_real)
    alone = alone.select(alone.has_loss)
    assert (rows.channel == AUGMENTED).all()
    np.testing.assert_array_equal(rows.items, alone.items)
    np.testing.assert_array_equal(rows.weights, alone.weights)
    np.testing.assert_array_equal(rows.targets, alone.targets * (alone.weights > 0))


@pytest.mark.parametrize("name", BACKBONES)
def test_a_users_weight_moves_that_users_gradient_and_no_other(made, name):
    """Trap T5: a batch's mean loss times the vector of weights moves everybody's."""
    user, before = 5, np.linspace(0.1, 0.45, 12, dtype=np.float32)
    after = before.copy()
    after[user] *= 2
    once, twice = (made(w)[2] for w in (before, after))
    own = {w: gradient(name, rows.select(rows.user == user)) for w, rows in ((1, once), (2, twice))}
    difference = gradient(name, twice), gradient(name, once)
    for key in difference[0]:
        of_user = own[2][key] - own[1][key]
        torch.testing.assert_close(difference[0][key] - difference[1][key], of_user, rtol=1e-3, atol=2e-4)
    assert (own[2]["items.weight"] - own[1]["items.weight"]).abs().max() > 0.05
    of_others = once.user != user
    np.testing.assert_array_equal(once.weights[of_others], twice.weights[of_others])


@given(seed=st.integers(0, 50), form=st.sampled_from(["sequence", "instance"]))
def test_every_sequence_counts_alike_and_its_channels_share_that(sequences_of, seed, form):
    real, pseudo = log(seed)
    w = np.random.default_rng(seed).uniform(0, 1, len(real)).astype(np.float32)
    augmented = sequences_of(*(before + own for before, own in zip(pseudo, real, strict=True)))
    rows = dual_channel_rows(sequences_of(*real), Channels(augmented, w), 5, form)
    n_targets = [len(own) - 1 for own in real if len(own) > 1]
    for user, own in enumerate(real):
        of_user = rows.user == user
        for channel, share, count in ((0, 1 - w[user], len(own) - 1), (1, w[user], len(own))):
            weights = rows.weights[of_user & (rows.channel == channel)]
            assert (weights > 0).sum() == count
            np.testing.assert_allclose(weights.sum(), share * np.mean(n_targets) if count else 0, rtol=1e-4)


@pytest.mark.parametrize("form", ["sequence", "instance"])
def test_pseudo_items_are_read_and_not_predicted_and_the_first_real_item_is(made, form):
    original, _, rows = made(0.5, form=form)
    assert rows.targets.max() <= REAL
    assert (rows.items[rows.is_pseudo] > REAL).all()
    assert (rows.items[~rows.is_pseudo] <= REAL).all()
    assert rows.is_pseudo.any()
    assert not rows.is_pseudo[rows.channel != AUGMENTED].any()
    predicted = [sorted(rows.targets[(rows.user == user) & (rows.channel == 1)].ravel().tolist()) for user in range(12)]
    assert [[item for item in found if item] for found in predicted] == [sorted(own.tolist()) for own in original]
    _, _, official = made(0.5, form=form, pseudo_targets=True)
    assert official.targets.max() > REAL
    assert (official.weights > 0).sum() > (rows.weights > 0).sum()


@pytest.mark.parametrize("name", BACKBONES)
def test_no_backbone_asks_for_a_pseudo_item(made, name):
    _, _, rows = made(0.5)
    config = BACKBONES[name].model_copy(update={"mask_ratio": 0.5} if name == "bert4rec" else {})
    model, asked = make_backbone(config, ALL, seed=1), set()

    class Listening(type(model)):
        def training_loss(self, batch, objective):
            def heard(states, table, targets, weights, users):
                asked.update(targets.tolist())
                return objective(states, table, targets, weights, users)

            return super().training_loss(batch, heard)

    model.__class__ = Listening
    train(model, rows, CONFIG.model_copy(update={"epochs": 8}), lambda judged: 1.0)
    assert max(asked) <= REAL
    assert 3 in asked  # all that the user of one training item has


def test_neither_pseudo_items_nor_own_items_are_negatives(made):
    original, _, rows = made(0.5)
    sampler = NegativeSampler(rows, ALL, torch.device("cpu"))
    users = torch.arange(12).repeat_interleave(50)
    items, is_new = sampler.draw(users, 4, torch.Generator().manual_seed(0))
    for user in range(12):
        drawn = set(items[users == user][is_new[users == user]].tolist())
        assert drawn
        shown = set(rows.items[rows.user == user].ravel().tolist())
        assert not drawn & (set(original[user].tolist()) | (shown - {0}))


def test_real_items_are_as_far_from_the_end_in_both_channels(made):
    _, _, rows = made(0.5)
    pairs = [np.flatnonzero(rows.pair == number) for number in np.unique(rows.pair[rows.pair >= 0])]
    assert len(pairs) > 8
    for pair in pairs:
        plain = pair[rows.channel[pair] == 0]
        other = pair[rows.channel[pair] == AUGMENTED][-1]
        assert len(plain) == 1
        is_real = rows.items[plain[0]] != 0
        np.testing.assert_array_equal(rows.items[other][is_real], rows.items[plain[0]][is_real])
        np.testing.assert_array_equal(rows.targets[other][is_real], rows.targets[plain[0]][is_real])


@given(seed=st.integers(0, 50), batch_size=st.integers(1, 6))
def test_both_channels_are_in_one_step_and_there_are_as_many_steps_as_without(sequences_of, seed, batch_size):
    real, pseudo = log(seed)
    real = [own for own in real if len(own) > 1]  # others have no step of their own without pseudo items
    original = sequences_of(*real)
    augmented = sequences_of(*(before + own for before, own in zip(pseudo, real, strict=False)))
    for other, w in ((augmented, 0.5), (augmented, 1.0), (original, 0.5), (augmented, 0.0)):
        channels = Channels(other, np.full(len(real), w, dtype=np.float32))
        rows = dual_channel_rows(original, channels, 5)
        steps = batches(rows, batch_size, torch.Generator().manual_seed(seed))
        assert len(steps) == n_batches(rows, batch_size)
        assert len(steps) == n_batches(rows_from_sequences(original, 5), batch_size)
        if w == 0.5:
            channels_of_pairs = [set(rows.channel[rows.pair == pair].tolist()) for pair in set(rows.pair.tolist())]
            assert all(found == {0, AUGMENTED} for found in channels_of_pairs)


@pytest.mark.parametrize("name", ["sasrec", "gru4rec"])
def test_a_later_item_changes_no_earlier_column(made, sequences_of, name):
    original, channels, rows = made(0.5)
    changed = [[*own[:-1].tolist(), int(own[-1]) % REAL + 1] for own in original]
    pseudo = log()[1]
    augmented = sequences_of(*(before + own for before, own in zip(pseudo, changed, strict=True)))
    others = dual_channel_rows(sequences_of(*changed), Channels(augmented, channels.weights), 5)
    np.testing.assert_array_equal(others.items, rows.items)  # a training sequence's last item is a target alone
    assert not (others.targets != rows.targets)[:, :-1].any()
    assert (others.targets != rows.targets)[:, -1].sum() == 2 * len(original) - (original.lengths == 1).sum()
    model = model_of(name).eval()
    shown = torch.from_numpy(rows.items)
    later = shown.clone()
    later[:, -1] = later[:, -1] % REAL + 1
    with torch.inference_mode():
        before, after = model(shown), model(later)
    is_earlier = shown != 0
    is_earlier[:, -1] = False
    torch.testing.assert_close(before[is_earlier], after[is_earlier])
    assert (before[:, -1] - after[:, -1]).abs().max() > 1e-3


LOG = Sequences.from_lists({"ann": list("abc"), "bob": list("bca"), "cat": list("a")})


def prepended(*edits):
    frame = pl.DataFrame(edits, schema=["user_id", "position", "item_after", "weight"], orient="row").with_columns(
        view=pl.lit("train"), kind=pl.lit("prepend"), confidence=pl.lit(1.0), group_id=pl.col("user_id")
    )
    return Ledger.propose(frame, LOG, "test").accept().apply(LOG)


def test_channels_of_a_ledger_have_the_weights_of_its_edits():
    channels = Channels.of(prepended(("ann", -1, "c", 0.25), ("ann", -2, "b", 0.25), ("cat", -1, "c", 0.75)))
    assert [own.tolist() for own in channels.augmented] == [[2, 3, 1, 2, 3], [2, 3, 1], [3, 1]]
    assert channels.weights.tolist() == [0.25, 0, 0.75]
    rows = dual_channel_rows(LOG, channels, 5)
    assert sorted(zip(rows.user.tolist(), rows.channel.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 0), (2, 1)]
    assert rows.pair.tolist() == [0, -1, 0, -1]
    with pytest.raises(InputError, match="different weights"):
        Channels.of(prepended(("ann", -1, "c", 0.25), ("ann", -2, "b", 0.5)))


def test_weights_of_interactions_stay_in_both_channels():
    channels = Channels.of(prepended(("ann", -1, "c", 0.25)), mean_over="targets")
    rows = dual_channel_rows(LOG, channels, 4, interaction_weights=np.array([0.5, 1, 0, 1, 1, 1, 1], np.float32))
    of_ann = {int(c): rows.weights[(rows.user == 0) & (rows.channel == c)].tolist() for c in (0, 1)}
    assert of_ann == {0: [[0, 0, 0.75, 0]], 1: [[0, 0.125, 0.25, 0]]}


def test_what_does_not_fit_together_is_refused(sequences_of):
    one, other = sequences_of([1, 2, 3]), sequences_of([4, 1, 2])
    with pytest.raises(ValueError, match="same users"):
        dual_channel_rows(one, Channels(sequences_of([2, 3]), np.ones(1, np.float32)), 4)
    with pytest.raises(ValueError, match="end with"):
        dual_channel_rows(one, Channels(other, np.ones(1, np.float32)), 4)
    for w in ([1.5], [np.nan], [0.5, 0.5]):
        with pytest.raises(ValueError, match="one per user"):
            dual_channel_rows(one, Channels(one, np.array(w, np.float32)), 4)
