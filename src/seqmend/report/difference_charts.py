"""Small charts that stand within tables: a difference against zero, and arms over groups of history length."""

from collections.abc import Sequence

from seqmend.report.arm_chart import arm_colour
from seqmend.report.arms import GroupPoint
from seqmend.report.findings import tone_of
from seqmend.report.record import Comparison, DetectionComparison
from seqmend.report.svg import BY_SCHEME, Canvas, Scale
from seqmend.report.wording import arm_name, counted, interval, metric_name, number, signed

_TONES = {"gain": "gain", "loss": "loss", "none": "muted", "unknown": "muted"}


def difference_charts(differences: Sequence[Comparison | DetectionComparison], decimals: int = 4) -> list[Canvas]:
    """One chart per difference, all on one scale: its interval, its dot, and zero."""
    ends = [abs(end) for found in differences for end in found.ci95]
    reach = max(ends, default=0.0) * 1.08 or 1.0
    charts: list[Canvas] = []
    for found in differences:
        said = (
            f"Difference {signed(found.difference, decimals)}, 95% interval {interval(found.ci95, decimals, sign=True)}"
        )
        canvas, x = Canvas(190, 24, said), Scale(-reach, reach, 4, 186)
        colour = BY_SCHEME[_TONES[tone_of(found)]]
        canvas.line(x(0), 1, x(0), 23, BY_SCHEME["muted"], dash="2 2")
        canvas.line(x(found.ci95[0]), 12, x(found.ci95[1]), 12, colour, width=2.4)
        canvas.dot(x(found.difference), 12, 4.5, colour, tip=said)
        charts.append(canvas)
    return charts


def group_chart(points: list[GroupPoint], metric: str, titles: dict[str, str]) -> Canvas:
    """A line of dots per length group, one dot per arm.

    Args:
        points: At least one.
        metric: Key of the metric.
        titles: What each group is called.
    """
    colours, groups = BY_SCHEME, list(dict.fromkeys(point.group for point in points))
    said = [f"{titles[p.group]}, {arm_name(p.arm)}: {number(p.mean)}" for p in points]
    row, top, width = 56, 8, 380
    bottom = top + row * len(groups)
    canvas = Canvas(width, bottom + 46, f"{metric_name(metric)} by length of history. {'; '.join(said)}.")
    x = Scale.around([point.mean for point in points], 12, width - 12)
    for value, text in x.ticks(5):
        canvas.line(x(value), top, x(value), bottom, colours["line"])
        canvas.text(x(value), bottom + 17, text, colours["muted"], size=11.5, anchor="middle")
    title = f"{metric_name(metric)}, higher is better"
    canvas.text(width / 2, bottom + 37, title, colours["muted"], size=12, anchor="middle")
    for n, group in enumerate(groups):
        y = top + row * n
        own = [point for point in points if point.group == group]
        canvas.text(0, y + 15, titles[group], colours["ink"], size=12.5, bold=True)
        canvas.text(width, y + 15, counted(own[0].n, "target"), colours["muted"], size=11.5, anchor="end")
        canvas.line(x(min(p.mean for p in own)), y + 36, x(max(p.mean for p in own)), y + 36, colours["line"], width=3)
        for point in sorted(own, key=lambda point: point.arm == "mended"):
            tip = f"{titles[group]}\n{arm_name(point.arm)}: {number(point.mean)}"
            _draw_arm(canvas, x(point.mean), y + 36, point.arm, tip)
    return canvas


def arm_swatch(arm: str) -> Canvas:
    """The dot of an arm, for the legend of `group_chart`."""
    canvas = Canvas(14, 14, "")
    _draw_arm(canvas, 7, 7, arm, None)
    return canvas


def _draw_arm(canvas: Canvas, x: float, y: float, arm: str, tip: str | None) -> None:
    """A dot; hollow for the narrower oracle, which has the other oracle's colour."""
    colour = arm_colour(arm, BY_SCHEME)
    canvas.dot(x, y, 5.5, BY_SCHEME["card"] if arm == "oracle_same_scope" else colour, colour, tip)
