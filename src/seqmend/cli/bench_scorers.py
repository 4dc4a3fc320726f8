"""seqmend bench scorers: ways of asking a language model which item does not belong."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from seqmend.cli.bench import bench
from seqmend.cli.console import JsonFile, out_console, showing, write_figures


@bench.command("scorers")
def bench_scorers(
    folder: Annotated[Path, typer.Argument(help="A folder laid out like llm4dsr-toy.")],
    model: Annotated[
        list[str] | None, typer.Option("--model", help="Name or folder of a language model; may be repeated.")
    ] = None,
    split: Annotated[
        Literal["valid", "test"], typer.Option("--split", help="Released windows to judge; choose on valid.")
    ] = "valid",
    windows: Annotated[int, typer.Option("--windows", min=1, help="How many of them, drawn at random.")] = 400,
    tuning_windows: Annotated[
        int, typer.Option("--tuning-windows", min=50, help="Self-corrupted training windows to learn from.")
    ] = 400,
    adapters: Annotated[
        Path | None,
        typer.Option(
            "--tune-into", file_okay=False, help="Folder for adapters: also ask every model tuned as LLM4DSR is."
        ),
    ] = None,
    lesson: Annotated[int, typer.Option("--tune-windows", min=1, help="Training windows of that tuning.")] = 1000,
    epochs: Annotated[int, typer.Option("--tune-epochs", min=1, help="Passes over them.")] = 2,
    learning_rate: Annotated[float, typer.Option("--tune-rate", min=1e-9, help="Learning rate.")] = 1e-4,
    json_file: JsonFile = None,
) -> None:
    """Every way of asking, on the same windows: alone, beside the fusion without a model, and what it costs."""
    from seqmend import study

    names = tuple(model or ["smollm2-135m"])
    tuning = {
        "windows": lesson,
        "held_out": max(lesson // 10, 1),
        "lora": {"epochs": epochs, "learning_rate": learning_rate, "batch_size": 16},
    }
    with showing() as progress:
        figures = study.bench_scorers_by_name(folder, names, split, windows, tuning_windows, adapters, tuning, progress)
    write_figures(json_file, figures)
    table = Table(
        title=f"{figures['n_windows']} {split} windows of {folder.name}, {figures['n_positions']:,} positions",
        title_justify="left",
        box=None,
        header_style="bold",
    )
    for column in ("model", "way", "AUROC alone", "gain beside the fusion", "95 % by user", "trust", "s", "tokens"):
        table.add_column(column, justify="left" if column in ("model", "way") else "right")
    for name, ways in figures["models"].items():
        for way, row in ways.items():
            gain, (low, high) = row["gain"]["difference"], row["gain"]["ci95"]
            table.add_row(
                name,
                way,
                f"{row['auroc_alone']:.3f}",
                f"{gain:+.4f}",
                f"{low:+.4f} {high:+.4f}",
                f"{row['trust']:.2f}",
                f"{row['seconds']:.0f}",
                f"{row['prompt_tokens']:,}",
            )
    out_console.print(table)
    out_console.print(
        f"fusion without language model: AUROC {figures['llm_free']['auroc']:.3f}; what each way may change of it was "
        f"learned on {figures['n_tuning_windows']} corrupted training windows",
        highlight=False,
    )
