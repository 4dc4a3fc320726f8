"""The arm chart: a dot with its 95 % interval for every version of the training data."""

from collections.abc import Mapping
from typing import Any

from seqmend.errors import InputError
from seqmend.report.arms import ArmPoint, arm_points
from seqmend.report.findings import HEADLINE_METRIC
from seqmend.report.record import Metrics, TestHistory
from seqmend.report.svg import BY_SCHEME, LIGHT, Canvas, Colours, Scale
from seqmend.report.wording import (
    TEST_HISTORIES,
    arm_name,
    backbone_name,
    counted,
    interval,
    metric_name,
    name,
    number,
    percent,
)

_ROLES = {
    "raw": "raw",
    "random": "random",
    "llm_free": "llm-free",
    "mended": "mended",
    "oracle": "oracle",
    "oracle_same_scope": "oracle",
}
_LEGEND_HEIGHT = 34
_AXIS_HEIGHT = 48
_STEP = 21


def arm_colour(arm: str, colours: Colours) -> str:
    """The colour of an arm in every chart."""
    return colours[_ROLES.get(arm, "muted")]


def arm_chart(
    metrics: Metrics, metric: str, backbone: str, *, narrow: bool = False, colours: Colours = BY_SCHEME
) -> Canvas:
    """Draw the arms of one backbone.

    Args:
        metrics: The run, with at least one arm of that backbone.
        metric: Key of the metric.
        backbone: Whose arms.
        narrow: For a phone: names stand above the marks instead of beside them.
        colours: The colour of every role.
    """
    return _draw(metrics, metric, backbone, narrow, colours, heading=[])


def arm_chart_svg(
    metrics: Metrics | Mapping[str, Any], metric: str = HEADLINE_METRIC, backbone: str | None = None
) -> str:
    """The arm chart as an SVG file of its own, titled, on a light card, with colours that need no style sheet.

    Args:
        metrics: Content of a `metrics.json`.
        metric: Key of the metric.
        backbone: Whose arms; by default the first backbone of the run.

    Raises:
        InputError: The run has no such arms, or the metrics are not what a run writes.
    """
    metrics = Metrics.parse(metrics)
    backbone = backbone or next(iter(metrics.backbones), None)
    if backbone is None or not arm_points(metrics, metric, backbone):
        raise InputError(
            f"there is no arm with {metric} to draw" + (f" for {backbone}" if backbone else ""),
            expected=f"arms of {', '.join(metrics.backbones)}"
            if metrics.backbones
            else "a run that trained recommenders",
            fix="draw the chart of a run that compared arms",
        )
    dataset = metrics.dataset
    noise = f", {percent(dataset.noise.ratio)} {name(dataset.noise.kind)} noise injected" if dataset.noise else ""
    heading = [
        f"{metric_name(metric)} of {backbone_name(backbone)} on {name(dataset.name)}{noise}",
        f"Mean of {counted(metrics.n_seeds, 'seed')}, 95% interval over users and seeds; small marks: single seeds;"
        " dashed line: raw log",
    ]
    return _draw(metrics, metric, backbone, narrow=False, colours=LIGHT, heading=heading).file()


def _draw(metrics: Metrics, metric: str, backbone: str, narrow: bool, colours: Colours, heading: list[str]) -> Canvas:
    points = arm_points(metrics, metric, backbone)
    arms = {arm: [point for point in points if point.arm == arm] for arm in dict.fromkeys(p.arm for p in points)}
    kinds: list[TestHistory] = list(dict.fromkeys(point.test_history for point in points))
    width, left, right = (352, 8, 66) if narrow else (928, 206, 196)
    name_height, gap = (24, 12) if narrow else (0, 18)
    heights = [name_height + _STEP * len(own) + gap for own in arms.values()]
    top = 72 * bool(heading) + _LEGEND_HEIGHT + (20 if narrow and len(kinds) > 1 else 0)
    bottom = top + sum(heights)
    margin = 24 if heading else 0
    canvas = Canvas(width + 2 * margin, bottom + _AXIS_HEIGHT + margin / 2, _alternative(points, metric, backbone))
    if heading:
        canvas.box(0, 0, width + 2 * margin, bottom + _AXIS_HEIGHT + margin / 2, colours["card"], round_by=10)
        canvas.text(margin, 36, heading[0], colours["ink"], size=17, bold=True)
        canvas.text(margin, 58, heading[1], colours["muted"], size=12.5)
    values = [v for point in points for v in (*point.by_seed, point.mean, *(point.ci95 or ()))]
    x = Scale.around(values, margin + left + 6, margin + width - right - 6)
    _draw_legend(canvas, [TEST_HISTORIES[kind] for kind in kinds], x.start, top - _LEGEND_HEIGHT, narrow, colours)
    _draw_axis(canvas, x, top, bottom, f"{metric_name(metric)} over the whole catalogue, higher is better", colours)
    baseline = next((p.mean for p in points if p.arm == "raw" and p.test_history == "as_is"), None)
    if baseline is not None:
        canvas.line(x(baseline), top, x(baseline), bottom, colours["muted"], dash="3 3")
    y = top + gap / 2
    for (arm, own), height in zip(arms.items(), heights, strict=True):
        at = y + 15 if narrow else y + _STEP * len(own) / 2 + 4.5
        canvas.text(margin, at, arm_name(arm), colours["ink"], size=13.5, bold=arm == "mended", halo=colours["card"])
        for k, point in enumerate(own):
            middle = y + name_height + _STEP * (k + 0.5)
            _draw_point(canvas, point, x, middle, arm_colour(arm, colours), colours, narrow)
        y += height
    return canvas


def _draw_legend(canvas: Canvas, kinds: list[str], left: float, top: float, narrow: bool, colours: Colours) -> None:
    x, y = left, top + (-6 if narrow and len(kinds) > 1 else 12)
    for n, text in enumerate(kinds):
        canvas.dot(x, y, 4.5, colours["ink"] if n == 0 else colours["card"], colours["ink"])
        canvas.text(x + 11, y + 4, text[:1].upper() + text[1:], colours["muted"], size=12)
        x, y = (x, y + 20) if narrow else (x + 210, y)


def _draw_axis(canvas: Canvas, x: Scale, top: float, bottom: float, title: str, colours: Colours) -> None:
    for value, text in x.ticks(max(3, int((x.end - x.start) / 62))):
        canvas.line(x(value), top, x(value), bottom, colours["line"])
        canvas.text(x(value), bottom + 17, text, colours["muted"], size=12, anchor="middle")
    canvas.line(x.start, bottom, x.end, bottom, colours["line"])
    canvas.text(x.start, bottom + 38, title, colours["muted"], size=12)


def _draw_point(
    canvas: Canvas, point: ArmPoint, x: Scale, y: float, colour: str, colours: Colours, narrow: bool
) -> None:
    bounds = interval(point.ci95) if point.ci95 else "no interval"
    tip = f"{arm_name(point.arm)}, {TEST_HISTORIES[point.test_history]}\n{number(point.mean)} ({bounds})"
    for value in point.by_seed:
        canvas.line(x(value), y + 5, x(value), y + 9, colour, width=1.2)
    if point.ci95:
        low, high = (x(end) for end in point.ci95)
        canvas.line(low, y, high, y, colour, width=2.4)
        for end in (low, high):
            canvas.line(end, y - 3.5, end, y + 3.5, colour, width=1.6)
    canvas.dot(x(point.mean), y, 5, colour if point.test_history == "as_is" else colours["card"], colour, tip)
    after = x.end + (14 if narrow else 20)
    canvas.text(after, y + 4.5, number(point.mean), colours["ink"], size=13, bold=True)
    if not narrow and point.ci95:
        canvas.text(after + 62, y + 4.5, f"{number(point.ci95[0])}–{number(point.ci95[1])}", colours["muted"], size=12)


def _alternative(points: list[ArmPoint], metric: str, backbone: str) -> str:
    said = [
        f"{arm_name(point.arm)}, {TEST_HISTORIES[point.test_history]}: {number(point.mean)}"
        + (f" ({interval(point.ci95)})" if point.ci95 else "")
        for point in points
    ]
    return (
        f"{metric_name(metric)} of {backbone_name(backbone)} for every version of the training data. {'; '.join(said)}."
    )
