"""seqmend bench correct-noise, -selection, -ablations, -prompts: the studies of the correct mender."""

import dataclasses
from functools import partial
from typing import Annotated, Any

import typer
from rich.table import Table

from seqmend.cli.bench import bench
from seqmend.cli.console import out_console
from seqmend.cli.study_options import (
    Corpus,
    Ratio,
    Seeds,
    TrainingStudyOptions,
    names,
    noise_kind,
    numbers,
    study_options,
)
from seqmend.cli.study_tables import STAR, gap, recovered, repetitions, spread, starred, study_table
from seqmend.errors import InputError

_Kind = Annotated[str, typer.Option("--kind", help="Of the injected noise; one that replaces.")]
_Train = Annotated[bool, typer.Option("--train", help="Also train a backbone on every version of the instances.")]


@dataclasses.dataclass(frozen=True)
class CorrectStudyOptions(TrainingStudyOptions):
    """The options of the studies of the correct mender."""

    share: Annotated[
        float | None, typer.Option("--share", help="Share of the instances to ask about, the least sure first.")
    ] = None
    teacher: Annotated[
        str | None, typer.Option("--teacher", help="How the model learns the question: none, textual-gradient, lora.")
    ] = None

    def overrides(self) -> dict[str, dict[str, Any]]:
        """Also how much is asked about, and who answers."""
        given = {"uncertain_share": self.share, "teacher": self.teacher}
        correct = {key: value for key, value in given.items() if value is not None}
        return super().overrides() | ({"correct": correct} if correct else {})


@bench.command("correct-noise")
@study_options
def correct_noise(
    study: CorrectStudyOptions,
    corpus: Corpus,
    backbones: Annotated[str | None, typer.Option("--backbones", help="Comma separated.")] = None,
    kind: _Kind = "uniform",
    ratio: Ratio = 0.1,
    train: _Train = False,
    versions: Annotated[
        str | None, typer.Option("--versions", help="To train on, comma separated; all by default.")
    ] = None,
    trainings: Annotated[
        int, typer.Option("--trainings", min=1, help="Of every version and seed, from other initial weights.")
    ] = 1,
    seeds: Seeds = 5,
) -> None:
    """How well known noise in training instances is undone, beside chance and judges without a language model."""
    from seqmend.study import correct_studies as studies

    if not train and (versions is not None or trainings > 1):
        raise InputError("--versions and --trainings are of no use where nothing is trained", fix="add --train")
    parsed = study.configured(corpus, seeds)
    named = names(backbones, [study.backbone] if study.backbone else studies.BACKBONES)
    figures = study.measure(
        "correct-noise",
        partial(study.read, parsed),
        studies.correct_noise,
        (noise_kind(kind), ratio),
        backbones=named,
        train=train,
        versions=names(versions, studies.VERSIONS),
        trainings=trainings,
        jobs=study.jobs,
    )
    for backbone, found in figures["backbones"].items():
        table = study_table(f"Corrections of what {backbone} doubts", figures, ("judge", "mco"), _QUALITY)
        for judge, groups in found["quality"].items():
            for group, row in groups.items():
                is_first = group == "all"
                table.add_row(_judge(judge) if is_first else "", group, *(spread(row[key]) for key in _QUALITY_KEYS))
        out_console.print(table)
        headings = [name for name, key in zip(_QUALITY, _QUALITY_KEYS, strict=True) if key in studies.COMPARED]
        table = study_table("Model minus every other judge", figures, ("judge", "mco"), headings)
        for judge, groups in found["beside"].items():
            for group, lost in groups.items():
                cells = (starred(lost[key], 3) for key in _QUALITY_KEYS if key in studies.COMPARED)
                table.add_row(_judge(judge) if group == "all" else "", group, *cells)
        out_console.print(table)
        out_console.print(STAR, style="dim", highlight=False)
        if ranking := found.get("ranking"):
            out_console.print(_ranking(f"Retrained {backbone}", figures, ranking))
            per_percent = found["efficiency"]["questions_per_percent"]
            said = found["efficiency"]["reason"] if per_percent is None else f"{per_percent:,.0f}"
            out_console.print(f"Questions per +1 % of NDCG@10: {said}", highlight=False)
    _foot(figures)


@bench.command("correct-selection")
@study_options
def correct_selection(
    study: CorrectStudyOptions,
    corpus: Corpus,
    signals: Annotated[str | None, typer.Option("--signals", help="Comma separated.")] = None,
    shares: Annotated[str | None, typer.Option("--shares", help="Of the instances, comma separated.")] = None,
    kind: _Kind = "uniform",
    ratio: Ratio = 0.1,
    train: _Train = False,
    seeds: Seeds = 5,
) -> None:
    """Which instances are worth asking about, and how many: uncertain, unreliable, rarely met, any."""
    from seqmend.study import correct_studies as studies

    parsed = study.configured(corpus, seeds)
    figures = study.measure(
        "correct-selection",
        partial(study.read, parsed),
        studies.correct_selection,
        (noise_kind(kind), ratio),
        backbone=study.backbone,
        signals=names(signals, studies.SIGNALS),
        shares=numbers("--shares", shares, studies.SHARES),
        train=train,
        jobs=study.jobs,
    )
    table = study_table("Selections", figures, ("signal", "share"), ("spoiled", *_QUALITY, "questions"))
    if train:
        table.add_column("NDCG@10 to raw", justify="right")
    for row in figures["rows"]:
        cells = [spread(row[key]) for key in ("spoiled", *_QUALITY_KEYS)]
        cells.append(f"{row['calls']['mean']:,.0f}")
        if ranking := row.get("ranking"):
            cells.append(gap(ranking["ndcg@10"]["difference"]))
        table.add_row(row["signal"], f"{row['share']:g}", *cells)
    out_console.print(table)
    _foot(figures)


@bench.command("correct-ablations")
@study_options
def correct_ablations(
    study: CorrectStudyOptions,
    corpus: Corpus,
    arms: Annotated[str | None, typer.Option("--arms", help="Comma separated; all by default.")] = None,
    kind: _Kind = "uniform",
    ratio: Annotated[
        float, typer.Option("--ratio", help="Injected items per interaction; 0 = the log as it is.")
    ] = 0.1,
    seeds: Seeds = 5,
) -> None:
    """Training on every version of the instances: corrected, dropped, weighted down, edited without a model, ..."""
    from seqmend.study import correct_studies as studies

    parsed = study.configured(corpus, seeds)
    figures = study.measure(
        "correct-ablations",
        partial(study.read, parsed),
        studies.correct_ablations,
        (noise_kind(kind), ratio),
        backbone=study.backbone,
        arms=names(arms, studies.ARMS),
        jobs=study.jobs,
    )
    out_console.print(_ranking(f"Versions of {figures['backbone']}'s instances", figures, figures["ranking"]))
    table = study_table(
        "Side effects", figures, ("version",), ("instances", "no input", "inputs", "target pop.", "input pop.")
    )
    for version in figures["side_effects"][0]:
        rows = [one[version] for one in figures["side_effects"]]
        table.add_row(
            _version(version),
            _mean([row["instances"] for row in rows]),
            _mean([row["lengths"][0] for row in rows]),
            _mean([sum(n * share for n, share in enumerate(row["lengths"])) for row in rows]),
            _mean([row["target_popularity"] for row in rows], 1),
            _mean([row["input_popularity"] for row in rows], 1),
        )
    out_console.print(table)
    _foot(figures)


@bench.command("correct-prompts")
@study_options
def correct_prompts(
    study: CorrectStudyOptions,
    corpus: Corpus,
    variants: Annotated[str | None, typer.Option("--variants", help="Comma separated; all by default.")] = None,
    kind: _Kind = "uniform",
    ratio: Ratio = 0.1,
    seeds: Seeds = 5,
) -> None:
    """What each part of the question brings, and what is left of it under other items' titles."""
    from seqmend.study import correct_studies as studies

    parsed = study.configured(corpus, seeds)
    figures = study.measure(
        "correct-prompts",
        partial(study.read, parsed),
        studies.correct_prompts,
        (noise_kind(kind), ratio),
        backbone=study.backbone,
        variants=names(variants, studies.VARIANTS),
    )
    table = study_table("Variants of the question", figures, ("variant",), (*_QUALITY, "F1 lost"))
    for variant, groups in figures["quality"].items():
        lost = figures["beside"].get(variant)
        cells = [spread(groups["all"][key]) for key in _QUALITY_KEYS]
        table.add_row(_version(variant), *cells, gap(lost["all"]["f1"]) if lost else "")
    out_console.print(table)
    _foot(figures)


_QUALITY = ("precis.", "recall", "F1", "AUROC", "target precis.", "target recall", "hits", "changed")
_QUALITY_KEYS = ("precision", "recall", "f1", "auroc", "target_precision", "target_recall", "hit_rate", "changed")


def _ranking(title: str, figures: dict[str, Any], ranking: dict[str, Any]) -> Table:
    table = study_table(title, figures, ("version",), ("NDCG@10", "to raw", "recovered"))
    for version, found in ranking.items():
        row = found["ndcg@10"]
        to_raw = "" if version == "raw" else gap(row["difference"], 4)
        table.add_row(_version(version), f"{row['mean']:.4f}", to_raw, recovered(row["recovered_share"]))
    return table


def _mean(values: list[float | None], decimals: int = 3) -> str:
    known = [value for value in values if value is not None]
    return f"{sum(known) / len(known):.{decimals}f}" if known else ""


def _judge(judge: str) -> str:
    return {"learned": "LLM-free, learned"}.get(judge, judge)


def _version(version: str) -> str:
    return version.replace("_", " ")


def _foot(figures: dict[str, Any]) -> None:
    trained = f", {n} trainings of every version" if (n := figures.get("trainings") or 1) > 1 else ""
    out_console.print(
        f"{figures['model']}, teacher {figures['teacher']}; {figures['uncertain_share']:.0%} of the instances asked "
        f"about; {repetitions(figures)}{trained}",
        style="dim",
        highlight=False,
    )
