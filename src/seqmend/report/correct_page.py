"""A page about what the correct mender changed: whom the recommender doubts, the instances with titles, the cost."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from seqmend.errors import InputError
from seqmend.files import write_atomic
from seqmend.interactions import clean_title
from seqmend.ledger import Ledger
from seqmend.report.correct_charts import picture_chart
from seqmend.report.frame import render
from seqmend.report.transcript_section import transcript_section
from seqmend.report.wording import counted, name, percent

_SHOWN = 12
_SMALL = 0.01
_KINDS = {
    "filter": "Inputs dropped",
    "retarget": "Target replaced",
    "drop": "Instance dropped",
}
_STAGES = {
    "summaries": "What every item is",
    "prompt": "What its errors are, and better words",
    "rules": "Rows to choose rules by",
    "weighing": "Rows to weigh its answers by",
    "calibration": "How far to trust what it writes",
    "inputs": "Which inputs go with the target",
    "targets": "Which other target fits",
}


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class _Said(_Part):
    goes: list[bool] = []
    probabilities: list[float] | None = None


class _Candidate(_Said):
    title: str


class _Evidence(_Said):
    action: str
    inputs: list[str]
    target: str
    candidates: list[_Candidate] = []
    uncertainty: float = 0.0
    co_occurrence: int = 0
    noise: float | None = None


class _Bucket(_Part):
    least: int
    most: int
    share: float
    reliability: float | None


class _Amounts(_Part):
    calls: float | None = None
    tokens: float | None = None
    seconds: float | None = None


class _Expected(_Part):
    stage: str
    least: _Amounts
    most: _Amounts


class _Spent(_Amounts):
    stage: str


class _Figures(_Part):
    instances: int
    uncertain: int
    doubted: int = 0
    decided: int = 0
    noise_rate: float | None = None
    weighing: dict[str, float] = Field(default_factory=dict[str, float])
    actions: dict[str, int]
    picture: list[_Bucket]
    forecast: list[_Expected]
    spent: list[_Spent]
    llm: dict[str, Any]


@dataclass(frozen=True)
class ShownInstance:
    """One corrected instance as people read it; all texts are clean lines.

    Attributes:
        user: User id.
        position: Of the target, 0-based.
        confidence: Of the weakest of its edits, or None.
        inputs: Title, whether it stays, and how probable it is that it goes with the target that was asked about.
        target: Title of the target before.
        after: Title of the new target; None where it stays, or the instance goes.
        is_dropped: Whether the whole instance goes.
        refused: Titles of the candidates that no input goes with.
        uncertainty: In [0, 1].
        closest: mco.
        noise: P(the target is noise) where the instance went unasked for that.
    """

    user: str
    position: int
    confidence: float | None
    inputs: list[tuple[str, bool, float | None]]
    target: str
    after: str | None
    is_dropped: bool
    refused: list[str]
    uncertainty: float
    closest: int
    noise: float | None


def write_correct_report(ledger: Path) -> Path:
    """Write the page of a ledger that `seqmend correct` wrote, beside it, atomically.

    Args:
        ledger: The ledger; the folder of the same name with `correct.json` lies beside it.

    Returns:
        Path of the page.

    Raises:
        InputError: There are no such files, or they are damaged.
    """
    edits, folder = Ledger.read(ledger).edits, ledger.with_suffix(".correct")
    figures = _figures(folder / "correct.json")
    shown = select_instances(edits)
    page = render(
        "correct.html.j2",
        title=name(ledger.stem),
        headline=_headline(figures),
        figures=figures,
        stages=_STAGES,
        chart=picture_chart([bucket.model_dump() for bucket in figures.picture]).markup() if figures.picture else None,
        descent=transcript_section(folder / "transcript.json"),
        kinds=[(_KINDS[action], figures.actions.get(action, 0), own) for action, own in shown.items()],
    )
    path = ledger.with_suffix(".html")
    with write_atomic(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def select_instances(edits: pl.DataFrame, most: int = _SHOWN) -> dict[str, list[ShownInstance]]:
    """The surest corrections of every kind, by kind: "filter", "retarget", "drop".

    Args:
        edits: Of a ledger; those of other menders are passed over.
        most: Of each kind.

    Raises:
        InputError: An edit's evidence is not what the mender writes.
    """
    own = edits.filter((pl.col("scope") == "instance") & (pl.col("status") == "accepted"))
    groups = (
        own.group_by("group_id")
        .agg(pl.col("confidence").min(), pl.col("user_id", "target_position", "evidence", "edit_id").first())
        .sort("confidence", "group_id", descending=[True, False], nulls_last=True)
    )
    shown: dict[str, list[ShownInstance]] = {action: [] for action in _KINDS}
    for row in groups.iter_rows(named=True):
        evidence = _evidence(row["evidence"], row["edit_id"])
        if evidence.action in shown and len(shown[evidence.action]) < most:
            shown[evidence.action].append(_shown(row, evidence))
        if all(len(kind) == most for kind in shown.values()):
            break
    return shown


def _shown(row: dict[str, Any], evidence: _Evidence) -> ShownInstance:
    found = evidence.candidates[-1] if evidence.action == "retarget" and evidence.candidates else None
    # With all candidates asked about, the first that fits has been taken.
    if found is not None:
        found = next((candidate for candidate in evidence.candidates if any(candidate.goes)), found)
    said = found or evidence
    likely = said.probabilities or [None] * len(evidence.inputs)
    stays = said.goes or [True] * len(evidence.inputs)
    return ShownInstance(
        user=name(row["user_id"]),
        position=row["target_position"],
        confidence=row["confidence"],
        inputs=[
            (clean_title(title), keeps, p) for title, keeps, p in zip(evidence.inputs, stays, likely, strict=False)
        ],
        target=clean_title(evidence.target),
        after=clean_title(found.title) if found else None,
        is_dropped=evidence.action == "drop",
        refused=[clean_title(candidate.title) for candidate in evidence.candidates if not any(candidate.goes)],
        uncertainty=evidence.uncertainty,
        closest=evidence.co_occurrence,
        noise=None if evidence.goes else evidence.noise,
    )


def _headline(figures: _Figures) -> str:
    changed = sum(figures.actions.get(action, 0) for action in _KINDS)
    share = figures.uncertain / max(figures.instances, 1)
    return (
        f"{counted(changed, 'training instance')} corrected, of {counted(figures.uncertain, 'uncertain one')} "
        f"({percent(share, 1 if 0 < share < _SMALL else 0)} of all)"
    )


def _evidence(text: str | None, edit_id: str) -> _Evidence:
    try:
        return _Evidence.model_validate_json(text or "{}")
    except ValidationError as error:
        raise InputError(
            f"the evidence of an edit is damaged: {error.errors()[0]['msg']}",
            where=f"edit {name(edit_id)}",
            expected="the JSON object that the correct mender wrote",
            fix="run seqmend correct again",
        ) from error


def _figures(path: Path) -> _Figures:
    try:
        return _Figures.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise InputError(
            "cannot read what seqmend correct found", where=str(path), fix="run seqmend correct again"
        ) from error
