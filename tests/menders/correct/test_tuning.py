import itertools
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.special import logit
from sklearn.pipeline import Pipeline

from seqmend.errors import BudgetExceeded, InputError
from seqmend.interactions import Catalogue
from seqmend.llm import Answer, LocalModel, LoRAConfig, Usage
from seqmend.menders.correct import Asked, Attributes, Labelled, LearnedScore, Strangers, mark
from seqmend.menders.correct.config import CorrectTuningConfig
from seqmend.menders.correct.evidence import STRANGE, Weights, best_sets, by_attributes
from seqmend.menders.correct.tuning import InPlace, log_odds, tune
from seqmend.menders.correct.weighing import EVIDENCE, MODEL, Weighed, WeighedJudge, weigh
from seqmend.menders.trees import BoostedTrees

CATALOGUE = Catalogue.from_titles({f"i{n}": f"thing {n}" for n in range(1, 13)})
ATTRIBUTES = Attributes([{}, *({"sort": (f"sort {n % 2}", f"own {n}")} for n in range(1, 13))])
WORDS = InPlace(CATALOGUE)


def number(title):
    return int(title.split('"')[1].split()[1])


class Placed:
    """Says yes to inputs of the target's parity, the more so the earlier they stand."""

    identity = "placed"
    capability = "exact"

    def __init__(self):
        self.usage, self.questions = Usage(), []

    def choose(self, questions):
        self.questions += questions
        found = []
        for question in questions:
            same = [number(c) % 2 == number(question.prompt) % 2 for c in question.choices]
            odds = np.where(same, 1.0, -1.0) - 0.5 * np.arange(len(same))
            found.append(Answer(1 / (1 + np.exp(-odds)), None))
        return found


def rows(n=40, seed=0):
    rng = np.random.default_rng(seed)
    inputs = rng.integers(1, 13, (n, 3)).astype(np.int32)
    targets = rng.integers(1, 13, n).astype(np.int32)
    return Labelled(np.arange(n), inputs, targets, inputs % 2 == targets[:, None] % 2)


def saying(model, orders=2):
    return partial(log_odds, model, WORDS, orders=orders)


def test_the_question_is_short_and_tells_attributes_where_wanted():
    question = WORDS.question([1, 2], 3)
    assert question.choices == ('\n"thing 1":', '\n"thing 2":')
    assert question.prompt.startswith('"thing 3"\n')
    told = InPlace(CATALOGUE, ATTRIBUTES).question([1], 3)
    assert told.choices == ('\n"thing 1" (sort: sort 1, own 1):',)


def test_what_the_place_says_is_averaged_out_over_orders():
    model = Placed()
    (alone,) = log_odds(model, WORDS, [Asked((1, 2, 3), 5)], orders=1)
    np.testing.assert_allclose(alone, [1.0, -1.5, 0.0])
    (both,) = log_odds(model, WORDS, [Asked((1, 2, 3), 5)], orders=2)
    np.testing.assert_allclose(both, [0.5, -1.5, 0.5])
    assert [tuple(map(number, q.choices)) for q in model.questions] == [(1, 2, 3), (1, 2, 3), (3, 2, 1)]


def test_a_judge_names_what_promises_most_and_stops_where_the_budget_does():
    as_said = Weighed(Weights((MODEL,), (0.0,), (1.0,), (1.0,), 0.0), (-2.0, 0.0, 2.0))
    judge = WeighedJudge(saying(Placed()), as_said)
    (verdict,) = judge.ask([Asked((1, 2, 3), 5)])
    assert verdict.goes == (True, False, True)
    np.testing.assert_allclose(logit(verdict.probabilities), [0.5, -1.5, 0.5])

    class Poor(Placed):
        def choose(self, questions):
            if self.usage.calls:
                raise BudgetExceeded("spent")
            self.usage.calls += 1
            return super().choose(questions)

    found = WeighedJudge(saying(Poor()), as_said).ask([Asked((1,), 3)] * 70)
    assert [verdict is None for verdict in found] == [False] * 64 + [True] * 6


def test_only_what_a_usual_answer_could_change_is_asked_about():
    evidence = Weights((STRANGE,), (0.0,), (1.0,), (-1.0,), 0.0)
    weighed = Weighed(Weights((MODEL, EVIDENCE), (0.0, 0.0), (1.0, 1.0), (1.0, 1.0), 0.0), (-1.5, 0.25, 1.0), evidence)
    strangers = Strangers(LearnedScore(sp.csr_matrix((13, 13)), {}, Pipeline([])), BoostedTrees(), 0.5, 0.5)
    asked = [
        Asked((1, 3, 2), 5, (-4.0, -1.6, 4.0)),  # stays, stays, goes, whatever the model says
        Asked((1, 3), 5, (-4.0, -1.4)),  # the second may go
        Asked((1, 3), 5, (1.1, 4.0)),
        Asked((1, 3), 5, (0.9, 4.0)),  # the first may stay
    ]
    model = Placed()
    judge = WeighedJudge(saying(model, 1), weighed, strangers=strangers)
    verdicts = judge.ask(asked)
    assert [verdict.asked for verdict in verdicts] == [False, True, False, True]
    assert [number(question.choices[-1]) for question in model.questions] == [3, 3]
    assert [verdict.goes for verdict in verdicts] == [(True, True, False), (True, True), (False, False), (True, False)]
    # P(noise) is half of the copy's odds e^-x, at most 1; the model says 0.25 in the middle, or 1 and 0.5.
    np.testing.assert_allclose(verdicts[0].probabilities, 1 - np.exp([-4.25, -1.85, np.log(2)]) / 2)
    np.testing.assert_allclose(verdicts[1].probabilities, 1 - np.exp([-5.0, -1.9]) / 2)
    everything = replace(judge, asks_all=True).ask(asked)
    assert all(verdict.asked for verdict in everything)
    assert [verdict.goes for verdict in everything] == [verdict.goes for verdict in verdicts]
    assert all(verdict.asked for verdict in replace(judge, strangers=None).ask(asked))


def test_the_evidence_is_weighed_beside_the_model_and_may_be_left_out():
    class Guessing(Placed):
        def choose(self, questions):
            rng = np.random.default_rng(len(questions))
            return [Answer(rng.uniform(0.1, 0.9, len(q.choices)), None) for q in questions]

    scores = by_attributes(ATTRIBUTES)
    train, validation = rows(40), rows(20, seed=1)
    weighed = weigh(saying(Guessing()), train, validation, scores, evidence=True)
    asked = [Asked(tuple(r), int(t)) for r, t in zip(validation.inputs.tolist(), validation.targets, strict=True)]
    verdicts = WeighedJudge(saying(Guessing()), weighed, scores).ask(asked)
    assert [verdict.goes for verdict in verdicts] == [tuple(row) for row in validation.relevant.tolist()]
    alone = weigh(saying(Guessing()), train, validation, scores, evidence=False)
    assert alone.evidence is None
    assert alone.answers.names == (MODEL,)


def test_shared_values_count_and_are_a_share_of_what_could_be_shared():
    attributes = Attributes([{}, {"tag": ("A", "b", "c")}, {"tag": ("a", "x")}, {"maker": ("q",)}])
    scores = by_attributes(attributes)
    pair = np.array([1, 1, 1]), np.array([2, 1, 3])
    np.testing.assert_allclose(np.expm1(scores["tag, shared values"](*pair)), [1, 3, 0])
    np.testing.assert_allclose(scores["tag, shared share"](*pair), [0.5, 1, 0])
    np.testing.assert_allclose(scores["maker, shared share"](*pair), 0)


def test_no_other_set_of_inputs_promises_a_better_f1():
    sets = np.array(list(itertools.product([False, True], repeat=4)))
    items = np.tile(np.arange(1, 5, dtype=np.int32), (len(sets), 1))
    f1 = np.stack([mark(items, np.tile(one, (len(sets), 1)), sets).f1 for one in sets])
    probabilities = np.random.default_rng(0).beta(0.5, 0.7, (200, 4))
    likely = np.where(sets, probabilities[:, None], 1 - probabilities[:, None]).prod(2)
    promised = likely @ f1.T
    chosen = (best_sets(probabilities)[:, None] == sets).all(2).argmax(1)
    np.testing.assert_allclose(promised[np.arange(200), chosen], promised.max(1))
    assert len(np.unique(chosen)) > 8


def test_tuning_holds_targets_out_and_learns_the_question(tiny: LocalModel, tiny_folder, tmp_path):
    lora = LoRAConfig(
        rank=8,
        epochs=8,
        batch_size=8,
        learning_rate=0.02,
        warmup_steps=2,
        evaluate_every=10,
        patience=99,
        target_modules=("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"),
    )
    config = CorrectTuningConfig(copies=2, lora=lora)
    known = rows(60)
    words = InPlace(CATALOGUE, ATTRIBUTES)
    fit, train, validation = tune(tiny, known, words, tmp_path / "adapter", config)
    assert not set(train.targets.tolist()) & set(validation.targets.tolist())
    assert len(train) + len(validation) == len(known)
    tuned = LocalModel.load(tiny_folder, device="cpu", dtype="float32", adapter=fit.folder)
    losses = {}
    for name, model in (("before", tiny), ("after", tuned)):
        said = np.stack(log_odds(model, words, train.questions(), 1))
        losses[name] = np.logaddexp(0, np.where(train.relevant, -said, said)).mean()
    assert losses["after"] < min(losses["before"], 0.69)
    again, *_ = tune(tiny, known, words, tmp_path / "adapter", config)
    assert again == fit
    one = known.select(np.flatnonzero(known.targets == known.targets[0]))
    with pytest.raises(InputError, match="too few to tune"):
        tune(tiny, one, words, tmp_path / "other", config)
