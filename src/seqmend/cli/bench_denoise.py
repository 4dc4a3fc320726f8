"""seqmend bench denoise-*: the studies of the denoise mender, each with a table, its figures as JSON, and a chart."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.table import Table

from seqmend.cli.bench import bench
from seqmend.cli.console import out_console, showing
from seqmend.cli.options import Threshold
from seqmend.cli.study_options import StudyOptions, TrainingStudyOptions, noise_kind, numbers, study_options

_Corpus = Annotated[
    str, typer.Argument(help="A known corpus, or a folder with interactions.parquet and items.parquet.")
]
_Seeds = Annotated[int, typer.Option("--seeds", min=1, help="Repetitions, each with its own noise and training.")]
_Kind = Annotated[str, typer.Option("--kind", help="Of the injected noise.")]
_Ratio = Annotated[float, typer.Option("--ratio", help="Injected items per training interaction.")]
_Train = Annotated[bool, typer.Option("--train", help="Also train a backbone on every version of the log.")]


@bench.command("denoise-threshold")
@study_options
def denoise_threshold(
    study: TrainingStudyOptions,
    corpus: _Corpus,
    thresholds: Annotated[str | None, typer.Option("--thresholds", help="Comma separated, above 0, up to 1.")] = None,
    kind: _Kind = "uniform",
    ratio: _Ratio = 0.1,
    train: _Train = False,
    seeds: _Seeds = 5,
) -> None:
    """Precision, recall and share edited at every threshold, and what training on each mended log gives."""
    from seqmend.study import denoise_studies as studies

    parsed = study.configured(corpus, seeds)
    swept = numbers("--thresholds", thresholds, studies.THRESHOLDS)
    with showing() as progress:
        setting = study.read(parsed, progress)
        figures = studies.denoise_threshold(
            setting,
            (noise_kind(kind), ratio),
            study.folder("threshold", setting),
            thresholds=swept,
            train=train,
            progress=progress,
            jobs=study.jobs,
        )
    study.write(figures)
    table = _table("Thresholds", figures, ("threshold", "judge"), ("precision", "recall", "F1", "edited"))
    metrics = list(figures["references"]["raw"]["as_is"]) if "references" in figures else []
    for metric in metrics:
        table.add_column(f"{metric.upper()}, as is", justify="right")
        table.add_column("mended", justify="right")
    for row in figures["rows"]:
        cells = [_spread(row[key]) for key in ("precision", "recall", "f1", "share_edited")]
        ranking = row.get("ranking")
        cells += [_cell(ranking[h][metric], 4) for metric in metrics for h in ("as_is", "mended")] if ranking else []
        table.add_row(f"{row['threshold']:g}", _judge(row["judge"]), *cells)
    for name, reference in figures.get("references", {}).items():
        cells = [_cell(reference[h][m], 4) if h in reference else "" for m in metrics for h in ("as_is", "mended")]
        table.add_row(name, "", *[""] * 4, *cells)
    out_console.print(table)
    _foot(figures)


@bench.command("denoise-noise")
@study_options
def denoise_noise(
    study: TrainingStudyOptions,
    corpus: _Corpus,
    kinds: Annotated[str | None, typer.Option("--kinds", help="Comma separated; all by default.")] = None,
    ratios: Annotated[str | None, typer.Option("--ratios", help="Comma separated; 0 = false alarms.")] = None,
    threshold: Threshold = None,
    train: _Train = False,
    seeds: _Seeds = 5,
) -> None:
    """Detection and calibration under every kind of noise at every ratio, most of which the mender never learned."""
    from seqmend.study import denoise_studies as studies

    parsed = study.configured(corpus, seeds, threshold)
    chosen = studies.KINDS if kinds is None else [noise_kind(kind.strip()) for kind in kinds.split(",")]
    measured = numbers("--ratios", ratios, studies.RATIOS)
    with showing() as progress:
        setting = study.read(parsed, progress)
        figures = studies.denoise_noise(
            setting,
            study.folder("noise", setting),
            kinds=chosen,
            ratios=measured,
            train=train,
            progress=progress,
            jobs=study.jobs,
        )
    study.write(figures)
    columns = ("AUROC", "ECE", "ECE > .2", "rate", "precis.", "recall", "edited")
    keys = ("auroc", "ece", "ece_above_0.2", "estimated", "precision", "recall", "share_edited")
    table = _table("Kinds of noise", figures, ("noise", "ratio", "judge"), columns)
    if train:
        for column in ("NDCG@20 raw", "mended", "oracle", "recovered"):
            table.add_column(column, justify="right")
    for row in figures["rows"]:
        cells = [_spread(row[key]) for key in keys]
        if ranking := row.get("ranking"):
            cells += [_cell(ranking["raw"]["as_is"]["ndcg@20"], 4), _cell(ranking["mended"]["mended"]["ndcg@20"], 4)]
            cells.append(_cell(ranking["oracle"]["mended"]["ndcg@20"], 4) if "oracle" in ranking else "")
            cells.append(_share(ranking["mended"]["mended"]["ndcg@20"]))
        table.add_row(row["kind"] or "none", f"{row['ratio']:g}", _judge(row["judge"]), *cells)
    out_console.print(table)
    for judge in dict.fromkeys(row["judge"] for row in figures["calibration"]):
        own = [row for row in figures["calibration"] if row["judge"] == judge]
        held, not_held = ([r for r in own if r["holds"] is holds] for holds in (True, False))
        said = [f"{row['kind'] or 'no noise'} {row['worst_ece']:.3f}" for row in (*held, *not_held)]
        out_console.print(
            f"Calibration ({_judge(judge)}; worst mean error over the ratios, {studies.CALIBRATED:g} is the most that "
            f"counts): holds for {', '.join(said[: len(held)]) or 'nothing'}; "
            f"does not hold for {', '.join(said[len(held) :]) or 'nothing'}",
            highlight=False,
        )
    _foot(figures)


@bench.command("denoise-ceiling")
@study_options
def denoise_ceiling(
    study: TrainingStudyOptions,
    corpus: _Corpus,
    arms: Annotated[str | None, typer.Option("--arms", help="Comma separated; all by default.")] = None,
    kind: _Kind = "uniform",
    ratio: _Ratio = 0.1,
    threshold: Threshold = None,
    seeds: _Seeds = 5,
) -> None:
    """Where the gain arises: detection or replacement, training part or test histories, beside every control."""
    from seqmend.report import arm_title
    from seqmend.study import denoise_studies as studies

    parsed = study.configured(corpus, seeds, threshold)
    chosen = tuple(studies.CEILING_ARMS) if arms is None else [arm.strip() for arm in arms.split(",")]
    with showing() as progress:
        setting = study.read(parsed, progress)
        figures = studies.denoise_ceiling(
            setting,
            (noise_kind(kind), ratio),
            study.folder("ceiling", setting),
            arms=chosen,
            progress=progress,
            jobs=study.jobs,
        )
    study.write(figures)
    columns = ("valid", "NDCG@20", "to raw", "recovered")
    table = _table(f"Ceiling of {figures['backbone']}", figures, ("arm", "edits in"), columns)
    for row in figures["rows"]:
        found = row["ndcg@20"]
        low, high = found["difference"]["ci95"]
        to_raw = f"{found['difference']['difference']:+.4f} [{low:+.4f}, {high:+.4f}]"
        is_first = row["scope"] in (None, "train")
        valid = f"{row['valid']['ndcg@20']['mean']:.4f}" if "valid" in row else ""
        cells = [valid, f"{found['mean']:.4f}", to_raw if row["scope"] else "", _share(found)]
        table.add_row(arm_title(row["arm"]) if is_first else "", row["scope"] or "", *cells)
    out_console.print(table)
    keys = ("share_edited", "precision", "recall", "restored")
    table = _table("Edits of the training part", figures, ("arm",), ("edited", "on noise", "of noise", "restored"))
    for arm, edits in figures["edits"].items():
        table.add_row(arm_title(arm), *("" if (m := edits[key]["mean"]) is None else f"{m:.3f}" for key in keys))
    out_console.print(table)
    if figures["oracles_are_one"]:
        out_console.print("All injected noise is within the mender's scope: both oracles are one.", style="dim")
    _foot(figures)


@bench.command("denoise-transfer")
@study_options
def denoise_transfer(
    study: StudyOptions,
    source: Annotated[str, typer.Argument(help="Corpus to learn on: a known one, or a folder.")],
    target: Annotated[str, typer.Argument(help="Corpus to judge.")],
    kind: _Kind = "uniform",
    ratio: _Ratio = 0.1,
    threshold: Threshold = None,
    seeds: _Seeds = 5,
) -> None:
    """Learn to weigh the witnesses on one corpus, judge another by it, beside what learning on the other gives."""
    from seqmend.study import denoise_studies as studies

    first, second = (study.configured(corpus, seeds, threshold) for corpus in (source, target))
    with showing() as progress:
        learned, judged = (study.read(parsed, progress) for parsed in (first, second))
        figures = studies.denoise_transfer(
            learned,
            judged,
            (noise_kind(kind), ratio),
            study.folder(f"transfer-{learned.name}", judged),
            progress=progress,
        )
    study.write(figures)
    columns = ("AUROC", "ECE", "precis.", "recall", "edited")
    keys = ("auroc", "ece", "precision", "recall", "share_edited")
    table = _table(f"Fusion learned on {learned.name}, at work", figures, ("learned on", "judge"), columns)
    names = {"target": "target", "source": "source", "witness": ""}
    for row in sorted(figures["rows"], key=lambda row: list(names).index(row["learned_on"])):
        table.add_row(names[row["learned_on"]], _judge(row["judge"]), *(_spread(row[key]) for key in keys))
    out_console.print(table)
    for row in figures["lost"]:
        out_console.print(
            f"AUROC learned on {learned.name} minus learned on {judged.name} ({_judge(row['judge'])}): "
            f"{_spread(row['difference'], 4)}",
            highlight=False,
        )
    _foot(figures)


@bench.command("denoise-cost")
@study_options
def denoise_cost(
    study: StudyOptions,
    corpus: _Corpus,
    shares: Annotated[str | None, typer.Option("--shares", help="Of the windows, comma separated, 0 to 1.")] = None,
    kind: _Kind = "uniform",
    ratio: _Ratio = 0.1,
    threshold: Threshold = None,
    seeds: _Seeds = 1,
) -> None:
    """What every share of windows that the model reads costs, and how well noise is found for it."""
    from seqmend.study import denoise_studies as studies

    parsed = study.configured(corpus, seeds, threshold)
    measured = numbers("--shares", shares, studies.SHARES)
    with showing() as progress:
        setting = study.read(parsed, progress)
        figures = studies.denoise_cost(
            setting,
            (noise_kind(kind), ratio),
            study.folder("cost", setting),
            shares=measured,
            progress=progress,
        )
    study.write(figures)
    columns = ("AUROC", "gain", "ECE", "windows read", "tokens", "seconds", "windows/s", "peak MiB")
    table = _table("Quality and cost", figures, ("windows",), columns)
    for row in figures["rows"]:
        table.add_row(
            "no model" if row["share"] is None else f"{row['share']:.0%}",
            _spread(row["auroc"], 4),
            _spread(row["gain"], 4),
            _spread(row["ece"]),
            *(f"{row[key]['mean']:,.0f}" for key in ("windows_asked", "tokens")),
            f"{row['seconds']['mean']:,.1f}",
            *(f"{row[key]['mean']:,.0f}" for key in ("windows_per_second", "peak_memory_mib")),
        )
    out_console.print(table)
    for name, spent in figures["fitting"].items():
        out_console.print(
            f"Learning, {'no model' if name == 'llm_free' else 'with the model'}: {spent['seconds']['mean']:,.1f} s, "
            f"{spent['tokens']['mean']:,.0f} tokens",
            highlight=False,
        )
    _foot(figures)


def _table(title: str, figures: dict[str, Any], names: Sequence[str], columns: Sequence[str]) -> Table:
    noise = figures.get("noise")
    about = f", {noise['ratio']:.0%} {noise['kind']} noise" if noise else ""
    table = Table(
        title=f"{title} on {figures['corpus']}: {figures['users']:,} users, {figures['interactions']:,} "
        f"interactions{about}",
        title_justify="left",
        box=None,
        header_style="bold",
        padding=(0, 1, 0, 0 if len(columns) > 6 else 1),  # a wide one just fits a usual terminal
    )
    for column in names:
        table.add_column(column, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")  # rather two lines than half a number
    return table


def _spread(figure: dict[str, Any], decimals: int = 3) -> str:
    """A mean over seeds and how far its interval reaches to either side, where it has one."""
    if figure["mean"] is None:
        return ""
    reach = figure["ci95"][1] - figure["mean"] if figure["ci95"] else 0.0
    return f"{figure['mean']:.{decimals}f}" + (f" ±{reach:.{decimals}f}" if reach else "")


def _cell(figure: dict[str, Any], decimals: int = 3) -> str:
    """A mean with its interval over users and seeds, where it has one."""
    if figure["mean"] is None:
        return ""
    text = f"{figure['mean']:.{decimals}f}"
    ends = figure["ci95"]
    return text if not ends or ends[0] == ends[1] else f"{text} [{ends[0]:.{decimals}f}, {ends[1]:.{decimals}f}]"


def _share(figure: dict[str, Any]) -> str:
    share = figure["recovered_share"]
    if share is None or share["value"] is None:
        return ""
    return f"{share['value']:.2f} [{share['ci95'][0]:.2f}, {share['ci95'][1]:.2f}]"


def _judge(judge: str) -> str:
    return {"fused": "fusion", "llm_free": "LLM-free"}.get(judge, judge)


def _foot(figures: dict[str, Any]) -> None:
    model = "no language model" if figures["model"] is None else figures["model"]
    repetitions = "one repetition, so no interval over noise" if len(figures["seeds"]) == 1 else "95 % intervals"
    out_console.print(
        f"{model}; default threshold {figures['threshold']:g}; {len(figures['seeds'])} seed(s): {repetitions}",
        style="dim",
        highlight=False,
    )
