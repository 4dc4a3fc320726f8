import json

import numpy as np
import pytest

from seqmend.interactions import Catalogue
from seqmend.llm import Answer, LocalModel
from seqmend.menders.denoise import CARD_WITNESS, DenoiseConfig, Denoiser
from seqmend.menders.denoise.cards import AUDIENCES, audiences, card_vectors, mismatch

CATALOGUE = Catalogue.from_titles({"a": "rattle for babies", "b": "game for adults", "c": None, "d": "bib for babies"})


class Reader:
    """Finds the audience that a title names ten times as likely as without, but likes families best of all."""

    identity, capability = "reader", "exact"

    def __init__(self):
        self.asked = []

    def choose(self, questions):
        self.asked += questions
        return [Answer(self._shares(question), None) for question in questions]

    def _shares(self, question):
        title = question.prompt.rpartition("Title: ")[2]
        odds = np.array([1.0] * (len(AUDIENCES) - 1) + [50.0])
        odds *= [10.0 if choice.strip() in title else 1.0 for choice in question.choices]
        return odds / odds.sum()


def test_what_the_model_says_of_any_title_is_no_evidence():
    cards = audiences(CATALOGUE, Reader())
    assert [AUDIENCES[cards[item].argmax()] for item in (1, 2, 4)] == ["babies", "adults", "babies"]
    np.testing.assert_allclose(cards.sum(1), [0, 1, 1, 0, 1])


def test_every_title_is_asked_about_once_and_nothing_else():
    reader = Reader()
    audiences(CATALOGUE, reader)
    assert len(reader.asked) == 1 + 3  # a title without content
    assert not any("no title" in question.prompt.lower() for question in reader.asked)
    assert len({question.choices for question in reader.asked}) == 1


def test_items_for_the_same_people_agree():
    vectors = card_vectors(audiences(CATALOGUE, Reader()))
    agreement = vectors @ vectors.T
    assert agreement[1, 4] == pytest.approx(1, abs=1e-5)
    assert agreement[1, 2] < 0
    assert not agreement[3].any()
    assert not card_vectors(np.zeros((3, len(AUDIENCES)))).any()


def test_a_mismatch_is_said_in_words_and_only_where_there_is_one():
    cards = audiences(CATALOGUE, Reader())
    assert mismatch(cards, 2, np.array([1, 4])) == "its neighbours are made for babies, this for adults"
    assert mismatch(cards, 1, np.array([4])) is None
    assert mismatch(cards, 3, np.array([1])) is None
    assert mismatch(cards, 1, np.array([3])) is None


def test_cards_are_a_witness_where_they_are_asked_for(spoiled, encoder, tiny: LocalModel):
    noisy, _ = spoiled
    config = DenoiseConfig(
        tuning_windows=50, language_windows=0, language_replacements=0, item_cards=True, networks=False
    )
    mender = Denoiser(config, encoder, tiny).fit(noisy)
    verdicts = mender.judge(noisy)
    assert np.isfinite(verdicts.witnesses[CARD_WITNESS]).all()
    evidence = [json.loads(text) for text in mender.propose_from(verdicts).edits["evidence"]]
    assert all(CARD_WITNESS in one["witnesses"] for one in evidence)
