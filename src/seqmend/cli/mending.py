"""A mender by itself, its ledger carried out or undone, a run's mended log for other frameworks."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from seqmend.cli.app import app
from seqmend.cli.console import JsonFile, out_console, showing, write_figures
from seqmend.cli.options import Config, ConfigFile, Model, Set, Threshold, configured, data_options

_ShownStatus = Annotated[str, typer.Option("--status", help="Edits to carry out: accepted, or proposed.")]


@app.command()
@data_options
def denoise(
    data: dict[str, Any],
    config: Config = None,
    out: Annotated[
        Path, typer.Option("--out", help="The ledger, a .parquet file; the journal is put beside it.")
    ] = Path("ledger.parquet"),
    model: Model = None,
    threshold: Threshold = None,
    settings: Set = None,
    json_file: JsonFile = None,
) -> None:
    """Judge a log and write what would be edited to a ledger. The same command resumes a stopped one."""
    from seqmend import study

    values = configured(config, data, settings, model=model, threshold=threshold)
    parsed = study.RunConfig.from_dict(values, str(config) if config else "options")
    with showing() as progress:
        said = study.denoise(parsed, out, progress)
    write_figures(json_file, said)
    table = Table(box=None, header_style="bold")
    for column in ("view", "interactions", "edits", "accepted", "users edited", "weighted down"):
        table.add_column(column, justify="left" if column == "view" else "right")
    for view, row in said["views"].items():
        numbers = (row[key] for key in ("interactions", "proposed", "accepted", "users", "reweighted"))
        table.add_row(view, *(f"{number:,}" for number in numbers))
    out_console.print(table)
    llm = said["llm"]
    out_console.print(f"Estimated noise: {said['noise_rate']:.1%} of the interactions", highlight=False)
    if "model" in llm:
        tokens = llm["prompt_tokens"] + llm["completion_tokens"]
        out_console.print(
            f"Language model read {llm['windows_asked']:,} of {llm['windows_total']:,} windows; {llm['calls']:,} calls "
            f"of {tokens:,} tokens, {llm['seconds']:,.0f} s; {llm['cache_hits']:,} answers were kept from before",
            highlight=False,
        )
    out_console.print(f"Ledger: [bold]{escape(str(out))}[/]", highlight=False)


@app.command("apply")
@data_options
def apply_(
    data: dict[str, Any],
    ledger: Annotated[Path, typer.Argument(help="What seqmend denoise or a run wrote.")],
    out: Annotated[Path, typer.Option("--out", help="The mended log: .parquet, .csv or .tsv.")],
    config: ConfigFile = None,
    view: Annotated[str, typer.Option("--view", help="Edits of the training part, or of test histories.")] = "train",
    threshold: Threshold = None,
    status: _ShownStatus = "accepted",
    undo: Annotated[
        bool, typer.Option("--undo", help="Give the original back: --interactions is the mended log then.")
    ] = False,
    settings: Set = None,
) -> None:
    """Carry a ledger's accepted edits out on the log that it was proposed for, or undo them exactly."""
    from seqmend import study

    values = configured(config, data, settings)
    parsed = study.RunConfig.from_dict(values, str(config) if config else "options").data
    chosen: dict[str, Any] = {"view": view, "threshold": threshold, "status": status}
    with showing() as progress:
        if undo:
            said = study.undo_ledger(ledger, parsed, out, **chosen)
        else:
            said = study.apply_ledger(ledger, parsed, out, **chosen, progress=progress)
    out_console.print(
        f"{said['edits']:,} edits {'undone' if undo else 'carried out'}: {said['interactions']:,} interactions of "
        f"{said['users']:,} users in [bold]{escape(str(out))}[/]",
        highlight=False,
    )
    if left := said.get("instance_edits"):
        out_console.print(f"{left:,} edits of single training instances are none of the log and were left out")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A finished run directory.")],
    format_: Annotated[
        str, typer.Option("--format", help="recbole, rectools, rectools-csv, replay, parquet or csv.")
    ] = "parquet",
    out: Annotated[Path | None, typer.Option("--out", help="Folder; by default mended/FORMAT in the run.")] = None,
) -> None:
    """Write the mended log of a run and its items for another framework."""
    from seqmend import study

    written = study.export_run(run, format_, out)
    out_console.print(f"Interactions: [bold]{escape(str(written.interactions))}[/]", highlight=False)
    out_console.print(f"Items: [bold]{escape(str(written.items))}[/]", highlight=False)
