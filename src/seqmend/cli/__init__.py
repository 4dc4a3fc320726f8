"""The command line: the only room that prints. One file per group of commands, which importing it adds to the `app`."""

from seqmend.cli import (
    assets,
    augmenting,
    bench,
    bench_augment,
    bench_correct,
    bench_correct_studies,
    bench_denoise,
    bench_scorers,
    bench_scoring,
    bench_student,
    correcting,
    job,
    mending,
    training,
)
from seqmend.cli.app import app, main

__all__ = [
    "app",
    "assets",
    "augmenting",
    "bench",
    "bench_augment",
    "bench_correct",
    "bench_correct_studies",
    "bench_denoise",
    "bench_scorers",
    "bench_scoring",
    "bench_student",
    "correcting",
    "job",
    "main",
    "mending",
    "training",
]
