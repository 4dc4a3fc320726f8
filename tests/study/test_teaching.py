"""What becomes of the language model before it is asked, on the tiny model: the flow, not how well it learns."""

import json

import numpy as np
import polars as pl
import pytest

from seqmend.errors import InputError
from seqmend.interactions import leave_one_out
from seqmend.llm import Answer, Journal, JournaledModel, LocalModel, Usage
from seqmend.menders.correct import Asked, KnownNoise, LearnedScore, RulesConfig, Strangers, spoil
from seqmend.menders.trees import BoostedTrees
from seqmend.progress import silent
from seqmend.study import read_data
from seqmend.study.readers import Readers
from seqmend.study.teaching import MEMORY, TRANSCRIPT, learn_company, teach, teacher_of, teaching_calls

LEARNING = {"rows": 40, "copies": 1, "orders": 1, "lora": {"epochs": 1, "batch_size": 8, "last_layers": 1, "rank": 2}}
DESCENT = {"rows": 60, "n_validation": 8, "n_test": 8, "epochs": 1, "n_error_rows": 4, "n_select_rows": 4}
DESCENT |= {"n_memory_pairs": 2}


@pytest.fixture(scope="module")
def log(make_log, make_config, tmp_path_factory, tiny_folder):
    """Settings, and the training part of a log whose items have a maker."""
    interactions, items = make_log(tmp_path_factory.mktemp("log"), n_users=40, length=10)
    table = pl.read_csv(items).with_columns(maker=pl.col("item_id").str.slice(1, 1))
    table.write_csv(items)
    config = make_config(interactions, items, noise=None, language={"model": str(tiny_folder), "encoder": None})
    return config, leave_one_out(read_data(config.data).sequences).train


class Pupil:
    """Says of every input that it goes along, and writes one text."""

    identity = "pupil"
    capability = "exact"

    def __init__(self):
        self.usage = Usage()

    def choose(self, questions):
        self.usage.add(Usage(len(questions)))
        return [Answer(np.full(len(question.choices), 0.9), None) for question in questions]

    def write(self, prompts, max_new_tokens=64, stop=None):
        self.usage.add(Usage(len(prompts)))
        return ["Whatever is made of wood goes together."] * len(prompts)


@pytest.fixture
def taught(log, tiny_folder, tmp_path):
    """Teaches a fresh tiny model, or another, as the settings say; the journal and the folder stay."""

    def by(model=None, known=None, **correct):
        config, train = log
        config = type(config).from_dict(
            {**config.model_dump(), "correct": {"max_length": 4, "teacher": "none", **correct}}, "test"
        )
        model = model or LocalModel.load(tiny_folder, device="cpu", dtype="float32")
        model = JournaledModel(model, Journal(tmp_path / "journal.sqlite"))
        readers = Readers(None, model)
        company = learn_company(config, train, readers, silent)
        return teach(config, train, readers, company, known, tmp_path / "work", silent), model, config

    return by


QUESTIONS = [Asked((1, 2, 3, 13), 4), Asked((13, 14), 15)]


def test_an_untaught_model_is_asked_by_its_prompt(taught, log):
    found, model, config = taught()
    assert (found.asker, found.model, len(found.memory)) == (None, model, 0)
    assert model.usage.calls == 0
    verdicts = teacher_of(found, log[1], config.correct).ask(QUESTIONS)
    assert [len(verdict.goes) for verdict in verdicts] == [4, 2]


def test_a_model_is_tuned_once(taught):
    found, base, _ = taught(teacher="lora", tuning=LEARNING)
    assert found.model is not base
    assert found.model.identity.startswith(base.identity.split("/")[0])
    verdicts = found.asker(found.model).ask(QUESTIONS)
    assert [len(verdict.goes) for verdict in verdicts] == [4, 2]
    again, _, _ = taught(teacher="lora", tuning=LEARNING)
    assert again.model.identity == found.model.identity
    assert again.model.usage.calls == 0
    assert again.asker(again.model).ask(QUESTIONS) == verdicts


def test_a_tuned_model_is_weighed_with_who_chose_what(taught, log):
    found, _, config = taught(teacher="lora", tuning=LEARNING)
    assert 0 < found.spent["weighing"].calls <= teaching_calls(config.correct, log[1], found.model)["weighing"]
    alone, _, _ = taught(teacher="lora", tuning=LEARNING, weighing={"evidence": False})
    same_kind, strangers = (1, 2, 3, 13), 4
    fused, plain = (one.asker(one.model).ask([Asked(same_kind, strangers)])[0] for one in (found, alone))
    assert fused.probabilities[3] < min(fused.probabilities[:3])  # the model is too small to tell, users are not
    assert fused.probabilities != plain.probabilities


@pytest.mark.parametrize("teacher", ["lora", "none"])
def test_where_noise_is_known_answers_are_weighed_by_how_strange_an_input_is(teacher, taught, log):
    _, train = log
    spoiled, is_noise = spoil(train, 0.15, 0)
    told = np.where(is_noise, 2.0, -2.0) + np.random.default_rng(0).normal(0, 1, len(is_noise))
    strangers = Strangers(LearnedScore.fit(train, 4, {}), BoostedTrees(), 0.15, 0.1)
    believed, of_nobody = np.full(len(is_noise), 0.5), np.zeros(len(is_noise), dtype=bool)
    known = KnownNoise(strangers, spoiled, is_noise, believed, told, of_nobody)
    found, _, config = taught(known=known, teacher=teacher, tuning=LEARNING)
    assert 0 < found.spent["weighing"].calls <= teaching_calls(config.correct, train, found.model)["weighing"]
    asked = [Asked((1, 2, 3), 4, (-3.0, 4.0, -3.0)), Asked((1, 2, 3), 4, (-3.0, -3.0, -3.0))]
    doubtful, plain = found.asker(found.model).ask(asked)
    assert doubtful.goes == (True, False, True)
    assert plain.goes == (True, True, True)
    assert doubtful.probabilities[1] < 0.5 < plain.probabilities[1]
    free = found.free(asked)
    assert free[0].tolist() == pytest.approx([1 / (1 + np.exp(-3)), 1 / (1 + np.exp(4)), 1 / (1 + np.exp(-3))])


def test_a_prompt_writes_itself_and_leaves_its_transcript(taught, log, tmp_path):
    settings = {"teacher": "textual-gradient", "textual_gradient": DESCENT, "memory": {"add_memory": True}}
    found, model, config = taught(Pupil(), **settings)
    told = json.loads((tmp_path / "work" / TRANSCRIPT).read_text())
    assert found.prompt.digest == told["best"]
    assert model.usage.calls > 50
    most = teaching_calls(config.correct, log[1], found.model)
    assert set(most) == {"summaries", "prompt", "weighing"}
    assert set(found.spent) == {"summaries", "prompt"}  # no copy with known noise to weigh on
    assert found.spent["summaries"].calls == most["summaries"] == 48
    assert 0 < found.spent["prompt"].calls <= most["prompt"]
    assert (tmp_path / "work" / MEMORY).is_file()
    again, model, _ = taught(Pupil(), **settings)
    assert (again.prompt, model.usage.calls) == (found.prompt, 0)


def test_rules_change_answers_by_what_the_items_share(taught, log):
    rules = {"columns": ["maker"], "drop": True, "drop_below": 1}
    found, model, config = taught(rules=rules, threshold=0.0001, textual_gradient=DESCENT)
    verdicts = found.asker(model).ask(QUESTIONS)
    plain = teacher_of(found, log[1], config.correct).ask(QUESTIONS)
    assert [verdict.goes for verdict in plain] == [(True,) * 4, (True,) * 2]
    assert [verdict.goes for verdict in verdicts] == [(True, True, True, False), (True, True)]
    assert found.unruled is None


def test_attributes_that_are_not_there_are_named(taught):
    with pytest.raises(InputError, match="no column 'colour'"):
        taught(rules={"columns": ["colour"], "drop": True})


def test_what_goes_with_what_is_learned_from_attributes_too(log):
    config, train = log
    correct = config.correct.model_copy(update={"rules": RulesConfig(columns=["maker"])})
    company = learn_company(config.model_copy(update={"correct": correct}), train, Readers(None, None), silent)
    assert set(company.scores) == {"maker, shared values", "maker, shared share"}
