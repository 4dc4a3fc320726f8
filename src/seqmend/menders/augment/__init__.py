"""Augment: prepend plausible earlier items to short histories, as far as each can be trusted (LLMSeR)."""

from seqmend.menders.augment.augmentation import Augmentation, Status, final_weights
from seqmend.menders.augment.candidates import Pools, generated, reversed_in_time, with_prefix
from seqmend.menders.augment.config import AugmentConfig, AugmentTuningConfig, Selection
from seqmend.menders.augment.forecast import READING, Part, forecast
from seqmend.menders.augment.mender import NAME, Augmenter
from seqmend.menders.augment.tuning import tune

__all__ = [
    "NAME",
    "READING",
    "AugmentConfig",
    "AugmentTuningConfig",
    "Augmentation",
    "Augmenter",
    "Part",
    "Pools",
    "Selection",
    "Status",
    "final_weights",
    "forecast",
    "generated",
    "reversed_in_time",
    "tune",
    "with_prefix",
]
