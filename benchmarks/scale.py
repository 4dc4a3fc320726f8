"""Memory and time of large logs: one epoch over a million users, and a full ranking over a million items.

    python benchmarks/scale.py --json scale.json
    python benchmarks/scale.py --users 100000 --ranked-users 10000   # a tenth of it

Each part runs in a process of its own, whose peak memory is what the system counted.
"""

import argparse
import json
import multiprocessing
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from seqmend.allocator import arrange_allocator
from seqmend.evaluation import Histories, rank_targets
from seqmend.interactions import Catalogue, Sequences
from seqmend.recommenders import SASRec, SASRecConfig, TrainingConfig, rows_from_sequences, train
from seqmend.study.machine import describe_machine


def generate(n_users: int, n_items: int, length: int, seed: int = 0) -> Sequences:
    """Users with histories of one length who prefer popular items."""
    rng = np.random.default_rng(seed)
    # A power law with exponent 0.8, drawn by inverting its continuous form.
    items = (rng.random(n_users * length, dtype=np.float32) ** 5 * n_items).astype(np.int32) + 1
    ids = pl.Series("item_id", ["", *(f"i{number}" for number in range(1, n_items + 1))])
    catalogue = Catalogue(ids, pl.Series("title", [None] * (n_items + 1), dtype=pl.String))
    users = pl.Series("user_id", [f"u{number}" for number in range(n_users)])
    offsets = np.arange(n_users + 1, dtype=np.int64) * length
    return Sequences(users, offsets, items, np.arange(n_users * length), catalogue)


def one_epoch(n_users: int, length: int, n_items: int, threads: int) -> dict[str, Any]:
    """SASRec of the default size, sampled softmax with 128 negatives."""
    sequences = generate(n_users, n_items, length + 1)
    begin = time.perf_counter()
    rows = rows_from_sequences(sequences, length)
    made = time.perf_counter() - begin
    model = SASRec(n_items, SASRecConfig(max_length=length))
    config = TrainingConfig(epochs=1, batch_size=512, loss="sampled_softmax", n_negatives=128, device="cpu")
    before = peak_memory()
    begin = time.perf_counter()
    train(model, rows, config, lambda model: 1.0)
    seconds = time.perf_counter() - begin
    targets = int((rows.targets > 0).sum())
    return {
        "users": n_users,
        "items": n_items,
        "targets": targets,
        "rows_seconds": round(made, 1),
        "epoch_seconds": round(seconds, 1),
        "targets_per_second": round(targets / seconds),
        "log_and_rows_mib": before,
        "peak_mib": peak_memory(),
    }


def full_ranking(n_users: int, n_items: int, memory: int, threads: int) -> dict[str, Any]:
    """Ranks of one target per user over the whole catalogue; the model's weights are as they were drawn."""
    sequences = generate(n_users, n_items, 20)
    model = SASRec(n_items, SASRecConfig(max_length=50)).eval()
    users = np.arange(n_users, dtype=np.int32)
    histories = Histories(sequences, users, np.full(n_users, 19))
    targets = sequences.items[sequences.offsets[1:] - 1]
    before = peak_memory()
    begin = time.perf_counter()
    ranks = rank_targets(model, histories, targets, histories, memory)
    seconds = time.perf_counter() - begin
    return {
        "users": n_users,
        "items": n_items,
        "memory_option_mib": memory >> 20,
        "seconds": round(seconds, 1),
        "scores_per_second": round(n_users * n_items / seconds),
        "mean_rank_share": round(float(ranks.mean() / n_items), 3),  # about a half for a model that knows nothing
        "log_and_model_mib": before,
        "peak_mib": peak_memory(),
        "ranking_took_mib": peak_memory() - before,
    }


def peak_memory() -> int:
    """MiB of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def _in_process(queue: Any, part: Any, arguments: tuple[Any, ...]) -> None:
    arrange_allocator()
    torch.set_num_threads(arguments[-1])
    queue.put(part(*arguments))


def measured(part: Any, *arguments: Any) -> dict[str, Any]:
    """What a part returns, from a process of its own."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_in_process, args=(queue, part, arguments))
    process.start()
    result = queue.get()
    process.join()
    return result


def main() -> None:
    """Read the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--length", type=int, default=50)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--ranked-users", type=int, default=100_000)
    parser.add_argument("--ranked-items", type=int, default=1_000_000)
    parser.add_argument("--memory", type=int, default=256, help="MiB that scores may take")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--parts", nargs="+", choices=["training", "ranking"], default=["training", "ranking"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    parts: dict[str, tuple[Any, ...]] = {
        "training": (one_epoch, options.users, options.length, options.items),
        "ranking": (full_ranking, options.ranked_users, options.ranked_items, options.memory << 20),
    }
    results: dict[str, Any] = {"machine": describe_machine()}
    for name in options.parts:
        results[name] = measured(*parts[name], options.threads)
        print(json.dumps({name: results[name]}, indent=1), flush=True)
        if options.json:
            options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
