"""The figures of `seqmend bench denoise-*`, drawn from what these commands write as JSON."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from seqmend.report.panels import Dot, DotRow, Line, Panel, draw_dot_rows, draw_panels
from seqmend.report.svg import Canvas
from seqmend.report.wording import backbone_name, count, interval, metric_name, name, number, percent, signed

Figures = Mapping[str, Any]

_KIND_STYLES = (
    ("series-3", None),
    ("series-1", "7 3"),
    ("series-2", "2 3"),
    ("series-4", "9 3 2 3"),
    ("llm-free", "12 4"),
    ("oracle", "4 4"),
)
_SCOPES = {"train": ("series-3", True), "test": ("series-1", False), "both": ("mended", True)}
_SCOPE_NAMES = {"train": "Training part", "test": "Test histories", "both": "Both"}
_ARMS = {
    "raw": "Raw log",
    "oracle": "Oracle, all noise undone",
    "oracle_same_scope": "Oracle, editable noise",
    "mended": "Mended",
    "llm_free": "Mended, no language model",
    "perfect_detection": "Perfect detection, our edits",
    "perfect_replacement": "Our detection, true items",
    "perfect_detection_replace": "Perfect detection, our items",
    "perfect_detection_mask": "Perfect detection, masked",
    "perfect_detection_reweight": "Perfect detection, no loss",
    "perfect_detection_random_item": "Perfect detection, random items",
    "mended_replace": "Our detection, our items",
    "mended_delete": "Our detection, deleted",
    "mended_mask": "Our detection, masked",
    "mended_reweight": "Our detection, weighted down",
    "mended_soft": "Any doubt, weighted down",
    "mended_random_item": "Our detection, random items",
    "llm_free_replace": "Our items, no language model",
    "random_edits": "As many edits, at random",
    "popularity_edits": "As many edits, by popularity",
    "cooccurrence_edits": "As many edits, by co-occurrence",
    "title_edits": "As many edits, by titles",
}


def arm_title(arm: str) -> str:
    """What an arm of the ceiling study is called."""
    return _ARMS.get(arm) or name(arm)


# -------------------------------------------------------------------------------------------------------------- studies


def _threshold(figures: Figures) -> Canvas:
    rows = [row for row in figures["rows"] if row["judge"] == "fused"]
    default = f"default {figures['threshold']:g}"
    styles = (("precision", "mended", None), ("recall", "oracle", "7 3"), ("share_edited", "llm-free", "2 3"))
    titles = {"precision": "Precision", "recall": "Recall", "share_edited": "Share edited"}
    lines = [_line(titles[key], rows, "threshold", key, colour, dash) for key, colour, dash in styles]
    panels = [Panel(f"Detection ({default})", "Threshold", [line for line in lines if line.points])]
    if "references" in figures:
        raw, oracle = figures["references"]["raw"]["as_is"], figures["references"]["oracle"]
        for metric in raw:
            panels.append(
                Panel(
                    f"{metric_name(metric)} of {backbone_name(figures['backbone'])} on the mended log",
                    "Threshold",
                    [
                        Line(
                            f"Test histories {'as they are' if history == 'as_is' else 'mended too'}",
                            [
                                (
                                    row["threshold"],
                                    row["ranking"][history][metric]["mean"],
                                    row["ranking"][history][metric]["ci95"],
                                )
                                for row in rows
                            ],
                            colour,
                            dash,
                        )
                        for history, colour, dash in (("as_is", "series-3", "7 3"), ("mended", "mended", None))
                    ],
                    [
                        ("raw", raw[metric]["mean"], "raw"),
                        ("oracle", oracle["mended"][metric]["mean"], "oracle"),
                    ],
                    start_at_zero=False,
                )
            )
    return draw_panels(f"What every threshold finds on {figures['corpus']}", _about(figures), panels)


def _noise(figures: Figures) -> Canvas:
    rows = [row for row in figures["rows"] if row["judge"] == "fused"]
    kinds = [kind for kind in dict.fromkeys(row["kind"] for row in rows) if kind is not None]
    clean = [row for row in rows if row["kind"] is None]

    def lines(key: str, *, with_clean: bool = True, along: str = "ratio") -> list[Line]:
        found: list[Line] = []
        for place, kind in enumerate(kinds or [None]):
            own = [row for row in rows if row["kind"] == kind and kind is not None]
            colour, dash = _KIND_STYLES[place % len(_KIND_STYLES)]
            title = "No noise" if kind is None else kind.capitalize()
            found.append(_line(title, [*clean, *own] if with_clean else own, along, key, colour, dash))
        return [line for line in found if line.points]

    x_title = "Injected noise per training interaction"
    panels = [
        Panel("AUROC", x_title, lines("auroc", with_clean=False), start_at_zero=False),
        Panel("Calibration error", x_title, lines("ece"), [("calibrated", 0.03, "muted")]),
        Panel("Estimated noise rate", x_title, lines("estimated"), diagonal=True),
        Panel("Share edited at the default threshold", x_title, lines("share_edited"), diagonal=True),
        Panel("Precision", x_title, lines("precision", with_clean=False)),
        Panel("Recall", x_title, lines("recall", with_clean=False)),
    ]
    panels = [panel for panel in panels if panel.lines]
    return draw_panels(f"Kinds of noise on {figures['corpus']}", _about(figures), panels)


def _ceiling(figures: Figures) -> Canvas:
    metric = "ndcg@20"
    by_arm: dict[str, list[Any]] = {}
    for row in figures["rows"]:
        by_arm.setdefault(row["arm"], []).append(row)
    raw = by_arm.pop("raw")[0][metric]
    rows: list[DotRow] = []
    for arm, own in by_arm.items():
        dots = [Dot(row[metric]["mean"], row[metric]["ci95"], *_SCOPES[row["scope"]]) for row in own]
        rows.append(DotRow(arm_title(arm), dots, [_share(row[metric]) for row in own]))
    oracle = next(row for row in by_arm["oracle"] if row["scope"] == "both")[metric]
    return draw_dot_rows(
        f"Where the gain arises: {metric_name(metric)} of {backbone_name(figures['backbone'])} on {figures['corpus']}",
        f"{_about(figures)}; 95% interval over users and seeds; at the right: recovered share",
        rows,
        f"{metric_name(metric)} over the whole catalogue, higher is better",
        [("raw", raw["mean"]), ("oracle", oracle["mean"])],
        [(_SCOPE_NAMES[scope], *style) for scope, style in _SCOPES.items()],
    )


def _transfer(figures: Figures) -> Canvas:
    colours = {"target": ("mended", True), "source": ("series-3", True)}
    titles = {"target": f"Learned on {figures['corpus']} itself", "source": f"Learned on {figures['source']['corpus']}"}
    rows = [
        DotRow(
            f"{titles[row['learned_on']]}{', no language model' if row['judge'] == 'llm_free' else ''}",
            [Dot(row["auroc"]["mean"], row["auroc"]["ci95"], *colours[row["learned_on"]])],
            [f"AUROC {number(row['auroc']['mean'], 3)}, error {number(row['ece']['mean'], 3)}"],
        )
        for row in figures["rows"]
        if row["learned_on"] in colours
    ]
    rows += [
        DotRow(f"{row['judge']} alone", [Dot(row["auroc"]["mean"], row["auroc"]["ci95"], "llm-free", filled=False)],
               [f"AUROC {number(row['auroc']['mean'], 3)}"])
        for row in figures["rows"]
        if row["learned_on"] == "witness" and row["auroc"]["mean"] is not None
    ]  # fmt: skip
    legend = [("Learned on the target", "mended", True), ("Learned elsewhere", "series-3", True),
              ("One witness", "llm-free", False)]  # fmt: skip
    return draw_dot_rows(
        f"From {figures['source']['corpus']} to {figures['corpus']}", _about(figures), rows, "AUROC", [], legend
    )


def _cost(figures: Figures) -> Canvas:
    rows = [{**row, "share": row["share"]} for row in figures["rows"] if row["share"] is not None]
    alone = next(row for row in figures["rows"] if row["share"] is None)
    x_title = "Share of the windows that may be read whole"

    def panel(title: str, key: str, *, at_zero: bool = True) -> Panel:
        line = _line("With the language model", rows, "share", key, "mended", None)
        level = [("no language model", alone[key]["mean"], "llm-free")] if alone[key]["mean"] is not None else []
        return Panel(title, x_title, [line], level, start_at_zero=at_zero)

    panels = [
        panel("AUROC", "auroc", at_zero=False),
        panel("Calibration error", "ece"),
        panel("Seconds to judge the log", "seconds"),
        panel("Tokens", "tokens"),
    ]
    return draw_panels(f"Quality and cost on {figures['corpus']}", _about(figures), panels)


# ---------------------------------------------------------------------------------------------------------------- parts


def _line(title: str, rows: Sequence[Mapping[str, Any]], along: str, key: str, colour: str, dash: str | None) -> Line:
    points = [(row[along], row[key]["mean"], row[key]["ci95"]) for row in rows if row[key]["mean"] is not None]
    return Line(title, points, colour, dash)


def _share(figure: Mapping[str, Any]) -> str:
    share = figure["recovered_share"]
    if share is None or share["value"] is None:
        return f"{signed(figure['difference']['difference'])} (nothing to regain)"
    return f"{number(share['value'], 2)} ({interval(share['ci95'], 2)})"


def _about(figures: Figures) -> str:
    noise = figures.get("noise")
    parts = [
        f"{count(figures['users'])} users, {count(figures['items'])} items",
        f"{percent(noise['ratio'])} {noise['kind']} noise" if noise else "",
        "no language model" if figures["model"] is None else str(figures["model"]),
        f"{len(figures['seeds'])} seed(s)",
        "random titles" if figures["titles"] == "random" else "",
    ]
    return ", ".join(part for part in parts if part)


CHARTS: dict[str, Callable[[Figures], Canvas]] = {
    "denoise-threshold": _threshold,
    "denoise-noise": _noise,
    "denoise-ceiling": _ceiling,
    "denoise-transfer": _transfer,
    "denoise-cost": _cost,
}
"""What draws the figure of every study."""
