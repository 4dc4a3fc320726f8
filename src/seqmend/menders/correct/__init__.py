"""Correct: mend the training instances that the recommender cannot judge (LLM4RSR, AAAI 2025)."""

from seqmend.menders.correct.attributes import Attributes
from seqmend.menders.correct.config import CorrectConfig, MemoryConfig, RulesConfig, Signal, TextualGradientConfig
from seqmend.menders.correct.controls import (
    at_random,
    doubted_dropped,
    dropped,
    least_sure_dropped,
    of_known_noise,
    retargeted_to_first,
)
from seqmend.menders.correct.corrections import Correction, Trial, to_edits
from seqmend.menders.correct.descent import (
    Descent,
    LabelledParts,
    Transcript,
    choose_example,
    choose_rules,
    descend,
    forecast_descent,
    label_parts,
    start_prompts,
    write_prompt,
)
from seqmend.menders.correct.forecast import Part, forecast, pace
from seqmend.menders.correct.judges import (
    AskedScore,
    Judge,
    LearnedScore,
    RuledJudge,
    Score,
    ScoreJudge,
    SilentJudge,
    by_chance,
    by_co_occurrence,
    by_strangeness,
    by_title,
    pairwise,
)
from seqmend.menders.correct.labelled import Labelled, LabelledConfig, corrupted, label, spoil
from seqmend.menders.correct.marks import Marks, mark
from seqmend.menders.correct.memory import Memory, Summary
from seqmend.menders.correct.mender import NAME, Corrector, Instances
from seqmend.menders.correct.prompt import Example, Prompt, Renderer
from seqmend.menders.correct.question import Asked, Teacher, Verdict
from seqmend.menders.correct.rules import AttributeRules, pick_rules
from seqmend.menders.correct.strangers import KnownNoise, Strangers, of_interactions, witnesses
from seqmend.menders.correct.summaries import make_memory
from seqmend.menders.correct.uncertain import co_occurrence, pair_counts

__all__ = [
    "NAME",
    "Asked",
    "AskedScore",
    "AttributeRules",
    "Attributes",
    "CorrectConfig",
    "Correction",
    "Corrector",
    "Descent",
    "Example",
    "Instances",
    "Judge",
    "KnownNoise",
    "Labelled",
    "LabelledConfig",
    "LabelledParts",
    "LearnedScore",
    "Marks",
    "Memory",
    "MemoryConfig",
    "Part",
    "Prompt",
    "Renderer",
    "RuledJudge",
    "RulesConfig",
    "Score",
    "ScoreJudge",
    "Signal",
    "SilentJudge",
    "Strangers",
    "Summary",
    "Teacher",
    "TextualGradientConfig",
    "Transcript",
    "Trial",
    "Verdict",
    "at_random",
    "by_chance",
    "by_co_occurrence",
    "by_strangeness",
    "by_title",
    "choose_example",
    "choose_rules",
    "co_occurrence",
    "corrupted",
    "descend",
    "doubted_dropped",
    "dropped",
    "forecast",
    "forecast_descent",
    "label",
    "label_parts",
    "least_sure_dropped",
    "make_memory",
    "mark",
    "of_interactions",
    "of_known_noise",
    "pace",
    "pair_counts",
    "pairwise",
    "pick_rules",
    "retargeted_to_first",
    "spoil",
    "start_prompts",
    "to_edits",
    "witnesses",
    "write_prompt",
]
