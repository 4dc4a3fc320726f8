"""The figures of `seqmend bench augment*`, drawn from what these commands write as JSON."""

from collections.abc import Callable, Mapping
from typing import Any

from seqmend.report.panels import Dot, DotRow, Line, Panel, draw_dot_rows, draw_panels
from seqmend.report.svg import Canvas
from seqmend.report.wording import backbone_name, count, metric_name, name, signed

Figures = Mapping[str, Any]

_METRIC = "ndcg@10"
_ARMS = {
    "raw": "Not augmented",
    "duplicate": "Sequence twice",
    "asrep": "ASReP",
    "top_m": "Recommender's first",
    "random_m": "Any of the recommender's",
    "llm_free": "Mender without model",
    "mended": "Mender",
    "full_weight": "Augmented channel alone",
    "permuted_weight": "Weights dealt at random",
    "half_weight": "All weights one half",
    "context_only": "Shown at test time alone",
    "random_pool": "Pool: any items",
    "popular_pool": "Pool: popular items",
    "neighbour_pool": "Pool: co-occurring items",
    "recommender_pool": "Pool: recommender's alone",
    "asked": "Model asked",
    "asked_of_recommender_pool": "Model asked, recommender's pool",
    "similar_titles": "Most similar titles",
    "seen_items": "Seen items allowed",
    "best_first": "Best item farthest",
    "random_order": "Items in any order",
    "hit_weights": "Hits weigh 1",
    "rank_weights": "Weights by rank",
    "expected_similarity": "Expected similarity",
    "probability": "Probability of the hidden item",
    "crossfit": "Check without the hidden item",
    "model_alone": "Model's word alone",
    "pseudo_targets": "Pseudo items predicted",
    "published": "As the official code",
}
_STYLES = (
    ("raw", False),
    ("random", True),
    ("llm-free", True),
    ("series-3", True),
    ("series-1", True),
    ("mended", True),
    ("series-2", False),
    ("series-4", False),
)
_GROUPS = {"all": "Everyone", "short": "Short", "medium": "Medium", "long": "Long", "tail": "Tail", "head": "Head"}
_LINES = {"all": ("mended", None), "short": ("series-3", "7 3"), "long": ("series-2", "2 3")}
_PARAMETERS = {"M": "Pseudo items per user (M)", "beta": "Share of w that long users keep (beta)",
               "T": "Longest sequence in full trust (T)"}  # fmt: skip


def augment_arm_name(arm: str) -> str:
    """What an arm of these studies is called."""
    return _ARMS.get(arm) or name(arm)


def _by_group(figures: Figures) -> Canvas:
    """Groups by length from top to bottom, a dot per arm."""
    rows: list[DotRow] = []
    arms = [arm for arm in _ARMS if any(row["arm"] == arm for row in figures["rows"])]
    styles = {arm: _STYLES[place % len(_STYLES)] for place, arm in enumerate(arms)}
    for backbone in figures["backbones"]:
        for group, size in figures["groups"]["users"].items():
            own = _shown(figures, backbone, group)
            dots = [Dot(own[arm]["mean"], own[arm]["ci95"], *styles[arm]) for arm in arms]
            notes = ["" if arm == "raw" else _note(own[arm]["difference"]) for arm in arms]
            title = f"{_GROUPS.get(group, group)} ({count(size)})"
            many = len(figures["backbones"]) > 1
            rows.append(DotRow(f"{backbone_name(backbone)}: {title}" if many else title, dots, notes))
    return draw_dot_rows(
        f"{metric_name(_METRIC)} by length of sequence on {figures['corpus']}",
        f"{_about(figures)}; at the right: difference to the raw log",
        rows,
        f"{metric_name(_METRIC)} over the whole catalogue, pseudo items shown; * difference beyond chance",
        [],
        [(augment_arm_name(arm), *styles[arm]) for arm in arms],
    )


def _by_arm(figures: Figures) -> Canvas:
    """Arms from top to bottom, a dot for everyone and one for the short sequences."""
    styles = {"all": ("mended", True), "short": ("series-3", False)}
    rows: list[DotRow] = []
    for backbone in figures["backbones"]:
        by_group = {group: _shown(figures, backbone, group) for group in styles if group in figures["groups"]["users"]}
        for arm in next(iter(by_group.values())):
            found = [(group, own[arm]) for group, own in by_group.items()]
            dots = [Dot(one["mean"], one["ci95"], *styles[group]) for group, one in found]
            notes = ["" if arm == "raw" else _note(one["difference"]) for _, one in found]
            many = len(figures["backbones"]) > 1
            title = augment_arm_name(arm)
            rows.append(DotRow(f"{title}, {backbone_name(backbone)}" if many else title, dots, notes))
    return draw_dot_rows(
        f"One thing changed at a time: {metric_name(_METRIC)} on {figures['corpus']}",
        f"{_about(figures)}; at the right: difference to the raw log",
        rows,
        f"{metric_name(_METRIC)} over the whole catalogue, pseudo items shown; * difference beyond chance",
        [],
        [(_GROUPS[group], *style) for group, style in styles.items()],
    )


def _sweep(figures: Figures) -> Canvas:
    rows = [row for row in figures["rows"] if row["ranking"] == "full"]
    panels: list[Panel] = []
    for backbone in figures["backbones"]:
        for parameter in dict.fromkeys(row["parameter"] for row in rows if row["parameter"]):
            for group, (colour, dash) in _LINES.items():
                own = [row for row in rows if (row["backbone"], row["group"]) == (backbone, group)]
                points = [
                    (row["value"], row[_METRIC]["mean"], row[_METRIC]["ci95"])
                    for row in own
                    if row["parameter"] == parameter and row["test_history"] == "mended"
                ]
                raw = [row[_METRIC]["mean"] for row in own if row["parameter"] is None]
                if points:
                    title = f"{metric_name(_METRIC)} of {backbone_name(backbone)}, {_GROUPS[group].lower()}"
                    line = Line(_GROUPS[group], points, colour, dash)
                    levels = [("not augmented", value, "raw") for value in raw]
                    panels.append(Panel(title, _PARAMETERS[parameter], [line], levels, start_at_zero=False))
    return draw_panels(f"How much is prepended and trusted on {figures['corpus']}", _about(figures), panels)


def _note(difference: Mapping[str, Any]) -> str:
    low, high = difference["ci95"]
    return signed(difference["difference"]) + ("" if low <= 0 <= high else " *")


def _shown(figures: Figures, backbone: str, group: str) -> dict[str, Any]:
    """The metric of every arm with the histories that it is made for, over the whole catalogue."""
    found: dict[str, Any] = {}
    for row in figures["rows"]:
        is_here = (row["backbone"], row["group"], row["ranking"]) == (backbone, group, "full")
        if is_here and (row["arm"] not in found or row["test_history"] == "mended"):
            found[row["arm"]] = row[_METRIC]
    return found


def _about(figures: Figures) -> str:
    parts = [
        f"{count(figures['users'])} users, {count(figures['items'])} items",
        "no language model" if figures["model"] is None else str(figures["model"]),
        f"{len(figures['seeds'])} seed(s)",
        "95% interval over users and seeds",
    ]
    return ", ".join(parts)


CHARTS: dict[str, Callable[[Figures], Canvas]] = {
    "augment": _by_group,
    "augment-ablation": _by_arm,
    "augment-sweep": _sweep,
}
"""What draws the figure of every study."""
