"""Backbones by themselves: train and evaluate."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from seqmend.cli.app import app
from seqmend.cli.console import JsonFile, out_console, showing, write_figures
from seqmend.cli.options import ConfigFile, Set, configured, data_options
from seqmend.errors import InputError

_SHOWN = ("hr@1", "hr@5", "hr@10", "hr@20", "ndcg@10", "mrr")  # all others stand in the files


@app.command()
@data_options
def train(
    data: dict[str, Any],
    out: Annotated[Path, typer.Option("--out", help="Folder for the models and their metrics.")],
    config: ConfigFile = None,
    backbone: Annotated[
        str | None,
        typer.Option("--backbone", help="sasrec, bert4rec, gru4rec, caser, fmlprec, lrurec, or a robust one."),
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Most passes over the log.")] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="Number of seeds; 1 by default.")] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Trainings at once.")] = None,
    settings: Set = None,
    json_file: JsonFile = None,
) -> None:
    """Train a backbone on a log as it is, and measure it on held-out interactions. The same command resumes."""
    from seqmend import study

    values = configured(config, data, settings)
    if backbone is not None:
        same = values.get("backbone", {}).get("name") in (None, backbone)
        values["backbone"] = {**(values.get("backbone", {}) if same else {}), "name": backbone}
    if epochs is not None:
        values["training"] = {**values.get("training", {}), "epochs": epochs}
    values["seeds"] = tuple(range(seeds)) if seeds else values.get("seeds", (0,))
    parsed = study.RunConfig.from_dict(values, str(config) if config else "options")
    with showing() as progress:
        metrics = study.train_backbone(parsed, out, progress, jobs)
    write_figures(json_file, metrics)
    _print(metrics, "test")
    out_console.print(f"Models: [bold]{escape(str(out / 'models'))}[/]", highlight=False)


@app.command()
@data_options
def evaluate(
    data: dict[str, Any],
    model: Annotated[Path, typer.Argument(help="What seqmend train wrote, or one of its model folders.")],
    config: ConfigFile = None,
    part: Annotated[str, typer.Option("--part", help="valid or test.")] = "test",
    negatives: Annotated[
        int, typer.Option("--negatives", min=0, help="Rank also among so many sampled negatives per user.")
    ] = 0,
    memory: Annotated[int, typer.Option("--memory", min=1, help="MiB that scores may take at once.")] = 64,
    settings: Set = None,
    json_file: JsonFile = None,
) -> None:
    """Measure trained backbones on a log; by default the one that they were trained on."""
    from seqmend import study

    if part not in ("valid", "test"):
        raise InputError(f"--part {part} is not known", expected="valid or test")
    own = model / "config.toml"
    if config is None and not data and own.exists():
        config = own
    values = configured(config, data, settings)
    parsed = study.RunConfig.from_dict(values, str(config) if config else "options")
    with showing() as progress:
        metrics = study.evaluate_backbone(model, parsed, progress, part=part, negatives=negatives, memory=memory << 20)
    write_figures(json_file, metrics)
    _print(metrics, part)


def _print(metrics: dict[str, Any], part: str) -> None:
    dataset = metrics["dataset"]
    table = Table(
        title=f"{dataset['name']}: full ranking of {dataset['items']:,} items, {part} targets, {dataset['split']}",
        title_justify="left",
        box=None,
        header_style="bold",
    )
    table.add_column("backbone", no_wrap=True)
    for column in ("seed", *_SHOWN):
        table.add_column(column.upper() if column != "seed" else column, justify="right", no_wrap=True)
    for arm in metrics["arms"]:
        table.add_row(arm["backbone"], str(arm["seed"]), *(f"{arm['metrics'][name]:.4f}" for name in _SHOWN))
        if sampled := arm.get("sampled"):
            label = f"among {sampled['negatives']} sampled"
            table.add_row(label, "", *(f"{sampled[name]:.4f}" for name in _SHOWN), style="dim")
    out_console.print(table)
