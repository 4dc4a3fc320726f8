"""Charts of the correct mender: whom the recommender believes, and the figures of `seqmend bench correct-*`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from seqmend.report.panels import Dot, DotRow, Line, Panel, draw_dot_rows, draw_panels
from seqmend.report.svg import BY_SCHEME, Canvas, Colours, Scale
from seqmend.report.wording import backbone_name, count, interval, metric_name, number, percent, signed

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


# -------------------------------------------------------------------------------------------------------------- studies

_JUDGES = {
    "model": "Language model",
    "learned": "Learned, no language model",
    "titles": "Likeness of titles",
    "co-occurrence": "Co-occurrence",
    "random": "Chance",
}
_GROUPS = {"low": ("series-1", False), "high": ("series-3", True)}
_GROUP_NAMES = {"low": "Rare company (mco up to the median)", "high": "Common company"}
_SIGNALS = ("mended", "series-1", "llm-free", "random", "series-3", "series-2", "series-4")


def noise_chart(figures: Mapping[str, Any]) -> Canvas:
    """F1 of dropped inputs by backbone, judge and group of company."""
    rows: list[DotRow] = []
    for backbone, found in figures["backbones"].items():
        for judge, groups in found["quality"].items():
            known = [group for group in _GROUPS if groups[group]["f1"]["mean"] is not None]
            dots = [Dot(groups[g]["f1"]["mean"], groups[g]["f1"]["ci95"], *_GROUPS[g]) for g in known]
            parts = [[number(groups[g][key]["mean"], 2) for key in ("precision", "recall")] for g in known]
            notes = [f"precision {precision}, recall {recall}" for precision, recall in parts]
            if dots:
                rows.append(DotRow(f"{backbone_name(backbone)}: {_JUDGES.get(judge, judge)}", dots, notes))
    return draw_dot_rows(
        f"Inputs that were noise and dropped on {figures['corpus']}",
        _about(figures),
        rows,
        "F1 of dropped inputs against the injected noise",
        [],
        [(_GROUP_NAMES[group], *style) for group, style in _GROUPS.items()],
    )


def selection_chart(figures: Mapping[str, Any]) -> Canvas:
    """What every signal's choice holds and what is found in it, by its size."""
    signals = list(dict.fromkeys(row["signal"] for row in figures["rows"]))

    def lines(key: str) -> list[Line]:
        found: list[Line] = []
        for place, signal in enumerate(signals):
            rows = [row for row in figures["rows"] if row["signal"] == signal and row[key]["mean"] is not None]
            points = [(row["share"], row[key]["mean"], row[key]["ci95"]) for row in rows]
            found.append(Line(signal.capitalize(), points, _SIGNALS[place % len(_SIGNALS)]))
        return [line for line in found if line.points]

    titles = {
        "spoiled": "Chosen instances with noise in them",
        "f1": "F1 of dropped inputs",
        "target_recall": "Noise targets changed",
        "hit_rate": "Noise targets replaced by the true item",
    }
    panels = [Panel(title, "Share of the instances asked about", lines(key)) for key, title in titles.items()]
    panels = [panel for panel in panels if panel.lines]
    return draw_panels(f"Whom to ask about on {figures['corpus']}", _about(figures), panels)


def versions_chart(figures: Mapping[str, Any]) -> Canvas:
    """Ranking quality of every version of the instances."""
    metric = "ndcg@10"
    raw = figures["ranking"]["raw"][metric]
    rows: list[DotRow] = []
    for version, found in figures["ranking"].items():
        if version != "raw":
            style = {"corrected": "mended", "oracle": "oracle", "oracle_uncertain": "oracle"}.get(version, "series-3")
            gap = found[metric]["difference"]
            note = f"{signed(gap['difference'])} ({interval(gap['ci95'], sign=True)})"
            dot = Dot(found[metric]["mean"], found[metric]["ci95"], style, not version.endswith("_continued"))
            rows.append(DotRow(version.replace("_", " ").capitalize(), [dot], [note]))
    return draw_dot_rows(
        f"Versions of the training instances: {metric_name(metric)} of {backbone_name(figures['backbone'])} on "
        f"{figures['corpus']}",
        f"{_about(figures)}; 95% interval over users and seeds; at the right: to the raw log",
        rows,
        f"{metric_name(metric)} over the whole catalogue, higher is better",
        [("raw", raw["mean"])],
        [("Trained afresh", "series-3", True), ("Continued from the raw log's weights", "series-3", False)],
    )


def prompts_chart(figures: Mapping[str, Any]) -> Canvas:
    """F1 of dropped inputs under every variant of the question."""
    rows: list[DotRow] = []
    for variant, groups in figures["quality"].items():
        f1 = groups["all"]["f1"]
        if f1["mean"] is not None:
            colour = "mended" if variant == "model" else "series-3"
            name_ = "The question as it is" if variant == "model" else variant.replace("_", " ").capitalize()
            note = f"AUROC {number(groups['all']['auroc']['mean'], 3)}"
            rows.append(DotRow(name_, [Dot(f1["mean"], f1["ci95"], colour)], [note]))
    return draw_dot_rows(
        f"Variants of the question on {figures['corpus']}",
        _about(figures),
        rows,
        "F1 of dropped inputs against the injected noise",
        [],
        [],
    )


def _about(figures: Mapping[str, Any]) -> str:
    noise = figures["noise"]
    parts = [
        f"{count(figures['users'])} users, {count(figures['items'])} items",
        f"{percent(noise['ratio'])} {noise['kind']} noise" if noise else "",
        f"{figures['model']}, teacher {figures['teacher']}",
        f"{percent(figures['uncertain_share'])} asked about",
        f"{len(figures['seeds'])} seed(s)",
    ]
    return ", ".join(part for part in parts if part)


CHARTS: dict[str, Callable[[Mapping[str, Any]], Canvas]] = {
    "correct-noise": noise_chart,
    "correct-selection": selection_chart,
    "correct-ablations": versions_chart,
    "correct-prompts": prompts_chart,
}
"""What draws the figure of every study."""
