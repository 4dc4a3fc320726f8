"""A small log whose users stay within one kind of item, and a model that knows the kinds."""

import re

import numpy as np
import pytest

from seqmend.llm import Answer, Usage
from seqmend.progress import silent
from seqmend.study.correct_studies import ablations, noise, prompts, selection
from seqmend.study.denoise_studies import Setting
from seqmend.study.readers import Readers


class KnowsKinds:
    """Says that an input goes with a target of its kind; counts what it is asked."""

    identity = "knows kinds"
    capability = "exact"
    cache_hits = 0
    tokenizer = None

    def __init__(self, sure: float = 0.9) -> None:
        self.sure, self.usage, self.questions = sure, Usage(), []

    @property
    def model(self):
        return self

    def choose(self, questions):
        self.questions += questions
        self.usage.add(Usage(calls=len(questions), prompt_tokens=10 * len(questions), seconds=0.001))
        return [
            Answer(np.array([self._goes(c, question.verdict) for c in question.choices]), None)
            for question in questions
        ]

    def _goes(self, choice, verdict):
        target = re.findall('"([^"]*)"', verdict)[0]
        return self.sure if choice.strip('"').split()[:2] == target.split()[:2] else 1 - self.sure


@pytest.fixture
def model() -> KnowsKinds:
    return KnowsKinds()


@pytest.fixture
def asked(monkeypatch, model):
    """The studies ask this model, and no encoder is there."""
    for study in (ablations, noise, prompts, selection):
        monkeypatch.setattr(study, "load_readers", lambda *_, **__: Readers(None, model))
    return model


@pytest.fixture(scope="session")
def setting(log_files, make_config) -> Setting:
    config = make_config(
        *log_files,
        language={"model": "smollm2-135m", "encoder": None},  # never loaded
        training={"epochs": 2, "batch_size": 64},
        correct={"uncertain_share": 0.2, "max_length": 4, "known_noise": 0},
    )
    return Setting.read(config, silent, max_users=60)
