import numpy as np
import pytest

from seqmend.menders.correct import AttributeRules, Labelled, LabelledConfig, RulesConfig, label, mark, pick_rules

KEYS = [frozenset[str](), frozenset("abc"), frozenset("ab"), frozenset("x"), frozenset[str](), frozenset("abc")]


@pytest.fixture(scope="module")
def rows(clean) -> Labelled:
    return label(clean, LabelledConfig(rows=120, least_pairs=4))


@pytest.fixture(scope="module")
def kinds(clean, kinds_of) -> list[frozenset[str]]:
    """Every third item has no attributes; the others share two values with those of their kind, one with all."""
    known = [
        frozenset({f"kind {kind}", f"maker of {kind}", "any"}) if n % 3 else frozenset[str]()
        for n, kind in enumerate(kinds_of(np.arange(1, len(clean.catalogue) + 1)))
    ]
    return [frozenset(), *known]


def test_few_shared_values_drop_and_many_add():
    inputs, said = [1, 2, 3, 4], [False, True, True, True]  # they share 3, 2, 0 and unknown many with item 5
    assert AttributeRules(KEYS).shared(inputs, 5) == [3, 2, 0, None]
    assert AttributeRules(KEYS, drop_below=1).after(said, inputs, 5) == (False, True, False, True)
    assert AttributeRules(KEYS, add_from=3).after(said, inputs, 5) == (True, True, True, True)
    assert AttributeRules(KEYS, drop_below=3, add_from=3).after(said, inputs, 5) == (True, False, False, True)
    assert AttributeRules(KEYS, drop_below=9, add_from=1).after(said, inputs, 4) == tuple(said)


def test_the_rule_alone_tells_what_attributes_tell(rows, kinds):
    """Two shared values tell the kind, one tells nothing, none is unknown."""
    has_any = np.array([bool(own) for own in kinds])
    known = has_any[rows.inputs] & has_any[rows.targets, None]
    assert AttributeRules(kinds, add_from=2).alone(rows).tolist() == (rows.relevant & known).tolist()
    assert AttributeRules(kinds, add_from=1).alone(rows).tolist() == known.tolist()
    assert not AttributeRules(kinds, add_from=4).alone(rows).any()


def test_thresholds_are_those_that_are_best_on_the_rows(rows, kinds):
    everything = np.ones_like(rows.relevant)
    picked = pick_rules(RulesConfig(drop=True, add=True), kinds, rows, everything)
    assert (picked.drop_below, picked.add_from) == (2, None)
    picked = pick_rules(RulesConfig(drop=True, add=True), kinds, rows, ~everything)
    assert (picked.drop_below, picked.add_from) == (None, 3)  # the mildest of those that tell as much
    picked = pick_rules(RulesConfig(drop=True, add=True), kinds, rows, rows.relevant)
    assert (picked.drop_below, picked.add_from) == (None, None)


def test_only_what_is_allowed_or_given_is_used(rows, kinds):
    everything = np.ones_like(rows.relevant)
    off = pick_rules(RulesConfig(add=True), kinds, rows, everything)
    assert (off.drop_below, off.add_from) == (None, None)
    given = pick_rules(RulesConfig(drop=True, drop_below=1), kinds, rows, everything)
    assert (given.drop_below, given.add_from) == (1, None)


def test_unreadable_answers_stay_unreadable(rows, kinds):
    said = [None if n % 2 else [True] * 5 for n in range(len(rows))]
    picked = pick_rules(RulesConfig(drop=True), kinds, rows, said)
    assert picked.drop_below == 2
    assert mark(rows.inputs, said, rows.relevant).f1[1::2].tolist() == [0.0] * 60
