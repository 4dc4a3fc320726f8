"""What every robust backbone must hold to beyond the suite of all backbones; a new one joins by a line in `ROBUST`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from seqmend.recommenders import Backbone, Rows, SASRecConfig, TrainingConfig, rows_from_sequences, train
from seqmend.recommenders.robust.berd import BERD, BERDConfig
from seqmend.recommenders.robust.birdrec import BirDRec, BirDRecConfig
from seqmend.recommenders.robust.hsd import HSD, HSDConfig
from seqmend.recommenders.robust.ssdrec import SSDRec, SSDRecConfig
from seqmend.recommenders.robust.steam import STEAM, STEAMConfig

N_ITEMS, N_USERS, MAX_LENGTH = 30, 40, 6
SIZES = {"embedding_size": 16, "n_layers": 1, "n_heads": 2, "max_length": MAX_LENGTH}

Make = Callable[..., Backbone]


def birdrec(dropout: float = 0.1, n_users: int = 0, seed: int = 0) -> Backbone:
    """Warmed up for two epochs; in the tests of single steps there is no warm-up."""
    config = BirDRecConfig(
        encoder=SASRecConfig(**SIZES, dropout=dropout), warm_up=2 if dropout else 0, n_negatives=50, n_pool=20
    )
    return BirDRec(N_ITEMS, config, n_users, seed)


def berd(dropout: float = 0.1, n_users: int = 0, seed: int = 0) -> Backbone:
    config = BERDConfig(encoder=SASRecConfig(**SIZES, dropout=dropout), forget_epochs=2)
    return BERD(N_ITEMS, config, n_users, seed)


def hsd(dropout: float = 0.1, n_users: int = 0, seed: int = 0) -> Backbone:
    return HSD(N_ITEMS, HSDConfig(**SIZES, dropout=dropout), n_users, seed)


def steam(dropout: float = 0.1, n_users: int = 0, seed: int = 0) -> Backbone:
    return STEAM(N_ITEMS, STEAMConfig(**SIZES, dropout=dropout), n_users, seed)


def ssdrec(dropout: float = 0.1, n_users: int = 0, seed: int = 0) -> Backbone:
    return SSDRec(N_ITEMS, SSDRecConfig(**SIZES, dropout=dropout), n_users, seed)


ROBUST = [birdrec, berd, hsd, steam, ssdrec]
STATE_KNOWS_USERS = [birdrec, berd]  # in HSD and SSDRec users only decide which inputs stay
CONFIG = TrainingConfig(epochs=3, batch_size=64, learning_rate=0.005, ema_decay=0.9, device="cpu", precision="float32")


@pytest.fixture(params=ROBUST, ids=lambda make: make.__name__)
def make(request: pytest.FixtureRequest) -> Make:
    return request.param


@pytest.fixture
def rows(sequences_of) -> Rows:
    """Every user walks a ring of items in steps of one or two."""
    rng = np.random.default_rng(0)
    starts = rng.integers(N_ITEMS, size=N_USERS)
    walks = [1 + (start + rng.integers(1, 3, size=rng.integers(4, 13)).cumsum()) % N_ITEMS for start in starts]
    return rows_from_sequences(sequences_of(*(walk.tolist() for walk in walks)), MAX_LENGTH, form="instance")


def rising() -> Callable[[object], float]:
    scores = iter(range(1000))
    return lambda model: float(next(scores))


def is_same(a: Backbone, b: Backbone) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_seed_decides(make: Make, rows: Rows):
    models = [make() for _ in range(3)]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        torch.rand(3)  # whatever else drew numbers in between
        train(model, rows, CONFIG.model_copy(update={"seed": seed}), rising())
    assert is_same(models[0], models[1])
    assert not is_same(models[0], models[2])
    assert not is_same(make(seed=0), make(seed=1))


def test_rows_without_weight_are_as_if_removed(make: Make, rows: Rows):
    removed = rows.user == 3
    silenced = rows.select(np.arange(len(rows)))
    silenced.weights[removed] = 0
    a, b, untouched = make(), make(), make()

    train(a, silenced, CONFIG, rising())
    train(b, rows.select(~removed), CONFIG, rising())
    train(untouched, rows, CONFIG, rising())

    assert is_same(a, b)
    assert not is_same(a, untouched)


def gradients(make: Make, rows: Rows, user: int, factor: float) -> dict[str, torch.Tensor]:
    """Gradients of the first step over all rows, with one user's weights times a factor."""
    scaled = rows.select(np.arange(len(rows)))
    scaled.weights[rows.user == user] *= factor
    model = make(dropout=0.0)
    train(model, scaled, CONFIG.model_copy(update={"epochs": 1, "batch_size": 1000}), rising())
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def test_doubling_a_users_weight_adds_that_users_gradient_and_nothing_else(make: Make, rows: Rows):
    almost_none, once, twice = (gradients(make, rows, 3, factor) for factor in (1e-9, 1, 2))
    assert max(float((once[name] - almost_none[name]).abs().max()) for name in once) > 1e-3
    for name in once:
        torch.testing.assert_close(twice[name] - once[name], once[name] - almost_none[name], rtol=1e-3, atol=2e-6)


def test_resumed_training_equals_an_uninterrupted_one(make: Make, rows: Rows, tmp_path: Path):
    whole, resumed, first = make(), make(), make()
    config = CONFIG.model_copy(update={"epochs": 4})
    train(whole, rows, config, rising())
    train(first, rows, config.model_copy(update={"epochs": 3}), rising(), checkpoint=tmp_path / "model")
    train(resumed, rows, config, lambda model: 100.0, checkpoint=tmp_path / "model")
    assert is_same(whole, resumed)
    assert not is_same(whole, first)


@pytest.mark.parametrize("n_users", [0, N_USERS])
def test_every_parameter_is_trained(make: Make, rows: Rows, n_users: int):
    model = make(n_users=n_users)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    train(model, rows, CONFIG, rising())
    assert not [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])]


def test_half_precision_trains_too(make: Make, rows: Rows):
    model, before = make(n_users=N_USERS), make(n_users=N_USERS)
    train(model, rows, CONFIG.model_copy(update={"precision": "bfloat16"}), rising())
    assert not is_same(model, before)
    assert all(parameter.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("make", STATE_KNOWS_USERS)
def test_users_have_a_say_where_they_have_vectors(make: Make, rows: Rows):
    model = make(n_users=N_USERS)
    train(model, rows, CONFIG, rising())
    items, users = torch.from_numpy(rows.items[:1]).expand(2, -1), torch.tensor([4, 5])
    with torch.inference_mode():
        known, unknown = model(items, users)[:, -1], model(items)[:, -1]
    assert not torch.equal(unknown[0], known[0])
    torch.testing.assert_close(unknown[0], unknown[1])
    assert (known[0] - known[1]).abs().max() > 1e-5


def test_random_targets_are_told_from_real_ones(make: Make, rows: Rows):
    """After 8 epochs, of which BirDRec's first 2 are its warm-up."""
    rng = np.random.default_rng(1)
    is_noise = rng.random(len(rows)) < 0.1
    rows.targets[is_noise, -1] = rng.integers(1, N_ITEMS + 1, is_noise.sum())
    model = make()
    train(model, rows, CONFIG.model_copy(update={"epochs": 8, "batch_size": 16}), rising())

    found = model.reliability(rows)

    assert roc_auc_score(~is_noise, found.reliability) > 0.75
    assert found.reliability.std() > 0.05
    assert found.uncertainty.std() > 0.001
    for values in (found.reliability, found.uncertainty, *found.signals.values()):
        assert values.dtype == np.float32
        assert values.shape in ((len(rows),), rows.items.shape)
        assert np.isfinite(values).all()
    for values in (found.reliability, found.uncertainty):
        assert 0 <= values.min() <= values.max() <= 1
    per_input = [values for values in found.signals.values() if values.ndim == 2]
    assert all((values[rows.items == 0] == 0).all() for values in per_input)


@pytest.mark.parametrize(("form", "epochs"), [("sequence", 50), ("instance", 8)])
def test_steam_learns_from_both_forms(sequences_of, form: str, epochs: int):
    walks = [[1 + (start + step) % N_ITEMS for step in range(9)] for start in range(N_ITEMS)]
    rows, instances = (rows_from_sequences(sequences_of(*walks), MAX_LENGTH, form=kind) for kind in (form, "instance"))
    ranks: list[float] = []

    def validate(model: Backbone) -> float:
        ranks.append(float(model.reliability(instances).reliability.mean()))
        return ranks[-1]

    config = CONFIG.model_copy(update={"epochs": epochs, "batch_size": 16, "patience": epochs})
    train(steam(), rows, config, validate)
    assert ranks[-1] > 0.75 > ranks[0]
