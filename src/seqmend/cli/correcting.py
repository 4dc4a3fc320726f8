"""seqmend correct: a log to a ledger of edits of single training instances."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from seqmend.cli.app import app
from seqmend.cli.console import JsonFile, out_console, showing, write_figures
from seqmend.cli.options import Config, Model, Set, configured, data_options

_AMOUNTS = ("calls", "tokens", "seconds")
_PURPOSES = {
    "summaries": "what every item is",
    "prompt": "what its errors are, and better words",
    "rules": "rows to choose rules by",
    "weighing": "rows to weigh its answers by",
    "calibration": "how far to trust what it writes",
    "inputs": "which inputs go with the target",
    "targets": "which other target fits",
}


@app.command()
@data_options
def correct(
    data: dict[str, Any],
    config: Config = None,
    out: Annotated[
        Path, typer.Option("--out", help="The ledger, a .parquet file; journal, recommender and page lie beside it.")
    ] = Path("ledger.parquet"),
    model: Model = None,
    share: Annotated[
        float | None,
        typer.Option("--share", help="Share of the instances to ask about, the least sure first."),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Least probability of an input that goes with its target.")
    ] = None,
    teacher: Annotated[
        str | None, typer.Option("--teacher", help="How the model learns the question: none, textual-gradient, lora.")
    ] = None,
    settings: Set = None,
    json_file: JsonFile = None,
) -> None:
    """Correct the training instances that a recommender cannot judge. The same command resumes a stopped one."""
    from seqmend import study
    from seqmend.report import write_correct_report

    values = configured(config, data, settings, model=model)
    given = {"uncertain_share": share, "threshold": threshold, "teacher": teacher}
    if override := {key: value for key, value in given.items() if value is not None}:
        values["correct"] = {**values.get("correct", {}), **override}
    parsed = study.RunConfig.from_dict(values, str(config) if config else "options")
    with showing() as progress:
        said = study.correct(parsed, out, progress, lambda parts: out_console.print(_forecast_table(parts)))
        page = write_correct_report(out)
    write_figures(json_file, said)
    out_console.print(_spent_table(said))
    done = ", ".join(f"{count:,} {action}" for action, count in said["actions"].items())
    out_console.print(
        f"{said['uncertain']:,} of {said['instances']:,} training instances were uncertain: {done}", highlight=False
    )
    if said["noise_rate"] is not None:
        out_console.print(
            f"{said['doubted']:,} of them have a target that is noise more likely than not, and their inputs were not "
            f"asked about; the log is taken to have {said['noise_rate']:.1%} of noise",
            highlight=False,
        )
    if said["decided"]:
        out_console.print(
            f"About {said['decided']:,} others the model was not asked either: what stands around their inputs decided "
            "what its answer could not have changed",
            highlight=False,
        )
    if "together" in said["weighing"]:
        model, evidence, together = (said["weighing"][name] for name in ("model", "evidence", "together"))
        out_console.print(
            "Where it is known which inputs go along, they are told by the language model alone with AUROC "
            f"{model:.2f}, without it {evidence:.2f}, by both together {together:.2f}",
            highlight=False,
        )
    kinds = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in said["edits"].items()) or "none"
    out_console.print(f"Edits: {kinds}", highlight=False)
    out_console.print(f"Ledger: [bold]{escape(str(out))}[/]", highlight=False)
    out_console.print(f"Page: [bold]{escape(str(page))}[/]", highlight=False)


def _forecast_table(parts: list[dict[str, Any]]) -> Table:
    table = Table(title="The language model will be asked", title_justify="left", box=None, header_style="bold")
    table.add_column("")
    for column in _AMOUNTS:
        table.add_column(column, justify="right")
    for part in parts:
        table.add_row(_PURPOSES.get(part["stage"], part["stage"]), *(_bounds(part, key) for key in _AMOUNTS))
    return table


def _bounds(part: dict[str, Any], key: str) -> str:
    least, most = (part[end][key] for end in ("least", "most"))
    if most is None:
        return ""
    return f"{most:,.0f}" if least == most else f"{least or 0:,.0f} to {most:,.0f}"


def _spent_table(said: dict[str, Any]) -> Table:
    table = Table(title="It was asked", title_justify="left", box=None, header_style="bold")
    table.add_column("")
    for column in _AMOUNTS:
        table.add_column(column, justify="right")
    for part in said["spent"]:
        cells = (f"{part[key]:,.0f}" for key in _AMOUNTS)
        table.add_row(_PURPOSES.get(part["stage"], part["stage"]), *cells)
    table.add_row("answers kept from before", f"{said['llm']['cache_hits']:,}", "", "", style="dim")
    return table
