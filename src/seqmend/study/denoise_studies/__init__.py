"""The studies of the denoise mender: thresholds, kinds of noise, the ceiling, other corpora, and what it costs."""

from seqmend.study.denoise_studies.ceiling import ARMS as CEILING_ARMS
from seqmend.study.denoise_studies.ceiling import SCOPES, denoise_ceiling
from seqmend.study.denoise_studies.cost import SHARES, denoise_cost
from seqmend.study.denoise_studies.noise_kinds import CALIBRATED, KINDS, RATIOS, denoise_noise
from seqmend.study.denoise_studies.setting import Setting, data_of
from seqmend.study.denoise_studies.threshold import THRESHOLDS, denoise_threshold
from seqmend.study.denoise_studies.transfer import denoise_transfer

__all__ = [
    "CALIBRATED",
    "CEILING_ARMS",
    "KINDS",
    "RATIOS",
    "SCOPES",
    "SHARES",
    "THRESHOLDS",
    "Setting",
    "data_of",
    "denoise_ceiling",
    "denoise_cost",
    "denoise_noise",
    "denoise_threshold",
    "denoise_transfer",
]
