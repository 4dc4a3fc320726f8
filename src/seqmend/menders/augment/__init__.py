"""Augment: prepend plausible earlier items to short histories, as far as each can be trusted (LLMSeR)."""

from seqmend.menders.augment.augmentation import Augmentation, Status, final_weights
from seqmend.menders.augment.config import AugmentConfig, AugmentTuningConfig
from seqmend.menders.augment.mender import NAME, Augmenter

__all__ = [
    "NAME",
    "AugmentConfig",
    "AugmentTuningConfig",
    "Augmentation",
    "Augmenter",
    "Status",
    "final_weights",
]
