"""Which edits people are shown, and what the evidence says of each."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from seqmend.errors import InputError
from seqmend.interactions import UNTITLED, clean_title
from seqmend.ledger import IS_CHANGE
from seqmend.report.record import FinishedRun
from seqmend.report.wording import name, sentence

_NEIGHBOURS = 4

_OUTCOMES = {
    "delete": "removed",
    "mask": "masked",
    "reweight": "kept, counts less",
    "drop_input": "dropped as an input",
    "drop_instance": "instance dropped",
}


class Replacement(BaseModel):
    """Where the new item comes from."""

    source: str = ""
    text: str | None = None
    grounding: str | None = None


class Evidence(BaseModel):
    """What a mender knew when it proposed an edit; every part may be absent."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    witnesses: dict[str, float | None] = {}
    llm_free: float | None = None
    window: list[str] = []
    index: int | None = None
    replacement: Replacement | None = None
    title_before: str | None = None
    title_after: str | None = None


@dataclass(frozen=True)
class ShownEdit:
    """One edit as people read it; all texts are clean lines.

    Attributes:
        edit_id: Its key in the ledger.
        user: User id.
        position: 0-based, in the user's original sequence.
        kind: What is done.
        confidence: In [0, 1], or None.
        before: Title of the item that stood there; None where an item is added.
        after: Title of the item that stands there now, or what became of the old one.
        is_item: Whether `after` is a title.
        neighbours: Titles around the place, in order, each with whether it is the edited one.
        says: Suspicion of every witness in [0, 1], the most suspicious first.
        llm_free: Confidence without the language model.
        reason: In the mender's words.
        source: Where the new item comes from.
        was_noise: Whether the item was injected; None where that is not known.
        original: Title of the item that the noise had replaced.
        is_restored: Whether the edit puts that very item back.
    """

    edit_id: str
    user: str
    position: int
    kind: str
    confidence: float | None
    before: str | None
    after: str
    is_item: bool
    neighbours: list[tuple[str, bool]]
    says: list[tuple[str, float]]
    llm_free: float | None
    reason: str
    source: str
    was_noise: bool | None
    original: str | None
    is_restored: bool


@dataclass(frozen=True)
class EditSelection:
    """The edits to show.

    Attributes:
        n: Accepted edits that change training interactions, from which the rest is chosen.
        n_noise: How many of them are on injected noise; None where no noise was recorded.
        n_restored: How many of them put back the item that the noise had replaced; None likewise, and where none names
            an item.
        surest: The most confident ones.
        wrong: The most confident ones that are not on noise; empty where that is not known.
    """

    n: int
    n_noise: int | None
    n_restored: int | None
    surest: list[ShownEdit]
    wrong: list[ShownEdit]


def select_edits(run: FinishedRun, most: int = 8, number: int = 0) -> EditSelection:
    """Choose the edits to show: those of training interactions that were accepted and change them, surest first.

    Denoising works first and alone edits what noise may have put there: only its ledger is held against the noise.

    Args:
        run: A finished run.
        most: Edits of each list.
        number: Of the ledger.

    Raises:
        InputError: An edit's evidence is not what a mender writes.
    """
    edits = run.ledgers[number].edits.filter((pl.col("status") == "accepted") & (pl.col("view") == "train") & IS_CHANGE)
    edits = edits.sort("confidence", "edit_id", descending=[True, False], nulls_last=True)
    truth = run.truth if run.menders[number] == "denoise" else None
    if truth is None:
        judged = edits.with_columns(was_noise=pl.lit(None, pl.Boolean), original=pl.lit(None, pl.String))
    else:
        known = truth.select("user_id", "position", original="item_before", was_noise=pl.lit(True))
        judged = edits.join(known, on=["user_id", "position"], how="left", maintain_order="left")
        judged = judged.with_columns(pl.col("was_noise").fill_null(False))
    surest = judged.head(most)
    wrong = judged.filter(~pl.col("was_noise")).head(most)
    show = partial(_shown, titles=_titles(run, pl.concat([surest, wrong])))
    restored = pl.col("item_after") == pl.col("original")
    return EditSelection(
        len(judged),
        None if truth is None else int(judged["was_noise"].sum()),
        None if truth is None or not judged["item_after"].count() else len(judged.filter(restored)),
        [show(row) for row in surest.iter_rows(named=True)],
        [show(row) for row in wrong.iter_rows(named=True)],
    )


def _shown(row: dict[str, Any], titles: dict[str, str]) -> ShownEdit:
    evidence = _evidence(row["evidence"], row["edit_id"])
    after, before = row["item_after"], row["item_before"]
    outcome = _OUTCOMES.get(row["kind"], name(row["kind"]).replace("_", " "))
    said = [
        (name(witness), min(max(value, 0.0), 1.0)) for witness, value in evidence.witnesses.items() if value is not None
    ]
    return ShownEdit(
        edit_id=name(row["edit_id"]),
        user=name(row["user_id"]),
        position=row["position"],
        kind=row["kind"],
        confidence=row["confidence"],
        before=None if before is None else _title(evidence.title_before, before, titles),
        after=outcome if after is None else _title(evidence.title_after, after, titles),
        is_item=after is not None,
        neighbours=_neighbours(evidence),
        says=sorted(said, key=lambda pair: -pair[1]),
        llm_free=evidence.llm_free,
        reason=sentence(row["reason"]).rstrip(". ") if row["reason"] else "",
        source=_source(evidence.replacement),
        was_noise=row["was_noise"],
        original=None if row["original"] is None else _title(None, row["original"], titles),
        is_restored=after is not None and after == row["original"],
    )


def _evidence(text: str | None, edit_id: str) -> Evidence:
    try:
        return Evidence.model_validate_json(text or "{}")
    except ValidationError as error:
        raise InputError(
            f"the evidence of an edit is damaged: {error.errors()[0]['msg']}",
            where=f"ledger.parquet, edit {name(edit_id)}",
            expected="the JSON object that its mender wrote",
            fix="run again",
        ) from error


def _title(recorded: str | None, item_id: str, titles: dict[str, str]) -> str:
    title = clean_title(recorded or titles.get(item_id))
    return f"item {name(item_id)}" if title == UNTITLED else title


def _neighbours(evidence: Evidence) -> list[tuple[str, bool]]:
    if evidence.index is None or not 0 <= evidence.index < len(evidence.window):
        return []
    first = max(0, evidence.index - _NEIGHBOURS)
    near = evidence.window[first : evidence.index + _NEIGHBOURS + 1]
    return [(clean_title(title), first + n == evidence.index) for n, title in enumerate(near)]


def _source(replacement: Replacement | None) -> str:
    if replacement is None or not replacement.source:
        return ""
    text = f"suggested by {name(replacement.source)}"
    if replacement.text:
        how = {"exact": "in the catalogue as written", "nearest": "nearest title taken"}.get(
            replacement.grounding or ""
        )
        text += f": “{clean_title(replacement.text, 80)}”" + (f", {how}" if how else "")
    return text


def _titles(run: FinishedRun, shown: pl.DataFrame) -> dict[str, str]:
    """Titles of the items of the shown edits, as far as the mended log still holds them."""
    path = run.folder / "mended" / "interactions.parquet"
    ids = pl.concat([shown["item_before"], shown["item_after"], shown["original"]]).drop_nulls().unique()
    if not path.is_file() or not len(ids):
        return {}
    log = pl.scan_parquet(path)
    if not {"item_id", "title"} <= set(log.collect_schema().names()):
        return {}
    found = (
        log.select("item_id", "title")
        .filter(pl.col("item_id").is_in(ids.to_list()) & pl.col("title").is_not_null())
        .unique("item_id")
        .collect()
    )
    return dict(found.iter_rows())
