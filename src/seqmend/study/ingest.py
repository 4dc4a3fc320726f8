"""`seqmend bench ingest`: seconds and memory to read a large log, against the plain pandas way, in one run."""

import importlib.util
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from seqmend.interactions import read_log
from seqmend.progress import Progress, silent
from seqmend.study.machine import describe_machine

_FORMATS = ("parquet", "csv")


def bench_ingest(rows: int, repeats: int = 3, progress: Progress = silent) -> dict[str, Any]:
    """Generate a log with skewed popularity, read it in processes of their own, and report medians.

    Args:
        rows: Interactions.
        repeats: Readings by each reader of each format.
        progress: Told what is being read.

    Returns:
        `rows, machine`, and per format and reader `seconds, rows_per_second, peak_memory_mib, users, interactions`.
        Reading includes checking, numbering and ordering; imports and a warm-up are not timed.
    """
    readers = ["seqmend", *(["pandas"] if importlib.util.find_spec("pandas") else [])]
    jobs = [(format_, reader) for format_ in _FORMATS for reader in readers]
    results: dict[str, Any] = {
        "rows": rows,
        "machine": {**describe_machine(), "polars": pl.__version__},
        **{format_: {} for format_ in _FORMATS},
    }
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        progress("generating a log", 0, 0)
        generate(Path(folder), rows)
        for done, (format_, reader) in enumerate(jobs):
            progress("reading", done, len(jobs))
            runs: list[dict[str, Any]] = []
            for _ in range(repeats):
                with spawn.Pool(1) as pool:
                    runs.append(pool.apply(_measure, (reader, Path(folder) / f"log.{format_}")))
            seconds = statistics.median(run["seconds"] for run in runs)
            results[format_][reader] = {
                **runs[0],
                "seconds": round(seconds, 2),
                "rows_per_second": round(rows / seconds),
                "peak_memory_mib": max(run["peak_memory_mib"] for run in runs),
            }
    return results


def generate(folder: Path, rows: int, seed: int = 0) -> None:
    """Write `log.parquet` and `log.csv`: one user per 10 rows, one item per 50, both skewed, rows in no order."""
    rng = np.random.default_rng(seed)
    items = _skewed(rng, 1 / np.arange(1, max(1, rows // 50) + 1) ** 0.8, rows)
    users = _skewed(rng, rng.lognormal(0, 1, max(1, rows // 10)), rows)
    frame = pl.DataFrame(
        {"user_id": users, "item_id": items, "timestamp": rng.integers(1_500_000_000, 1_700_000_000, rows)}
    ).with_columns(
        user_id=pl.format("u{}", "user_id"), item_id=pl.format("B{}", pl.col("item_id").cast(pl.String).str.zfill(9))
    )
    frame.write_parquet(folder / "log.parquet")
    frame.write_csv(folder / "log.csv")


def _skewed(rng: np.random.Generator, weights: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.int32]:
    return np.searchsorted(np.cumsum(weights / weights.sum()), rng.random(size) * (1 - 1e-12)).astype(np.int32)


def _measure(reader: str, path: Path) -> dict[str, Any]:
    read = {"seqmend": _read_with_seqmend, "pandas": _read_with_pandas}[reader]
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder), 1000)
        read(Path(folder) / path.name)
    begin = time.perf_counter()
    counts = read(path)
    seconds = time.perf_counter() - begin
    unit = 2**20 if sys.platform == "darwin" else 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return {**counts, "seconds": seconds, "peak_memory_mib": round(peak)}


def _read_with_seqmend(path: Path) -> dict[str, int]:
    summary = read_log(path).summary
    return {"users": summary.users, "interactions": summary.interactions}


def _read_with_pandas(path: Path) -> dict[str, int]:
    """The usual script: read, drop missing and repeated rows, number the ids, sort, collect each user's items."""
    pandas: Any = importlib.import_module("pandas")
    frame = pandas.read_parquet(path) if path.suffix == ".parquet" else pandas.read_csv(path)
    frame = frame.dropna().drop_duplicates()
    frame["user_id"] = pandas.factorize(frame["user_id"])[0]
    frame["item_id"] = pandas.factorize(frame["item_id"])[0] + 1
    sequences = frame.sort_values(["user_id", "timestamp"], kind="stable").groupby("user_id")["item_id"].agg(list)
    return {"users": len(sequences), "interactions": len(frame)}
