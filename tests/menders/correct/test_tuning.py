import numpy as np
import pytest

from seqmend.errors import InputError
from seqmend.interactions import Catalogue
from seqmend.llm import Answer, LocalModel, LoRAConfig, Usage
from seqmend.menders.correct import Asked, Attributes
from seqmend.menders.correct.config import CorrectTuningConfig
from seqmend.menders.correct.tuning import InPlace, log_odds, tune

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


def test_tuning_holds_targets_out_and_learns_the_question(tiny: LocalModel, tiny_folder, tmp_path, by_parity):
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
    known = by_parity(60)
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
