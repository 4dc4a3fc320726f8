"""The figure of any study: one entry for the charts of all menders."""

from collections.abc import Callable, Mapping
from typing import Any

from seqmend.errors import InputError
from seqmend.report import augment_charts, correct_charts, denoise_charts
from seqmend.report.svg import Canvas

_CHARTS: dict[str, Callable[[Mapping[str, Any]], Canvas]] = {
    **denoise_charts.CHARTS,
    **correct_charts.CHARTS,
    **augment_charts.CHARTS,
}


def study_chart_svg(figures: Mapping[str, Any]) -> str:
    """The figure of a study, as an SVG file of its own.

    Args:
        figures: What the study's command wrote with `--json`.

    Raises:
        InputError: No study of that name has a figure.
    """
    study = figures.get("study")
    if study not in _CHARTS:
        raise InputError(f"there is no figure for {study!r}", expected=", ".join(_CHARTS))
    return _CHARTS[study](figures).file()
