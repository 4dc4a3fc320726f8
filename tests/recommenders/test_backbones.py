"""What every backbone must pass; a new one joins by a line in `BACKBONES`."""

import dataclasses
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from pydantic import BaseModel
from sklearn.metrics import roc_auc_score

from seqmend.evaluation import Histories, metric_values, rank_targets
from seqmend.interactions import Sequences, Targets, leave_one_out
from seqmend.recommenders import (
    Backbone,
    BERDConfig,
    BERT4RecConfig,
    BirDRecConfig,
    CaserConfig,
    FMLPRecConfig,
    Form,
    GRU4RecConfig,
    HSDConfig,
    LRURecConfig,
    Rows,
    SASRecConfig,
    SSDRecConfig,
    STEAMConfig,
    TrainingConfig,
    make_backbone,
    rows_from_sequences,
    train,
)


@dataclass(frozen=True)
class Case:
    """How to make a backbone and what it claims."""

    make: Callable[[int, int, int], Backbone]
    form: Form = "sequence"
    is_causal: bool = True
    padding_tolerance: float = 1e-5
    learning_rate: float = 0.01
    epochs: int = 100


def plain(kind: type[BaseModel], **sizes: float) -> Callable[[int, int, int], Backbone]:
    def make(n_items: int, max_length: int, seed: int) -> Backbone:
        return make_backbone(kind(embedding_size=32, dropout=0.1, max_length=max_length, **sizes), n_items, seed=seed)

    return make


def around(kind: type[BaseModel], **settings: float) -> Callable[[int, int, int], Backbone]:
    """A robust backbone around SASRec."""

    def make(n_items: int, max_length: int, seed: int) -> Backbone:
        encoder = SASRecConfig(embedding_size=32, dropout=0.1, max_length=max_length)
        return make_backbone(kind(encoder=encoder, **settings), n_items, seed=seed)

    return make


# The own ratios of BirDRec delete what the warm-up has not taught: random sequences could not be learned by heart.
MILD = {"n_negatives": 60, "n_pool": 20, "input_ratio": 0.5, "replace_ratio": 1.0, "delete_ratio": 0.9}

BACKBONES = [
    pytest.param(Case(plain(SASRecConfig)), id="sasrec"),
    pytest.param(
        Case(plain(BERT4RecConfig, last_only=0.5), is_causal=False, learning_rate=0.003, epochs=600), id="bert4rec"
    ),
    pytest.param(Case(plain(GRU4RecConfig, hidden_size=32)), id="gru4rec"),
    pytest.param(Case(plain(CaserConfig), form="instance", is_causal=False, padding_tolerance=1e-4), id="caser"),
    pytest.param(Case(plain(FMLPRecConfig), form="instance", is_causal=False), id="fmlprec"),
    pytest.param(Case(plain(LRURecConfig)), id="lrurec"),
    pytest.param(
        Case(around(BirDRecConfig, **MILD), form="instance", is_causal=False, learning_rate=0.003), id="birdrec"
    ),
    pytest.param(Case(around(BERDConfig), form="instance", is_causal=False, learning_rate=0.003), id="berd"),
    pytest.param(
        Case(plain(STEAMConfig, n_layers=1, n_heads=2), is_causal=False, learning_rate=0.003, epochs=300), id="steam"
    ),
    pytest.param(Case(plain(HSDConfig, n_layers=1), form="instance", is_causal=False, learning_rate=0.003), id="hsd"),
    pytest.param(
        Case(plain(SSDRecConfig, n_layers=1), form="instance", is_causal=False, learning_rate=0.003), id="ssdrec"
    ),
]

N_ITEMS, MAX_LENGTH = 20, 8


@pytest.fixture(params=BACKBONES)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture
def model(case: Case) -> Backbone:
    """Random weights everywhere, the padding row and biases too: zeros would hide mistakes."""
    model = case.make(N_ITEMS, MAX_LENGTH, 0).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return model


@pytest.fixture
def items() -> torch.Tensor:
    return torch.randint(1, N_ITEMS + 1, (6, 5), generator=torch.Generator().manual_seed(2)).int()


@pytest.mark.parametrize("case", [case for case in BACKBONES if case.values[0].is_causal], indirect=True)
@torch.inference_mode()
def test_later_items_do_not_change_earlier_states(model: Backbone, items: torch.Tensor):
    states = model(items)
    for column in range(1, 5):
        changed = items.clone()
        changed[:, column] = changed[:, column] % N_ITEMS + 1
        others = model(changed)
        torch.testing.assert_close(others[:, :column], states[:, :column])
        assert (others[:, column:] - states[:, column:]).abs().amax(-1).min() > 1e-4


def test_models_claim_what_they_keep(case: Case):
    model = case.make(N_ITEMS, MAX_LENGTH, 0)
    assert model.is_causal == case.is_causal
    assert case.form in model.forms


@torch.inference_mode()
def test_padding_on_the_left_changes_no_score(case: Case, model: Backbone, items: torch.Tensor):
    padded = torch.nn.functional.pad(items, (3, 0))
    mixed = padded.clone()
    mixed[0, :3] = 1  # another row without padding in the batch

    scores = model.scores(model(items))

    torch.testing.assert_close(model.scores(model(padded))[:, 3:], scores, rtol=0, atol=case.padding_tolerance)
    torch.testing.assert_close(model.scores(model(mixed))[1:, 3:], scores[1:], rtol=0, atol=case.padding_tolerance)


@torch.inference_mode()
def test_masked_interaction_and_padding_are_no_input(model: Backbone, items: torch.Tensor):
    holed = torch.nn.functional.pad(items, (2, 0))
    holed[:, 4] = 0
    is_input = holed != 0
    states = model(holed)[is_input]
    for parameter in model.parameters():
        if parameter.shape[0] == N_ITEMS + 1:
            parameter[0] += 1  # what padding would be read as

    torch.testing.assert_close(model(holed)[is_input], states)


@torch.inference_mode()
def test_empty_history_has_finite_scores(model: Backbone):
    scores = model.scores(model(torch.zeros(2, MAX_LENGTH, dtype=torch.int32)))
    assert torch.isfinite(scores[..., 1:]).all()


@torch.inference_mode()
def test_padding_is_never_the_best_item(model: Backbone, items: torch.Tensor):
    scores = model.scores(model(items))
    assert scores.shape == (6, 5, N_ITEMS + 1)
    assert (scores[..., 0] == float("-inf")).all()


def hit_rate_of(sequences: Sequences, targets: Targets) -> Callable[[Backbone], float]:
    """HR@1 with nothing left out: the generated users take the same item again."""
    histories = Histories.before(sequences, targets)
    nothing = Histories(sequences, targets.users, np.zeros(len(targets), dtype=np.int64))
    items = sequences.items[sequences.offsets[targets.users] + targets.positions]
    return lambda model: float(metric_values(rank_targets(model, histories, items, nothing), "hr@1").mean())


class Reached(Exception):
    """A training is as good as it had to become."""


def reaches(
    goal: float, model: Backbone, rows: Rows, config: TrainingConfig, score: Callable[[Backbone], float]
) -> bool:
    """Whether any epoch of a training gets there; it ends with the first that does."""

    def validate(model: Backbone) -> float:
        value = score(model)
        if value >= goal:
            raise Reached
        return value

    try:
        train(model, rows, config, validate)
    except Reached:
        return True
    return False


def test_twenty_users_are_learned_by_heart(case: Case):
    rng = np.random.default_rng(0)
    lists = {f"u{user}": [f"i{item}" for item in rng.permutation(N_ITEMS)[:7]] for user in range(20)}
    sequences = Sequences.from_lists(lists, {f"i{item}": None for item in range(N_ITEMS)})
    hit_rate = hit_rate_of(sequences, Targets(np.arange(20, dtype=np.int32), np.full(20, 6)))

    model = case.make(N_ITEMS, MAX_LENGTH, 0)
    rows = rows_from_sequences(sequences, MAX_LENGTH, form=case.form)
    config = TrainingConfig(epochs=case.epochs, patience=100, batch_size=10, learning_rate=case.learning_rate)
    assert reaches(1, model, rows, config, hit_rate)


@pytest.fixture(scope="module")
def walks() -> Sequences:
    """Users who go round one of two circles, which a model learns within some epochs."""
    rng = np.random.default_rng(3)
    lists: dict[str, list[str]] = {}
    for user in range(80):
        start, first = int(rng.integers(10)), 10 * (user % 2)
        lists[f"u{user}"] = [f"i{first + (start + step) % 10}" for step in range(7)]
    return Sequences.from_lists(lists, {f"i{item}": None for item in range(N_ITEMS)})


def trained(case: Case, rows: Rows, **changes: object) -> Backbone:
    model = case.make(N_ITEMS, MAX_LENGTH, 0)
    settings = {"epochs": 1, "batch_size": 64, "learning_rate": 0.003, "precision": "float32", "device": "cpu"}
    epochs = itertools.count()
    train(model, rows, TrainingConfig.model_validate({**settings, **changes}), lambda model: next(epochs))
    return model


def test_same_seed_same_weights(case: Case, walks: Sequences):
    rows = rows_from_sequences(walks, MAX_LENGTH, form=case.form)
    one, same, other = (trained(case, rows, seed=seed) for seed in (0, 0, 1))
    for a, b in zip(one.parameters(), same.parameters(), strict=True):
        assert torch.equal(a, b)
    assert any(not torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_rows_without_weight_are_as_if_they_were_not_there(case: Case, walks: Sequences):
    rows = rows_from_sequences(walks, MAX_LENGTH, form=case.form)
    is_silent = rows.user % 5 == 0
    silenced = dataclasses.replace(rows, weights=np.where(is_silent[:, None], np.float32(0), rows.weights))
    for a, b in zip(
        trained(case, silenced).parameters(), trained(case, rows.select(~is_silent)).parameters(), strict=True
    ):
        assert torch.equal(a, b)


def test_doubling_a_weight_doubles_its_gradient_and_no_other(case: Case, walks: Sequences):
    rows = rows_from_sequences(walks, MAX_LENGTH, form=case.form)

    def gradients(factor: float) -> dict[str, torch.Tensor]:
        weights = rows.weights * np.where(rows.user == 3, np.float32(factor), np.float32(1))[:, None]
        model = trained(case, dataclasses.replace(rows, weights=weights), batch_size=10_000)
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    almost_none, once, twice = gradients(1e-6), gradients(1), gradients(2)
    of_user = {name: once[name] - almost_none[name] for name in once}
    assert max(float(gradient.abs().max()) for gradient in of_user.values()) > 1e-4
    for name, gradient in of_user.items():
        torch.testing.assert_close(twice[name] - once[name], gradient, rtol=5e-3, atol=2e-6)


def test_reliability_tells_injected_targets_from_real_ones(case: Case, walks: Sequences):
    """After 12 epochs (more of cloze tasks), averaged; random targets stand in a tenth of the training instances."""
    rng = np.random.default_rng(0)
    rows = rows_from_sequences(walks, MAX_LENGTH, form=case.form)
    instances = rows_from_sequences(walks, MAX_LENGTH, form="instance")
    is_wrong = rng.random(len(instances)) < 0.1
    instances.targets[is_wrong, -1] = rng.integers(1, N_ITEMS + 1, is_wrong.sum())
    changed = instances if case.form == "instance" else rows
    if case.form == "sequence":  # the same interactions as targets, and as nothing else
        column = dict(zip(instances.row_id[is_wrong].tolist(), instances.targets[is_wrong, -1].tolist(), strict=True))
        for row, last in enumerate(rows.row_id.tolist()):
            for back in range(int(rows.lengths[row])):
                if last - back in column:
                    rows.targets[row, -1 - back] = column[last - back]
    epochs = 12 * case.epochs // 100
    model = trained(case, changed, epochs=epochs, ema_decay=0.9, batch_size=16)

    said = model.reliability(instances)

    assert roc_auc_score(~is_wrong, said.reliability) > 0.8
    for values in (said.reliability, said.uncertainty):
        assert values.shape == (len(instances),)
        assert values.min() >= 0
        assert values.max() <= 1


def test_order_is_learned_better_than_popularity_and_last_transition_counts(case: Case):
    """Each item is followed by one of two, chosen by the item before it: counting pairs cannot tell which."""
    rng = np.random.default_rng(0)
    follows = rng.integers(N_ITEMS, size=(N_ITEMS, N_ITEMS))
    lists: dict[str, list[str]] = {}
    for user in range(300):
        walk = rng.integers(N_ITEMS, size=2).tolist()
        for _ in range(10):
            certain = rng.random() < 0.9
            walk.append(int(follows[walk[-2] % 2, walk[-1]]) if certain else int(rng.integers(N_ITEMS)))
        lists[f"u{user}"] = [f"i{item}" for item in walk]
    sequences = Sequences.from_lists(lists, {f"i{item}": None for item in range(N_ITEMS)})
    split = leave_one_out(sequences)
    hit_rate = hit_rate_of(sequences, split.valid)

    model = case.make(N_ITEMS, MAX_LENGTH, 0)
    rows = rows_from_sequences(split.train, MAX_LENGTH, form=case.form)
    config = TrainingConfig(epochs=case.epochs // 5, patience=20, learning_rate=case.learning_rate)
    by_count = [hit_rate(Popularity(split.train)), hit_rate(LastTransition(split.train))]
    assert max(by_count) > 0.3  # the baselines are not straw men
    assert reaches(1.2 * max(by_count) + 1e-9, model, rows, config, hit_rate)


class Popularity(Backbone):
    """Scores every item by its count."""

    def __init__(self, sequences: Sequences) -> None:
        super().__init__()
        self.n_items, self.max_length = len(sequences.catalogue), 1
        counts = np.bincount(sequences.items, minlength=self.n_items + 1)
        self.table = torch.nn.Parameter(torch.from_numpy(np.tile(counts, (self.n_items + 1, 1)).astype(np.float32)))

    def forward(self, items: torch.Tensor, users: torch.Tensor | None = None) -> torch.Tensor:
        return self.table[items]

    def output_table(self) -> torch.Tensor:
        return torch.eye(self.n_items + 1)


class LastTransition(Popularity):
    """Scores every item by how often it follows the last one, then by its count."""

    def __init__(self, sequences: Sequences) -> None:
        super().__init__(sequences)
        inside = np.flatnonzero(np.diff(sequences.users) == 0)
        with torch.no_grad():
            self.table *= 1e-6
            for before, after in zip(sequences.items[inside], sequences.items[inside + 1], strict=True):
                self.table[int(before), int(after)] += 1
