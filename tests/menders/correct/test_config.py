import pytest
from pydantic import ValidationError

from seqmend.menders.correct import CorrectConfig


def test_the_papers_mode_reaches_the_nested_settings_that_are_left_open():
    paper = CorrectConfig(mode="paper")
    assert paper.textual_gradient.select_by == "precision"
    assert paper.textual_gradient.epochs == 50
    assert (paper.rules.drop_below, paper.rules.add_from) == (1, 4)
    own = CorrectConfig.model_validate(
        {"mode": "paper", "textual_gradient": {"epochs": 3}, "rules": {"columns": ["genre"], "add": False}}
    )
    assert (own.textual_gradient.epochs, own.textual_gradient.race) == (3, False)
    assert (own.rules.drop, own.rules.add, own.rules.columns) == (True, False, ("genre",))
    apart = CorrectConfig.model_validate({"mode": "paper", "textual_gradient": {"mode": "default"}})
    assert apart.textual_gradient.mode == "default"
    assert apart.textual_gradient.select_by == "f1"


@pytest.mark.parametrize("mode", ["default", "paper"])
def test_settings_read_back_are_the_same(mode):
    config = CorrectConfig(mode=mode)
    assert CorrectConfig.model_validate(config.model_dump()) == config
    assert CorrectConfig.model_validate_json(config.model_dump_json()) == config


def test_a_descent_without_validation_rows_could_keep_nothing():
    with pytest.raises(ValidationError, match="n_validation"):
        CorrectConfig.model_validate({"textual_gradient": {"n_validation": 0}})
