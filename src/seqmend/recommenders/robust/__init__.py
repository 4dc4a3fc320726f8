"""Robust recommenders: backbones that doubt what they are taught."""

from seqmend.recommenders.robust.berd import BERD, BERDConfig
from seqmend.recommenders.robust.birdrec import BirDRec, BirDRecConfig
from seqmend.recommenders.robust.hsd import HSD, HSDConfig
from seqmend.recommenders.robust.ssdrec import SSDRec, SSDRecConfig
from seqmend.recommenders.robust.steam import STEAM, STEAMConfig

__all__ = [
    "BERD",
    "HSD",
    "STEAM",
    "BERDConfig",
    "BirDRec",
    "BirDRecConfig",
    "HSDConfig",
    "SSDRec",
    "SSDRecConfig",
    "STEAMConfig",
]
