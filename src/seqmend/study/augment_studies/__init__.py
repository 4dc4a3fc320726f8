"""The studies of the augment mender: the comparison with every control, one thing changed at a time, and sweeps."""

from seqmend.study.augment_studies.arms import ABLATIONS, ARMS
from seqmend.study.augment_studies.comparison import augment_comparison
from seqmend.study.augment_studies.setting import BACKBONES, GROUPS, TRAINING, Setting
from seqmend.study.augment_studies.sweep import DECAYS, N_ITEMS, augment_sweep

__all__ = [
    "ABLATIONS",
    "ARMS",
    "BACKBONES",
    "DECAYS",
    "GROUPS",
    "N_ITEMS",
    "TRAINING",
    "Setting",
    "augment_comparison",
    "augment_sweep",
]
