"""Correct: mend the training instances that the recommender cannot judge (LLM4RSR, AAAI 2025)."""

from seqmend.menders.correct.attributes import Attributes
from seqmend.menders.correct.config import CorrectConfig, MemoryConfig, RulesConfig, Signal, TextualGradientConfig
from seqmend.menders.correct.controls import at_random, dropped, of_known_noise, retargeted_to_first
from seqmend.menders.correct.corrections import Correction, Trial, to_edits
from seqmend.menders.correct.forecast import Part, forecast, pace
from seqmend.menders.correct.judges import (
    Judge,
    LearnedScore,
    Score,
    ScoreJudge,
    by_chance,
    by_co_occurrence,
    by_title,
)
from seqmend.menders.correct.labelled import Labelled, LabelledConfig, label
from seqmend.menders.correct.marks import Marks, mark
from seqmend.menders.correct.memory import Memory, Summary
from seqmend.menders.correct.mender import NAME, Corrector, Instances
from seqmend.menders.correct.prompt import Example, Prompt, Renderer
from seqmend.menders.correct.question import Asked, Teacher, Verdict
from seqmend.menders.correct.rules import AttributeRules, pick_rules
from seqmend.menders.correct.summaries import make_memory
from seqmend.menders.correct.uncertain import co_occurrence, pair_counts
from seqmend.menders.correct.variants import choose_example, start_prompts

__all__ = [
    "NAME",
    "Asked",
    "AttributeRules",
    "Attributes",
    "CorrectConfig",
    "Correction",
    "Corrector",
    "Example",
    "Instances",
    "Judge",
    "Labelled",
    "LabelledConfig",
    "LearnedScore",
    "Marks",
    "Memory",
    "MemoryConfig",
    "Part",
    "Prompt",
    "Renderer",
    "RulesConfig",
    "Score",
    "ScoreJudge",
    "Signal",
    "Summary",
    "Teacher",
    "TextualGradientConfig",
    "Trial",
    "Verdict",
    "at_random",
    "by_chance",
    "by_co_occurrence",
    "by_title",
    "choose_example",
    "co_occurrence",
    "dropped",
    "forecast",
    "label",
    "make_memory",
    "mark",
    "of_known_noise",
    "pace",
    "pair_counts",
    "pick_rules",
    "retargeted_to_first",
    "start_prompts",
    "to_edits",
]
