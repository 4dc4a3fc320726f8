"""What every command prints with: two consoles, progress, files of figures."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from seqmend.progress import Progress as Report

out_console = Console()
err_console = Console(stderr=True)
_PLAIN_LINE_EVERY = 15.0

JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the same figures to this file.")]


@contextmanager
def showing() -> Generator[Report]:
    """Progress with rate and time left on a terminal, plain lines otherwise."""
    if not err_console.is_terminal:
        yield _plain_lines()
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err_console, transient=True) as bar:
        task = bar.add_task("starting", total=None, rate="")
        state = {"what": ""}

        def show(what: str, done: int, total: int) -> None:
            if what != state["what"]:
                state["what"] = what
                bar.reset(task, description=escape(what), total=total or None, completed=done, rate="")
            speed = bar.tasks[0].speed
            bar.update(task, completed=done, total=total or None, rate=f"{speed:,.0f}/s" if speed else "")

        yield show


def _plain_lines() -> Report:
    state: dict[str, Any] = {"what": "", "shown": 0.0, "begin": 0.0}

    def show(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        fresh = what.split(",")[0] != state["what"]
        if fresh:
            state.update(what=what.split(",")[0], begin=now)
        if not fresh and now - state["shown"] < _PLAIN_LINE_EVERY:
            return
        state["shown"] = now
        rate = done / (now - state["begin"]) if done and now - state["begin"] > 1 else 0.0
        left = f", {(total - done) / rate:,.0f} s left" if rate and total > done else ""
        count = f" {done:,}/{total:,}" if total else ""
        err_console.print(f"{what}{count}{left}", highlight=False, markup=False)

    return show


def write_figures(path: Path | None, figures: Any) -> None:
    """Write what was printed as JSON, where a file was named."""
    from seqmend.files import write_json

    if path is not None:
        write_json(path, figures)
