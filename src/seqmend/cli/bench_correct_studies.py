"""seqmend bench correct-noise, -selection, -ablations, -prompts: the studies of the correct mender."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from seqmend.cli.bench import bench
from seqmend.cli.console import out_console, showing, write_figures
from seqmend.cli.study_options import TrainingStudyOptions, noise_kind, numbers, study_options

if TYPE_CHECKING:
    from seqmend.study.denoise_studies import Setting

_Corpus = Annotated[
    str, typer.Argument(help="A known corpus, or a folder with interactions.parquet and items.parquet.")
]
_Seeds = Annotated[int, typer.Option("--seeds", min=1, help="Repetitions, each with its own noise and training.")]
_Kind = Annotated[str, typer.Option("--kind", help="Of the injected noise; one that replaces.")]
_Ratio = Annotated[float, typer.Option("--ratio", help="Injected items per training interaction.")]
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

    def folder(self, study: str, setting: "Setting") -> Path:
        """Where the study keeps what it has done."""
        return self.out or Path("runs") / "bench" / f"correct-{study}-{setting.name}"

    def write(self, figures: dict[str, Any]) -> None:
        """Write figures and chart, where files were named for them."""
        from seqmend.files import write_atomic
        from seqmend.report import correct_chart_svg

        write_figures(self.json_file, figures)
        if self.figure is not None:
            with write_atomic(self.figure) as temporary:
                temporary.write_text(correct_chart_svg(figures), encoding="utf-8")


@bench.command("correct-noise")
@study_options
def correct_noise(
    study: CorrectStudyOptions,
    corpus: _Corpus,
    backbones: Annotated[str | None, typer.Option("--backbones", help="Comma separated.")] = None,
    kind: _Kind = "uniform",
    ratio: _Ratio = 0.1,
    train: _Train = False,
    seeds: _Seeds = 5,
) -> None:
    """How well known noise in training instances is undone, beside chance and judges without a language model."""
    from seqmend.study import correct_studies as studies

    parsed = study.configured(corpus, seeds)
    named = _names(backbones) if backbones else ([study.backbone] if study.backbone else list(studies.BACKBONES))
    with showing() as progress:
        setting = study.read(parsed, progress)
        figures = studies.correct_noise(
            setting,
            (noise_kind(kind), ratio),
            study.folder("noise", setting),
            backbones=named,
            train=train,
            progress=progress,
            jobs=study.jobs,
        )
    study.write(figures)
    for backbone, found in figures["backbones"].items():
        table = _table(f"Corrections of what {backbone} doubts", figures, ("judge", "mco"), _QUALITY)
        for judge, groups in found["quality"].items():
            for group, row in groups.items():
                is_first = group == "all"
                table.add_row(_judge(judge) if is_first else "", group, *(_spread(row[key]) for key in _QUALITY_KEYS))
        out_console.print(table)
        for judge, groups in found["beside"].items():
            said = ", ".join(f"{key.replace('_', ' ')} {_gap(gap)}" for key, gap in groups["all"].items())
            out_console.print(f"Model minus {_judge(judge)}: {said}", highlight=False)
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
    corpus: _Corpus,
    signals: Annotated[str | None, typer.Option("--signals", help="Comma separated.")] = None,
    shares: Annotated[str | None, typer.Option("--shares", help="Of the instances, comma separated.")] = None,
    kind: _Kind = "uniform",
    ratio: _Ratio = 0.1,
    train: _Train = False,
    seeds: _Seeds = 5,
) -> None:
    """Which instances are worth asking about, and how many: uncertain, unreliable, rarely met, any."""
    from seqmend.study import correct_studies as studies

    parsed = study.configured(corpus, seeds)
    with showing() as progress:
        setting = study.read(parsed, progress)
        figures = studies.correct_selection(
            setting,
            (noise_kind(kind), ratio),
            study.folder("selection", setting),
            backbone=study.backbone,
            signals=_names(signals) if signals else studies.SIGNALS,
            shares=numbers("--shares", shares, studies.SHARES),
            train=train,
            progress=progress,
            jobs=study.jobs,
        )
    study.write(figures)
    table = _table("Selections", figures, ("signal", "share"), ("spoiled", *_QUALITY, "questions"))
    if train:
        table.add_column("NDCG@10 to raw", justify="right")
    for row in figures["rows"]:
        cells = [_spread(row[key]) for key in ("spoiled", *_QUALITY_KEYS)]
        cells.append(f"{row['calls']['mean']:,.0f}")
        if ranking := row.get("ranking"):
            cells.append(_gap(ranking["ndcg@10"]["difference"]))
        table.add_row(row["signal"], f"{row['share']:g}", *cells)
    out_console.print(table)
    _foot(figures)


@bench.command("correct-ablations")
@study_options
def correct_ablations(
    study: CorrectStudyOptions,
    corpus: _Corpus,
    arms: Annotated[str | None, typer.Option("--arms", help="Comma separated; all by default.")] = None,
    kind: _Kind = "uniform",
    ratio: Annotated[
        float, typer.Option("--ratio", help="Injected items per interaction; 0 = the log as it is.")
    ] = 0.1,
    seeds: _Seeds = 5,
) -> None:
    """Training on every version of the instances: corrected, dropped, weighted down, edited without a model, ..."""
    from seqmend.study import correct_studies as studies

    parsed = study.configured(corpus, seeds)
    with showing() as progress:
        setting = study.read(parsed, progress)
        figures = studies.correct_ablations(
            setting,
            (noise_kind(kind), ratio),
            study.folder("ablations", setting),
            backbone=study.backbone,
            arms=_names(arms) if arms else studies.ARMS,
            progress=progress,
            jobs=study.jobs,
        )
    study.write(figures)
    out_console.print(_ranking(f"Versions of {figures['backbone']}'s instances", figures, figures["ranking"]))
    table = _table(
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
    corpus: _Corpus,
    variants: Annotated[str | None, typer.Option("--variants", help="Comma separated; all by default.")] = None,
    kind: _Kind = "uniform",
    ratio: _Ratio = 0.1,
    seeds: _Seeds = 5,
) -> None:
    """What each part of the question brings, and what is left of it under other items' titles."""
    from seqmend.study import correct_studies as studies

    parsed = study.configured(corpus, seeds)
    with showing() as progress:
        setting = study.read(parsed, progress)
        figures = studies.correct_prompts(
            setting,
            (noise_kind(kind), ratio),
            study.folder("prompts", setting),
            backbone=study.backbone,
            variants=_names(variants) if variants else studies.VARIANTS,
            progress=progress,
        )
    study.write(figures)
    table = _table("Variants of the question", figures, ("variant",), (*_QUALITY, "F1 lost"))
    for variant, groups in figures["quality"].items():
        lost = figures["beside"].get(variant)
        cells = [_spread(groups["all"][key]) for key in _QUALITY_KEYS]
        table.add_row(_version(variant), *cells, _gap(lost["all"]["f1"]) if lost else "")
    out_console.print(table)
    _foot(figures)


_QUALITY = ("precis.", "recall", "F1", "AUROC", "target precis.", "target recall", "hits", "changed")
_QUALITY_KEYS = ("precision", "recall", "f1", "auroc", "target_precision", "target_recall", "hit_rate", "changed")


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _table(title: str, figures: dict[str, Any], names: Sequence[str], columns: Sequence[str]) -> Table:
    noise = figures["noise"]
    about = f", {noise['ratio']:.0%} {noise['kind']} noise" if noise else ""
    table = Table(
        title=f"{title} on {figures['corpus']}: {figures['users']:,} users{about}",
        title_justify="left",
        box=None,
        header_style="bold",
        padding=(0, 1, 0, 0),
    )
    for column in names:
        table.add_column(column, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")
    return table


def _ranking(title: str, figures: dict[str, Any], ranking: dict[str, Any]) -> Table:
    table = _table(title, figures, ("version",), ("NDCG@10", "to raw", "recovered"))
    for version, found in ranking.items():
        row = found["ndcg@10"]
        to_raw = "" if version == "raw" else _gap(row["difference"], 4)
        table.add_row(_version(version), f"{row['mean']:.4f}", to_raw, _share(row["recovered_share"]))
    return table


def _share(share: dict[str, Any] | None) -> str:
    if share is None or share["value"] is None:
        return ""
    return f"{share['value']:.2f} [{share['ci95'][0]:.2f}, {share['ci95'][1]:.2f}]"


def _spread(figure: dict[str, Any]) -> str:
    """A mean over seeds and how far its interval reaches to either side, where it has one."""
    if figure["mean"] is None:
        return ""
    reach = figure["ci95"][1] - figure["mean"] if figure["ci95"] else 0.0
    return f"{figure['mean']:.3f}" + (f" ±{reach:.3f}" if reach else "")


def _gap(gap: dict[str, Any], decimals: int = 3) -> str:
    if gap["difference"] is None:
        return ""
    low, high = gap["ci95"]
    return f"{gap['difference']:+.{decimals}f} [{low:+.{decimals}f}, {high:+.{decimals}f}]"


def _mean(values: list[float | None], decimals: int = 3) -> str:
    known = [value for value in values if value is not None]
    return f"{sum(known) / len(known):.{decimals}f}" if known else ""


def _judge(judge: str) -> str:
    return {"learned": "LLM-free, learned"}.get(judge, judge)


def _version(version: str) -> str:
    return version.replace("_", " ")


def _foot(figures: dict[str, Any]) -> None:
    repetitions = "one repetition, so no interval over noise" if len(figures["seeds"]) == 1 else "95 % intervals"
    out_console.print(
        f"{figures['model']}, teacher {figures['teacher']}; {figures['uncertain_share']:.0%} of the instances asked "
        f"about; {len(figures['seeds'])} seed(s): {repetitions}",
        style="dim",
        highlight=False,
    )
