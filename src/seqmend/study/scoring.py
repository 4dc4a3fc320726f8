"""`seqmend bench scoring`: our way of scoring windows beside the reference way, on one machine, in one run.

The reference way: padded batches of 16 rows in arrival order, logits for every position and token, nothing shared
between the rows of a window, the process' memory as it is. Both sides score the same tokens with the same model in the
same number format, each in a process of its own, in turns, so that whatever else runs here slows both.

Two workloads: *question*, LLM4DSR's: every title of a window as the answer to the question which does not belong; and
*passage*: every title of a window given those before it, what `menders.denoise.language` asks for.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.utils.rnn import pad_sequence

from seqmend import assets
from seqmend.allocator import arrange_allocator
from seqmend.errors import InputError
from seqmend.llm import LocalModel, Passage, Question
from seqmend.menders.denoise.llm4dsr import prompt
from seqmend.menders.denoise.windows import cut
from seqmend.progress import Progress, silent
from seqmend.study.config import DataConfig
from seqmend.study.data import read_data
from seqmend.study.machine import describe_machine

Side = Literal["reference", "seqmend"]
Workload = Literal["question", "passage"]
Float64 = npt.NDArray[np.float64]

WORKLOADS: tuple[Workload, ...] = ("question", "passage")
_SIDES: tuple[Side, ...] = ("reference", "seqmend")
_REFERENCE_ROWS = 16
_CORPUS = "movielens-100k"
_PEAK_SIZE = {"cpu": 2048, "cuda": 8192}
_PEAK_REPEATS = 5


@dataclass(frozen=True, eq=False)
class Scored:
    """One side's scores of all titles, and what they cost.

    Attributes:
        scores: Natural log-probability of every title of every window, float64 [P].
        tokens: Tokens that went through the model's layers, padding not counted.
        head_rows: Positions that were given logits, padding not counted.
        seconds: Wall clock.
        cpu_seconds: Of this process.
    """

    scores: Float64
    tokens: int
    head_rows: int
    seconds: float
    cpu_seconds: float


def bench_scoring(
    model: str,
    windows: list[list[str]],
    *,
    dtype: str = "auto",
    device: str = "cpu",
    threads: int | None = None,
    repeats: int = 3,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Time both sides on both workloads.

    Args:
        model: Name or folder of a language model.
        windows: Titles of every window, in arrival order.
        dtype: Number format of both sides.
        device: Of both sides.
        threads: Of both sides; PyTorch's own choice where absent.
        repeats: Timed passes over all windows by each side, in turns, after one that is not timed.
        progress: Told what is being measured.

    Returns:
        `model, machine, n_windows, repeats, peak_flops` and per workload `reference` and `seqmend` (medians of
        `seconds`, `cpu_seconds`; `windows_per_second, tokens_per_second, tokens, utilisation`), `ratio` of windows per
        second, `cpu_ratio` of CPU seconds, and `max_difference` of the scores in nats. Utilisation is 2 operations per
        weight that a token meets (no embedding table; the head where logits are made) over the measured rate of a large
        matrix product in the same number format.
    """
    if not windows:
        raise InputError("no windows to score", expected="a corpus with titles")
    folder = assets.resolve(model, "model", progress)
    spawn = multiprocessing.get_context("spawn")
    settings = (str(folder), dtype, device, threads)
    with (
        spawn.Pool(1, _start, ("reference", *settings)) as reference,
        spawn.Pool(1, _start, ("seqmend", *settings)) as ours,
    ):
        pools = dict(zip(_SIDES, (reference, ours), strict=True))
        facts: dict[str, Any] = ours.apply(_describe)
        workloads: dict[str, Any] = {}
        for at, workload in enumerate(WORKLOADS):
            runs: dict[Side, list[Scored]] = {side: [] for side in _SIDES}
            for repeat in range(-1, repeats):
                progress(f"scoring, {workload}", at * (repeats + 1) + repeat + 1, 2 * (repeats + 1))
                for side, pool in pools.items():
                    some = windows if repeat >= 0 else windows[:1]
                    found = pool.apply(_score, (side, workload, some))
                    if repeat >= 0:
                        runs[side].append(found)
            workloads[workload] = _compared(runs, len(windows), facts)
    return {
        "model": facts["model"],
        "machine": {**describe_machine(), "threads": facts["threads"], "torch": torch.__version__},
        "n_windows": len(windows),
        "repeats": repeats,
        "peak_flops": facts["peak_flops"],
        "workloads": workloads,
    }


def windows_of_titles(folder: Path | None, n_windows: int, progress: Progress = silent) -> list[list[str]]:
    """Windows of ten titles, drawn at random (seed 0) from a log.

    Args:
        folder: Holds `interactions.parquet` and `items.parquet`; MovieLens-100K where absent.
        n_windows: At most so many.
        progress: Told about fetching the corpus.
    """
    if folder is None:
        config = DataConfig(corpus=_CORPUS)
    else:
        config = DataConfig(interactions=folder / "interactions.parquet", items=folder / "items.parquet")
    sequences = read_data(config, progress).sequences
    windows = cut(sequences, 10)
    rows = np.random.default_rng(0).permutation(np.flatnonzero(windows.real.all(1)))[:n_windows]
    titles = sequences.catalogue.prompt_titles
    return [[titles[item] for item in row] for row in windows.items[rows].tolist()]


def _compared(runs: dict[Side, list[Scored]], n_windows: int, facts: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for side, found in runs.items():
        seconds = statistics.median(run.seconds for run in found)
        operations = 2 * (facts["layers"] * found[0].tokens + facts["head"] * found[0].head_rows)
        result[side] = {
            "seconds": seconds,
            "cpu_seconds": statistics.median(run.cpu_seconds for run in found),
            "windows_per_second": n_windows / seconds,
            "tokens_per_second": found[0].tokens / seconds,
            "tokens": found[0].tokens,
            "utilisation": operations / seconds / facts["peak_flops"],
        }
    reference, ours = result["reference"], result["seqmend"]
    result["ratio"] = reference["seconds"] / ours["seconds"]
    result["cpu_ratio"] = reference["cpu_seconds"] / ours["cpu_seconds"]
    result["max_difference"] = float(np.abs(runs["reference"][0].scores - runs["seqmend"][0].scores).max())
    return result


# ------------------------------------------------------------------------------------------- in a process of its own

_model: LocalModel | None = None


def _start(side: Side, folder: str, dtype: str, device: str, threads: int | None) -> None:
    global _model
    if side == "seqmend":
        arrange_allocator()
    if threads is not None:
        torch.set_num_threads(threads)
    _model = LocalModel.load(folder, device=device, dtype=dtype)


def _loaded() -> LocalModel:
    assert _model is not None
    return _model


def _describe() -> dict[str, Any]:
    """Weights that a token meets in the layers and in the head, and the machine's own speed."""
    local = _loaded()
    table, head = local.model.get_input_embeddings().weight, local.model.get_output_embeddings().weight
    total = sum(weights.numel() for weights in local.model.parameters())  # a tied head is counted once
    return {
        "model": local.identity,
        "layers": total - table.numel() - (0 if head is table else head.numel()),
        "head": head.numel(),
        "threads": torch.get_num_threads(),
        "peak_flops": _peak(head.device, head.dtype),
    }


def _peak(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of a large matrix product, the best of some."""
    size = _PEAK_SIZE.get(device.type, 2048)
    a, b = torch.ones(size, size, dtype=dtype, device=device), torch.ones(size, size, dtype=dtype, device=device)
    best = np.inf
    with torch.inference_mode():
        for _ in range(_PEAK_REPEATS):
            begin = time.perf_counter()
            torch.mm(a, b)[0, 0].item()
            best = min(best, time.perf_counter() - begin)
    return 2 * size**3 / best


def _score(side: Side, workload: Workload, windows: list[list[str]]) -> Scored:
    ways: dict[tuple[Side, Workload], Callable[[list[list[str]]], tuple[Float64, int, int]]] = {
        ("reference", "question"): lambda titles: _by_the_batch(_question_rows(titles)),
        ("reference", "passage"): lambda titles: _by_the_batch(_passage_rows(titles)),
        ("seqmend", "question"): _choose,
        ("seqmend", "passage"): _read,
    }
    begin, cpu = time.perf_counter(), time.process_time()
    scores, tokens, head_rows = ways[side, workload](windows)
    return Scored(scores, tokens, head_rows, time.perf_counter() - begin, time.process_time() - cpu)


def _questions(windows: list[list[str]]) -> list[Question]:
    return [Question(prompt.question(titles), tuple(prompt.named([t]) + "\n" for t in titles)) for titles in windows]


def _passages(windows: list[list[str]]) -> list[Passage]:
    return [Passage(("\n", *(title + "\n" for title in titles)), (False, *[True] * len(titles))) for titles in windows]


def _choose(windows: list[list[str]]) -> tuple[Float64, int, int]:
    local = _loaded()
    questions = _questions(windows)
    before = local.usage.prompt_tokens
    answers = local.choose(questions)
    scored = sum(len(tokens) for _, own in local.tokens.questions(_texts(questions)) for tokens in own)
    found = [answer.log_likelihoods for answer in answers if answer.log_likelihoods is not None]
    return np.concatenate(found), local.usage.prompt_tokens - before, scored


def _read(windows: list[list[str]]) -> tuple[Float64, int, int]:
    local = _loaded()
    before = local.usage.prompt_tokens
    scores = local.score(_passages(windows))
    n_scored = sum(int(score.n_tokens.sum()) for score in scores)
    return np.concatenate([s.log_probabilities for s in scores]), local.usage.prompt_tokens - before, n_scored


def _texts(questions: list[Question]) -> list[tuple[str, list[str]]]:
    return [(question.prompt, list(question.choices)) for question in questions]


Rows = list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]
"""Tokens of a row, and for each the part that it belongs to, or -1; int64 [n] each."""


def _question_rows(windows: list[list[str]]) -> Rows:
    return [
        (np.concatenate([shared, own]), np.concatenate([np.full(len(shared), -1), np.zeros(len(own), dtype=np.int64)]))
        for shared, added in _loaded().tokens.questions(_texts(_questions(windows)))
        for own in added
    ]


def _passage_rows(windows: list[list[str]]) -> Rows:
    return [(passage.tokens, passage.owners) for passage in _loaded().tokens.passages(_passages(windows))]


@torch.inference_mode()
def _by_the_batch(rows: Rows) -> tuple[Float64, int, int]:
    """The reference way."""
    model = _loaded().model
    scores: list[Float64] = []
    for begin in range(0, len(rows), _REFERENCE_ROWS):
        batch = rows[begin : begin + _REFERENCE_ROWS]
        inputs = pad_sequence([torch.from_numpy(tokens) for tokens, _ in batch], batch_first=True).to(model.device)
        lengths = torch.tensor([len(tokens) for tokens, _ in batch], device=model.device)
        mask = torch.arange(inputs.shape[1], device=model.device) < lengths[:, None]
        logits = model(input_ids=inputs, attention_mask=mask.long(), use_cache=False).logits
        found = logits[:, :-1].float().log_softmax(-1).gather(2, inputs[:, 1:, None])[:, :, 0].double().cpu().numpy()
        for values, (_, owners) in zip(found, batch, strict=True):
            asked = owners[1:] >= 0
            sums = np.zeros(owners.max() + 1)
            np.add.at(sums, owners[1:][asked], values[: len(asked)][asked])
            scores.append(sums)
    n_tokens = sum(len(tokens) for tokens, _ in rows)
    return np.concatenate(scores), n_tokens, n_tokens
