"""Corrections: what becomes of an uncertain instance, and the edits that say so."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from seqmend.interactions import Catalogue, Sequences
from seqmend.menders.correct.config import Stages, Unmatched
from seqmend.menders.correct.question import Asked, Verdict

Action = Literal["open", "keep", "filter", "retarget", "drop", "unreadable", "unasked"]

_SCHEMA = {
    "user_id": pl.String,
    "target_position": pl.Int64,
    "position": pl.Int64,
    "kind": pl.String,
    "item_after": pl.String,
    "confidence": pl.Float64,
    "group_id": pl.String,
    "reason": pl.String,
    "evidence": pl.String,
}
_DECIMALS = 4
DOUBTED_ABOVE = 0.5
"""P(the target is noise) above which it is doubted."""


@dataclass(frozen=True)
class Trial:
    """A candidate target and what the model says of it; no verdict where the budget was spent."""

    item: int
    verdict: Verdict | None

    @property
    def fits(self) -> bool:
        """Whether any input goes with it."""
        return self.verdict is not None and self.verdict.goes is not None and any(self.verdict.goes)


@dataclass(frozen=True)
class Correction:
    """One uncertain instance, what was answered, and what becomes of it.

    Attributes:
        row_id: Number of its target interaction.
        user: Number of the user.
        inputs: The L items before the target; 0 = padding.
        asked: Which of them the model is asked about: those with a title.
        target: The item.
        uncertainty: In [0, 1].
        closest: mco of the instance.
        verdict: On the inputs and the target; None where that was not asked.
        trials: Candidates in the order in which they were tried.
        action: What becomes of it; "open" until that is known. "unreadable" and "unasked" keep it.
        kept: Which of the L inputs stay.
        item_after: The new target, where there is one.
        foreign: P(the target is noise), by what is known without a language model; None where nobody has said.
        strange: Log-odds that each of the L inputs is a stranger whatever the target; empty where nobody has said.
    """

    row_id: int
    user: int
    inputs: tuple[int, ...]
    asked: tuple[bool, ...]
    target: int
    uncertainty: float
    closest: int
    verdict: Verdict | None = None
    trials: tuple[Trial, ...] = ()
    action: Action = "open"
    kept: tuple[bool, ...] = ()
    item_after: int | None = None
    foreign: float | None = None
    strange: tuple[float, ...] = ()

    def question(self, target: int | None = None) -> Asked:
        """What the model is asked about the instance, or about another target in its place."""
        strange = tuple(own for own, is_asked in zip(self.strange, self.asked, strict=False) if is_asked)
        return Asked(self.questioned, self.target if target is None else target, strange)

    @property
    def questioned(self) -> tuple[int, ...]:
        """The inputs that the model is asked about."""
        return tuple(item for item, is_asked in zip(self.inputs, self.asked, strict=True) if is_asked)

    @property
    def is_doubted(self) -> bool:
        """Whether the target is more likely noise than not; its inputs are not asked about."""
        return self.foreign is not None and self.foreign > DOUBTED_ABOVE

    @property
    def is_decided(self) -> bool:
        """Whether there is a verdict that the model was not asked for, as nothing was left open."""
        return self.verdict is not None and not self.verdict.asked

    @property
    def n_questions(self) -> int:
        """How many questions the model was asked about the instance."""
        verdicts = (self.verdict, *(trial.verdict for trial in self.trials))
        return sum(verdict is not None and verdict.asked for verdict in verdicts)

    @property
    def dropped(self) -> list[int]:
        """Columns of the inputs that go."""
        if self.action not in ("filter", "retarget"):
            return []
        return [c for c, (item, stays) in enumerate(zip(self.inputs, self.kept, strict=True)) if item and not stays]

    def after(self, verdict: Verdict | None, stages: Stages) -> "Correction":
        """The same with the answer about its own target; still open where no input goes with it.

        An input that cannot be asked about may go with the target: it stays, and the instance with it.
        """
        if verdict is None or verdict.goes is None:
            return dataclasses.replace(self, verdict=verdict, action="unasked" if verdict is None else "unreadable")
        judged = dataclasses.replace(self, verdict=verdict, kept=self._stay(verdict.goes))
        if not any(judged.kept):
            return dataclasses.replace(judged, action="keep" if stages == "inputs" else "open")
        changes = stages != "targets" and judged.kept != tuple(item > 0 for item in self.inputs)
        return dataclasses.replace(judged, action="filter" if changes else "keep")

    def settled(self, trials: Sequence[Trial], stages: Stages, unmatched: Unmatched) -> "Correction":
        """The same with the answers about other targets: the first that fits, else gone if all answers say so."""
        tried = dataclasses.replace(self, trials=tuple(trials))
        for trial in trials:
            if trial.verdict is not None and trial.verdict.goes is not None and any(trial.verdict.goes):
                kept = self._stay((True,) * sum(self.asked) if stages == "targets" else trial.verdict.goes)
                return dataclasses.replace(tried, action="retarget", kept=kept, item_after=trial.item)
        if any(trial.verdict is None for trial in trials):
            return dataclasses.replace(tried, action="unasked")
        if any(trial.verdict is not None and trial.verdict.goes is None for trial in trials):
            return dataclasses.replace(tried, action="unreadable")
        return dataclasses.replace(tried, action=unmatched)

    def _stay(self, goes: Sequence[bool]) -> tuple[bool, ...]:
        answers = iter(goes)
        return tuple(next(answers) if asked else item > 0 for item, asked in zip(self.inputs, self.asked, strict=True))


def to_edits(
    corrections: Sequence[Correction],
    sequences: Sequences,
    trust: float | None,
    told: Mapping[str, object],
    mender: str,
) -> pl.DataFrame:
    """The edits of corrections, for `Ledger.propose`; an edit of the target stands at the target's own position.

    The confidence of a dropped input is the probability that it does not go with the target it is asked about. A
    retarget and a dropped instance are as sure as the weakest answer that they rest on: that nothing goes with the old
    target (or that it is noise), and that something goes with the new one, or with none of the candidates.

    Args:
        corrections: Any.
        sequences: The sequences of the instances.
        trust: Confidence of what a model without probabilities writes.
        told: Goes into the evidence of every edit.
        mender: Name of the proposer, for the groups' names.
    """
    edits: list[dict[str, object]] = []
    for one in corrections:
        if one.action not in ("filter", "retarget", "drop"):
            continue
        user_id = sequences.user_ids[one.user]
        position = one.row_id - int(sequences.offsets[one.user])
        shared: dict[str, object] = {
            "user_id": user_id,
            "target_position": position,
            "group_id": hashlib.sha256(json.dumps([mender, user_id, position]).encode()).hexdigest()[:16],
            "evidence": json.dumps({**_evidence(one, sequences.catalogue), **told}, ensure_ascii=False),
        }
        titles = sequences.catalogue.prompt_titles
        if one.action != "filter":
            edits.append(shared | _edit_of_target(one, position, sequences.catalogue, trust))
        target = one.target if one.item_after is None else one.item_after
        for column in one.dropped:
            edits.append(
                shared
                | {
                    "position": position - len(one.inputs) + column,
                    "kind": "drop_input",
                    "confidence": _foreign(one, column, trust),
                    "reason": f"it does not go with “{titles[target]}”",
                }
            )
    return pl.DataFrame(edits, schema=_SCHEMA).with_columns(scope=pl.lit("instance"), view=pl.lit("train"))


def _edit_of_target(one: Correction, position: int, catalogue: Catalogue, trust: float | None) -> dict[str, object]:
    titles = catalogue.prompt_titles
    if one.verdict is None:
        wrong, why = one.foreign, f"the recommender would not have expected “{titles[one.target]}” here"
    else:
        wrong, why = _complement(one.verdict.strongest), f"none of the inputs goes with “{titles[one.target]}”"
    if one.item_after is None:
        strongest = [trial.verdict.strongest for trial in one.trials if trial.verdict is not None]
        parts = [wrong, *(_complement(p) for p in strongest)]
        reason = f"{why}, none with what the recommender would put there" if one.trials else why
        return {"position": position, "kind": "drop_instance", "confidence": _weakest(parts, trust), "reason": reason}
    found = next(trial.verdict for trial in one.trials if trial.item == one.item_after)
    assert found is not None
    return {
        "position": position,
        "kind": "retarget",
        "item_after": catalogue.item_ids[one.item_after],
        "confidence": _weakest([wrong, found.strongest], trust),
        "reason": f"{why}, some go with “{titles[one.item_after]}”",
    }


def _foreign(one: Correction, column: int, trust: float | None) -> float | None:
    """Confidence that an input does not go with the target that the instance ends up with."""
    verdict = one.verdict
    if one.item_after is not None:
        verdict = next(trial.verdict for trial in one.trials if trial.item == one.item_after)
    if verdict is None or verdict.probabilities is None:
        return trust
    return 1 - verdict.probabilities[sum(one.asked[:column])]


def _complement(probability: float | None) -> float | None:
    return None if probability is None else 1 - probability


def _weakest(parts: Sequence[float | None], trust: float | None) -> float | None:
    known = [part for part in parts if part is not None]
    return min(known) if len(known) == len(parts) else trust


def _evidence(one: Correction, catalogue: Catalogue) -> dict[str, object]:
    titles = catalogue.prompt_titles

    def said(verdict: Verdict | None) -> dict[str, object]:
        if verdict is None:
            return {}
        if verdict.goes is None:
            return {"unreadable": verdict.text[:200]}
        facts: dict[str, object] = {"goes": list(verdict.goes)}
        if verdict.probabilities is not None:
            facts["probabilities"] = [round(p, _DECIMALS) for p in verdict.probabilities]
        return facts

    return {
        "action": one.action,
        "inputs": [titles[item] for item in one.questioned],
        "target": titles[one.target],
        **said(one.verdict),
        "candidates": [
            {"item_id": catalogue.item_ids[t.item], "title": titles[t.item], **said(t.verdict)} for t in one.trials
        ],
        "uncertainty": round(one.uncertainty, _DECIMALS),
        **({} if one.foreign is None else {"noise": round(one.foreign, _DECIMALS)}),
        "co_occurrence": one.closest,
    }
