"""Charts of studies: panels of lines with intervals, and rows of dots with intervals, as SVG files of their own."""

from collections.abc import Sequence
from dataclasses import dataclass

from seqmend.report.svg import LIGHT, Canvas, Scale
from seqmend.report.wording import number

Interval = Sequence[float] | None

_WIDTH = 960
_MARGIN = 24
_PANEL_HEIGHT = 250
_LEFT, _RIGHT, _ABOVE, _BELOW = 58, 14, 34, 46
_ROW = 19


@dataclass(frozen=True)
class Line:
    """Values along an axis.

    Attributes:
        name: What it is called in the legend.
        points: (x, y, interval of y) in the order of x.
        colour: Role of the palette.
        dash: Pattern; None = drawn through.
    """

    name: str
    points: Sequence[tuple[float, float, Interval]]
    colour: str
    dash: str | None = None


@dataclass(frozen=True)
class Panel:
    """One chart among others.

    Attributes:
        title: Above it.
        x_title: Under it.
        lines: At least one with a point.
        levels: Horizontal references: name, value, role of the palette.
        diagonal: Whether y = x is what should be.
        start_at_zero: Whether the vertical axis begins at 0.
    """

    title: str
    x_title: str
    lines: Sequence[Line]
    levels: Sequence[tuple[str, float, str]] = ()
    diagonal: bool = False
    start_at_zero: bool = True


@dataclass(frozen=True)
class Dot:
    """A value with its interval: role of the palette, and whether it is filled."""

    value: float
    ci95: Interval
    colour: str
    filled: bool = True


@dataclass(frozen=True)
class DotRow:
    """A name, its dots one under the other, and a note beside each."""

    name: str
    dots: Sequence[Dot]
    notes: Sequence[str]


def draw_panels(title: str, subtitle: str, panels: Sequence[Panel]) -> Canvas:
    """Panels in two columns, with one legend for all lines."""
    names = {line.name: line for panel in panels for line in panel.lines}
    legend = _legend_places([*names], _WIDTH - 2 * _MARGIN)
    top = 78 + (20 * (legend[-1][1] + 1) + 8 if len(names) > 1 else 0)
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    height = top + rows * _PANEL_HEIGHT + 10
    said = f"{title}. {'; '.join(_said(panel) for panel in panels)}."
    canvas = _card(title, subtitle, height, said)
    if len(names) > 1:
        for (x, row), line in zip(legend, names.values(), strict=True):
            y = 84 + 20 * row
            canvas.path([(_MARGIN + x, y), (_MARGIN + x + 24, y)], LIGHT[line.colour], width=2.2, dash=line.dash)
            canvas.text(_MARGIN + x + 31, y + 4, line.name, LIGHT["muted"], size=12)
    width = (_WIDTH - 2 * _MARGIN) / columns
    for place, panel in enumerate(panels):
        _draw_panel(canvas, panel, _MARGIN + width * (place % columns), top + _PANEL_HEIGHT * (place // columns), width)
    return canvas


def draw_dot_rows(
    title: str,
    subtitle: str,
    rows: Sequence[DotRow],
    x_title: str,
    references: Sequence[tuple[str, float]],
    legend: Sequence[tuple[str, str, bool]],
) -> Canvas:
    """Rows of dots on one scale.

    Args:
        title: Heading.
        subtitle: Under it.
        rows: From top to bottom.
        x_title: Of the scale.
        references: Vertical lines: name and value.
        legend: Name, role of the palette and whether it is filled, of every kind of dot.
    """
    left, right = _MARGIN + 250, _WIDTH - _MARGIN - 250
    top = 120
    heights = [_ROW * len(row.dots) + 10 for row in rows]
    bottom = top + sum(heights)
    told = "; ".join(f"{row.name}: {', '.join(number(dot.value) for dot in row.dots)}" for row in rows)
    canvas = _card(title, subtitle, bottom + 56, f"{title}. {told}.")
    x = _MARGIN + 5.0
    for name, colour, filled in legend:
        canvas.dot(x, 84, 4.5, LIGHT[colour] if filled else LIGHT["card"], LIGHT[colour])
        canvas.text(x + 11, 88, name, LIGHT["muted"], size=12)
        x += 40 + 7 * len(name)
    ends = [end for row in rows for dot in row.dots for end in (dot.value, *(dot.ci95 or ()))]
    scale = Scale.around([*ends, *(value for _, value in references)], left, right)
    for value, text in scale.ticks(6):
        canvas.line(scale(value), top - 6, scale(value), bottom, LIGHT["line"])
        canvas.text(scale(value), bottom + 18, text, LIGHT["muted"], anchor="middle")
    canvas.text((left + right) / 2, bottom + 38, x_title, LIGHT["muted"], anchor="middle")
    for name, value in references:
        is_lowest = value == min(other for _, other in references)  # its name stands to the left, clear of the others
        canvas.line(scale(value), top - 6, scale(value), bottom, LIGHT["muted"], dash="3 3")
        canvas.text(scale(value), top - 10, name, LIGHT["muted"], size=11, anchor="end" if is_lowest else "start")
    y = float(top)
    for row, height in zip(rows, heights, strict=True):
        canvas.text(_MARGIN, y + _ROW * len(row.dots) / 2 + 4, row.name, LIGHT["ink"], size=12.5)
        for place, (dot, note) in enumerate(zip(row.dots, row.notes, strict=True)):
            middle = y + _ROW * (place + 0.5)
            _draw_dot(canvas, scale, dot, middle)
            canvas.text(right + 14, middle + 4, note, LIGHT["muted"], size=11.5)
        y += height
    return canvas


def _card(title: str, subtitle: str, height: float, said: str) -> Canvas:
    canvas = Canvas(_WIDTH, height, said)
    canvas.box(0, 0, _WIDTH, height, LIGHT["card"], round_by=10)
    canvas.text(_MARGIN, 36, title, LIGHT["ink"], size=17, bold=True)
    canvas.text(_MARGIN, 58, subtitle, LIGHT["muted"], size=12.5)
    return canvas


def _draw_panel(canvas: Canvas, panel: Panel, left: float, top: float, width: float) -> None:
    points = [point for line in panel.lines for point in line.points]
    values = [value for _, y, ci95 in points for value in (y, *(ci95 or ()))]
    values += [value for _, value, _ in panel.levels]
    if panel.diagonal:
        values += [x for x, _, _ in points]
    x = Scale.around([x for x, _, _ in points], left + _LEFT, left + width - _RIGHT)
    y = Scale.around(values, top + _PANEL_HEIGHT - _BELOW, top + _ABOVE)
    if panel.start_at_zero and y.low > -1e-9 - (y.high - y.low) / 2:
        y = Scale(min(0.0, min(values)), y.high, y.start, y.end)
    canvas.text(left + _LEFT, top + 18, panel.title, LIGHT["ink"], size=13, bold=True)
    for value, text in y.ticks(5):
        canvas.line(x.start, y(value), x.end, y(value), LIGHT["line"])
        canvas.text(x.start - 8, y(value) + 4, text, LIGHT["muted"], size=11, anchor="end")
    for value, text in x.ticks(6):
        canvas.text(x(value), y.start + 17, text, LIGHT["muted"], size=11, anchor="middle")
    canvas.text((x.start + x.end) / 2, y.start + 36, panel.x_title, LIGHT["muted"], size=11.5, anchor="middle")
    if panel.diagonal:
        low, high = max(x.low, y.low), min(x.high, y.high)
        canvas.line(x(low), y(low), x(high), y(high), LIGHT["muted"], dash="3 3")
    for name, value, colour in panel.levels:
        canvas.line(x.start, y(value), x.end, y(value), LIGHT[colour], width=1.4, dash="6 3")
        canvas.text(x.end - 4, y(value) - 5, name, LIGHT[colour], size=11, anchor="end", halo=LIGHT["card"])
    for line in panel.lines:
        colour = LIGHT[line.colour]
        canvas.path([(x(at), y(value)) for at, value, _ in line.points], colour, width=2, dash=line.dash)
        for at, value, ci95 in line.points:
            if ci95:
                canvas.line(x(at), y(ci95[0]), x(at), y(ci95[1]), colour, width=1.6)
            canvas.dot(x(at), y(value), 3, colour)


def _draw_dot(canvas: Canvas, scale: Scale, dot: Dot, y: float) -> None:
    colour = LIGHT[dot.colour]
    if dot.ci95:
        low, high = (scale(end) for end in dot.ci95)
        canvas.line(low, y, high, y, colour, width=2.2)
        for end in (low, high):
            canvas.line(end, y - 3.5, end, y + 3.5, colour, width=1.5)
    canvas.dot(scale(dot.value), y, 4.5, colour if dot.filled else LIGHT["card"], colour)


def _legend_places(names: Sequence[str], width: float) -> list[tuple[float, int]]:
    """Where each entry begins, and in which row."""
    places: list[tuple[float, int]] = []
    x, row = 0.0, 0
    for name in names:
        need = 56 + 7 * len(name)
        if x and x + need > width:
            x, row = 0.0, row + 1
        places.append((x, row))
        x += need
    return places


def _said(panel: Panel) -> str:
    ends = [
        f"{line.name} from {number(line.points[0][1], 3)} to {number(line.points[-1][1], 3)}"
        for line in panel.lines
        if line.points
    ]
    return f"{panel.title} by {panel.x_title}: {', '.join(ends)}"
