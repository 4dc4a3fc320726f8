import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl
import pytest
import torch
from pydantic import ValidationError
from safetensors import safe_open

from seqmend.errors import InputError, SeqMendError
from seqmend.recommenders import (
    Rows,
    SASRec,
    SASRecConfig,
    TrainingConfig,
    TrainingDivergedError,
    rows_from_sequences,
    train,
)
from seqmend.recommenders.averaging import WeightAverage
from seqmend.recommenders.losses import LossName

N_ITEMS = 12
SMALL = SASRecConfig(embedding_size=8, n_layers=1, n_heads=2, dropout=0.2, max_length=5)
CONFIG = TrainingConfig(epochs=4, batch_size=4, checkpoint_every=1, device="cpu")


@pytest.fixture
def rows(sequences_of) -> Rows:
    rng = np.random.default_rng(0)
    sequences = sequences_of(*(rng.integers(1, N_ITEMS + 1, size=n).tolist() for n in rng.integers(2, 12, size=15)))
    weights = rng.uniform(0.5, 1.5, sequences.n_interactions).astype(np.float32)
    return rows_from_sequences(sequences, max_length=5, weights=weights)


def model_of(seed: int = 0, dropout: float = 0.2) -> SASRec:
    return SASRec(N_ITEMS, SMALL.model_copy(update={"dropout": dropout}), seed=seed)


def rising() -> Callable[[object], float]:
    scores = iter(range(1000))
    return lambda model: float(next(scores))


def weights_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(model.state_dict())


def is_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("loss", get_args(LossName))
def test_resumed_training_equals_an_uninterrupted_one(rows: Rows, tmp_path: Path, loss: str):
    config = CONFIG.model_copy(update={"loss": loss})
    whole, resumed = model_of(), model_of()
    expected = train(whole, rows, config, rising())

    class Killed(BaseException):
        pass

    calls = iter(range(100))

    def killed(model: object) -> float:
        if (number := next(calls)) == 2:
            raise Killed
        return float(number)

    path = tmp_path / "run" / "model.safetensors"
    with pytest.raises(Killed):
        train(resumed, rows, config, killed, checkpoint=path)
    assert [file.name for file in path.parent.iterdir()] == ["model.safetensors"]
    resumed = model_of()
    torch.random.manual_seed(123)  # whatever else drew numbers in between
    asked = []
    result = train(resumed, rows, config, lambda model: asked.append(1) or 2.0 + len(asked), checkpoint=path)

    assert len(asked) == 2  # epochs 3 and 4
    assert (result.best_epoch, result.epochs) == (expected.best_epoch, expected.epochs) == (4, 4)
    assert is_same(weights_of(resumed), weights_of(whole))


def test_finished_training_is_not_repeated(rows: Rows, tmp_path: Path):
    path = tmp_path / "model.safetensors"
    first, second = model_of(), model_of()
    expected = train(first, rows, CONFIG, rising(), checkpoint=path)

    def unasked(model: object) -> float:
        raise AssertionError("trained again")

    assert train(second, rows, CONFIG, unasked, checkpoint=path) == expected
    assert is_same(weights_of(first), weights_of(second))


def test_checkpoint_of_another_training_is_refused(rows: Rows, tmp_path: Path):
    path = tmp_path / "model.safetensors"
    train(model_of(), rows, CONFIG, rising(), checkpoint=path)
    with safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["state"])["epoch"] == 4

    others = [
        (model_of(seed=1), rows, CONFIG),
        (model_of(), rows.select(np.arange(5)), CONFIG),
        (model_of(), rows, CONFIG.model_copy(update={"learning_rate": 0.1})),
    ]
    for model, other_rows, config in others:
        with pytest.raises(InputError, match="of another training"):
            train(model, other_rows, config, rising(), checkpoint=path)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="not a checkpoint"):
        train(model_of(), rows, CONFIG, rising(), checkpoint=path)


def test_seed_decides_and_the_callers_random_state_is_left_alone(rows: Rows):
    torch.random.manual_seed(5)
    before = torch.random.get_rng_state()
    a, b, c = model_of(), model_of(), model_of()
    train(a, rows, CONFIG, rising())
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(3)
    train(b, rows, CONFIG, rising())
    train(c, rows, CONFIG.model_copy(update={"seed": 1}), rising())

    assert is_same(weights_of(a), weights_of(b))
    assert not is_same(weights_of(a), weights_of(c))


@pytest.mark.parametrize("loss", get_args(LossName))
def test_rows_without_weight_are_as_if_removed(rows: Rows, loss: str):
    config = CONFIG.model_copy(update={"loss": loss})
    removed = rows.user == 3
    silenced = rows.select(np.arange(len(rows)))
    silenced.weights[removed] = 0
    a, b = model_of(), model_of()

    train(a, silenced, config, rising())
    train(b, rows.select(~removed), config, rising())

    assert is_same(weights_of(a), weights_of(b))


def gradients(rows: Rows, user: int, factor: float, loss: str) -> dict[str, torch.Tensor]:
    """Gradients of the first step over all rows, with one user's weights times a factor."""
    scaled = rows.select(np.arange(len(rows)))
    scaled.weights[rows.user == user] *= factor
    model = model_of(dropout=0.0)
    one_step = {"epochs": 1, "batch_size": 1000, "precision": "float32"}
    train(model, scaled, CONFIG.model_copy(update=one_step | {"loss": loss}), rising())
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("loss", get_args(LossName))
def test_doubling_a_users_weight_adds_that_users_gradient_and_nothing_else(rows: Rows, loss: str):
    almost_none, once, twice = (gradients(rows, 3, factor, loss) for factor in (1e-9, 1, 2))

    for name in once:
        of_user = once[name] - almost_none[name]
        torch.testing.assert_close(twice[name] - once[name], of_user, rtol=1e-3, atol=1e-6)
    assert (once["items.weight"] - almost_none["items.weight"]).abs().max() > 1e-3


def test_early_stopping_restores_the_best_weights(rows: Rows):
    scores, seen = iter([0.1, 0.5, 0.5, 0.2, 0.3, 0.9]), []

    def validate(model: SASRec) -> float:
        seen.append(weights_of(model))
        return next(scores)

    model = model_of()
    result = train(model, rows, CONFIG.model_copy(update={"epochs": 50, "patience": 3}), validate)

    assert (result.best_score, result.best_epoch, result.epochs) == (0.5, 2, 5)
    assert is_same(weights_of(model), seen[1])
    assert not is_same(seen[1], seen[2])
    assert not model.training


def test_a_training_reaches_its_first_validation_before_its_patience_ends():
    with pytest.raises(ValidationError, match="patience must reach"):
        TrainingConfig(patience=3, validate_every=4)
    assert TrainingConfig(patience=3, validate_every=4, epochs=3).patience == 3  # the last epoch is always judged


def test_every_row_is_met_once_per_epoch_in_an_order_of_its_own(rows: Rows):
    met: list[list[tuple[int, ...]]] = [[]]

    class Recorder(SASRec):
        def forward(self, items: torch.Tensor, users: torch.Tensor | None = None) -> torch.Tensor:
            padded = torch.nn.functional.pad(items, (rows.max_length - items.shape[1], 0))
            met[-1] += [tuple(row) for row in padded.tolist()]
            return super().forward(items)

    train(Recorder(N_ITEMS, SMALL), rows, CONFIG.model_copy(update={"epochs": 2}), lambda model: met.append([]) or 1.0)

    first, second, _ = met
    assert sorted(first) == sorted(second) == sorted(tuple(row) for row in rows.items.tolist())
    assert first != second


def test_progress_counts_batches(rows: Rows):
    told = []
    train(model_of(), rows, CONFIG.model_copy(update={"epochs": 2}), rising(), progress=lambda *now: told.append(now))

    n_batches = -(-len(rows) // 4)
    assert told[0] == ("training, epoch 1/2", 1, n_batches)
    assert told[-1] == ("training, epoch 2/2", n_batches, n_batches)


def test_work_that_cannot_succeed_stops_with_a_reason(rows: Rows):
    with pytest.raises(InputError, match="nothing to train on"):
        train(model_of(), rows.select(np.arange(0)), CONFIG, rising())
    with pytest.raises(SeqMendError, match="lower learning_rate"):
        train(model_of(), rows, CONFIG.model_copy(update={"learning_rate": 1e30}), rising())
    with pytest.raises(SeqMendError, match="validation score of epoch 1 is nan"):
        train(model_of(), rows, CONFIG, lambda model: float("nan"))
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="no GPU"):
            train(model_of(), rows, CONFIG.model_copy(update={"device": "cuda"}), rising())


def test_unknown_settings_are_refused():
    with pytest.raises(ValidationError, match="learning_rat"):
        TrainingConfig(learning_rat=0.1)  # pyright: ignore[reportCallIssue]
    with pytest.raises(ValidationError, match="multiple of n_heads"):
        SASRecConfig(embedding_size=10, n_heads=3)


def test_average_of_the_weights_is_what_is_validated_and_kept(rows: Rows):
    config = CONFIG.model_copy(update={"epochs": 3, "ema_decay": 0.9})
    seen: list[torch.nn.Module] = []
    model, plain = model_of(), model_of()

    train(model, rows, config, lambda judged: seen.append(judged) or float(len(seen)))
    train(plain, rows, CONFIG.model_copy(update={"epochs": 3}), rising())

    assert all(judged is not model and not judged.training for judged in seen)
    assert not is_same(weights_of(model), weights_of(plain))
    assert is_same(weights_of(model), weights_of(seen[-1]))


def test_average_is_that_of_the_formula():
    generator = torch.Generator().manual_seed(0)
    model = model_of()
    average, expected = WeightAverage(model, 0.3), weights_of(model)
    for updates in range(6):
        with torch.no_grad():
            for tensor in model.parameters():
                tensor.copy_(torch.randn(tensor.shape, generator=generator))
        average.update(model, updates)
        decay = min(0.3, (updates + 1) / (updates + 10))
        expected = {name: decay * old + (1 - decay) * weights_of(model)[name] for name, old in expected.items()}
    for name, tensor in average.model.state_dict().items():
        torch.testing.assert_close(tensor, expected[name])


@pytest.mark.parametrize("ema_decay", [None, 0.99])
def test_loss_that_is_no_number_names_the_users_and_keeps_the_last_good_state(
    rows: Rows, tmp_path: Path, ema_decay: float | None
):
    path = tmp_path / "state.safetensors"

    class Diverging(SASRec):
        def training_loss(self, batch, objective):
            loss = super().training_loss(batch, objective)
            return loss * float("nan") if batch.epoch == 2 and 3 in batch.users else loss

    config = CONFIG.model_copy(update={"epochs": 4, "checkpoint_every": 1, "batch_size": 2, "ema_decay": ema_decay})
    with pytest.raises(TrainingDivergedError, match="epoch 3 is nan, not a number") as caught:
        train(Diverging(N_ITEMS, SMALL), rows, config, rising(), checkpoint=path)

    assert 3 in caught.value.users
    assert len(caught.value.users) <= 2
    assert "the last good state is kept" in str(caught.value)
    named = str(caught.value.naming(pl.Series([f"user-{number}" for number in range(20)])))
    assert "user-3" in named
    with safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["state"])["epoch"] == 2


def test_clipping_bounds_the_gradient_of_a_step(rows: Rows):
    model = model_of(dropout=0.0)
    config = CONFIG.model_copy(update={"epochs": 1, "batch_size": 1000, "clip_norm": 1e-3})
    train(model, rows, config, rising())
    norm = sum(float(p.grad.square().sum()) for p in model.parameters() if p.grad is not None) ** 0.5
    assert norm == pytest.approx(1e-3, rel=1e-3)


def test_validation_only_every_few_epochs_and_at_the_end(rows: Rows):
    asked: list[int] = []
    config = CONFIG.model_copy(update={"epochs": 5, "validate_every": 2})
    result = train(model_of(), rows, config, lambda model: asked.append(1) or float(len(asked)))
    assert len(asked) == 3
    assert (result.best_epoch, result.epochs) == (5, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": "bpr", "n_negatives": 100}, "100 negatives cannot be drawn from a catalogue"),
        ({"loss": "gbce", "n_negatives": 100}, "100 negatives"),
        ({"loss": "sampled_softmax", "n_negatives": 100}, "100 negatives"),
    ],
)
def test_more_negatives_than_items_are_refused(rows: Rows, change: dict[str, object], message: str):
    with pytest.raises(InputError, match=message):
        train(model_of(), rows, CONFIG.model_copy(update=change), rising())


def test_catalogue_of_one_item_is_refused(sequences_of):
    rows = rows_from_sequences(sequences_of([1, 1, 1]), max_length=4)
    with pytest.raises(InputError, match="the catalogue has one item"):
        train(SASRec(1, SMALL), rows, CONFIG, rising())


def test_rows_of_a_form_that_a_model_cannot_learn_from_are_refused(rows: Rows):
    class InstanceOnly(SASRec):
        forms = ("instance",)

    with pytest.raises(InputError, match="InstanceOnly cannot learn from rows in sequence form"):
        train(InstanceOnly(N_ITEMS, SMALL), rows, CONFIG, rising())


def test_bfloat16_throughout_learns_too(rows: Rows):
    exact, rough = model_of(), model_of()
    config = CONFIG.model_copy(update={"precision": "float32"})
    train(exact, rows, config, rising())
    train(rough, rows, config.model_copy(update={"precision": "bfloat16"}), rising())
    for name, tensor in rough.state_dict().items():
        assert tensor.dtype == torch.float32
        other = exact.state_dict()[name]
        assert (tensor - other).norm() <= 0.5 * other.norm() + 1e-3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the tracer looks at gradients of what has none
def test_compiled_model_learns_the_same(rows: Rows):
    """Traced, but not turned into machine code: that would need a compiler on every machine that tests."""

    class Traced(SASRec):
        def compile(self, *arguments, **options):
            super().compile(*arguments, **options, backend="eager")

    config = CONFIG.model_copy(update={"epochs": 2, "compile": True})
    compiled, plain = Traced(N_ITEMS, SMALL), model_of()
    train(compiled, rows, config, rising())
    train(plain, rows, config.model_copy(update={"compile": False}), rising())

    assert compiled._compiled_call_impl is not None
    for a, b in zip(compiled.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(("share", "steps"), [(1.0, 5), (0.3, 5), (1.0, 1)])
def test_trainings_on_more_and_on_fewer_rows_take_equally_many_steps(rows: Rows, share: float, steps: int):
    some = rows.select(np.arange(round(share * len(rows))))
    seen: list[int] = []
    config = CONFIG.model_copy(update={"steps_per_epoch": steps})
    train(model_of(), some, config, rising(), progress=lambda what, done, total: seen.append(total))
    assert seen == [steps] * (steps * config.epochs)


def test_an_epoch_of_more_steps_than_a_pass_shuffles_the_rows_again(rows: Rows):
    passes = -(-len(rows) // CONFIG.batch_size)
    models = [model_of() for _ in range(3)]
    for model, steps in zip(models, (None, passes, 2 * passes), strict=True):
        config = CONFIG.model_copy(update={"steps_per_epoch": steps, "epochs": 1})
        train(model, rows, config, rising())
    assert is_same(weights_of(models[0]), weights_of(models[1]))
    assert not is_same(weights_of(models[0]), weights_of(models[2]))
