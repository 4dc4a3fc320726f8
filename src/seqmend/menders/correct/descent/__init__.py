"""Textual gradient descent: the prompt writes itself, by criticism of its own errors (LLM4RSR, section 3.6)."""

from seqmend.menders.correct.descent.cost import forecast_descent
from seqmend.menders.correct.descent.gradient import Descent, LabelledParts, descend
from seqmend.menders.correct.descent.self_written import choose_rules, label_parts, write_prompt
from seqmend.menders.correct.descent.transcript import Transcript
from seqmend.menders.correct.descent.variants import choose_example, start_prompts

__all__ = [
    "Descent",
    "LabelledParts",
    "Transcript",
    "choose_example",
    "choose_rules",
    "descend",
    "forecast_descent",
    "label_parts",
    "start_prompts",
    "write_prompt",
]
