"""What a run found, in plain sentences that its numbers bear out."""

from dataclasses import dataclass
from typing import Literal

from seqmend.report.record import Comparison, DetectionComparison, Metrics, TestHistory
from seqmend.report.wording import (
    backbone_name,
    counted,
    interval,
    metric_name,
    number,
    p_value,
    percent,
    sentence,
    signed,
)

Tone = Literal["gain", "none", "loss", "unknown"]
HEADLINE_METRIC = "ndcg@10"
SEEDS_OF_A_CLAIM = 5


@dataclass(frozen=True)
class Finding:
    """One sentence, and whether it tells of a gain, of a loss, of neither beyond chance, or of nothing measured."""

    tone: Tone
    text: str


def tone_of(difference: Comparison | DetectionComparison) -> Tone:
    """Gain or loss where the interval leaves out 0, else none."""
    low, high = difference.ci95
    return "gain" if low > 0 else "loss" if high < 0 else "none"


def headline(metrics: Metrics) -> Finding:
    """The one sentence that sums the run up: mended against raw on the first backbone."""
    found = _find(metrics, "mended", "raw")
    if found is None:
        return Finding("unknown", _without_comparison(metrics))
    return _verdict(metrics, found)


def further_findings(metrics: Metrics) -> list[Finding]:
    """What the headline leaves out: other backbones, the controls, mended test histories, the language model."""
    findings = [
        _verdict(metrics, found)
        for backbone in metrics.backbones[1:]
        if (found := _find(metrics, "mended", "raw", backbone))
    ]
    against = {"random": "random edits of the same number", "llm_free": "mending without the language model"}
    findings += [_against(found, text) for arm, text in against.items() if (found := _find(metrics, "mended", arm))]
    if found := _find(metrics, "mended", "raw", test_history="mended"):
        findings.append(_against(found, "the raw log, with its own test histories mended as well"))
    for found in metrics.detection.comparisons if metrics.detection else []:
        if (found.scope, found.metric, found.a, found.b) == ("asked", "auroc", "fused", "llm_free"):
            findings.append(Finding(tone_of(found), _earned(found)))
    return findings


def honest_notes(metrics: Metrics, menders: list[str]) -> list[str]:
    """What a reader should know before relying on the figures.

    Args:
        metrics: The run.
        menders: Names of the menders that proposed its edits.
    """
    notes: list[str] = []
    if "denoise" in menders:
        notes.append(
            "Verdicts on training interactions are future-aware: each is decided once, from windows that also hold"
            " later training interactions. Held-out targets are never among them."
        )
    if metrics.tested and metrics.n_seeds < SEEDS_OF_A_CLAIM:
        notes.append(
            f"This run has {counted(metrics.n_seeds, 'training seed')}: it illustrates. The claim is made by"
            f" `seqmend bench detect FOLDER`, which takes {SEEDS_OF_A_CLAIM} seeds and published noise."
        )
    if metrics.arm_intervals:
        notes.append(
            "The interval of an arm covers other users and other seeds. All arms are tested on the same users, so arms"
            " with overlapping intervals can still differ: the paired differences decide."
        )
    if metrics.tested:
        notes.append(
            "Every target is ranked against the whole catalogue, ties count against the recommender, and no target of"
            " validation or test was ever edited."
        )
    if metrics.detection and metrics.dataset.noise:
        notes.append(
            "Only injected noise is known to be noise. An edit of anything else counts as wrong here, although a real"
            " log holds noise of its own that nobody recorded."
        )
    if metrics.dataset.noise is None:
        notes.append(
            "No noise was injected, so nobody knows which edits are right: only the recommender's accuracy can tell."
        )
    return notes


def _find(
    metrics: Metrics, a: str, b: str, backbone: str | None = None, test_history: TestHistory = "as_is"
) -> Comparison | None:
    wanted = backbone or next(iter(metrics.backbones), None)
    return next(
        (
            found
            for found in metrics.comparisons
            if (found.a, found.b, found.metric, found.test_history) == (a, b, HEADLINE_METRIC, test_history)
            and wanted in (None, found.backbone)
        ),
        None,
    )


def _verdict(metrics: Metrics, found: Comparison) -> Finding:
    tone, metric, backbone = tone_of(found), metric_name(found.metric), backbone_name(found.backbone)
    values = f"from {number(found.mean_b)} to {number(found.mean_a)}"
    bounds = f"difference {signed(found.difference)}, 95% interval {interval(found.ci95, sign=True)}"
    if tone == "none":
        text = f"Mending changed {backbone} by no more than chance: {metric} went {values} ({bounds}, which includes 0)"
    else:
        made, verb = ("better", "rose") if tone == "gain" else ("worse", "fell")
        share = f"{percent(abs(found.difference / found.mean_b), 1)}, " if found.mean_b > 0 else ""
        text = f"Mending made {backbone} {made}: {metric} {verb} {share}{values} ({bounds})"
    return Finding(tone, f"{text}; {_recovered(metrics, found)}.")


def _recovered(metrics: Metrics, found: Comparison) -> str:
    key = (found.backbone, found.metric, found.test_history)
    for share in metrics.recovered_share:
        if (share.backbone, share.metric, share.test_history) != key:
            continue
        if share.value is None:
            return f"no recovered share is given, because {sentence(share.reason or 'none was measured')}"
        bounds = f" ({percent(share.ci95[0])} to {percent(share.ci95[1])})" if share.ci95 else ""
        return f"that is {percent(share.value)}{bounds} of what undoing exactly the injected noise would regain"
    if metrics.dataset.noise is None:
        return "no noise was injected, so there is no recovered share to give"
    return "what the injected noise had cost was not measured, so there is no recovered share to give"


def _against(found: Comparison, other: str) -> Finding:
    how = {"gain": "Better than", "loss": "Worse than"}.get(tone_of(found), "Not distinguishable from")
    change = f"{metric_name(found.metric)} {signed(found.difference)} ({interval(found.ci95, sign=True)})"
    return Finding(tone_of(found), f"{how} {other}: {change}.")


def _earned(found: DetectionComparison) -> str:
    how = {
        "gain": "The language model earns its place in detection",
        "loss": "The language model makes detection worse",
        "none": "The language model adds nothing to detection that can be told from chance",
    }[tone_of(found)]
    bounds = (
        f"{signed(found.difference, 3)} ({interval(found.ci95, 3, sign=True)}, p {_equals(p_value(found.p_value))})"
    )
    return f"{how}: on the windows that it was asked about, AUROC {bounds}."


def _equals(p: str) -> str:
    return p if p.startswith("<") else f"= {p}"


def _without_comparison(metrics: Metrics) -> str:
    edits = metrics.edits
    made = (
        f"This run proposed {counted(edits.proposed, 'edit')} and accepted {counted(edits.accepted, 'edit')}; it"
        if edits
        else "This run"
    )
    if metrics.tested:
        return f"{made} did not compare a recommender on mended data with one on raw data, so it cannot tell a gain."
    return f"{made} trained no recommender, so it cannot tell whether mending helps one."
