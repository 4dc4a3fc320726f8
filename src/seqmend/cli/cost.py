"""What `--dry-run` answers."""

from typing import Any

from rich.table import Table

from seqmend.cli.console import out_console

_PURPOSES = {
    "titles": "every title, once",
    "tuning": "windows to learn how far to trust reading",
    "windows": "windows of the {view} histories",
    "replacements": "replacements for the {view} histories",
}


def show_cost(figures: dict[str, Any]) -> None:
    """Print what `seqmend.study.estimate` found."""
    is_priced = figures["total"]["money"] > 0
    table = Table(box=None, header_style="bold")
    table.add_column("the language model would be asked about")
    for column in ("windows", "calls", "tokens", "seconds", *(("money",) if is_priced else ())):
        table.add_column(column, justify="right", no_wrap=True)
    for part in figures["parts"]:
        windows = "" if part["windows"] is None else f"{part['windows']:,} of {part['windows_total']:,}"
        table.add_row(_named(part), windows, *cost_cells(part, is_priced))
    if figures["parts"]:
        table.add_row("at most, together", "", *cost_cells(figures["total"], is_priced), style="bold")
        out_console.print(table)
        if figures["rates"]:
            rates = ", ".join(f"{method} {rate:,.0f}" for method, rate in figures["rates"].items())
            out_console.print(f"Tokens per second: {rates}. No window is read where reading has not shown to help.")
    elif not figures["unforeseen"]:
        out_console.print("No language model would be asked.")
    for mender in figures["unforeseen"]:
        out_console.print(f"What {mender} asks is known, and said, when its recommender is trained.")
    for name, entry in figures["budget"].items():
        out_console.print(f"Budget of {name}: {entry['limit']:,.6g}; wanted: {entry['wanted']:,.6g}", highlight=False)
    if ends := figures["ends"]:
        done = f"The budget ends after {ends['share']:.0%} of: {_named(ends)}"
        if ends["purpose"] == "titles":
            out_console.print(f"{done}. Without all titles the run stops: it needs more.", style="bold red")
        else:
            out_console.print(f"{done}. What is left keeps its verdict without the reading.", style="yellow")
    elif figures["budget"]:
        out_console.print("The budget pays for all of it.")
    trainings = figures["trainings"]
    out_console.print(
        f"Trainings: {trainings['n']} ({', '.join(trainings['arms'])}; {trainings['seeds']} seeds), each at most "
        f"{trainings['epochs']} epochs of {trainings['targets']:,} interactions",
        highlight=False,
    )


def _named(part: dict[str, Any]) -> str:
    purpose: str = part["purpose"]
    return _PURPOSES.get(purpose, purpose).format(view={"train": "training"}.get(part["view"], part["view"]))


def cost_cells(used: dict[str, Any], is_priced: bool) -> list[str]:
    """Calls, tokens, seconds and, where tokens have a price, money."""
    tokens = used["prompt_tokens"] + used["completion_tokens"]
    cells = [f"{used['calls']:,}", f"{tokens:,}", f"{used['seconds']:,.0f}"]
    return [*cells, f"{used['money']:,.4g}"] if is_priced else cells
