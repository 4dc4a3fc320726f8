"""Denoise: find interactions that are not the user's own (after LLM4DSR, arXiv 2408.08208)."""

from seqmend.menders.denoise.config import DenoiseConfig
from seqmend.menders.denoise.forecast import METHODS, Part, forecast
from seqmend.menders.denoise.mender import NAME, Denoiser
from seqmend.menders.denoise.networks import NetworkConfig
from seqmend.menders.denoise.student import Student, StudentConfig
from seqmend.menders.denoise.verdicts import NETWORK_WITNESS, TITLE_WITNESS, WINDOW_WITNESS, Verdicts
from seqmend.menders.denoise.witnesses import SIMPLE_FUSION

__all__ = [
    "METHODS",
    "NAME",
    "NETWORK_WITNESS",
    "SIMPLE_FUSION",
    "TITLE_WITNESS",
    "WINDOW_WITNESS",
    "DenoiseConfig",
    "Denoiser",
    "NetworkConfig",
    "Part",
    "Student",
    "StudentConfig",
    "Verdicts",
    "forecast",
]
