"""How fast a local model scores and chooses: with and without allocator settings, in float32 and bfloat16.

Choosing shares a prompt among its choices; beside it stands what every choice costs by itself. Every combination runs
in its own process, because memory settings hold for a whole process. Times are medians over repeats after a warm-up;
CPU seconds are given beside them, for machines that do other work at the same time.
"""

import argparse
import json
import multiprocessing
import platform
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FILMS = (
    "The Lion King", "Toy Story", "Four Rooms", "The Silence of the Lambs", "Twelve Monkeys", "Babe",
    "Dead Man Walking", "Richard III", "Seven", "The Usual Suspects", "Mighty Aphrodite", "The Postman",
    "Mr. Holland's Opus", "Braveheart", "From Dusk Till Dawn", "Taxi Driver", "Rumble in the Bronx", "The Birdcage",
    "Apollo 13", "Belle de jour",
)  # fmt: skip


def timed(work: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Median wall seconds, median CPU seconds and page faults of one call."""
    work()
    walls, processors, faults = [], [], []
    for _ in range(repeats):
        before, begin = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        work()
        walls.append(time.perf_counter() - begin)
        after = resource.getrusage(resource.RUSAGE_SELF)
        processors.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        faults.append(after.ru_minflt - before.ru_minflt)
    return {
        "seconds": statistics.median(walls),
        "cpu_seconds": statistics.median(processors),
        "page_faults": statistics.median(faults),
    }


def measure(arranged: bool, dtype: str, model: str, threads: int, repeats: int) -> dict[str, Any]:
    """Figures of one combination; runs in its own process."""
    if arranged:
        from seqmend.allocator import arrange_allocator

        arranged = arrange_allocator()
    import torch

    from seqmend.llm import LocalModel, Passage, Question

    torch.set_num_threads(threads)
    local = LocalModel.load(model, device="cpu", dtype=dtype)
    windows = [[FILMS[(start + step) % len(FILMS)] for step in range(10)] for start in range(16)]
    passages = [Passage(("\n", *(title + "\n" for title in films)), (False, *[True] * 10)) for films in windows]
    before = local.usage.prompt_tokens
    score = timed(lambda: local.score(passages), repeats)
    n_tokens = (local.usage.prompt_tokens - before) / (repeats + 1)
    prompts = [
        "One of these films does not belong to the others:\n" + "\n".join(films) + "\nIt is" for films in windows
    ]
    questions = [
        Question(prompt, tuple(" " + title for title in films))
        for prompt, films in zip(prompts[:4], windows[:4], strict=True)
    ]
    naive = [Passage((question.prompt, choice), (False, True)) for question in questions for choice in question.choices]
    local.score(passages[:1])
    return {
        "allocator_arranged": arranged,
        "dtype": dtype,
        "score": {**score, "tokens": n_tokens, "tokens_per_second": n_tokens / score["seconds"],
                  "tokens_per_cpu_second": n_tokens / score["cpu_seconds"]},
        "choose_shared": timed(lambda: local.choose(questions), repeats),
        # One call each: within one call, score would share what all passages begin with.
        "choose_naive": timed(lambda: [local.score([passage]) for passage in naive], repeats),
    }  # fmt: skip


def row(figures: dict[str, Any]) -> str:
    """One combination in one line."""
    score, shared, naive = figures["score"], figures["choose_shared"], figures["choose_naive"]
    allocator = "arranged" if figures["allocator_arranged"] else "as it is"
    return (
        f"{figures['dtype']:9} allocator {allocator}: score {score['tokens_per_second']:6.0f} tokens/s"
        f" ({score['tokens_per_cpu_second']:.0f} per CPU second, {score['page_faults']:,.0f} page faults);"
        f" 10 titles on a prompt: shared {shared['seconds'] / 4:.2f} s, naive {naive['seconds'] / 4:.2f} s"
        f" (CPU {shared['cpu_seconds'] / 4:.2f} s, {naive['cpu_seconds'] / 4:.2f} s)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2-135m", help="name or folder of the model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    machine: dict[str, Any] = {"processor": platform.machine(), "threads": options.threads}
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        machine["processor"] = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
        machine["amx"] = any("amx_bf16" in line for line in lines)
    print(machine)
    found = []
    for dtype in options.dtypes.split(","):
        for arranged in (False, True):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                figures = pool.apply(measure, (arranged, dtype, options.model, options.threads, options.repeats))
            found.append(figures)
            print(row(figures))
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "figures": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
