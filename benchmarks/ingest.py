"""How long and how much memory reading a large log takes: seqmend against the plain pandas way, in one run.

Generates a log with skewed popularity as Parquet and CSV, reads each in processes of their own, and prints seconds (the
median of the repeats), rows per second and the peak resident memory of the process. Imports are not timed.

    python benchmarks/ingest.py --rows 10000000 --json ingest.json
"""

import argparse
import importlib.util
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

READERS = ("seqmend", "pandas")
FORMATS = ("parquet", "csv")
SECONDS_LIMIT, MEMORY_LIMIT_MIB = 60, 3 * 1024


def generate(folder: Path, rows: int, seed: int = 0) -> None:
    """Write `log.parquet` and `log.csv`: one user per 10 rows, one item per 50, both skewed, rows in no order."""
    rng = np.random.default_rng(seed)
    n_users, n_items = max(1, rows // 10), max(1, rows // 50)
    items = _skewed(rng, 1 / np.arange(1, n_items + 1) ** 0.8, rows)
    users = _skewed(rng, rng.lognormal(0, 1, n_users), rows)
    frame = pl.DataFrame(
        {
            "user_id": pl.select(pl.format("u{}", pl.lit(pl.Series(users)))).to_series(),
            "item_id": pl.select(pl.format("B{}", pl.lit(pl.Series(items)).cast(pl.String).str.zfill(9))).to_series(),
            "timestamp": rng.integers(1_500_000_000, 1_700_000_000, rows),
        }
    )
    frame.write_parquet(folder / "log.parquet")
    frame.write_csv(folder / "log.csv")


def compare(folder: Path, repeats: int) -> dict[str, Any]:
    """Time every reader on every format of a generated log.

    Returns:
        `machine`, and per format and reader `seconds, cpu_seconds (of all cores), rows_per_second,
        peak_memory_mib, users, interactions`.
    """
    readers = [name for name in READERS if importlib.util.find_spec(name)]
    results: dict[str, Any] = {"machine": machine()}
    for format_ in FORMATS:
        results[format_] = {}
        for reader in readers:
            runs = [_in_own_process(reader, folder / f"log.{format_}") for _ in range(repeats)]
            seconds = statistics.median(run["seconds"] for run in runs)
            results[format_][reader] = {
                "seconds": round(seconds, 2),
                "cpu_seconds": round(statistics.median(run["cpu_seconds"] for run in runs), 2),
                "rows_per_second": round(runs[0]["rows"] / seconds),
                "peak_memory_mib": max(run["peak_memory_mib"] for run in runs),
                "users": runs[0]["users"],
                "interactions": runs[0]["interactions"],
            }
    return results


def machine() -> dict[str, Any]:
    """What it ran on, and how busy that was."""
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "polars": pl.__version__,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
    }


def read_with_seqmend(path: Path) -> dict[str, int]:
    """Read, check, number and order a log."""
    from seqmend.interactions import read_log

    log = read_log(path)
    return {"rows": log.summary.rows, "users": log.summary.users, "interactions": log.summary.interactions}


def read_with_pandas(path: Path) -> dict[str, int]:
    """The usual script: read, drop missing and repeated rows, number the ids, sort, collect each user's items."""
    import pandas as pd

    frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    rows = len(frame)
    frame = frame.dropna().drop_duplicates()
    frame["user_id"] = pd.factorize(frame["user_id"])[0]
    frame["item_id"] = pd.factorize(frame["item_id"])[0] + 1
    sequences = frame.sort_values(["user_id", "timestamp"], kind="stable").groupby("user_id")["item_id"].agg(list)
    return {"rows": rows, "users": len(sequences), "interactions": len(frame)}


def measure(reader: str, path: Path) -> dict[str, Any]:
    """Read once in this process, after a warm-up on a log of a thousand rows."""
    read = {"seqmend": read_with_seqmend, "pandas": read_with_pandas}[reader]
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder), 1000)
        read(Path(folder) / path.name)
    started, started_cpu = time.perf_counter(), time.process_time()
    counts = read(path)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - started_cpu
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return counts | {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit),
    }


def _skewed(rng: np.random.Generator, weights: np.ndarray, size: int) -> np.ndarray:
    return np.searchsorted(np.cumsum(weights / weights.sum()), rng.random(size) * (1 - 1e-12)).astype(np.int32)


def _in_own_process(reader: str, path: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--measure", reader, str(path)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--measure", nargs=2, metavar=("READER", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure[0], Path(arguments.measure[1]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder), arguments.rows)
        results = {"rows": arguments.rows} | compare(Path(folder), arguments.repeats)
    print(" · ".join(f"{name} {value}" for name, value in results["machine"].items()))
    print(f"{arguments.rows:,} rows; goal: {SECONDS_LIMIT} s and {MEMORY_LIMIT_MIB} MiB")
    print(f"{'format':10}{'reader':10}{'seconds':>10}{'CPU s':>10}{'rows/s':>14}{'peak MiB':>10}")
    for format_ in FORMATS:
        for reader, found in results[format_].items():
            print(
                f"{format_:10}{reader:10}{found['seconds']:>10.1f}{found['cpu_seconds']:>10.1f}"
                f"{found['rows_per_second']:>14,}{found['peak_memory_mib']:>10,}"
            )
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
