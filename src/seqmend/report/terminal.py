"""The summary that a finished run leaves on the terminal."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from seqmend.report.arms import ArmPoint, arm_points
from seqmend.report.edits import EditSelection, ShownEdit, select_edits
from seqmend.report.findings import (
    HEADLINE_METRIC,
    SEEDS_OF_A_CLAIM,
    Finding,
    Tone,
    further_findings,
    headline,
)
from seqmend.report.key_figures import KeyFigure, key_figures
from seqmend.report.record import Detection, FinishedRun, Manifest, Metrics, Quality, TestHistory
from seqmend.report.svg import Scale
from seqmend.report.wording import (
    TEST_HISTORIES,
    arm_name,
    backbone_name,
    count,
    counted,
    judge_name,
    metric_name,
    name,
    number,
    percent,
)

_STYLES: dict[Tone, str] = {"gain": "green", "loss": "red", "none": "yellow", "unknown": "cyan"}
_SIGNS: dict[Tone, str] = {"gain": "+", "loss": "−", "none": "=", "unknown": "·"}
_SHOWN_EDITS = 4


def terminal_summary(run: Path | Mapping[str, Any]) -> RenderableType:
    """What a run found, for the console to print.

    Args:
        run: A finished run directory, or the content of its `metrics.json` (then without time and edits).

    Raises:
        InputError: The folder is no finished run, or the metrics are not what a run writes.
    """
    if isinstance(run, Path):
        finished = FinishedRun.read(run)
        return _summary(finished.metrics, finished.manifest, select_edits(finished, _SHOWN_EDITS))
    return _summary(Metrics.parse(run), None, None)


class IntervalMark:
    """A dot on its 95 % interval, as wide as there is room.

    Args:
        point: The arm.
        values: All values that the marks of the same column must hold.
        style: Of the mark.
    """

    def __init__(self, point: ArmPoint, values: list[float], style: str) -> None:
        self.point, self.values, self.style = point, values, style

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(12, options.max_width), min(44, options.max_width))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        place = Scale.around(self.values, 0, width - 1)
        low, high = (round(place(end)) for end in self.point.ci95 or (self.point.mean, self.point.mean))
        left, bar, right, dot = "|-|o" if options.ascii_only else "├─┤●"
        cells = [" "] * low + [bar] * (high - low + 1) + [" "] * (width - high - 1)
        if high > low:
            cells[low], cells[high] = left, right
        cells[round(place(self.point.mean))] = dot
        yield Segment("".join(cells), Style.parse(self.style))


def _summary(metrics: Metrics, manifest: Manifest | None, edits: EditSelection | None) -> RenderableType:
    parts: list[RenderableType] = [
        _title(metrics),
        _findings([headline(metrics)], "bold"),
        _figures(key_figures(metrics, manifest)),
    ]
    parts += [_arms(metrics, backbone) for backbone in metrics.backbones]
    if findings := further_findings(metrics):
        parts.append(_findings(findings))
    if metrics.detection:
        parts.append(_detection(metrics.detection))
    if edits and edits.n:
        parts.append(_edits(edits))
    if metrics.tested and metrics.n_seeds < SEEDS_OF_A_CLAIM:
        parts.append(_illustration(metrics))
    return Padding(Group(*_spaced(parts)), (1, 2))


def _spaced(parts: Iterable[RenderableType]) -> list[RenderableType]:
    spaced = [line for part in parts for line in (part, Text())]
    return spaced[:-1]


def _title(metrics: Metrics) -> Text:
    return Text.assemble(("SeqMend", "bold"), ("  " + name(metrics.dataset.name), "dim"))


def _figures(figures: list[KeyFigure]) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(justify="right")
    grid.add_column()
    grid.add_column(style="dim", ratio=1)
    for figure in figures:
        grid.add_row(Text(figure.value, "bold"), figure.label, Text(figure.note))
    return grid


def _arms(metrics: Metrics, backbone: str) -> RenderableType:
    points = arm_points(metrics, HEADLINE_METRIC, backbone)
    if not points:
        return Text(f"No {metric_name(HEADLINE_METRIC)} for {backbone_name(backbone)}.", "dim")
    values = [value for point in points for value in (point.mean, *(point.ci95 or ()))]
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right")
    grid.add_column(ratio=1)
    kinds: list[TestHistory] = list(dict.fromkeys(point.test_history for point in points))
    for kind in kinds:
        grid.add_row(Text(TEST_HISTORIES[kind], "dim italic"))
        for point in points:
            if point.test_history == kind:
                style = {"mended": "bold green", "oracle": "blue", "oracle_same_scope": "blue"}.get(point.arm, "")
                label = Text("  " + arm_name(point.arm), "bold" if point.arm == "mended" else "")
                grid.add_row(label, Text(number(point.mean), style), IntervalMark(point, values, style))
    about = (
        f"{counted(metrics.n_seeds, 'seed')}, 95% intervals"
        if metrics.arm_intervals
        else counted(metrics.n_seeds, "seed")
    )
    return Group(
        Text.assemble((f"{metric_name(HEADLINE_METRIC)} of {backbone_name(backbone)}", "bold"), (f"  {about}", "dim")),
        grid,
    )


def _findings(findings: list[Finding], style: str = "") -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=1)
    grid.add_column(ratio=1)
    for finding in findings:
        grid.add_row(Text(_SIGNS[finding.tone], f"bold {_STYLES[finding.tone]}"), Text(finding.text, style))
    return grid


def _detection(detection: Detection) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    table.add_column("")
    for heading in ("AUROC", "AUPRC", "Top-1", "ECE"):
        table.add_column(heading, justify="right", min_width=5)
    _quality_rows(table, {"fused": detection, **detection.controls}, detection.n)
    if asked := detection.asked:
        table.add_section()
        table.add_row(Text(f"Only the {count(asked.n_windows)} windows asked", "dim italic"))
        _quality_rows(table, {"fused": asked.fused, **asked.controls}, asked.fused.n)
    return Group(Text("Noise found", "bold"), table)


def _quality_rows(table: Table, judges: dict[str, Quality], n_positions: int) -> None:
    for judge, quality in judges.items():
        if quality.n != n_positions:
            continue  # other positions, not to be compared line by line
        style = "bold green" if judge == "fused" else ""
        figures = (quality.auroc, quality.auprc, quality.top1, quality.ece)
        table.add_row(Text(judge_name(judge), style), *(Text(number(value, 3), style) for value in figures))


def _edits(edits: EditSelection) -> RenderableType:
    title = Text("Surest edits", "bold")
    if edits.n_noise is not None:
        title.append(
            f"  {percent(edits.n_noise / edits.n)} of {counted(edits.n, 'accepted edit')} are on noise", "not bold dim"
        )
    grid = Table.grid(padding=(0, 1))
    grid.add_column(justify="right")
    grid.add_column(ratio=1)
    grid.add_column(no_wrap=True)
    for edit in edits.surest:
        grid.add_row(Text(number(edit.confidence, 2), "dim"), _change(edit), _truth(edit))
    return Group(title, grid)


def _change(edit: ShownEdit) -> Text:
    before = Text(edit.before, "red") if edit.before is not None else Text("nothing", "dim")
    return Text.assemble(before, (" → ", "dim"), (edit.after, "green" if edit.is_item else "dim italic"))


def _truth(edit: ShownEdit) -> Text:
    if edit.was_noise is None:
        return Text()
    return Text("was noise", "green") if edit.was_noise else Text("was their own", "red")


def _illustration(metrics: Metrics) -> Text:
    return Text.assemble(
        (f"{counted(metrics.n_seeds, 'seed')}: an illustration. The claim over {SEEDS_OF_A_CLAIM}: ", "dim"),
        ("seqmend bench detect FOLDER", "cyan"),
    )
