"""seqmend bench denoise-*: the studies of the denoise mender, each with a table, its figures as JSON, and a chart."""

from functools import partial
from typing import Annotated, Any

import typer

from seqmend.cli.bench import bench
from seqmend.cli.console import out_console, showing
from seqmend.cli.options import Threshold
from seqmend.cli.study_options import (
    Corpus,
    Ratio,
    Seeds,
    StudyOptions,
    TrainingStudyOptions,
    names,
    noise_kind,
    numbers,
    study_options,
)
from seqmend.cli.study_tables import gap, recovered, repetitions, spread, study_table

_Kind = Annotated[str, typer.Option("--kind", help="Of the injected noise.")]
_Train = Annotated[bool, typer.Option("--train", help="Also train a backbone on every version of the log.")]


@bench.command("denoise-threshold")
@study_options
def denoise_threshold(
    study: TrainingStudyOptions,
    corpus: Corpus,
    thresholds: Annotated[str | None, typer.Option("--thresholds", help="Comma separated, above 0, up to 1.")] = None,
    kind: _Kind = "uniform",
    ratio: Ratio = 0.1,
    train: _Train = False,
    seeds: Seeds = 5,
) -> None:
    """Precision, recall and share edited at every threshold, and what training on each mended log gives."""
    from seqmend.study import denoise_studies as studies

    parsed = study.configured(corpus, seeds)
    swept = numbers("--thresholds", thresholds, studies.THRESHOLDS)
    figures = study.measure(
        "denoise-threshold",
        partial(study.read, parsed),
        studies.denoise_threshold,
        (noise_kind(kind), ratio),
        thresholds=swept,
        train=train,
        jobs=study.jobs,
    )
    table = study_table("Thresholds", figures, ("threshold", "judge"), ("precision", "recall", "F1", "edited"))
    for row in figures["rows"]:
        cells = [spread(row[key]) for key in ("precision", "recall", "f1", "share_edited")]
        table.add_row(f"{row['threshold']:g}", _judge(row["judge"]), *cells)
    out_console.print(table)
    if "references" in figures:
        trained = [(f"{row['threshold']:g}", _judge(row["judge"]), row["ranking"]) for row in figures["rows"]]
        trained += [(name, "", ranking) for name, ranking in figures["references"].items()]
        shown = {"as_is": "histories as is", "mended": "mended"}
        table = study_table("NDCG@20 after training", figures, ("threshold", "judge"), list(shown.values()))
        for threshold, judge, ranking in trained:
            table.add_row(threshold, judge, *(_cell(ranking[h]["ndcg@20"], 4) if h in ranking else "" for h in shown))
        out_console.print(table)
    _foot(figures)


@bench.command("denoise-noise")
@study_options
def denoise_noise(
    study: TrainingStudyOptions,
    corpus: Corpus,
    kinds: Annotated[str | None, typer.Option("--kinds", help="Comma separated; all by default.")] = None,
    ratios: Annotated[str | None, typer.Option("--ratios", help="Comma separated; 0 = false alarms.")] = None,
    threshold: Threshold = None,
    train: _Train = False,
    seeds: Seeds = 5,
) -> None:
    """Detection and calibration under every kind of noise at every ratio, most of which the mender never learned."""
    from seqmend.study import denoise_studies as studies

    parsed = study.configured(corpus, seeds, threshold)
    chosen = studies.KINDS if kinds is None else [noise_kind(kind.strip()) for kind in kinds.split(",")]
    measured = numbers("--ratios", ratios, studies.RATIOS)
    figures = study.measure(
        "denoise-noise",
        partial(study.read, parsed),
        studies.denoise_noise,
        kinds=chosen,
        ratios=measured,
        train=train,
        jobs=study.jobs,
    )
    columns = ("AUROC", "ECE", "ECE > .2", "rate", "precis.", "recall", "edited")
    keys = ("auroc", "ece", "ece_above_0.2", "estimated", "precision", "recall", "share_edited")
    table = study_table("Kinds of noise", figures, ("noise", "ratio", "judge"), columns)
    if train:
        for column in ("NDCG@20 raw", "mended", "oracle", "recovered"):
            table.add_column(column, justify="right")
    for row in figures["rows"]:
        cells = [spread(row[key]) for key in keys]
        if ranking := row.get("ranking"):
            cells += [_cell(ranking["raw"]["as_is"]["ndcg@20"], 4), _cell(ranking["mended"]["mended"]["ndcg@20"], 4)]
            cells.append(_cell(ranking["oracle"]["mended"]["ndcg@20"], 4) if "oracle" in ranking else "")
            cells.append(recovered(ranking["mended"]["mended"]["ndcg@20"]["recovered_share"]))
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
    corpus: Corpus,
    arms: Annotated[str | None, typer.Option("--arms", help="Comma separated; all by default.")] = None,
    kind: _Kind = "uniform",
    ratio: Ratio = 0.1,
    threshold: Threshold = None,
    seeds: Seeds = 5,
) -> None:
    """Where the gain arises: detection or replacement, training part or test histories, beside every control."""
    from seqmend.report import arm_title
    from seqmend.study import denoise_studies as studies

    parsed = study.configured(corpus, seeds, threshold)
    chosen = names(arms, tuple(studies.CEILING_ARMS))
    figures = study.measure(
        "denoise-ceiling",
        partial(study.read, parsed),
        studies.denoise_ceiling,
        (noise_kind(kind), ratio),
        arms=chosen,
        jobs=study.jobs,
    )
    columns = ("valid", "NDCG@20", "to raw", "recovered")
    table = study_table(f"Ceiling of {figures['backbone']}", figures, ("arm", "edits in"), columns)
    for row in figures["rows"]:
        found = row["ndcg@20"]
        to_raw = gap(found["difference"], 4)
        is_first = row["scope"] in (None, "train")
        valid = f"{row['valid']['ndcg@20']['mean']:.4f}" if "valid" in row else ""
        cells = [valid, f"{found['mean']:.4f}", to_raw if row["scope"] else "", recovered(found["recovered_share"])]
        table.add_row(arm_title(row["arm"]) if is_first else "", row["scope"] or "", *cells)
    out_console.print(table)
    keys = ("share_edited", "precision", "recall", "restored")
    table = study_table("Edits of the training part", figures, ("arm",), ("edited", "on noise", "of noise", "restored"))
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
    ratio: Ratio = 0.1,
    threshold: Threshold = None,
    seeds: Seeds = 5,
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
            study.folder(f"denoise-transfer-{learned.name}", judged),
            progress=progress,
        )
    study.write(figures)
    columns = ("AUROC", "ECE", "precis.", "recall", "edited")
    keys = ("auroc", "ece", "precision", "recall", "share_edited")
    table = study_table(f"Fusion learned on {learned.name}, at work", figures, ("learned on", "judge"), columns)
    order = {"target": "target", "source": "source", "witness": ""}
    for row in sorted(figures["rows"], key=lambda row: list(order).index(row["learned_on"])):
        table.add_row(order[row["learned_on"]], _judge(row["judge"]), *(spread(row[key]) for key in keys))
    out_console.print(table)
    for row in figures["lost"]:
        out_console.print(
            f"AUROC learned on {learned.name} minus learned on {judged.name} ({_judge(row['judge'])}): "
            f"{spread(row['difference'], 4)}",
            highlight=False,
        )
    _foot(figures)


@bench.command("denoise-cost")
@study_options
def denoise_cost(
    study: StudyOptions,
    corpus: Corpus,
    shares: Annotated[str | None, typer.Option("--shares", help="Of the windows, comma separated, 0 to 1.")] = None,
    kind: _Kind = "uniform",
    ratio: Ratio = 0.1,
    threshold: Threshold = None,
    seeds: Seeds = 1,
) -> None:
    """What every share of windows that the model reads costs, and how well noise is found for it."""
    from seqmend.study import denoise_studies as studies

    parsed = study.configured(corpus, seeds, threshold)
    measured = numbers("--shares", shares, studies.SHARES)
    figures = study.measure(
        "denoise-cost",
        partial(study.read, parsed),
        studies.denoise_cost,
        (noise_kind(kind), ratio),
        shares=measured,
    )
    columns = ("AUROC", "gain", "ECE", "windows read", "tokens", "seconds", "windows/s", "peak MiB")
    table = study_table("Quality and cost", figures, ("windows",), columns)
    for row in figures["rows"]:
        table.add_row(
            "no model" if row["share"] is None else f"{row['share']:.0%}",
            spread(row["auroc"], 4),
            spread(row["gain"], 4),
            spread(row["ece"]),
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


def _cell(figure: dict[str, Any], decimals: int = 3) -> str:
    """A mean with its interval over users and seeds, where it has one."""
    if figure["mean"] is None:
        return ""
    text = f"{figure['mean']:.{decimals}f}"
    ends = figure["ci95"]
    return text if not ends or ends[0] == ends[1] else f"{text} [{ends[0]:.{decimals}f}, {ends[1]:.{decimals}f}]"


def _judge(judge: str) -> str:
    return {"fused": "fusion", "llm_free": "LLM-free"}.get(judge, judge)


def _foot(figures: dict[str, Any]) -> None:
    model = "no language model" if figures["model"] is None else figures["model"]
    out_console.print(
        f"{model}; default threshold {figures['threshold']:g}; {repetitions(figures)}", style="dim", highlight=False
    )
