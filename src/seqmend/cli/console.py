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
    begun: dict[str, float] = {}  # by what is done: several trainings may tell in turns
    shown: dict[str, float] = {}

    def show(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        name = ", ".join(part for part in what.split(", ") if not part.startswith("epoch "))
        if name in shown and now - shown[name] < _PLAIN_LINE_EVERY:
            return
        begin = begun.setdefault(what, now)
        shown[name] = now
        rate = done / (now - begin) if done and now - begin > 1 else 0.0
        left = f", {(total - done) / rate:,.0f} s left" if rate and total > done else ""
        count = f" {done:,}/{total:,}" if total else ""
        err_console.print(f"{what}{count}{left}", highlight=False, markup=False)

    return show


def write_figures(path: Path | None, figures: Any) -> None:
    """Write what was printed as JSON, where a file was named."""
    from seqmend.files import write_json

    if path is not None:
        write_json(path, figures)
