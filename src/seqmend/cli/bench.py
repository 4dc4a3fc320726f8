"""seqmend bench: the measurements behind every claim."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from seqmend.cli.app import app
from seqmend.cli.console import JsonFile, out_console, showing, write_figures
from seqmend.cli.options import JOURNAL, JournalFile, LearnedFrom, ReleasedFolder, TestWindows

bench = typer.Typer(help="The measurements behind every claim; each prints a table and writes it with --json FILE.")
app.add_typer(bench, name="bench")


@bench.command("detect")
def bench_detect(
    folder: ReleasedFolder,
    train: LearnedFrom = "small",
    model: Annotated[
        str, typer.Option("--model", help='Language model: a name, a folder, or "none".')
    ] = "smollm2-135m",
    windows: TestWindows = None,
    language_windows: Annotated[
        int | None, typer.Option("--language-windows", help="Windows the model reads whole, most in doubt first.")
    ] = 500,
    tuning_windows: Annotated[
        int, typer.Option("--tuning-windows", help="Self-corrupted windows it reads to learn from.")
    ] = 200,
    seeds: Annotated[int, typer.Option("--seeds", help="Number of seeds.")] = 1,
    journal: JournalFile = JOURNAL,
    json_file: JsonFile = None,
) -> None:
    """How well known noise is found in LLM4DSR's own test windows, with and without the language model."""
    from seqmend import study

    with showing() as progress:
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
    write_figures(json_file, figures)
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
    if (edited := figures["edited_clean"]) is not None:
        out_console.print(f"Without the injected noise {edited:.2%} of the positions would be edited.", highlight=False)
    gains = {"the language model": "gain_auroc", "the mender over the plainest fusion": "gain_over_simple"}
    for whose, key in gains.items():
        if gain := figures.get(key):
            low, high = gain["ci95"]
            out_console.print(
                f"Gain of {whose}: {gain['difference']:+.4f} AUROC, 95 % interval by user "
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

    with showing() as progress:
        figures = measure(rows, progress=progress)
    write_figures(json_file, figures)
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


@bench.command("backbones")
def bench_backbones(
    corpus_folder: Annotated[
        Path | None,
        typer.Option("--corpus-folder", help="A folder with interactions.parquet and items.parquet."),
    ] = None,
    recbole_python: Annotated[
        Path | None, typer.Option("--recbole-python", help="Interpreter of an environment that has RecBole.")
    ] = None,
    rectools_python: Annotated[
        Path | None, typer.Option("--rectools-python", help="Interpreter of an environment that has RecTools.")
    ] = None,
    replay_python: Annotated[
        Path | None, typer.Option("--replay-python", help="Interpreter of an environment that has RePlay.")
    ] = None,
    epochs: Annotated[int, typer.Option("--epochs", min=2, help="Of every side; the first is not counted.")] = 20,
    recbole_epochs: Annotated[
        int | None, typer.Option("--recbole-epochs", min=2, help="Of RecBole instead: its epochs take minutes.")
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Of every side.")] = 2,
    scaling: Annotated[
        bool, typer.Option("--scaling", help="Also time epochs on generated logs of growing size.")
    ] = False,
    json_file: JsonFile = None,
) -> None:
    """Seconds per epoch and per full ranking of SASRec, here, in plain PyTorch and in other frameworks."""
    from seqmend import study

    pythons = {"recbole": recbole_python, "rectools": rectools_python, "replay": replay_python}
    config = study.BackbonesConfig.model_validate(
        {
            "corpus_folder": corpus_folder,
            "pythons": {name: python for name, python in pythons.items() if python is not None},
            "epochs": epochs,
            "recbole_epochs": recbole_epochs,
            "n_threads": threads,
        }
    )
    with showing() as progress:
        figures = study.bench_backbones(config, progress)
        if scaling:
            figures["scaling"] = study.bench_scaling(config, progress)
    write_figures(json_file, figures)
    corpus = figures["corpus"]
    table = Table(
        title=f"SASRec on {corpus['name']}: {corpus['users']:,} users, {corpus['items']:,} items, "
        f"{corpus['interactions']:,} interactions",
        title_justify="left",
        box=None,
        header_style="bold",
    )
    for column in ("side", "rows", "epochs", "s/epoch", "s/ranking", "NDCG@10"):
        table.add_column(column, justify="left" if column == "side" else "right", no_wrap=True)
    notes: list[str] = []
    for side, row in figures["sides"].items():
        if row["note"] not in notes:
            notes.append(row["note"])
        table.add_row(
            f"{escape(side)} [dim]{notes.index(row['note']) + 1}[/]",
            f"{row['rows']:,}",
            str(row["epochs"]),
            f"{row['seconds_per_epoch']:.2f}",
            f"{row['evaluation_seconds']:.2f}",
            f"{row['ndcg@10']:.4f}",
        )
    out_console.print(table)
    for number, note in enumerate(notes, 1):
        out_console.print(f"{number} {note}", style="dim", highlight=False, markup=False)
    versions = {side.partition(",")[0]: row["version"] for side, row in figures["sides"].items()}
    out_console.print(", ".join(f"{side} {version}" for side, version in versions.items()), style="dim")
    if scaling:
        table = Table(title="Seconds per epoch on generated logs", title_justify="left")
        for column in ("more", "sizes", "s/epoch", "exponent"):
            table.add_column(column, justify="right" if column == "exponent" else "left")
        for dimension, row in figures["scaling"].items():
            sizes, seconds = (", ".join(f"{value:,}" for value in row[key]) for key in ("sizes", "seconds_per_epoch"))
            table.add_row(dimension, sizes, seconds, f"{row['exponent']:.2f}")
        out_console.print(table)
    out_console.print(", ".join(f"{key} {value}" for key, value in figures["machine"].items()), style="dim")
