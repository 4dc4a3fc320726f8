"""Correct: mend the training instances that the recommender cannot judge (LLM4RSR, AAAI 2025)."""

from seqmend.menders.correct.config import CorrectConfig, MemoryConfig, RulesConfig, Signal, TextualGradientConfig
from seqmend.menders.correct.corrections import Correction, Trial
from seqmend.menders.correct.labelled import Labelled, LabelledConfig, label
from seqmend.menders.correct.marks import Marks, mark
from seqmend.menders.correct.mender import NAME, Corrector, Instances
from seqmend.menders.correct.prompt import Prompt, Renderer
from seqmend.menders.correct.question import Asked, Teacher, Verdict
from seqmend.menders.correct.uncertain import co_occurrence, pair_counts

__all__ = [
    "NAME",
    "Asked",
    "CorrectConfig",
    "Correction",
    "Corrector",
    "Instances",
    "Labelled",
    "LabelledConfig",
    "Marks",
    "MemoryConfig",
    "Prompt",
    "Renderer",
    "RulesConfig",
    "Signal",
    "Teacher",
    "TextualGradientConfig",
    "Trial",
    "Verdict",
    "co_occurrence",
    "label",
    "mark",
    "pair_counts",
]
