"""The main job and what belongs to it: check, run, demo, report."""

import json
import os
import sys
import time
import webbrowser
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from seqmend.cli.app import app
from seqmend.cli.console import JsonFile, out_console, showing, write_figures
from seqmend.cli.cost import show_cost
from seqmend.cli.options import (
    Config,
    Delimiter,
    Encoding,
    Interactions,
    ItemColumn,
    Items,
    KeepRepeats,
    Model,
    Order,
    RatingColumn,
    Set,
    Threshold,
    TimeColumn,
    TitleColumn,
    UserColumn,
    configured,
    data_options,
)

_COMPARED = ("hr@10", "ndcg@10", "hr@20", "ndcg@20")


@app.command()
def check(
    interactions: Interactions,
    items: Items = None,
    user_column: UserColumn = None,
    item_column: ItemColumn = None,
    time_column: TimeColumn = None,
    rating_column: RatingColumn = None,
    title_column: TitleColumn = None,
    delimiter: Delimiter = None,
    encoding: Encoding = None,
    order: Order = "time",
    keep_repeats: KeepRepeats = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Read a log and say what it holds, what would be set aside and why; nothing is written."""
    from seqmend.study import DataConfig, read_data

    given = dict(locals())
    given.pop("as_json")
    config = _data_config({key: value for key, value in given.items() if key in DataConfig.model_fields})
    with showing() as report:
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


@app.command()
@data_options
def run(
    data: dict[str, Any],
    config: Config = None,
    out: Annotated[Path, typer.Option("--out", help="The run directory.")] = Path("runs/run"),
    menders: Annotated[
        str | None,
        typer.Option("--menders", help="One after another, comma separated: denoise,correct or denoise,augment."),
    ] = None,
    model: Model = None,
    threshold: Threshold = None,
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="Number of seeds.")] = None,
    noise: Annotated[str | None, typer.Option("--noise", help="Inject known noise: KIND or KIND:RATIO.")] = None,
    settings: Set = None,
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Trainings at once.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be asked, trained and spent; nothing is written.")
    ] = False,
    rate: Annotated[
        float | None, typer.Option("--rate", help="Tokens per second that --dry-run assumes; else measured here.")
    ] = None,
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open the report in a browser.")] = False,
) -> None:
    """Do the whole job: judge, edit, retrain, compare, report. The same command resumes a stopped run."""
    from seqmend.study import RunConfig, estimate

    values = configured(config, data, settings, model=model, threshold=threshold)
    if menders is not None:
        values["menders"] = tuple(name.strip() for name in menders.split(","))
    if seeds is not None:
        values["seeds"] = tuple(range(seeds))
    if noise is not None:
        kind, _, ratio = noise.partition(":")
        values["noise"] = {"kind": kind, **({"ratio": ratio} if ratio else {})}
    parsed = RunConfig.from_dict(values, str(config) if config else "options")
    if dry_run:
        with showing() as progress:
            figures = estimate(parsed, progress, rate)
        show_cost(figures)
        return
    _do(parsed, out, show, jobs)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="The run directory.")] = Path("runs/demo"),
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open the report in a browser.")] = True,
) -> None:
    """The main job on MovieLens-100K with 10 % known noise, in a few minutes."""
    from seqmend.study import demo_config

    _do(demo_config(), out, show)


def _do(config: Any, out: Path, show: bool, jobs: int | None = None) -> None:
    from seqmend import study
    from seqmend.report import terminal_summary, write_report

    begin = time.monotonic()
    with showing() as progress:
        study.run(config, out, progress, jobs)
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


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Finished run directories.")],
    json_file: JsonFile = None,
) -> None:
    """The arms of several runs in one table."""
    from seqmend import study

    figures = study.compare_runs(runs)
    write_figures(json_file, figures)
    table = Table(box=None, header_style="bold")
    for column in ("run", "backbone", "arm", "test histories"):
        table.add_column(column, overflow="fold")
    for column in ("seeds", *(name.upper() for name in _COMPARED)):
        table.add_column(column, justify="right", no_wrap=True)
    names = [arm["run"] for arm in figures["arms"]]
    for number, arm in enumerate(figures["arms"]):
        is_first = number == 0 or names[number - 1] != names[number]
        table.add_row(
            escape(names[number]) if is_first else "",
            arm["backbone"],
            arm["arm"],
            arm["test_history"].replace("_", " "),
            str(arm["seeds"]),
            *(f"{arm['metrics'][name]:.4f}" for name in _COMPARED),
            end_section=number + 1 < len(names) and names[number + 1] != names[number],
        )
    out_console.print(table)
    if not figures["same_targets"]:
        out_console.print(
            "These runs were measured on different data, splits or noise: compare within a run only.", style="yellow"
        )
