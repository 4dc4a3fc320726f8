import re

import numpy as np
import pytest
import torch

from seqmend.interactions import Catalogue
from seqmend.llm import Journal, JournaledModel, LocalModel
from seqmend.menders.denoise.llm4dsr import SCORERS, prompt, window_testimony
from seqmend.menders.denoise.llm4dsr.tuning import shown


@pytest.fixture
def windows(awkward: Catalogue) -> np.ndarray:
    number = {item: n for n, item in enumerate(awkward.item_ids.to_list())}
    rows = ["abcde", "ghi", "aacgl", "j", "k", "b", "mfgb", ""]
    return np.array([[0] * (5 - len(row)) + [number[item] for item in row] for row in rows], dtype=np.int32)


def naive_first_tokens(model: LocalModel, catalogue: Catalogue, row: np.ndarray) -> list[float]:
    titles = [catalogue.prompt_titles[item] for item in row]
    first = model.tokenizer.bos_token_id
    ids = [first, *model.tokenizer(prompt.question(titles) + ' "', add_special_tokens=False)["input_ids"]]
    with torch.no_grad():
        said = model.model(input_ids=torch.tensor([ids])).logits[0, -1].double().log_softmax(0)
    return [float(said[model.tokenizer(title, add_special_tokens=False)["input_ids"][0]]) for title in titles]


def test_trie_probabilities_and_none_sum_to_one(tiny: LocalModel, awkward: Catalogue, windows: np.ndarray):
    """Check 4, with equal and repeated titles, a title "None", quotes, line breaks and one-item histories."""
    for name in ("trie", "full_title"):
        scores = SCORERS[name](windows, awkward, tiny)
        total = np.exp(np.nan_to_num(scores.log_probability, nan=-np.inf)).sum(1) + scores.p_none
        np.testing.assert_allclose(total, 1, atol=1e-4)
        judged = ~np.isnan(scores.log_probability)
        np.testing.assert_array_equal(judged, [np.isin(np.arange(5), shown(row, awkward)) for row in windows])
        assert scores.p_none[[3, 4, 7]].tolist() == [1, 1, 1]  # nothing is shown
        assert scores.log_probability[1, 2] == scores.log_probability[1, 3]  # two items, one title
        assert scores.log_probability[2, 0] == scores.log_probability[2, 1]  # one item twice


def test_a_repeated_title_splits_what_it_has_as_one(tiny: LocalModel, awkward: Catalogue):
    """m equal titles split p: the tree itself, built by hand from full passes, knows each title once."""
    row = np.array([[1, 3, 1]], dtype=np.int32)
    scores = SCORERS["trie"](row, awkward, tiny)
    said = np.exp(scores.log_probability[0])
    titles = [awkward.prompt_titles[item] for item in row[0]]
    tokens = [
        [
            tiny.tokenizer.bos_token_id,
            *tiny.tokenizer(prompt.question(titles) + end, add_special_tokens=False)["input_ids"],
        ]
        for end in (*(prompt.named([title]) + "\n" for title in titles[:2]), " None\n")
    ]
    total = np.zeros(3)
    for depth in range(1, max(map(len, tokens))):
        for n, ids in enumerate(tokens):
            children = {other[depth] for other in tokens if other[:depth] == ids[:depth] and len(other) > depth}
            if len(children) > 1 and len(ids) > depth:
                with torch.no_grad():
                    logits = tiny.model(input_ids=torch.tensor([ids[:depth]])).logits[0, -1].double()
                total[n] += float(logits[ids[depth]] - logits[sorted(children)].logsumexp(0))
    by_hand = np.exp(total)
    np.testing.assert_allclose(said, [by_hand[0] / 2, by_hand[1], by_hand[0] / 2], atol=1e-5)
    assert scores.p_none[0] == pytest.approx(by_hand[2], abs=1e-5)


def test_titles_that_begin_alike_are_one_to_the_first_token_and_two_to_the_trie(tiny: LocalModel):
    """Check 4."""
    catalogue = Catalogue.from_titles({"a": "The Lion King", "b": "The Bug", "c": "Puzzle"})
    row = np.array([[1, 2, 3]], dtype=np.int32)
    first = SCORERS["first_token"](row, catalogue, tiny).log_probability[0]
    assert first[0] == first[1] != first[2]
    trie = SCORERS["trie"](row, catalogue, tiny).log_probability[0]
    assert abs(trie[0] - trie[1]) > 1e-3
    np.testing.assert_allclose(first, naive_first_tokens(tiny, catalogue, row[0]), atol=1e-4)


def test_full_titles_are_compared_by_their_mean_per_token(tiny: LocalModel, awkward: Catalogue):
    row = np.array([[1, 3, 7]], dtype=np.int32)
    titles = [awkward.prompt_titles[item] for item in row[0]]
    question = prompt.question(titles)
    n_prompt = len(tiny.tokenizer(question, add_special_tokens=False)["input_ids"])
    means = []
    for end in (*(prompt.named([title]) + "\n" for title in titles), " None\n"):
        ids = tiny.tokenizer(question + end, add_special_tokens=False)["input_ids"]
        assert len(ids) > n_prompt
        ids = torch.tensor([[tiny.tokenizer.bos_token_id, *ids]])
        with torch.no_grad():
            said = tiny.model(input_ids=ids).logits[0].double().log_softmax(1)
        means.append(said[:-1].gather(1, ids[0, 1:, None])[n_prompt:].mean().item())
    shares = np.exp(means) / np.exp(means).sum()
    scores = SCORERS["full_title"](row, awkward, tiny)
    np.testing.assert_allclose(np.exp(scores.log_probability[0]), shares[:3], atol=1e-5)


@pytest.mark.parametrize("name", list(SCORERS))
def test_order_and_company_of_windows_change_nothing_and_the_journal_keeps_them(
    tiny: LocalModel, awkward: Catalogue, windows: np.ndarray, name: str, tmp_path
):
    scores = SCORERS[name](windows, awkward, tiny)
    order = np.random.default_rng(0).permutation(len(windows))
    shuffled = SCORERS[name](windows[order], awkward, tiny)
    np.testing.assert_allclose(shuffled.log_probability, scores.log_probability[order], atol=1e-4)
    np.testing.assert_allclose(shuffled.p_none, scores.p_none[order], atol=1e-5)
    with Journal(tmp_path / "journal.sqlite") as journal:
        SCORERS[name](windows, awkward, JournaledModel(tiny, journal))
        again = JournaledModel(tiny, journal)
        kept = SCORERS[name](windows, awkward, again)
        assert again.cache_hits == 5
        np.testing.assert_allclose(kept.log_probability, scores.log_probability, atol=1e-5)


def test_testimony_is_low_where_a_title_is_named(oracle, clean):
    items = clean.items[:10][None].copy()
    items[0, 3] = (items[0, 3] + 11 + 12) % 48 + 1
    items[0, 0] = 0
    for name in SCORERS:
        said = window_testimony(name, items, clean.catalogue, oracle)
        assert said[0, 0] == 0
        assert said[0, 1:].argmin() == 2
        assert not np.isnan(said).any()


def test_cells_that_are_not_judged_take_the_mean(tiny: LocalModel, awkward: Catalogue, windows: np.ndarray):
    said = window_testimony("trie", windows, awkward, tiny)
    row = 6  # its second title is only a template token
    judged = [1, 3, 4]
    assert said[row, 2] == pytest.approx(said[row, judged].mean())
    assert said[[3, 4, 7]].tolist() == [[0] * 5] * 3
    assert re.match(r"\(untitled\)", awkward.prompt_titles[6])
