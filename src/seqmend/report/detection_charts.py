"""Charts of detection: precision against recall, and confidence against what came true."""

import numpy as np
from scipy.stats import binomtest

from seqmend.report.record import Bin, Curve, Detection
from seqmend.report.svg import BY_SCHEME, Canvas, Colours, Scale
from seqmend.report.wording import count, judge_name, number, percent

_WIDTH, _HEIGHT = 380, 310
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 12, 12, 50
_STEPS = 20
_FIXED = {"fused": "mended", "llm_free": "llm-free"}
_OTHERS = ("series-1", "series-2", "series-3", "series-4", "series-5")
_DASHES = ("7 3", "2 3", "9 3 2 3", "4 4", "12 4", "2 6")


def curve_styles(names: list[str], colours: Colours = BY_SCHEME) -> dict[str, tuple[str, str | None]]:
    """Colour and dash pattern of every curve: two ways to tell them apart."""
    others = [judge for judge in names if judge not in _FIXED]
    styles = {judge: (colours[_OTHERS[n % 5]], _DASHES[n % 6]) for n, judge in enumerate(others)}
    return {judge: (colours[_FIXED[judge]], None) if judge in _FIXED else styles[judge] for judge in names}


def precision_recall_chart(detection: Detection) -> Canvas:
    """Precision at every recall, for the fused confidence and each witness; the fused one's threshold is marked."""
    colours, styles = BY_SCHEME, curve_styles(list(detection.curves))
    said = [
        f"{judge_name(judge)}: precision {number(_at(curve, 0.5), 2)} at recall 0.5"
        for judge, curve in detection.curves.items()
    ]
    canvas = Canvas(_WIDTH, _HEIGHT, f"Precision against recall. {'; '.join(said)}.")
    x, y = _axes(canvas, "Recall: share of the noise that is found", "Precision: share that truly is noise", colours)
    rate = detection.noise_rate.injected if detection.noise_rate else None
    if rate is not None:
        canvas.line(x(0), y(rate), x(1), y(rate), colours["muted"], dash="3 3")
        canvas.text(x(0) + 6, y(rate) + 14, f"guessing: {percent(rate, 1)}", colours["muted"], size=11)
    for judge, curve in sorted(detection.curves.items(), key=lambda pair: pair[0] in _FIXED):
        colour, dash = styles[judge]
        way = [(x(r), y(p)) for r, p in zip(curve.recall, curve.precision, strict=True)]
        canvas.path(way, colour, width=2.6 if judge == "fused" else 1.7, dash=dash)
    _offer_readings(canvas, detection.curves, x, y)
    if detection.recall is not None and detection.precision is not None and detection.threshold is not None:
        at = f"threshold {number(detection.threshold, 2)}"
        tip = f"At {at}: precision {number(detection.precision, 2)}, recall {number(detection.recall, 2)}"
        here = x(detection.recall), y(detection.precision)
        canvas.dot(*here, 5, colours["card"], colours["mended"], tip)
        canvas.text(here[0] + 10, here[1] - 8, at, colours["ink"], size=11.5)
    return canvas


def reliability_chart(bins: list[Bin]) -> Canvas:
    """How often positions of each confidence are noise, with Wilson intervals, over the number of positions."""
    colours = BY_SCHEME
    said = [f"confidence {number(b.confidence, 2)}: {percent(b.observed)} are noise (n = {count(b.n)})" for b in bins]
    canvas = Canvas(_WIDTH, _HEIGHT, f"Reliability of the confidence. {'; '.join(said)}.")
    x, y = _axes(canvas, "Confidence that an interaction is noise", "Share that truly is noise", colours)
    canvas.line(x(0), y(0), x(1), y(1), colours["muted"], dash="3 3")
    canvas.path([(x(b.confidence), y(b.observed)) for b in bins], colours["mended"], width=1.4)
    for found in bins:
        hits = round(found.observed * found.n)
        between = binomtest(hits, found.n).proportion_ci(method="wilson") if found.n else None
        place = x(found.confidence)
        tip = f"Confidence {number(found.low, 1)} to {number(found.high, 1)}: {count(found.n)} positions\n"
        tip += f"mean confidence {number(found.confidence, 2)}, truly noise {percent(found.observed, 1)}"
        if between:
            canvas.line(place, y(between.low), place, y(between.high), colours["mended"], width=2)
        most = max(b.n for b in bins)
        size = 3.5 + 4.5 * float(np.log1p(found.n) / np.log1p(most)) if most else 3.5
        canvas.dot(place, y(found.observed), size, colours["mended"], colours["card"], tip)
    return canvas


def _axes(canvas: Canvas, x_title: str, y_title: str, colours: Colours) -> tuple[Scale, Scale]:
    x, y = Scale(0, 1, _LEFT, _WIDTH - _RIGHT), Scale(0, 1, _HEIGHT - _BOTTOM, _TOP)
    for value in (0, 0.25, 0.5, 0.75, 1):
        canvas.line(x(0), y(value), x(1), y(value), colours["line"])
        canvas.text(x(0) - 8, y(value) + 4, f"{value:g}", colours["muted"], size=11.5, anchor="end")
        canvas.text(x(value), y(0) + 18, f"{value:g}", colours["muted"], size=11.5, anchor="middle")
    canvas.text((x.start + x.end) / 2, _HEIGHT - 12, x_title, colours["muted"], size=12, anchor="middle")
    canvas.text(14, (y.start + y.end) / 2, y_title, colours["muted"], size=12, anchor="middle", upright=False)
    return x, y


def _offer_readings(canvas: Canvas, curves: dict[str, Curve], x: Scale, y: Scale) -> None:
    """Unseen columns that tell a pointer every curve's precision there."""
    for n in range(_STEPS):
        recall = (n + 0.5) / _STEPS
        said = "\n".join(f"{judge_name(judge)}  {number(_at(curve, recall), 2)}" for judge, curve in curves.items())
        canvas.box(
            x(n / _STEPS),
            y(1),
            x(1 / _STEPS) - x(0),
            y(0) - y(1),
            "transparent",
            tip=f"Precision at recall {recall:.3f}\n{said}",
        )


def _at(curve: Curve, recall: float) -> float:
    return float(np.interp(recall, curve.recall, curve.precision))
