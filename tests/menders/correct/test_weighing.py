import itertools
from dataclasses import replace

import numpy as np
import scipy.sparse as sp
from scipy.special import logit
from sklearn.pipeline import Pipeline

from seqmend.errors import BudgetExceeded
from seqmend.menders.correct import Asked, Attributes, LearnedScore, Strangers, mark
from seqmend.menders.correct.evidence import STRANGE, Weights, best_sets, by_attributes
from seqmend.menders.correct.weighing import EVIDENCE, MODEL, Weighed, WeighedJudge, weigh
from seqmend.menders.trees import BoostedTrees

ATTRIBUTES = Attributes([{}, *({"sort": (f"sort {n % 2}", f"own {n}")} for n in range(1, 13))])
AS_SAID = Weighed(Weights((MODEL,), (0.0,), (1.0,), (1.0,), 0.0), (-2.0, 0.0, 2.0))


class ByParity:
    """Says that inputs of the target's parity go along, the more so the earlier they stand."""

    def __init__(self):
        self.asked = []

    def __call__(self, questions):
        self.asked += questions
        same = [np.array(one.inputs) % 2 == one.target % 2 for one in questions]
        return [np.where(fits, 1.0, -1.0) - 0.5 * np.arange(len(fits)) for fits in same]


def test_a_judge_names_what_promises_most_and_stops_where_the_budget_does():
    (verdict,) = WeighedJudge(ByParity(), AS_SAID).ask([Asked((1, 2, 3), 5)])
    assert verdict.goes == (True, False, True)
    np.testing.assert_allclose(logit(verdict.probabilities), [1.0, -1.5, 0.0], atol=1e-12)

    class Poor(ByParity):
        def __call__(self, questions):
            if self.asked:
                raise BudgetExceeded("spent")
            return super().__call__(questions)

    found = WeighedJudge(Poor(), AS_SAID).ask([Asked((1,), 3)] * 70)
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
    said = ByParity()
    judge = WeighedJudge(said, weighed, strangers=strangers)
    verdicts = judge.ask(asked)
    assert [verdict.asked for verdict in verdicts] == [False, True, False, True]
    assert said.asked == [asked[1], asked[3]]
    assert [verdict.goes for verdict in verdicts] == [(True, True, False), (True, True), (False, False), (True, False)]
    # P(noise) is half of the copy's odds e^-x, at most 1; the model says 0.25 in the middle, or 1 and 0.5.
    np.testing.assert_allclose(verdicts[0].probabilities, 1 - np.exp([-4.25, -1.85, np.log(2)]) / 2)
    np.testing.assert_allclose(verdicts[1].probabilities, 1 - np.exp([-5.0, -1.9]) / 2)
    everything = replace(judge, asks_all=True).ask(asked)
    assert all(verdict.asked for verdict in everything)
    assert [verdict.goes for verdict in everything] == [verdict.goes for verdict in verdicts]
    assert all(verdict.asked for verdict in replace(judge, strangers=None).ask(asked))


def test_the_evidence_is_weighed_beside_the_model_and_may_be_left_out(by_parity):
    def guessing(questions):
        rng = np.random.default_rng(len(questions))
        return [rng.normal(0, 1, len(one.inputs)) for one in questions]

    scores = by_attributes(ATTRIBUTES)
    train, validation = by_parity(40), by_parity(20, seed=1)
    weighed = weigh(guessing, train, validation, scores, evidence=True)
    assert weighed.auroc["evidence"] == 1.0 > 0.7 > weighed.auroc["model"] > 0.3
    verdicts = WeighedJudge(guessing, weighed, scores).ask(validation.questions())
    assert [verdict.goes for verdict in verdicts] == [tuple(row) for row in validation.relevant.tolist()]
    alone = weigh(guessing, train, validation, scores, evidence=False)
    assert alone.evidence is None
    assert alone.answers.names == (MODEL,)
    assert list(alone.auroc) == ["model"]
    all_go = replace(validation, relevant=np.ones_like(validation.relevant))
    assert weigh(guessing, train, all_go, scores, evidence=True).auroc == {}


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
