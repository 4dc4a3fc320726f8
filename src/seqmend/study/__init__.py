"""Studies: from a configuration through cached stages to a run directory, and the benchmarks behind every claim."""

from seqmend.study.applying import apply_ledger, export_run, undo_ledger
from seqmend.study.augment_cost import estimate_augment
from seqmend.study.augmenting import Augmented, asrep_ledger, augment, augment_split
from seqmend.study.backbones import BackbonesConfig, bench_backbones, bench_scaling
from seqmend.study.comparison import compare_runs
from seqmend.study.config import ARMS, DataConfig, LanguageConfig, NoiseConfig, RunConfig
from seqmend.study.correcting import Corrected, correct, correct_split
from seqmend.study.cost import estimate
from seqmend.study.data import read_data
from seqmend.study.demo import demo_config
from seqmend.study.detect import bench_detect, bench_detect_by_name
from seqmend.study.ingest import bench_ingest
from seqmend.study.mending import denoise
from seqmend.study.run import run
from seqmend.study.scorers import bench_scorers, bench_scorers_by_name
from seqmend.study.scoring import bench_scoring, windows_of_titles
from seqmend.study.student import bench_student, bench_student_by_name
from seqmend.study.training import evaluate_backbone, train_backbone

__all__ = [
    "ARMS",
    "Augmented",
    "BackbonesConfig",
    "Corrected",
    "DataConfig",
    "LanguageConfig",
    "NoiseConfig",
    "RunConfig",
    "apply_ledger",
    "asrep_ledger",
    "augment",
    "augment_split",
    "bench_backbones",
    "bench_detect",
    "bench_detect_by_name",
    "bench_ingest",
    "bench_scaling",
    "bench_scorers",
    "bench_scorers_by_name",
    "bench_scoring",
    "bench_student",
    "bench_student_by_name",
    "compare_runs",
    "correct",
    "correct_split",
    "demo_config",
    "denoise",
    "estimate",
    "estimate_augment",
    "evaluate_backbone",
    "export_run",
    "read_data",
    "run",
    "train_backbone",
    "undo_ledger",
    "windows_of_titles",
]
