"""seqmend bench denoise-student: the mender's verdicts without a language model at serving time."""

from typing import Annotated

import typer
from rich.table import Table

from seqmend.cli.bench import bench
from seqmend.cli.console import JsonFile, out_console, showing, write_figures
from seqmend.cli.options import JOURNAL, JournalFile, LearnedFrom, ReleasedFolder, TestWindows

_NAMES = {
    "llm_free": "fusion without language model",
    "teacher": "teacher (fusion with language model)",
    "student_llm_free": "student without language vectors",
    "student": "student",
}


@bench.command("denoise-student")
def bench_student(
    folder: ReleasedFolder,
    train: LearnedFrom = "small",
    model: Annotated[str, typer.Option("--model", help="Language model: a name or a folder.")] = "smollm2-135m",
    windows: TestWindows = None,
    language_windows: Annotated[int, typer.Option("--language-windows", help="Windows the teacher reads whole.")] = 300,
    tuning_windows: Annotated[int, typer.Option("--tuning-windows", help="Windows it reads to learn from.")] = 150,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Of the student, at most.")] = None,
    timed: Annotated[int, typer.Option("--timed", min=1, help="Windows that the teacher is timed on.")] = 50,
    seed: Annotated[int, typer.Option("--seed", help="Of teacher and student.")] = 0,
    journal: JournalFile = JOURNAL,
    json_file: JsonFile = None,
) -> None:
    """How much of the language model's gain a small network keeps, and how many windows it judges per second."""
    from seqmend import study
    from seqmend.menders.denoise import DenoiseConfig, StudentConfig

    student = StudentConfig(seed=seed) if epochs is None else StudentConfig(seed=seed, epochs=epochs)
    teacher = DenoiseConfig(seed=seed, tuning_windows=tuning_windows, language_windows=language_windows)
    with showing() as progress:
        figures = study.bench_student_by_name(folder, train, model, journal, teacher, student, windows, timed, progress)
    write_figures(json_file, figures)
    table = Table(title=f"Student on {folder.name}, learned from the {train} log", title_justify="left")
    for column in ("judge", "AUROC", "gain", "share of the gain", "ECE", "windows/s"):
        table.add_column(column, justify="left" if column == "judge" else "right")
    for name, label in _NAMES.items():
        gain, share = figures["gain"].get(name), figures["gain_share"].get(name)
        table.add_row(
            label,
            f"{figures[name]['auroc']:.4f}",
            f"{gain['difference']:+.4f} {_interval(gain['ci95'], '+.4f')}" if gain else "",
            f"{_number(share['value'], '.0%')} {_interval(share['ci95'], '.0%')}" if share else "",
            f"{figures[name]['ece']:.3f}",
            f"{figures['speed']['fusion' if name == 'llm_free' else name]:,.1f}",
        )
    out_console.print(table)
    language = figures["language_gain"]
    out_console.print(
        f"The student's gain by language vectors: {language['difference']:+.4f} {_interval(language['ci95'], '+.4f')}. "
        f"The student judges {figures['ratio']:,.0f} times as many windows per second as the teacher that reads every "
        f"window, {figures['ratio_titles_kept']:,.0f} times where the teacher's title vectors are kept.",
        highlight=False,
    )
    out_console.print(", ".join(f"{key} {value}" for key, value in figures["machine"].items()), style="dim")


def _number(value: float | None, form: str) -> str:
    return "unbounded" if value is None else format(value, form)


def _interval(bounds: list[float | None], form: str) -> str:
    return f"({', '.join(_number(bound, form) for bound in bounds)})"
