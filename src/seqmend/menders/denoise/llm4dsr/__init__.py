"""LLM4DSR as published: prompt, windows, self-supervised tuning, noise scores, gate, replacement."""

from seqmend.menders.denoise.llm4dsr.config import LLM4DSRConfig, Scorer, TuningConfig
from seqmend.menders.denoise.llm4dsr.mender import LLM4DSR, Judged, LastState
from seqmend.menders.denoise.llm4dsr.scores import SCORERS, Scores, window_testimony
from seqmend.menders.denoise.llm4dsr.tuning import tune
from seqmend.menders.denoise.llm4dsr.windows import all_instances, instances

__all__ = [
    "LLM4DSR",
    "SCORERS",
    "Judged",
    "LLM4DSRConfig",
    "LastState",
    "Scorer",
    "Scores",
    "TuningConfig",
    "all_instances",
    "instances",
    "tune",
    "window_testimony",
]
