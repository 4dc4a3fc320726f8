"""Seconds per training epoch of SASRec: seqmend against RecBole, in one run on the same generated log.

The log has the size of MovieLens-100K (943 users, 1,682 items, 100,000 interactions, skewed). Both train the same model
(50 items, 64 dimensions, 2 layers, 2 heads, full softmax), see every training target once per epoch, cut rows their own
way and use their own default batch size. RecBole makes a row of 50 items for every target; here up to 50 targets share
one, which is where most of the difference comes from. The first epoch is warm-up; medians of the others are printed. On
a busy machine look at the processor seconds.

    python benchmarks/training.py --threads 2 --recbole-python /path/to/python/with/recbole --json training.json
"""

import argparse
import itertools
import json
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from seqmend.interactions import Catalogue, Sequences, leave_one_out
from seqmend.recommenders import SASRec, SASRecConfig, TrainingConfig, rows_from_sequences, train

N_USERS, N_ITEMS, N_INTERACTIONS = 943, 1682, 100_000


def generate(seed: int = 0) -> Sequences:
    """Users of skewed activity who prefer popular items."""
    rng = np.random.default_rng(seed)
    activity = rng.lognormal(0, 1, N_USERS)
    lengths = 20 + rng.multinomial(N_INTERACTIONS - 20 * N_USERS, activity / activity.sum())
    popularity = 1 / np.arange(1, N_ITEMS + 1) ** 0.8
    items = rng.choice(N_ITEMS, size=N_INTERACTIONS, p=popularity / popularity.sum()).astype(np.int32) + 1
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    catalogue = Catalogue.from_titles({f"i{number}": None for number in range(1, N_ITEMS + 1)})
    user_ids = pl.Series("user_id", [f"u{number}" for number in range(N_USERS)])
    return Sequences(user_ids, offsets, items, np.arange(N_INTERACTIONS), catalogue)


def seqmend_epochs(sequences: Sequences, epochs: int) -> list[tuple[float, float]]:
    """Wall and processor seconds of every epoch."""
    split = leave_one_out(sequences)
    clocks = [(time.perf_counter(), time.process_time())]

    def validate(model: object) -> float:
        clocks.append((time.perf_counter(), time.process_time()))
        return float(len(clocks))

    config = SASRecConfig()
    rows = rows_from_sequences(split.train, config.max_length)
    train(SASRec(N_ITEMS, config), rows, TrainingConfig(epochs=epochs, device="cpu"), validate)
    return [(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(clocks)]


def recbole_epochs(python: str, sequences: Sequences, epochs: int, threads: int) -> dict[str, Any]:
    """What `recbole_epochs.py` prints for the same log."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log" / "log.inter"
        log.parent.mkdir()
        names = {"user_id": "user_id:token", "item_id": "item_id:token", "timestamp": "timestamp:float"}
        sequences.to_frame().select(list(names)).rename(names).write_csv(log, separator="\t")
        script = Path(__file__).with_name("recbole_epochs.py")
        command = [python, str(script), folder, str(epochs), str(threads)]
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=folder).stdout
    return json.loads(printed.splitlines()[-1])


def summary(epochs: list[tuple[float, float]]) -> dict[str, float]:
    """Medians without the first epoch."""
    wall, processor = (statistics.median(epoch[k] for epoch in epochs[1:]) for k in (0, 1))
    return {"seconds_per_epoch": round(wall, 2), "processor_seconds_per_epoch": round(processor, 2)}


def main() -> None:
    """Read the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--recbole-python", help="a Python that has RecBole; without it only seqmend is timed")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    sequences = generate()
    results: dict[str, Any] = {
        "machine": {"processor": platform.processor() or platform.machine(), "threads": options.threads},
        "seqmend": {"torch": torch.__version__, **summary(seqmend_epochs(sequences, options.epochs))},
    }
    if options.recbole_python:
        measured = recbole_epochs(options.recbole_python, sequences, options.epochs, options.threads)
        results["recbole"] = {"version": measured["version"], **summary(measured["epochs"])}
        results["times_faster"] = {
            clock: round(seconds / results["seqmend"][clock], 1)
            for clock, seconds in results["recbole"].items()
            if clock != "version"
        }
    text = json.dumps(results, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
