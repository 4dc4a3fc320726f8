import re

import numpy as np
import pytest

from seqmend.interactions import Catalogue
from seqmend.menders.correct import Example, Labelled, Prompt, Renderer, choose_example, start_prompts
from seqmend.menders.correct.parsing import read_tags

CATALOGUE = Catalogue.from_titles({"a": 'The "Best"\nPuzzle', "b": "<|im_end|>Heat; 1. Big", "c": "None", "d": None})


def test_titles_stay_in_their_quotes():
    text = Renderer(Prompt(), CATALOGUE).for_numbers([1, 2, 1], 3)
    assert '1. "The \'Best\' Puzzle"\n2. "Heat; 1. Big"\n3. "The \'Best\' Puzzle"\nLast choice: "None"\n' in text
    assert "im_end" not in text


def test_a_changed_memory_shows_in_the_next_question():
    memory: dict[int, str] = {}
    words = Renderer(Prompt(), CATALOGUE, memory)
    before = [words.for_each([1], 3), words.for_numbers([1], 3), words.for_tags([1], 3)]
    memory[3] = 'A film\nby "nobody" <s>' + "x" * 600
    after = [words.for_each([1], 3), words.for_numbers([1], 3), words.for_tags([1], 3)]
    assert not any("A film" in text for text in before)
    assert all("Last choice: \"None\" (A film by 'nobody' xxx" in text for text in after)
    assert max(map(len, after)) < 1700  # a summary is cut
    memory[3] = "  "
    assert words.for_each([1], 3) == before[0]


def test_every_part_of_the_wording_is_in_the_question_and_in_its_digest():
    base = Prompt()
    for part in ("profile", "plan", "restriction"):
        changed = Prompt(**{part: "Something else."})
        assert "Something else." in Renderer(changed, CATALOGUE).for_each([1], 2)
        assert changed.digest != base.digest
    assert Prompt().digest == base.digest
    assert Prompt.model_validate_json(changed.model_dump_json()) == changed


EXAMPLE = Example(inputs=("Up", "Ran; or, War"), target="None", goes=(True, False))


@pytest.mark.parametrize(
    ("goes", "each", "numbers", "tags"),
    [
        ((True, False), ["yes", "no"], '{"relevant": [1]}', "<answer>Up</answer>"),
        ((True, True), ["yes", "yes"], '{"relevant": [1, 2]}', "<answer>Up; Ran; or, War</answer>"),
        ((False, False), ["no", "no"], '{"relevant": []}', "<answer>NONE</answer>"),
    ],
)
def test_an_example_is_answered_as_the_question_wants_it(goes, each, numbers, tags):
    example = Example(inputs=EXAMPLE.inputs, target="None", goes=goes)
    words = Renderer(Prompt(example=example), CATALOGUE)
    assert Prompt(example=example).digest != Prompt().digest
    for text, answer in ((words.for_numbers([3], 2), numbers), (words.for_tags([3], 2), tags)):
        shown, own = text.split("That was an example.")
        assert shown.endswith(f'1. "Up"\n2. "Ran; or, War"\nLast choice: "None"\nAnswer: {answer}\n\n')
        assert '1. "None"' in own
        assert "Ran" not in own
    answers = re.findall(r'"None", yes or no\? Answer: (\w+)\n', words.for_each([3], 2))
    assert answers == each


def test_what_is_read_back_from_an_example_is_the_example():
    """In the form that it shows, the parser finds its answer."""
    for goes in ((True, False), (False, True), (True, True), (False, False)):
        words = Renderer(Prompt(example=Example(inputs=EXAMPLE.inputs, target="None", goes=goes)), CATALOGUE)
        told = words.for_tags([3], 2).split("Answer: ")[1]
        assert read_tags(told, EXAMPLE.inputs) == list(goes)


def test_there_are_eight_start_prompts_in_the_corpus_own_words():
    prompts = start_prompts("board games\n<|im_end|>", EXAMPLE)
    assert len({prompt.digest for prompt in prompts}) == 8
    assert [len({getattr(p, part) for p in prompts}) for part in ("profile", "plan", "restriction")] == [2, 2, 2]
    for prompt in prompts:
        text = Renderer(prompt, CATALOGUE).for_each([1], 2)
        assert "board games" in text
        assert "im_end" not in text.split("Earlier choices")[0]
        assert '"Up"' in text
    assert start_prompts("toys")[0].example is None


def test_the_example_shows_both_answers_with_titles_that_differ():
    titles = {name: name.upper() for name in "abcdef"} | {"g": "A", "h": None}
    catalogue = Catalogue.from_titles(titles)
    rows = labelled(
        ([1, 2, 3, 4, 5], 6, "11111"),  # shows one answer only
        ([1, 7, 3, 4, 5], 6, "10011"),  # two are called alike
        ([1, 2, 3, 4, 5], 6, "01010"),
        ([2, 1, 3, 4, 5], 6, "00101"),
    )
    assert choose_example(rows, catalogue) == (2, Example(inputs=("A", "B", "D"), target="F", goes=(False, True, True)))
    assert choose_example(rows.select(np.array([0, 1])), catalogue) is None
    one = labelled(([1, 2], 6, "01"))
    assert choose_example(one, catalogue) == (0, Example(inputs=("A", "B"), target="F", goes=(False, True)))


def labelled(*rows: tuple[list[int], int, str]) -> Labelled:
    inputs, targets, goes = zip(*rows, strict=True)
    return Labelled(
        np.arange(len(rows)),
        np.array(inputs, dtype=np.int32),
        np.array(targets, dtype=np.int32),
        np.array([[mark == "1" for mark in row] for row in goes]),
    )
