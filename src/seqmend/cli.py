"""The command line: the only room that prints."""

import json
import os
import sys
import time
import webbrowser
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from seqmend.errors import InputError, SeqMendError
from seqmend.progress import Progress as Report

app = typer.Typer(
    help="Mend the interaction sequences that sequential recommenders learn from, and prove whether it helped.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
bench = typer.Typer(help="The measurements behind every claim; each prints a table and writes it with --json FILE.")
models = typer.Typer(help="Language models and sentence encoders: what is known, what is here.")
data = typer.Typer(help="Corpora: what is known, what is here.")
app.add_typer(bench, name="bench")
app.add_typer(models, name="models")
app.add_typer(data, name="data")

out_console = Console()
err_console = Console(stderr=True)
_PLAIN_LINE_EVERY = 15.0
_INTERRUPTED = 130

JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the same figures to this file.")]


def main() -> None:
    """Run the command line; every error that a user may meet is one message and an exit code."""
    from seqmend.llm import arrange_allocator

    arrange_allocator()
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        if app(arguments, standalone_mode=False) == _INTERRUPTED:  # Typer turns Ctrl-C into this result
            _interrupted()
    except SeqMendError as error:
        if debug:
            raise
        err_console.print(f"[bold red]Error:[/] {escape(str(error))}", highlight=False)
        sys.exit(error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        _interrupted()
    except Exception as error:
        if wrong_use := getattr(error, "format_message", None):  # of the command line, by Typer
            err_console.print(f"[bold red]Error:[/] {escape(wrong_use())}", highlight=False)
            sys.exit(2)
        if debug:
            raise
        err_console.print(
            f"[bold red]Error:[/] {escape(type(error).__name__)}: {escape(str(error))}\n"
            "  do: this is a defect of SeqMend; run again with --debug and report what it prints",
            highlight=False,
        )
        sys.exit(1)


def _interrupted() -> NoReturn:
    command = " ".join(["seqmend", *sys.argv[1:]])
    err_console.print(
        f"\nStopped. Nothing is lost: the same command goes on where this one stopped.\n  {escape(command)}"
    )
    sys.exit(_INTERRUPTED)


@contextmanager
def _showing() -> Generator[Report]:
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


def _write_figures(path: Path | None, figures: Any) -> None:
    from seqmend.files import write_json

    if path is not None:
        write_json(path, figures)


# ------------------------------------------------------------------------------------------------------------ reading

_Interactions = Annotated[Path, typer.Argument(help="The log: CSV, TSV, Parquet, JSON lines or RecBole .inter.")]
_Items = Annotated[Path | None, typer.Option("--items", help="Items with titles, in any of these formats.")]
_UserColumn = Annotated[str | None, typer.Option("--user-column")]
_ItemColumn = Annotated[str | None, typer.Option("--item-column")]
_TimeColumn = Annotated[str | None, typer.Option("--time-column")]
_RatingColumn = Annotated[str | None, typer.Option("--rating-column")]
_TitleColumn = Annotated[str | None, typer.Option("--title-column")]
_Delimiter = Annotated[str | None, typer.Option("--delimiter", help="Of delimited text; detected otherwise.")]
_Encoding = Annotated[str | None, typer.Option("--encoding", help="Of delimited text; detected otherwise.")]
_Order = Annotated[str, typer.Option("--order", help='"file": the rows are in the order of time.')]
_KeepRepeats = Annotated[bool, typer.Option("--keep-repeats", help="Keep exact repeats of user, item and time.")]


@app.command()
def check(
    interactions: _Interactions,
    items: _Items = None,
    user_column: _UserColumn = None,
    item_column: _ItemColumn = None,
    time_column: _TimeColumn = None,
    rating_column: _RatingColumn = None,
    title_column: _TitleColumn = None,
    delimiter: _Delimiter = None,
    encoding: _Encoding = None,
    order: _Order = "time",
    keep_repeats: _KeepRepeats = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Read a log and say what it holds, what would be set aside and why; nothing is written."""
    from seqmend.study import DataConfig, read_data

    given = dict(locals())
    given.pop("as_json")
    config = _data_config({key: value for key, value in given.items() if key in DataConfig.model_fields})
    with _showing() as report:
        log = read_data(config, report)
    if as_json:
        out_console.print_json(json.dumps(log.summary.to_dict(), default=str))
        return
    out_console.print(_log_table(log.summary.to_dict()))
    if len(log.quarantine):
        table = Table(title="First rows set aside", title_justify="left", box=None, header_style="bold")
        for name in log.quarantine.columns:
            table.add_column(name)
        for row in log.quarantine.head(10).iter_rows():
            table.add_row(*(escape(str(value)) if value is not None else "" for value in row))
        out_console.print(table)


def _data_config(values: dict[str, Any]) -> Any:
    from seqmend.study import RunConfig

    return RunConfig.from_dict(
        {"data": {key: value for key, value in values.items() if value is not None}}, "options"
    ).data


def _log_table(summary: dict[str, Any]) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2))
    for key, value in summary.items():
        if isinstance(value, dict):
            shown = ", ".join(f"{name}: {count}" for name, count in value.items()) or "none"
        elif isinstance(value, bool):
            shown = "yes" if value else "no"
        elif isinstance(value, int):
            shown = f"{value:,}"
        elif isinstance(value, float):
            shown = datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M UTC")
        else:
            shown = str(value) if value is not None else "none"
        table.add_row(f"[dim]{key.replace('_', ' ')}[/]", escape(shown))
    return table


# ------------------------------------------------------------------------------------------------------------ the job


@app.command()
def run(
    config: Annotated[Path | None, typer.Argument(help="A TOML configuration; flags override it.")] = None,
    out: Annotated[Path, typer.Option("--out", help="The run directory.")] = Path("runs/run"),
    interactions: Annotated[
        Path | None, typer.Option("--interactions", help="The log, instead of a configuration.")
    ] = None,
    corpus: Annotated[str | None, typer.Option("--corpus", help="A known corpus (see seqmend data).")] = None,
    items: _Items = None,
    user_column: _UserColumn = None,
    item_column: _ItemColumn = None,
    time_column: _TimeColumn = None,
    rating_column: _RatingColumn = None,
    title_column: _TitleColumn = None,
    delimiter: _Delimiter = None,
    encoding: _Encoding = None,
    order: Annotated[str | None, typer.Option("--order", help='"file": the rows are in the order of time.')] = None,
    keep_repeats: Annotated[bool | None, typer.Option("--keep-repeats/--drop-repeats")] = None,
    model: Annotated[str | None, typer.Option("--model", help='Language model: a name, a folder, or "none".')] = None,
    threshold: Annotated[float | None, typer.Option("--threshold", help="Least confidence of an edit.")] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", help="Number of seeds.")] = None,
    noise: Annotated[str | None, typer.Option("--noise", help="Inject known noise: KIND or KIND:RATIO.")] = None,
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open the report in a browser.")] = False,
) -> None:
    """Do the whole job: judge, edit, retrain, compare, report. The same command resumes a stopped run."""
    given = dict(locals())
    from seqmend.study import DataConfig, RunConfig

    values = RunConfig.read(config).model_dump(exclude_unset=True) if config else {}
    override = {key: given[key] for key in DataConfig.model_fields if given.get(key) is not None}
    if override:
        values["data"] = {**values.get("data", {}), **override}
    if model is not None:
        values["language"] = {**values.get("language", {}), "model": None if model == "none" else model}
    if threshold is not None:
        values["denoise"] = {**values.get("denoise", {}), "threshold": threshold}
    if seeds is not None:
        values["seeds"] = tuple(range(seeds))
    if noise is not None:
        kind, _, ratio = noise.partition(":")
        values["noise"] = {"kind": kind, **({"ratio": ratio} if ratio else {})}
    if not values.get("data"):
        raise InputError("no data", fix="give a configuration file, --interactions FILE or --corpus NAME")
    _do(RunConfig.from_dict(values, str(config) if config else "options"), out, show)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="The run directory.")] = Path("runs/demo"),
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open the report in a browser.")] = True,
) -> None:
    """The main job on MovieLens-100K with 10 % known noise, in a few minutes."""
    from seqmend.study import demo_config

    _do(demo_config(), out, show)


def _do(config: Any, out: Path, show: bool) -> None:
    from seqmend import study
    from seqmend.report import terminal_summary, write_report

    begin = time.monotonic()
    with _showing() as progress:
        study.run(config, out, progress)
        progress("writing the report", 0, 0)
        page = write_report(out)
    out_console.print(terminal_summary(out))
    out_console.print(f"\nReport: [bold]{escape(str(page))}[/]  ({time.monotonic() - begin:,.0f} s)", highlight=False)
    if show and out_console.is_terminal and (os.environ.get("DISPLAY") or sys.platform in ("darwin", "win32")):
        webbrowser.open(page.resolve().as_uri())


@app.command()
def report(run: Annotated[Path, typer.Argument(help="A finished run directory.")]) -> None:
    """Write report.html of a finished run again, and print its summary."""
    from seqmend.report import terminal_summary, write_report

    page = write_report(run)
    out_console.print(terminal_summary(run))
    out_console.print(f"\nReport: [bold]{escape(str(page))}[/]", highlight=False)


# --------------------------------------------------------------------------------------------------------- benchmarks


@bench.command("detect")
def bench_detect(
    folder: Annotated[Path, typer.Argument(help="A folder laid out like llm4dsr-toy.")],
    train: Annotated[
        str, typer.Option("--train", help='"small" (train_5000) or "full" (users without a test row).')
    ] = "small",
    model: Annotated[
        str, typer.Option("--model", help='Language model: a name, a folder, or "none".')
    ] = "smollm2-135m",
    windows: Annotated[int | None, typer.Option("--windows", help="Judge a random part of the test windows.")] = None,
    language_windows: Annotated[
        int | None, typer.Option("--language-windows", help="Windows the model reads whole, most in doubt first.")
    ] = 500,
    tuning_windows: Annotated[
        int, typer.Option("--tuning-windows", help="Self-corrupted windows it reads to learn from.")
    ] = 200,
    seeds: Annotated[int, typer.Option("--seeds", help="Number of seeds.")] = 1,
    journal: Annotated[
        Path, typer.Option("--journal", help="Where answers are kept, so that nothing is asked twice.")
    ] = Path("runs/bench/journal.sqlite"),
    json_file: JsonFile = None,
) -> None:
    """How well known noise is found in LLM4DSR's own test windows, with and without the language model."""
    from seqmend import study

    if train not in ("small", "full"):
        raise InputError(f"--train {train} is not known", expected="small or full")
    with _showing() as progress:
        figures = study.bench_detect_by_name(
            folder,
            train,
            None if model == "none" else model,
            journal,
            windows,
            language_windows,
            tuning_windows,
            seeds,
            progress,
        )
    _write_figures(json_file, figures)
    table = Table(title=f"Detection on {folder.name}, learned from the {train} log", title_justify="left")
    for column in ("witness", "AUROC", "AUPRC", "top-1", "F1", "ECE", "positions"):
        table.add_column(column, justify="left" if column == "witness" else "right")
    rows = {**figures["witnesses"], "fusion without language model": figures["llm_free"]}
    if "gain_auroc" in figures:
        rows["fusion with language model"] = figures
    for name, row in rows.items():
        cells = [f"{row[key]:.3f}" if row[key] is not None else "" for key in ("auroc", "auprc", "top1", "f1", "ece")]
        table.add_row(name, *cells, f"{row['n']:,}")
    out_console.print(table)
    if gain := figures.get("gain_auroc"):
        low, high = gain["ci95"]
        out_console.print(
            f"Gain of the language model: {gain['difference']:+.4f} AUROC, 95 % interval by user "
            f"[{low:+.4f}, {high:+.4f}], {len(figures['seeds'])} seed(s)",
            highlight=False,
        )


@bench.command("ingest")
def bench_ingest(
    rows: Annotated[int, typer.Option("--rows", help="Interactions to generate.")] = 10_000_000,
    json_file: JsonFile = None,
) -> None:
    """Seconds and memory to read, check and number a generated log."""
    from seqmend.study import bench_ingest as measure

    with _showing() as progress:
        figures = measure(rows, progress=progress)
    _write_figures(json_file, figures)
    table = Table(title=f"Reading {rows:,} interactions", title_justify="left")
    for column in ("format", "reader", "seconds", "rows/s", "peak MiB"):
        table.add_column(column, justify="left" if column in ("format", "reader") else "right")
    for format_ in ("parquet", "csv"):
        for reader, row in figures[format_].items():
            table.add_row(
                format_,
                reader,
                f"{row['seconds']:.1f}",
                f"{row['rows_per_second']:,}",
                f"{row['peak_memory_mib']:,}",
            )
    out_console.print(table)
    out_console.print(", ".join(f"{key} {value}" for key, value in figures["machine"].items()), style="dim")


# ------------------------------------------------------------------------------------------------- models and corpora


def _asset_commands(group: typer.Typer, kinds: tuple[str, ...]) -> None:
    @group.callback(invoke_without_command=True)
    def overview(context: typer.Context) -> None:  # pyright: ignore[reportUnusedFunction]
        if context.invoked_subcommand is None:
            _list_assets(kinds)

    @group.command("list")
    def list_() -> None:  # pyright: ignore[reportUnusedFunction]
        """What is known, and what lies here."""
        _list_assets(kinds)

    @group.command("fetch")
    def fetch(name: Annotated[str, typer.Argument()]) -> None:  # pyright: ignore[reportUnusedFunction]
        """Fetch by name; the terms are shown."""
        from seqmend import assets

        with _showing() as progress:
            folder = assets.fetch(name, progress)
        _show_terms(name)
        out_console.print(f"{name} lies in {folder}", highlight=False, markup=False)

    @group.command("remove")
    def remove(name: Annotated[str, typer.Argument()]) -> None:  # pyright: ignore[reportUnusedFunction]
        """Remove from the cache."""
        from seqmend import assets

        removed = assets.remove(name)
        out_console.print(f"removed {name}" if removed else f"{name} was not here", markup=False)


_asset_commands(models, ("model", "encoder"))
_asset_commands(data, ("corpus",))


def _list_assets(kinds: tuple[str, ...]) -> None:
    from seqmend import assets

    table = Table(box=None, header_style="bold", padding=(0, 2))
    for column in ("name", "kind", "size", "licence", "here"):
        table.add_column(column, overflow="fold")
    for entry in assets.listing():
        if entry.kind in kinds:
            table.add_row(
                entry.name,
                entry.kind,
                f"{entry.download_bytes / 1e6:,.0f} MB",
                entry.licence,
                str(entry.location) if entry.state == "cached" else entry.state,
            )
    out_console.print(table)


def _show_terms(name: str) -> None:
    from seqmend import assets

    entry = next(entry for entry in assets.listing() if entry.name == name)
    out_console.print(f"Terms of {name}: {entry.terms}", highlight=False, markup=False)


_: Callable[..., Any] = main
