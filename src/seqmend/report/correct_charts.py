"""Charts of the correct mender: whom the recommender believes, and the figures of `seqmend bench correct-*`."""

from collections.abc import Mapping, Sequence
from typing import Any

from seqmend.report.svg import BY_SCHEME, Canvas, Colours, Scale
from seqmend.report.wording import count, number, percent

_WIDTH, _HEIGHT = 928, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 58, 34, 50


def picture_chart(picture: Sequence[Mapping[str, Any]], colours: Colours = BY_SCHEME) -> Canvas:
    """Share of the instances (bars) and their mean reliability (dots) by mco, as in LLM4RSR's Figure 1.

    Args:
        picture: Buckets with `least, most, share, reliability`, at least one.
        colours: The colour of every role.
    """
    said = "; ".join(
        f"{_bucket(b)}: {percent(b['share'])} of the instances, reliability {number(b['reliability'], 2)}"
        for b in picture
    )
    canvas = Canvas(_WIDTH, _HEIGHT, f"Instances and their mean reliability by co-occurrence. {said}.")
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    share = Scale(0.0, max(b["share"] for b in picture) * 1.1 or 1.0, bottom, _TOP)
    believed = Scale(0.0, 1.0, bottom, _TOP)
    for value, _ in share.ticks(5):
        canvas.line(_LEFT, share(value), right, share(value), colours["line"])
        canvas.text(_LEFT - 8, share(value) + 4, percent(value), colours["muted"], size=11, anchor="end")
    for value, text in believed.ticks(5):
        canvas.text(right + 8, believed(value) + 4, text, colours["mended"], size=11)
    width = (right - _LEFT) / len(picture)
    points: list[tuple[float, float]] = []
    for place, bucket in enumerate(picture):
        middle = _LEFT + width * (place + 0.5)
        tip = (
            f"mco {_bucket(bucket)}: {percent(bucket['share'], 1)} of the instances\n"
            f"mean reliability {number(bucket['reliability'], 3)}"
        )
        top = share(bucket["share"])
        canvas.box(middle - 0.38 * width, top, 0.76 * width, bottom - top, colours["raw"], round_by=2, tip=tip)
        canvas.text(middle, bottom + 17, _bucket(bucket), colours["muted"], size=11, anchor="middle")
        if bucket["reliability"] is not None:
            points.append((middle, believed(bucket["reliability"])))
    canvas.path(points, colours["mended"], width=2)
    for x, y in points:
        canvas.dot(x, y, 4, colours["mended"], colours["card"])
    canvas.text(_LEFT - 40, 16, "Share of the instances", colours["muted"], size=11.5)
    canvas.text(right + 44, 16, "Mean reliability", colours["mended"], size=11.5, anchor="end")
    canvas.text(
        (_LEFT + right) / 2,
        bottom + 38,
        "Most users who chose the target together with one of the inputs (mco)",
        colours["muted"],
        size=11.5,
        anchor="middle",
    )
    return canvas


def _bucket(bucket: Mapping[str, Any]) -> str:
    least, most = bucket["least"], bucket["most"]
    return count(least) if least == most else f"{count(least)}–{count(most)}"
