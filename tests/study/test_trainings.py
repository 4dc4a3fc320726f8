"""Trainings as stages: what all arms of a comparison have in common."""

import pytest

from seqmend.recommenders import TrainingConfig
from seqmend.recommenders.sasrec import SASRecConfig
from seqmend.study.backbones import generate
from seqmend.study.trainings import equal_steps


@pytest.mark.parametrize(("form", "steps"), [("sequence", 3), ("auto", 3), ("instance", 8)])
def test_an_epoch_is_one_pass_over_the_rows_of_the_raw_log(form, steps):
    train = generate(5, 30, 4)  # five users of four: five windows, or fifteen targets
    training = TrainingConfig(batch_size=2, seed=7)
    equal = equal_steps(training, SASRecConfig(max_length=8), form, train)
    assert equal == training.model_copy(update={"steps_per_epoch": steps})


def test_steps_that_are_set_stay():
    training = TrainingConfig(steps_per_epoch=7)
    assert equal_steps(training, SASRecConfig(), "sequence", generate(5, 30, 4)) == training
