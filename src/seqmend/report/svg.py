"""A small vocabulary for drawing charts as SVG: marks, text, scales, and the colours of the house."""

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

Anchor = Literal["start", "middle", "end"]
Colours = Mapping[str, str]

LIGHT: Colours = {
    "paper": "#fdfcfa",
    "card": "#ffffff",
    "ink": "#1d2126",
    "muted": "#5d646d",
    "line": "#e4e1da",
    "raw": "#5d646d",
    "random": "#8a8f96",
    "llm-free": "#965c06",
    "mended": "#0b7268",
    "oracle": "#4a5fc1",
    "gain": "#0b7268",
    "loss": "#b23a2b",
    "series-1": "#7a4fb0",
    "series-2": "#c0447c",
    "series-3": "#2b7cb8",
    "series-4": "#6b7a2a",
    "series-5": "#8a4b2a",
}
DARK: Colours = {
    "paper": "#14171a",
    "card": "#1b1f23",
    "ink": "#e9e6e0",
    "muted": "#a2a8b0",
    "line": "#30363c",
    "raw": "#a2a8b0",
    "random": "#7d848c",
    "llm-free": "#e0a546",
    "mended": "#45c9b8",
    "oracle": "#93a4ff",
    "gain": "#45c9b8",
    "loss": "#ff8a75",
    "series-1": "#bd9af0",
    "series-2": "#f088b6",
    "series-3": "#6fb7ec",
    "series-4": "#b5c56a",
    "series-5": "#d9a07c",
}
BY_SCHEME: Colours = {role: f"var(--{role})" for role in LIGHT}
"""Colours that follow the page, which is light or dark as the reader's system is."""


@dataclass(frozen=True)
class Scale:
    """A straight line from values to places: `low` is drawn at `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Where a value is drawn."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    @classmethod
    def around(cls, values: Sequence[float], start: float, end: float, margin: float = 0.06) -> "Scale":
        """A scale that holds all values with some room on both sides."""
        low, high = min(values), max(values)
        room = (high - low) * margin or abs(high) * 0.1 or 1.0
        return cls(low - room, high + room, start, end)

    def ticks(self, at_most: int = 6) -> list[tuple[float, str]]:
        """Round values within the scale, 1, 2 or 5 times a power of ten apart, each as it is written.

        >>> Scale(0.068, 0.0815, 0, 1).ticks(4)
        [(0.07, '0.070'), (0.075, '0.075'), (0.08, '0.080')]
        """
        power = 10 ** math.floor(math.log10((self.high - self.low) / at_most))
        step = next(f * power for f in (1, 2, 5, 10) if (self.high - self.low) / (f * power) <= at_most)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        return [(round(n * step, decimals), f"{n * step:.{decimals}f}") for n in range(first, last + 1)]


class Canvas:
    """An SVG picture that grows mark by mark.

    Args:
        width: Of the view box.
        height: Of the view box.
        alternative: What the chart shows, for those who do not see it.
    """

    def __init__(self, width: float, height: float, alternative: str) -> None:
        size = {"width": f"{width:g}", "height": f"{height:g}", "viewBox": f"0 0 {width:g} {height:g}"}
        self._root = ElementTree.Element("svg", {"role": "img", "aria-label": alternative, **size})

    def line(
        self, x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1, dash: str | None = None
    ) -> None:
        """A straight line."""
        ends = {"x1": _place(x1), "y1": _place(y1), "x2": _place(x2), "y2": _place(y2)}
        self._add("line", {**ends, "stroke": colour, "stroke-width": f"{width:g}", "stroke-dasharray": dash})

    def dot(
        self, x: float, y: float, radius: float, fill: str, stroke: str | None = None, tip: str | None = None
    ) -> None:
        """A circle; `tip` is what a pointer on it is told."""
        centre = {"cx": _place(x), "cy": _place(y), "r": f"{radius:g}"}
        self._add("circle", {**centre, "fill": fill, "stroke": stroke, "stroke-width": stroke and "2", "data-tip": tip})

    def box(
        self, x: float, y: float, width: float, height: float, fill: str, *, round_by: float = 0, tip: str | None = None
    ) -> None:
        """A rectangle; `tip` is what a pointer on it is told."""
        place = {"x": _place(x), "y": _place(y), "width": _place(width), "height": _place(height)}
        self._add("rect", {**place, "rx": f"{round_by:g}" if round_by else None, "fill": fill, "data-tip": tip})

    def path(
        self, points: Sequence[tuple[float, float]], colour: str, width: float = 1.5, dash: str | None = None
    ) -> None:
        """A line through points."""
        way = " ".join(f"{'L' if n else 'M'}{_place(x)} {_place(y)}" for n, (x, y) in enumerate(points))
        style = {"fill": "none", "stroke": colour, "stroke-width": f"{width:g}", "stroke-dasharray": dash}
        self._add("path", {"d": way, **style, "stroke-linejoin": "round"})

    def text(
        self,
        x: float,
        y: float,
        content: str,
        colour: str,
        *,
        size: float = 12,
        anchor: Anchor = "start",
        bold: bool = False,
        upright: bool = True,
        halo: str | None = None,
    ) -> None:
        """A line of text on the baseline `y`; not `upright` reads upwards, a `halo` keeps lines off the letters."""
        style = {"fill": colour, "font-size": f"{size:g}", "font-weight": "600" if bold else None}
        turned = None if upright else f"rotate(-90 {_place(x)} {_place(y)})"
        place = {"x": _place(x), "y": _place(y), "text-anchor": None if anchor == "start" else anchor}
        around = {"stroke": halo, "stroke-width": "4", "paint-order": "stroke"} if halo else {}
        self._add("text", {**place, **style, **around, "transform": turned}).text = content

    def markup(self) -> Markup:
        """The picture for use within a page."""
        return Markup(ElementTree.tostring(self._root, encoding="unicode"))  # the tree has escaped its texts

    def file(self) -> str:
        """The picture as a file of its own."""
        fonts = "system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"
        for key, value in (("xmlns", "http://www.w3.org/2000/svg"), ("font-family", fonts)):
            self._root.set(key, value)
        return ElementTree.tostring(self._root, encoding="unicode") + "\n"

    def _add(self, tag: str, attributes: Mapping[str, str | None]) -> ElementTree.Element:
        given = {key: value for key, value in attributes.items() if value is not None}
        return ElementTree.SubElement(self._root, tag, given)


def _place(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
