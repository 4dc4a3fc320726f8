from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from seqmend.errors import InputError
from seqmend.interactions import Sequences
from seqmend.recommenders import Backbone, Rows, SASRec, SASRecConfig, TrainingConfig, rows_from_sequences, train
from seqmend.recommenders.reliability import (
    TrainingDynamics,
    dropout_variance,
    rank_percentile,
    rank_share,
    target_probability,
)

N_ITEMS = 30


@pytest.fixture
def sequences(sequences_of: Callable[..., Sequences]) -> Sequences:
    """Every user walks a ring of items in steps of one or two."""
    rng = np.random.default_rng(0)
    starts = rng.integers(N_ITEMS, size=60)
    return sequences_of(
        *((1 + (start + rng.integers(1, 3, size=rng.integers(3, 12)).cumsum()) % N_ITEMS).tolist() for start in starts)
    )


@pytest.fixture
def rows(sequences: Sequences) -> Rows:
    return rows_from_sequences(sequences, max_length=6, form="instance")


@pytest.fixture
def model() -> SASRec:
    return model_of(dropout=0.2)


def model_of(dropout: float) -> SASRec:
    model = SASRec(N_ITEMS, SASRecConfig(embedding_size=8, n_layers=1, n_heads=1, dropout=dropout, max_length=6))
    with torch.no_grad():
        model.items.weight.mul_(30)
    return model


@torch.no_grad()
def scores_one_by_one(model: Backbone, rows: Rows) -> np.ndarray:
    model.eval()
    return torch.cat([model.scores(model(torch.from_numpy(row)[None])[:, -1]) for row in rows.items]).double().numpy()


def test_ranks_and_probabilities_are_those_of_a_loop(model: SASRec, rows: Rows):
    scores = scores_one_by_one(model, rows)
    ranks, probabilities = [], []
    for row, target in zip(scores, rows.targets[:, -1], strict=True):
        others = np.delete(row, [0, target])
        ranks.append((others < row[target]).mean())
        probabilities.append(1 / np.exp(row[1:] - row[target]).sum())

    np.testing.assert_allclose(rank_percentile(model, rows), ranks, atol=1e-6)
    np.testing.assert_allclose(target_probability(model, rows), probabilities, rtol=1e-4)
    reliability = model.reliability(rows)
    np.testing.assert_allclose(reliability.reliability, ranks, atol=1e-6)
    np.testing.assert_allclose(reliability.uncertainty, 1 - np.array(ranks), atol=1e-6)
    assert np.std(ranks) > 0.1


def test_sampled_negatives_estimate_the_rank_and_do_not_depend_on_other_rows(model: SASRec, rows: Rows):
    sampled = rank_percentile(model, rows, n_negatives=2000, seed=1)
    assert np.abs(sampled - rank_percentile(model, rows)).max() < 0.05
    few = np.array([7, 3])
    np.testing.assert_array_equal(rank_percentile(model, rows.select(few), 10), rank_percentile(model, rows, 10)[few])
    assert not np.array_equal(rank_percentile(model, rows, 10, seed=2), rank_percentile(model, rows, 10))


def test_equal_scores_are_not_below(rows: Rows):
    model = model_of(dropout=0.0)
    with torch.no_grad():
        model.items.weight.fill_(1)
    assert (rank_percentile(model, rows) == 0).all()


@pytest.mark.parametrize("is_training", [True, False])
def test_mode_and_random_state_are_left_as_they_were(model: SASRec, rows: Rows, is_training: bool):
    model.train(is_training)
    torch.manual_seed(4)
    before = torch.random.get_rng_state()
    for signal in (rank_percentile, target_probability, dropout_variance):
        signal(model, rows)
        assert {module.training for module in model.modules()} == {is_training}
    assert torch.equal(torch.random.get_rng_state(), before)


def test_dropout_variance_is_of_dropout_alone(model: SASRec, rows: Rows):
    variance = dropout_variance(model, rows, passes=4)
    assert (variance > 0).mean() > 0.9
    np.testing.assert_array_equal(variance, dropout_variance(model, rows, passes=4))
    assert (dropout_variance(model_of(dropout=0.0), rows) == 0).all()


def test_sequence_form_and_no_rows_are_refused(model: SASRec, rows: Rows, sequences: Sequences):
    for refused in (rows_from_sequences(sequences, 6), rows.select(np.arange(0))):
        with pytest.raises(ValueError, match="instance form"):
            rank_percentile(model, refused)


def test_dynamics_are_mean_and_deviation_over_the_epochs_after_the_warm_up(rows: Rows):
    models = [SASRec(N_ITEMS, SASRecConfig(embedding_size=8, n_layers=1, max_length=6), seed=n) for n in range(4)]
    dynamics = TrainingDynamics(rows, warm_up=1, n_negatives=50)
    with pytest.raises(ValueError, match="do not count"):
        dynamics.reliability()
    for model in models:
        dynamics.look(model)

    ranks = np.stack([rank_percentile(model, rows, 50, seed=n + 1) for n, model in enumerate(models)][1:])
    reliability = dynamics.reliability()
    np.testing.assert_allclose(reliability.reliability, ranks.mean(0), atol=1e-5)
    np.testing.assert_allclose(reliability.signals["deviation"], ranks.std(0), atol=1e-5)


def test_random_targets_are_told_from_real_ones(rows: Rows):
    rng = np.random.default_rng(1)
    is_noise = rng.random(len(rows)) < 0.1
    rows.targets[is_noise, -1] = rng.integers(1, N_ITEMS + 1, is_noise.sum())
    model, dynamics, epochs = model_of(dropout=0.1), TrainingDynamics(rows, warm_up=3), iter(range(100))
    config = TrainingConfig(epochs=10, batch_size=16, learning_rate=0.01, device="cpu")

    train(model, rows, config, lambda model: float(next(epochs)), dynamics=dynamics)

    for reliability in (model.reliability(rows), dynamics.reliability()):
        assert roc_auc_score(~is_noise, reliability.reliability) > 0.75


def test_a_resumed_training_has_seen_what_an_uninterrupted_one_has(rows: Rows, tmp_path: Path):
    whole, killed, resumed = (TrainingDynamics(rows, warm_up=1) for _ in range(3))

    def trained(dynamics: TrainingDynamics | None, epochs: int, checkpoint: Path | None) -> None:
        config = TrainingConfig(epochs=epochs, batch_size=16, device="cpu", checkpoint_every=1)
        train(model_of(dropout=0.1), rows, config, lambda model: 0.5, checkpoint=checkpoint, dynamics=dynamics)

    trained(whole, 4, None)
    trained(killed, 2, tmp_path / "c")
    trained(resumed, 4, tmp_path / "c")
    assert resumed.epochs_seen == 4
    for name, values in whole.reliability().signals.items():
        np.testing.assert_array_equal(resumed.reliability().signals[name], values)
    assert (killed.reliability().reliability != whole.reliability().reliability).any()
    with pytest.raises(InputError, match="another training"):
        trained(None, 4, tmp_path / "c")


def test_rank_share_gives_ties_their_mean():
    assert rank_share(np.array([3, 3, 1], dtype=np.float32)).tolist() == [0.75, 0.75, 0.0]
