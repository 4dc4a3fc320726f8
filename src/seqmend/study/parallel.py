"""Several trainings at once, each in a process of its own with its share of the processors.

A small model cannot keep many cores busy: on two cores, two trainings of one thread each finish a third sooner than one
after the other with two threads (`seqmend bench backbones`).
"""

import multiprocessing
import os
import queue
import threading
import time
from collections.abc import Generator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol

import torch

from seqmend.progress import Progress

_REPORT_EVERY = 0.2  # seconds
_WORTH_PROCESSES = 2_000_000  # about ten seconds; a process takes three to start


class Job(Protocol):
    """Work that can be sent to another process; its result is what it writes."""

    def run(self, progress: Progress) -> None:
        """Do it."""
        ...


def default_jobs(work: int) -> int:
    """How many trainings at once are fastest here: one per core, but one at a time on a GPU or for little work.

    Args:
        work: Targets that all trainings together will learn from, each counted once per epoch.
    """
    is_little = work < _WORTH_PROCESSES
    return 1 if is_little or torch.cuda.is_available() else len(os.sched_getaffinity(0))


@contextmanager
def pool(n_jobs: int, progress: Progress) -> Generator["Pool"]:
    """Somewhere to send jobs to; with one job at a time they run here, when their result is asked for."""
    if n_jobs <= 1:
        yield Pool(None, None, progress)
        return
    context = multiprocessing.get_context("spawn")
    reports = context.Queue()
    threads = max(1, len(os.sched_getaffinity(0)) // n_jobs)
    executor = ProcessPoolExecutor(n_jobs, context, _begin, (threads, reports))
    stop = threading.Event()
    listener = threading.Thread(target=_listen, args=(reports, progress, stop), daemon=True)
    listener.start()
    try:
        yield Pool(executor, reports, progress)
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        stop.set()
        executor.shutdown(wait=True, cancel_futures=True)
        listener.join()


class Pool:
    """Runs jobs; see `pool`."""

    def __init__(self, executor: ProcessPoolExecutor | None, reports: Any, progress: Progress) -> None:
        self._executor, self._reports, self._progress = executor, reports, progress

    def submit(self, job: Job) -> "Pending":
        """Start a job as soon as there is room."""
        return Pending(job, self._executor.submit(_work, job) if self._executor else None, self._progress)


class Pending:
    """A job that was submitted."""

    def __init__(self, job: Job, future: Future[float] | None, progress: Progress) -> None:
        self._job, self._future, self._progress = job, future, progress

    def seconds(self) -> float:
        """Wait for the end; what the work took, in seconds."""
        return self._future.result() if self._future else _timed(self._job, self._progress)


def _timed(job: Job, progress: Progress) -> float:
    begin = time.perf_counter()
    job.run(progress)
    return time.perf_counter() - begin


_reports: Any = None


def _begin(threads: int, reports: Any) -> None:
    global _reports
    from seqmend.allocator import arrange_allocator

    arrange_allocator()
    torch.set_num_threads(threads)
    _reports = reports
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed cannot stop its workers: they see to it themselves (all writes are atomic)."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _work(job: Job) -> float:
    last = 0.0

    def report(what: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > _REPORT_EVERY:
            last = now
            _reports.put((what, done, total))

    return _timed(job, report)


def _listen(reports: Any, progress: Progress, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            progress(*reports.get(timeout=_REPORT_EVERY))
        except queue.Empty:
            continue
