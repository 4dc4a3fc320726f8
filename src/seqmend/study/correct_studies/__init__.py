"""The studies of the correct mender: known noise, selection, versions of the instances, and parts of the question."""

from seqmend.study.correct_studies.ablations import ARMS, correct_ablations
from seqmend.study.correct_studies.case import JUDGES
from seqmend.study.correct_studies.noise import BACKBONES, COMPARED, VERSIONS, correct_noise
from seqmend.study.correct_studies.prompts import VARIANTS, correct_prompts
from seqmend.study.correct_studies.quality import GROUPS
from seqmend.study.correct_studies.released import bench_correct, bench_correct_by_name
from seqmend.study.correct_studies.selection import SHARES, SIGNALS, correct_selection

__all__ = [
    "ARMS",
    "BACKBONES",
    "COMPARED",
    "GROUPS",
    "JUDGES",
    "SHARES",
    "SIGNALS",
    "VARIANTS",
    "VERSIONS",
    "bench_correct",
    "bench_correct_by_name",
    "correct_ablations",
    "correct_noise",
    "correct_prompts",
    "correct_selection",
]
