from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqmend.errors import InputError
from seqmend.llm import Journal, JournaledModel, LocalModel, LoRAConfig, Passage, Question, adapt
from seqmend.llm.trie import Trie

PROMPT = "Munchkin Clerical Errors, a card game. Ann bought"
CHOICES = (' "Toy Story"\n', ' "Toy Story 2"\n', ' "The Lion King"\n', ' "None"\n', " None\n", ' "Øx"\n')


def next_log_probabilities(model: LocalModel, tokens: list[int]) -> np.ndarray:
    with torch.no_grad():
        return model.model(input_ids=torch.tensor([tokens])).logits[0, -1].double().log_softmax(0).numpy()


def by_hand(model: LocalModel, prompt: str, choices: tuple[str, ...]) -> dict[str, float]:
    """Every node of the tree is visited; the children's shares are multiplied along each choice."""

    def tokens(text: str) -> list[int]:
        return [model.tokenizer.bos_token_id, *model.tokenizer(text, add_special_tokens=False)["input_ids"]]

    full = {choice: tokens(prompt + choice) for choice in choices}
    found = {}
    for choice, ids in full.items():
        total = 0.0
        for depth in range(1, len(ids)):
            children = {other[depth] for other in full.values() if other[:depth] == ids[:depth]}
            if len(children) > 1:
                said = next_log_probabilities(model, ids[:depth])
                total += said[ids[depth]] - np.logaddexp.reduce([said[child] for child in children])
        found[choice] = np.exp(total)
    return found


@pytest.mark.parametrize("folder", ["tiny_folder", "sliding_folder"])
@pytest.mark.parametrize("batch_tokens", [1, 64, 4096])
def test_a_trie_is_that_of_full_forward_passes(folder: str, batch_tokens: int, request: pytest.FixtureRequest) -> None:
    model = LocalModel.load(request.getfixturevalue(folder), device="cpu", dtype="float32", batch_tokens=batch_tokens)
    questions = [
        Question(PROMPT, CHOICES, "trie"),
        Question(PROMPT + " The Lion King, then", CHOICES[::-1], "trie"),
        Question(PROMPT[:20], (" Toy", " Øx", " Bob"), "trie"),
        Question("Ann", (" only",), "trie"),
    ]
    for question, answer in zip(questions, model.choose(questions), strict=True):
        expected = by_hand(model, question.prompt, question.choices)
        np.testing.assert_allclose(answer.probabilities, [expected[c] for c in question.choices], atol=1e-5)
        assert answer.probabilities.sum() == pytest.approx(1, abs=1e-6)


def test_equal_choices_share_their_leaf_and_other_modes_are_answered_beside(tiny: LocalModel) -> None:
    once = Question(PROMPT, CHOICES, "trie")
    twice = Question(PROMPT, (*CHOICES, CHOICES[0]), "trie")
    plain = Question(PROMPT, CHOICES)
    found = tiny.choose([plain, twice, once])
    assert found[1].probabilities[0] == found[1].probabilities[-1] == pytest.approx(found[2].probabilities[0] / 2)
    np.testing.assert_allclose(found[0].probabilities, tiny.choose([plain])[0].probabilities)


def test_a_first_token_is_that_of_the_choice_alone(tiny: LocalModel) -> None:
    prompt = PROMPT + ' "'
    choices = ("Toy Story", "The Lion King", "Bug's Life", "The Bug")
    answer = tiny.choose([Question(prompt, choices, "first_token")])[0]
    ids = [tiny.tokenizer.bos_token_id, *tiny.tokenizer(prompt, add_special_tokens=False)["input_ids"]]
    said = next_log_probabilities(tiny, ids)
    firsts = [tiny.tokenizer(choice, add_special_tokens=False)["input_ids"][0] for choice in choices]
    assert firsts[1] == firsts[3]
    np.testing.assert_allclose(answer.log_likelihoods, said[firsts], atol=1e-4)
    np.testing.assert_allclose(answer.probabilities, np.exp(said[firsts]), atol=1e-5)


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
def test_any_choices_sum_to_one(tiny: LocalModel, data) -> None:
    title = st.text(st.characters(codec="utf-8", exclude_characters="\n"), min_size=1, max_size=8)
    choices = data.draw(st.lists(title.map(lambda text: f' "{text}"\n'), min_size=1, max_size=6, unique=True))
    assert tiny.choose([Question(PROMPT, tuple(choices), "trie")])[0].probabilities.sum() == pytest.approx(1)


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=5).map(tuple), min_size=1, max_size=8, unique=True))
def test_a_tree_of_any_tokens_sums_to_one_and_is_the_product_of_its_turns(lists) -> None:
    choices = [np.array([*tokens, 9]) for tokens in lists]  # 9 ends a choice
    tree = Trie.of(choices)
    rng = np.random.default_rng(0)
    values = [rng.normal(size=len(branch.children)) for branch in tree.branches]
    assert np.exp(tree.log_probabilities(values)).sum() == pytest.approx(1)
    for branch, (a, b) in product(tree.branches, [(0, 1)]):
        assert branch.children[a] != branch.children[b]


def test_what_cannot_be_a_tree_is_refused(tiny: LocalModel) -> None:
    with pytest.raises(InputError, match="beginning of another"):
        tiny.choose([Question(PROMPT, (" Toy", " Toy Story"), "trie")])
    with pytest.raises(InputError, match="no prompt"):
        tiny.choose([Question("", (" Toy", " Øx"), "trie")])
    with pytest.raises(InputError, match="a choice is empty"):
        tiny.choose([Question(PROMPT, ("",), "first_token")])


def test_the_journal_keeps_both(tiny: LocalModel, tmp_path: Path) -> None:
    questions = [Question(PROMPT, CHOICES, "trie"), Question(PROMPT, CHOICES, "first_token")]
    with Journal(tmp_path / "journal.sqlite") as journal:
        first = JournaledModel(tiny, journal).choose(questions)
        again = JournaledModel(tiny, journal)
        for one, other in zip(first, again.choose(questions), strict=True):
            np.testing.assert_array_equal(one.probabilities, other.probabilities)
        assert again.cache_hits == 2


def test_an_adapter_of_another_base_model_is_refused(
    tiny: LocalModel, tiny_folder: Path, sliding_folder: Path, tmp_path: Path
) -> None:
    passages = [Passage(("Ann bought", " Toy Story"), (False, True))]
    found = adapt(tiny, passages, [], tmp_path / "adapter", LoRAConfig(epochs=1))
    with pytest.raises(InputError, match="fitted to another model"):
        LocalModel.load(sliding_folder, device="cpu", dtype="float32", adapter=found.folder)
    LocalModel.load(tiny_folder, device="cpu", dtype="float32", adapter=found.folder)


@pytest.mark.model
def test_a_trie_of_the_embedded_model_is_that_of_full_forward_passes() -> None:
    model = LocalModel.load("smollm2-135m", device="cpu", dtype="float32")
    choices = (' "Melissa & Doug Puzzle"\n', ' "Melissa & Doug Train"\n', ' "None"\n', " None\n")
    question = Question("Toys that Ann bought, and one that does not belong:", choices, "trie")
    expected = by_hand(model, question.prompt, choices)
    other = Question("Toys:", choices, "trie")  # a shorter one beside it, so that padding has its say
    found = model.choose([other, question])[1].probabilities
    np.testing.assert_allclose(found, [expected[choice] for choice in choices], atol=1e-5)
