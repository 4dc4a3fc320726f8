import pytest
from pydantic import ValidationError

from seqmend.menders.correct.parsing import Relevant, read_numbers, read_tags

TITLES = ["Alien", "Heat; or, The Job", "None but the Brave", "1984", "Toy Story 2", "Alien"]


def named(*places):
    return [place in places for place in range(len(TITLES))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<answer>Alien</answer>", named(0, 5)),  # both that are called so
        ("<answer>Heat; or, The Job; 1984</answer>", named(1, 3)),
        ("<answer>heat; or, the job</answer>", named(1)),
        ("<answer>None but the Brave</answer>", named(2)),
        ("<answer>2; 5</answer>", named(1, 4)),
        ("<answer>#2; 3.</answer>", named(1, 2)),
        ("<answer>2. Toy Story 2</answer>", named(4)),  # the title counts, not the number before it
        ("<answer>1984</answer>", named(3)),
        ("<answer>Toy Stroy 2</answer>", named(4)),
        ("Sure! <ANSWER> 'Toy Story 2' <\\answer> I hope that helps", named(4)),
        ("<answer>Toy Story 2<answer>", named(4)),
        ("<answer>Toy Story 2", named(4)),
        ("<answer>Toy Story 2; Blade Runner</answer>", named(4)),  # what is not an input does not come in
        ("<answer>NONE</answer>", named()),
        ("<answer>None.</answer>", named()),
        ("<answer>Blade Runner</answer>", None),
        ("<answer>7</answer>", None),
        ("<answer></answer>", None),
        ("<answer> ; </answer>", None),
        ("", None),
        ("NONE", None),
        ("None of the choices go with it.", None),
        ("I am sorry, but I cannot help with that.", None),
        ("<answer>I am sorry, but I cannot help with that.</answer>", None),
        ("<answer>対象はありません</answer>", None),
    ],
)
def test_tagged_answers(text, expected):
    assert read_tags(text, TITLES) == expected


def test_an_input_that_is_called_none_can_be_named():
    assert read_tags("<answer>None</answer>", ["Alien", "None"]) == [False, True]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([1, 3], named(0, 2)),
        ([2, 2], named(1)),
        ([], named()),
        ([0], None),
        ([-1, 7], None),
        ([7, 1], named(0)),
        (["1984", "heat; or, the job"], named(1, 3)),
        (["2"], named(1)),
        (["nothing of the kind"], None),
    ],
)
def test_numbered_answers(entries, expected):
    assert read_numbers(Relevant(relevant=entries), TITLES) == expected


@pytest.mark.parametrize("text", ["", "{}", '{"relevant": null}', '{"relevant": 1}', '{"relevant": [1.5]}', "[1]"])
def test_other_json_is_no_answer(text):
    with pytest.raises(ValidationError):
        Relevant.model_validate_json(text)
