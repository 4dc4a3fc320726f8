"""`report.html`: one self-contained page about a finished run."""

from pathlib import Path
from typing import Any, TypeVar

from markupsafe import Markup

from seqmend.evaluation import GROUP_CUTS
from seqmend.files import write_atomic
from seqmend.report import wording
from seqmend.report.arm_chart import arm_chart
from seqmend.report.arms import arm_points, group_points, metrics_of
from seqmend.report.detection_charts import curve_styles, precision_recall_chart, reliability_chart
from seqmend.report.difference_charts import arm_swatch, difference_charts, group_chart
from seqmend.report.edits import select_edits
from seqmend.report.findings import HEADLINE_METRIC, further_findings, headline, honest_notes
from seqmend.report.frame import render
from seqmend.report.key_figures import key_figures
from seqmend.report.record import Comparison, Detection, DetectionComparison, FinishedRun, Manifest, Metrics, Quality
from seqmend.report.svg import Canvas

_ARM_METRICS = (HEADLINE_METRIC, "hr@10")
_LONGEST_CONFIG = 20_000
_Difference = TypeVar("_Difference", Comparison, DetectionComparison)


def write_report(run: Path) -> Path:
    """Write `report.html` into a finished run directory, atomically.

    Args:
        run: Folder with at least `metrics.json`, `manifest.json` and a ledger.

    Returns:
        Path of the page.

    Raises:
        InputError: The folder is no finished run, a file of it is damaged, or the page cannot be written there.
        ResourceError: The disk is full.
    """
    page = _render(FinishedRun.read(run))
    with write_atomic(run / "report.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    return run / "report.html"


def _render(run: FinishedRun) -> str:
    metrics = run.metrics
    return render(
        "report.html.j2",
        run=run,
        metrics=metrics,
        headline=headline(metrics),
        findings=further_findings(metrics),
        notes=honest_notes(metrics, run.menders),
        figures=key_figures(metrics, run.manifest),
        arm_sections=[_arm_section(metrics, backbone) for backbone in metrics.backbones],
        detection=metrics.detection and _detection_section(metrics.detection),
        edit_sections=[(mender, select_edits(run, number=number)) for number, mender in enumerate(run.menders)],
        contributions=_contributions(metrics),
        test_histories=wording.TEST_HISTORIES,
        arm_name=wording.arm_name,
        judge_name=wording.judge_name,
        manifest_rows=_manifest_rows(run.manifest),
        config=run.config and run.config[:_LONGEST_CONFIG],
    )


def _contributions(metrics: Metrics) -> dict[str, Any] | None:
    """What every one of several menders did, and what is lost without it; None where there is one alone."""
    edits = metrics.edits
    if edits is None or len(edits.by_mender) < 2:
        return None
    left_out = {
        mender: found
        for mender in edits.by_mender
        for found in metrics.comparisons
        if (found.b, found.metric, found.test_history) == (f"without_{mender}", HEADLINE_METRIC, "as_is")
    }
    return {"edits": edits.by_mender, "left_out": left_out}


def _arm_section(metrics: Metrics, backbone: str) -> dict[str, Any]:
    arms = [arm for arm in metrics.tested if arm.backbone == backbone]
    groups = group_points(metrics, HEADLINE_METRIC, backbone)
    short, medium = GROUP_CUTS
    lengths = {"short": f"up to {short}", "medium": f"{short + 1} to {medium}", "long": f"more than {medium}"}
    titles = {
        point.group: f"{wording.name(point.group).capitalize()} histories"
        + (f" ({lengths[point.group]})" if point.group in lengths else "")
        for point in groups
    }
    return {
        "backbone": backbone,
        "panes": [_arm_pane(metrics, metric, backbone) for metric in metrics_of(arms, _ARM_METRICS)],
        "group_titles": titles,
        "group_arms": list(dict.fromkeys(point.arm for point in groups)),
        "group_means": {(point.group, point.arm): point.mean for point in groups},
        "group_sizes": {point.group: point.n for point in groups},
        "group_chart": group_chart(groups, HEADLINE_METRIC, titles).markup() if groups else None,
        "arm_swatches": {point.arm: arm_swatch(point.arm).markup() for point in groups},
    }


def _arm_pane(metrics: Metrics, metric: str, backbone: str) -> dict[str, Any]:
    comparisons: dict[str, list[Comparison]] = {}
    for found in metrics.comparisons:
        if (found.metric, found.backbone) == (metric, backbone):
            comparisons.setdefault(found.test_history, []).append(found)
    points = arm_points(metrics, metric, backbone)
    return {
        "metric": metric,
        "raw_stays_as_is": not any((point.arm, point.test_history) == ("raw", "mended") for point in points),
        "wide": arm_chart(metrics, metric, backbone).markup(),
        "narrow": arm_chart(metrics, metric, backbone, narrow=True).markup(),
        "comparisons": {history: _with_charts(rows) for history, rows in comparisons.items()},
    }


def _detection_section(detection: Detection) -> dict[str, Any]:
    asked, styles = detection.asked, curve_styles(list(detection.curves))
    scopes: list[tuple[str, dict[str, Quality]]] = [("All positions", {"fused": detection, **detection.controls})]
    if asked:
        title = f"Windows that the language model was asked about ({wording.count(asked.n_windows)})"
        scopes.append((title, {"fused": asked.fused, **asked.controls}))
    differences: dict[tuple[str, str], list[DetectionComparison]] = {}
    for found in detection.comparisons:
        differences.setdefault((found.scope, found.metric), []).append(found)
    return {
        "scopes": scopes,
        "best": [_best(judges) for _, judges in scopes],
        "differences": {key: _with_charts(rows, 3) for key, rows in differences.items()},
        "curve_chart": precision_recall_chart(detection).markup() if detection.curves else None,
        "legend": [(judge, _swatch(*styles[judge])) for judge in detection.curves],
        "reliability_chart": reliability_chart(detection.reliability).markup() if detection.reliability else None,
    }


def _with_charts(rows: list[_Difference], decimals: int = 4) -> list[tuple[_Difference, Markup]]:
    charts = difference_charts(rows, decimals)
    return [(found, chart.markup()) for found, chart in zip(rows, charts, strict=True)]


def _best(judges: dict[str, Quality]) -> dict[str, float | None]:
    """The best figure of every column, among judges that saw as many positions as the fused confidence."""
    peers = [quality for quality in judges.values() if quality.n == judges["fused"].n]
    best: dict[str, float | None] = {}
    for key in ("auroc", "auprc", "top1", "ece"):
        values = [value for quality in peers if (value := getattr(quality, key)) is not None]
        best[key] = (min if key == "ece" else max)(values, default=None)
    return best


def _swatch(colour: str, dash: str | None) -> Markup:
    canvas = Canvas(26, 10, "")
    canvas.line(1, 5, 25, 5, colour, width=3, dash=dash)
    return canvas.markup()


def _manifest_rows(manifest: Manifest) -> list[tuple[str, list[tuple[str, str]]]]:
    """What a run recorded about its making, as titled lists of name and value."""
    parts = {"Versions": manifest.versions, "Device": manifest.device, "Inputs": manifest.inputs}
    return [
        (title, [(wording.name(key), _flat(value)) for key, value in part.items()])
        for title, part in parts.items()
        if part
    ]


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{wording.name(key)} {_flat(part)}" for key, part in value.items())
    if isinstance(value, list):
        return ", ".join(_flat(part) for part in value)
    return "none" if value is None else wording.sentence(str(value))
