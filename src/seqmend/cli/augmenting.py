"""seqmend augment: a log to a ledger of pseudo-prior items, each user's with a weight."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from seqmend.cli.app import app
from seqmend.cli.console import JsonFile, out_console, showing, write_figures
from seqmend.cli.cost import cost_cells
from seqmend.cli.options import Config, Model, Set, configured, data_options


@app.command()
@data_options
def augment(
    data: dict[str, Any],
    config: Config = None,
    out: Annotated[
        Path,
        typer.Option("--out", help="The ledger, a .parquet file; users.parquet, journal, recommenders lie beside it."),
    ] = Path("ledger.parquet"),
    model: Model = None,
    pseudo_items: Annotated[int | None, typer.Option("--pseudo-items", help="Most items that a user gets (M).")] = None,
    up_to: Annotated[
        int | None, typer.Option("--up-to", help="Augment only users with so many interactions or fewer.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be asked and cost.")] = False,
    rate: Annotated[
        float | None, typer.Option("--rate", help="Tokens per second for the dry run; measured otherwise.")
    ] = None,
    settings: Set = None,
    json_file: JsonFile = None,
) -> None:
    """Give short histories plausible earlier items, each user as far as they can be trusted. Resumes when stopped."""
    from seqmend import study

    values = configured(config, data, settings, model=model)
    given = {"n_items": pseudo_items, "augment_up_to": up_to}
    if override := {key: value for key, value in given.items() if value is not None}:
        values["augment"] = {**values.get("augment", {}), **override}
    parsed = study.RunConfig.from_dict(values, str(config) if config else "options")
    with showing() as progress:
        said = study.estimate_augment(parsed, progress, rate) if dry_run else study.augment(parsed, out, progress)
    write_figures(json_file, said)
    if dry_run:
        _show_cost(said)
    else:
        _show_result(said)


def _show_cost(said: dict[str, Any]) -> None:
    is_priced = said["total"]["money"] > 0
    table = Table(box=None, header_style="bold")
    table.add_column("the language model would be asked about")
    for column in ("calls", "tokens", "seconds", *(("money",) if is_priced else ())):
        table.add_column(column, justify="right")
    for part in [*said["parts"], {"purpose": "together", **said["total"]}]:
        table.add_row(part["purpose"], *cost_cells(part, is_priced))
    if said["parts"]:
        out_console.print(table)
    speed = "no language model is asked" if said["rate"] is None else f"{said['rate']:,.0f} tokens per second"
    out_console.print(f"{said['users']:,} users would be augmented; {speed}", highlight=False)


def _show_result(said: dict[str, Any]) -> None:
    table = Table(box=None, header_style="bold")
    table.add_column("users")
    table.add_column("", justify="right")
    for status, count in said["by_status"].items():
        table.add_row(status.replace("_", " "), f"{count:,}")
    out_console.print(table)
    lines = [f"Pseudo items: {said['pseudo_items']:,}"]
    if said["weight"] is not None:
        lines[0] += f"; mean weight {said['weight']:.3f}"
    if len(said["blend"]) > 1:
        told = Counter[str]()
        for source, weight in said["blend"].items():
            told[source.partition(",")[0]] += weight
        lines.append("Weights in the pool: " + ", ".join(f"{name} {weight:.2f}" for name, weight in told.items()))
    gain = said["gain"]
    if gain["mean"] is not None:
        low, high = gain["ci95"]
        lines.append(
            f"Recovery with pseudo items over without: {gain['mean']:+.4f} [{low:+.4f}, {high:+.4f}] "
            f"({gain['n']:,} users)"
        )
    if said["truncated"]:
        lines.append(f"{said['truncated']:,} users' histories are longer than the recommender reads with pseudo items")
    llm = said["llm"]
    if "model" in llm:
        tokens = llm["prompt_tokens"] + llm["completion_tokens"]
        lines.append(
            f"Language model: {llm['calls']:,} calls of {tokens:,} tokens, {llm['seconds']:,.0f} s; "
            f"{llm['cache_hits']:,} answers were kept from before"
        )
    for line in lines:
        out_console.print(line, highlight=False)
    out_console.print(f"Users: [bold]{escape(said['users_file'])}[/]", highlight=False)
    out_console.print(f"Ledger: [bold]{escape(said['ledger'])}[/]", highlight=False)
