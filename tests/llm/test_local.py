from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from seqmend.errors import InputError, ResourceError
from seqmend.llm import Failure, LocalModel, Passage, Question


def naive_tokens(model: LocalModel, text: str) -> tuple[list[int], np.ndarray]:
    """Token ids with the first token put before them, and the log-probability of every token but that one."""
    ids = [model.tokenizer.bos_token_id, *model.tokenizer(text, add_special_tokens=False)["input_ids"]]
    with torch.no_grad():
        logits = model.model(input_ids=torch.tensor([ids])).logits[0].double()
    values = logits.log_softmax(1)
    return ids, np.array([values[place - 1, ids[place]].item() for place in range(1, len(ids))])


def naive_score(model: LocalModel, passage: Passage) -> tuple[list[float], list[int]]:
    text = "".join(passage.parts)
    _, values = naive_tokens(model, text)
    offsets = model.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    part_of = [number for number, part in enumerate(passage.parts) for _ in part]
    sums, counts = [0.0] * len(passage.parts), [0] * len(passage.parts)
    for value, (begin, end) in zip(values, offsets, strict=True):
        stripped = text[begin:end].lstrip()
        at = part_of[begin if not stripped else end - len(stripped)]
        sums[at] += value
        counts[at] += 1
    wanted = [number for number, scored in enumerate(passage.scored) if scored]
    return [sums[number] for number in wanted], [counts[number] for number in wanted]


def naive_likelihood(model: LocalModel, prompt: str, choice: str) -> float:
    """Works where the prompt's tokens do not change with the choice."""
    n_prompt = len(naive_tokens(model, prompt)[0])
    return float(naive_tokens(model, prompt + choice)[1][n_prompt - 1 :].sum())


def titles(sentences: list[str], *order: int) -> Passage:
    parts, scored = ["Bought:\n"], [False]
    for number in order:
        parts += ['"', sentences[number], '"\n']
        scored += [False, True, False]
    return Passage(tuple(parts), tuple(scored))


@pytest.fixture
def passages(sentences: list[str]) -> list[Passage]:
    return [
        titles(sentences, 0, 1),
        titles(sentences, 3),
        titles(sentences, 2, 0, 3, 1),
        Passage(("a ", " b", "", "\n", "c"), (True, True, True, True, False)),
        Passage(("nothing asked",), (False,)),
        Passage(("",), (True,)),
        Passage((), ()),
    ]


def check(model: LocalModel, passages: list[Passage]) -> None:
    for passage, found in zip(passages, model.score(passages), strict=True):
        sums, counts = naive_score(model, passage)
        assert found.n_tokens.tolist() == counts
        np.testing.assert_allclose(found.log_probabilities, sums, atol=1e-4)


def test_scores_are_those_of_full_forward_passes(tiny: LocalModel, passages: list[Passage]) -> None:
    check(tiny, passages)
    assert tiny.usage.calls == len(passages)
    assert tiny.usage.prompt_tokens > 0


def test_scores_after_a_long_shared_beginning_are_the_same(
    tiny: LocalModel, sentences: list[str], passages: list[Passage]
) -> None:
    instruction = " ".join(sentences) + "\n"
    longer = [Passage((instruction, *p.parts), (False, *p.scored)) for p in passages]
    check(tiny, longer)


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_scores_of_any_text_are_those_of_full_forward_passes(tiny: LocalModel, data: Any) -> None:
    text = st.text(st.characters(codec="utf-8"), max_size=12)
    parts = st.lists(st.tuples(text, st.booleans()), max_size=4)
    drawn = data.draw(st.lists(parts, min_size=1, max_size=4))
    check(tiny, [Passage(tuple(t for t, _ in p), tuple(s for _, s in p)) for p in drawn])


@pytest.mark.parametrize("batch_tokens", [1, 37, 100_000])
def test_neither_order_nor_batch_size_matters(
    tiny_folder: Path, tiny: LocalModel, passages: list[Passage], batch_tokens: int
) -> None:
    other = LocalModel.load(tiny_folder, device="cpu", dtype="float32", batch_tokens=batch_tokens)
    expected = tiny.score(passages)
    for found, score in zip(other.score(passages[::-1])[::-1], expected, strict=True):
        np.testing.assert_allclose(found.log_probabilities, score.log_probabilities, atol=1e-5)


QUESTIONS = [
    Question("One of these titles:", (" Toy Story 2", " The Lion King, 1994", " no")),
    Question("Munchkin Clerical Errors, a card game. Ann bought", (" Toy", " Øx", " 七人の侍", " a card game\nno")),
    Question("", ("Ann", "Bob bought")),
    Question("A", (" Bug's Life", " Bug's", " Bug's Life, 1994")),
]


@pytest.mark.parametrize("folder", ["tiny_folder", "sliding_folder"])
@pytest.mark.parametrize("batch_tokens", [1, 64, 4096])
def test_choices_are_those_of_full_forward_passes(
    folder: str, batch_tokens: int, request: pytest.FixtureRequest
) -> None:
    model = LocalModel.load(request.getfixturevalue(folder), device="cpu", dtype="float32", batch_tokens=batch_tokens)
    for question, answer in zip(QUESTIONS, model.choose(QUESTIONS), strict=True):
        expected = np.array([naive_likelihood(model, question.prompt, choice) for choice in question.choices])
        np.testing.assert_allclose(answer.log_likelihoods, expected, atol=1e-4)
        shares = np.exp(expected - expected.max())
        np.testing.assert_allclose(answer.probabilities, shares / shares.sum(), atol=1e-5)
        assert answer.probabilities.sum() == pytest.approx(1)


@pytest.mark.parametrize("folder", ["tiny_folder", "sliding_folder"])
@pytest.mark.parametrize("instruction", ["", "One of these titles does not belong to the others, which?\n"])
def test_labels_of_one_token_are_read_off_one_pass(
    folder: str, instruction: str, sentences: list[str], request: pytest.FixtureRequest
) -> None:
    model = LocalModel.load(request.getfixturevalue(folder), device="cpu", dtype="float32", batch_tokens=64)
    prompts = [f"{instruction}{text[:length]}:" for text in sentences[:3] for length in (3, 9)]
    questions = [Question(prompt, ("A", "B", "C")) for prompt in prompts]
    for question, answer in zip(questions, model.choose(questions), strict=True):
        expected = [naive_likelihood(model, question.prompt, choice) for choice in question.choices]
        np.testing.assert_allclose(answer.log_likelihoods, expected, atol=1e-4)
    tokens_one_by_one = sum(len(naive_tokens(model, prompt)[0]) for prompt in prompts)
    if instruction:
        assert model.usage.prompt_tokens < tokens_one_by_one
    else:
        assert model.usage.prompt_tokens == tokens_one_by_one


def test_a_prompt_whose_end_joins_the_choice_is_judged_alike_for_all(tiny: LocalModel) -> None:
    """The space that ends the prompt becomes part of the choices' first tokens."""
    question = Question("Ann bought ", ("Toy Story", "Lion King"))
    assert len(tiny.tokenizer("Ann bought Toy")["input_ids"]) < len(tiny.tokenizer("Ann bought ")["input_ids"]) + 3
    found = tiny.choose([question])[0].log_likelihoods
    expected = [naive_likelihood(tiny, "Ann bought", " " + choice) for choice in question.choices]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_equal_choices_share_their_probability(tiny: LocalModel) -> None:
    twice, once = tiny.choose([Question("Ann", (" no", " yes", " no")), Question("Ann", (" no", " yes"))])
    np.testing.assert_allclose(twice.probabilities[[0, 2]], once.probabilities[0] / 2, atol=1e-9)
    assert twice.probabilities.sum() == pytest.approx(1)


def test_a_length_normalised_question_compares_means_per_token(tiny: LocalModel) -> None:
    plain = Question("Ann bought", (" Toy Story 2", " The Lion King, 1994"))
    answer = tiny.choose([Question(plain.prompt, plain.choices, length_normalised=True)])[0]
    lengths = [len(tiny.tokenizer(choice)["input_ids"]) for choice in plain.choices]
    means = np.exp(tiny.choose([plain])[0].log_likelihoods / lengths)
    np.testing.assert_allclose(answer.probabilities, means / means.sum(), atol=1e-6)


def test_a_subset_question_judges_every_choice_by_itself(tiny: LocalModel) -> None:
    question = Question("Ann bought", (" Toy Story 2", " no"), mode="subset", verdict="? Answer:")
    answer = tiny.choose([question])[0]
    for choice, probability in zip(question.choices, answer.probabilities, strict=True):
        alone = tiny.choose([Question(f"Ann bought{choice}? Answer:", (" yes", " no"))])[0]
        assert probability == pytest.approx(alone.probabilities[0], abs=1e-5)


def test_questions_without_choices_or_with_an_empty_one_are_refused(tiny: LocalModel) -> None:
    with pytest.raises(InputError, match="no choices"):
        tiny.choose([Question("Ann", ())])
    with pytest.raises(InputError, match="a choice is empty"):
        tiny.choose([Question("Ann", (" a", ""))])


def test_texts_longer_than_the_context_are_refused(tiny: LocalModel) -> None:
    too_long = "Ann " * 600
    with pytest.raises(InputError, match="too long for the language model"):
        tiny.score([Passage((too_long,), (True,))])
    with pytest.raises(InputError, match="at most 512 tokens"):
        tiny.choose([Question(too_long, (" a", " b"))])


def greedy_by_hand(model: LocalModel, prompt: str, n: int) -> str:
    ids = [model.tokenizer.bos_token_id, *model.tokenizer(prompt)["input_ids"]]
    start = len(ids)
    for _ in range(n):
        with torch.no_grad():
            ids.append(int(model.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == model.tokenizer.eos_token_id:
            break
    return model.tokenizer.decode(ids[start:], skip_special_tokens=True)


@pytest.mark.parametrize("folder", ["tiny_folder", "sliding_folder"])
def test_written_texts_are_those_of_one_prompt_at_a_time(
    folder: str, sentences: list[str], request: pytest.FixtureRequest
) -> None:
    model = LocalModel.load(request.getfixturevalue(folder), device="cpu", dtype="float32")
    prompts = [*(sentence[:20] for sentence in sentences), "Ann"]
    expected = [greedy_by_hand(model, prompt, 12) for prompt in prompts]
    assert model.write(prompts, max_new_tokens=12) == expected
    assert 0 < model.usage.completion_tokens <= 12 * len(prompts)
    stop = next(char for char in "".join(expected) if char.isascii() and char.isalpha())
    assert model.write(prompts, max_new_tokens=12, stop=stop) == [text.split(stop)[0] for text in expected]


class Verdict(BaseModel):
    item: str
    sure: bool


def test_objects_are_validated(tiny: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ['So: {"item": "a", "sure": true} and more', '{"item": "a"}', '{"item": ', "none", "[" * 9]
    monkeypatch.setattr(tiny, "write", lambda *_: texts)
    found = tiny.write_objects(["?"] * len(texts), Verdict)
    assert found[0] == Verdict(item="a", sure=True)
    assert all(isinstance(answer, Failure) for answer in found[1:])
    assert "sure" in found[1].reason


def test_hidden_states_do_not_depend_on_the_batch(tiny: LocalModel, sentences: list[str]) -> None:
    together = tiny.hidden_states(sentences)
    assert together.shape == (len(sentences), 32)
    assert together.dtype == np.float32
    for sentence, vector in zip(sentences, together, strict=True):
        np.testing.assert_allclose(tiny.hidden_states([sentence])[0], vector, atol=1e-5)
    ids = torch.tensor([naive_tokens(tiny, sentences[0])[0]])
    with torch.no_grad():
        states = tiny.model(input_ids=ids, output_hidden_states=True).hidden_states
    np.testing.assert_allclose(together[0], states[-1][0, -1], atol=1e-5)
    found = tiny.hidden_states(sentences, layer=1, pooling="mean")[0]
    np.testing.assert_allclose(tiny.embed(sentences)[0], found)
    np.testing.assert_allclose(found, states[1][0, 1:].mean(0), atol=1e-5)


def test_nothing_to_do_is_no_work(tiny: LocalModel) -> None:
    assert tiny.score([]) == tiny.choose([]) == tiny.write([]) == []
    assert tiny.hidden_states([]).shape == (0, 32)


def test_a_model_that_changes_its_logits_after_the_head_is_not_passed_off_as_exact(tiny: LocalModel) -> None:
    class Odd(type(tiny.model)):  # type: ignore[misc]
        def forward(self, *arguments: Any, **settings: Any) -> Any:
            output = super().forward(*arguments, **settings)
            output.logits = output.logits * 2
            return output

    tiny.model.__class__ = Odd
    with pytest.raises(ResourceError, match="not supported"):
        LocalModel(tiny.model, tiny.tokenizer, "odd")


def test_the_identity_tells_models_and_formats_apart(tiny_folder: Path, sliding_folder: Path) -> None:
    identities = {LocalModel.load(folder, dtype="float32").identity for folder in (tiny_folder, sliding_folder)}
    identities.add(LocalModel.load(tiny_folder, dtype="bfloat16").identity)
    assert len(identities) == 3
    assert LocalModel.load(tiny_folder, dtype="float32").identity in identities


def test_folders_that_hold_no_model_are_refused(tmp_path: Path, tiny_folder: Path) -> None:
    with pytest.raises(InputError, match="no model is called 'smollm2-135'") as failure:
        LocalModel.load("smollm2-135")
    assert "did you mean smollm2-135m" in str(failure.value)
    with pytest.raises(ResourceError, match="no language model lies here"):
        LocalModel.load(tmp_path)
    (tmp_path / "config.json").write_text((tiny_folder / "config.json").read_text())
    with pytest.raises(ResourceError, match="cannot load the language model"):
        LocalModel.load(tmp_path)
    with pytest.raises(InputError, match="unknown number format"):
        LocalModel.load(tiny_folder, dtype="int3")


def in_place(prompt: str, *choices: str) -> Question:
    return Question(prompt, choices, "in_place")


def test_choices_in_place_are_judged_where_each_ends(tiny: LocalModel) -> None:
    """Against a pass of its own over everything up to there; what stands after a choice changes nothing."""
    question = in_place("The Lion King\nWhich?", "\nToy Story:", "\nMelissa & Doug:", "\nAnn:")
    other = in_place("Ann\nWhich?", "\nA Bug's Life, 1994. Toy Story 2:")
    found, _ = tiny.choose([question, other])
    no, yes = tiny.tokens.yes_no()
    assert tiny.tokenizer.decode([no]).strip() != tiny.tokenizer.decode([yes]).strip()
    for number in range(3):
        pieces = [question.prompt, *question.choices[: number + 1]]
        ids = [tiny.tokens.first, *(i for p in pieces for i in tiny.tokenizer(p, add_special_tokens=False).input_ids)]
        with torch.no_grad():
            logits = tiny.model(input_ids=torch.tensor([ids])).logits[0, -1]
        odds = torch.softmax(logits[[no, yes]].double(), 0)
        assert found.probabilities[number] == pytest.approx(float(odds[1]), abs=1e-5)
    (shorter,) = tiny.choose([in_place(question.prompt, *question.choices[:2])])
    np.testing.assert_allclose(found.probabilities[:2], shorter.probabilities, atol=1e-5)
    with pytest.raises(InputError, match="a choice is empty"):
        tiny.choose([in_place("Ann", "")])
