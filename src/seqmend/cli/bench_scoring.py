"""seqmend bench scoring: how fast windows are scored, beside the reference way."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from seqmend.cli.bench import bench
from seqmend.cli.console import JsonFile, out_console, showing, write_figures


@bench.command("scoring")
def bench_scoring(
    folder: Annotated[
        Path | None,
        typer.Argument(help="Holds interactions.parquet and items.parquet; MovieLens-100K where absent."),
    ] = None,
    model: Annotated[str, typer.Option("--model", help="Name or folder of a language model.")] = "smollm2-135m",
    windows: Annotated[int, typer.Option("--windows", min=1, help="Windows of ten titles.")] = 16,
    dtype: Annotated[str, typer.Option("--dtype", help="auto, float32, bfloat16 or float16; of both sides.")] = "auto",
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, ...; of both sides.")] = "cpu",
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Of both sides.")] = None,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Timed passes of each side, in turns.")] = 3,
    json_file: JsonFile = None,
) -> None:
    """Windows per second of our way of scoring and of the reference way, with the same model and number format."""
    from seqmend import study

    with showing() as progress:
        titles = study.windows_of_titles(folder, windows, progress)
        figures = study.bench_scoring(
            model, titles, dtype=dtype, device=device, threads=threads, repeats=repeats, progress=progress
        )
    write_figures(json_file, figures)
    table = Table(
        title=f"Scoring {figures['n_windows']} windows of ten titles with {figures['model']}",
        title_justify="left",
        box=None,
        header_style="bold",
    )
    for column in ("workload", "side", "windows/s", "tokens/s", "tokens", "utilisation", "CPU s", "ratio"):
        table.add_column(column, justify="left" if column in ("workload", "side") else "right")
    for workload, sides in figures["workloads"].items():
        for side in ("reference", "seqmend"):
            row = sides[side]
            table.add_row(
                workload,
                side,
                f"{row['windows_per_second']:.2f}",
                f"{row['tokens_per_second']:,.0f}",
                f"{row['tokens']:,}",
                f"{row['utilisation']:.0%}",
                f"{row['cpu_seconds']:.1f}",
                f"{sides['ratio']:.1f}" if side == "seqmend" else "",
            )
    out_console.print(table)
    for workload, sides in figures["workloads"].items():
        out_console.print(
            f"{workload}: scores differ by at most {sides['max_difference']:.4f} nats; "
            f"{sides['cpu_ratio']:.1f} times fewer CPU seconds",
            highlight=False,
        )
    out_console.print(f"matrix products: {figures['peak_flops'] / 1e9:,.0f} Gflop/s", style="dim", highlight=False)
    out_console.print(", ".join(f"{key} {value}" for key, value in figures["machine"].items()), style="dim")
