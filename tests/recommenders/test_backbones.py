"""What every backbone must pass; a new one joins by a line in `BACKBONES`."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from pydantic import BaseModel

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
        Case(plain(BERT4RecConfig, last_only=0.5), is_causal=False, learning_rate=0.003, epochs=300), id="bert4rec"
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


@torch.inference_mode()
def test_later_items_do_not_change_earlier_states(case: Case, model: Backbone, items: torch.Tensor):
    if not case.is_causal:
        pytest.skip("claims no causality")
    states = model(items)
    for column in range(1, 5):
        changed = items.clone()
        changed[:, column] = changed[:, column] % N_ITEMS + 1
        others = model(changed)
        torch.testing.assert_close(others[:, :column], states[:, :column])
        assert (others[:, column:] - states[:, column:]).abs().amax(-1).min() > 1e-4


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


def test_twenty_users_are_learned_by_heart(case: Case):
    rng = np.random.default_rng(0)
    lists = {f"u{user}": [f"i{item}" for item in rng.permutation(N_ITEMS)[:7]] for user in range(20)}
    sequences = Sequences.from_lists(lists, {f"i{item}": None for item in range(N_ITEMS)})
    hit_rate = hit_rate_of(sequences, Targets(np.arange(20, dtype=np.int32), np.full(20, 6)))

    model = case.make(N_ITEMS, MAX_LENGTH, 0)
    rows = rows_from_sequences(sequences, MAX_LENGTH, form=case.form)
    train(
        model,
        rows,
        TrainingConfig(epochs=case.epochs, patience=100, batch_size=10, learning_rate=case.learning_rate),
        hit_rate,
    )

    assert hit_rate(model) == 1


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
    result = train(
        model, rows, TrainingConfig(epochs=case.epochs // 5, patience=20, learning_rate=case.learning_rate), hit_rate
    )

    by_count = [hit_rate(Popularity(split.train)), hit_rate(LastTransition(split.train))]
    assert result.best_score > 1.2 * max(by_count)
    assert max(by_count) > 0.3  # the baselines are not straw men


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
