"""seqmend bench correct: who tells which inputs go with a target, on released rows whose answer is known."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from seqmend.cli.bench import bench
from seqmend.cli.console import JsonFile, out_console, showing, write_figures

_SHORTCUTS = ("input frequency", "learned with frequency")


@bench.command("correct")
def bench_correct(
    folder: Annotated[Path, typer.Argument(help="A folder with synthetic_instances.parquet and items.parquet.")],
    model: Annotated[str, typer.Option("--model", help="Name or folder of a language model.")] = "smollm2-135m",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Splits, each with its own tuning.")] = 1,
    rows: Annotated[int | None, typer.Option("--rows", min=20, help="Take a random part of the rows.")] = None,
    summaries: Annotated[
        bool, typer.Option("--summaries", help="Let judges read the released summaries, which a larger model wrote.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of adapters and answers; the same command goes on in it.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """How well the tuned model tells which inputs go with a target, beside judges that need no model or no tuning."""
    from seqmend.study.correct_studies import bench_correct_by_name

    with showing() as progress:
        figures = bench_correct_by_name(folder, model, out, seeds, rows, summaries, progress=progress)
    write_figures(json_file, figures)
    table = Table(
        title=f"{figures['n_test_rows']:,} test rows of {figures['folder']}, split by target, {len(figures['seeds'])} "
        "seed(s)",
        title_justify="left",
        box=None,
        header_style="bold",
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for column in ("judge", "F1", "95 %", "AUROC", "new", "answer minus it"):
        table.add_column(column, justify="left" if column == "judge" else "right")
    table.add_row(f"[bold]{figures['answer']}[/]", *_cells(figures), "")
    absent: list[str] = []
    for name, row in figures["controls"].items():
        if row["f1"] is None:
            absent.append(f"No {name}: {row['reason']}.")
            continue
        gain = row["gain"]
        table.add_row(
            f"{name} *" if name in _SHORTCUTS else name, *_cells(row), _with_interval(gain["difference"], gain)
        )
    out_console.print(table)
    out_console.print(
        " ".join(
            [
                "Intervals by target item; new: AUROC on inputs that are in no training row.",
                "* knows how often an item is an input of a training row: noise is drawn without repetition here, so "
                "that an item which was met before is more likely a relevant one.",
                *absent,
            ]
        ),
        style="dim",
        highlight=False,
    )
    out_console.print(f"{figures['model']}, {figures['seconds']:,.0f} s", style="dim", highlight=False, markup=False)


def _cells(row: dict[str, Any]) -> list[str]:
    low, high = row["ci95"]
    ranked = [f"{row[key]:.3f}" if row[key] is not None else "" for key in ("auroc", "auroc_unseen")]
    return [f"{row['f1']:.3f}", f"{low:.3f} {high:.3f}", *ranked]


def _with_interval(value: float, row: dict[str, Any]) -> str:
    low, high = row["ci95"]
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"
