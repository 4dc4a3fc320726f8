"""Verdicts: what is believed of every interaction, and why, in words and figures that a person can check."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from seqmend.interactions import Sequences
from seqmend.menders.denoise.replacement import Suggestion
from seqmend.menders.denoise.statistics import Float64
from seqmend.menders.denoise.windows import Bool, Int32, Int64, Windows

TITLE_WITNESS = "language model, titles"
WINDOW_WITNESS = "language model, windows"
NETWORK_WITNESS = "whole window, by a network"

_STRONG = 0.8
_PHRASES = {
    "co-occurrence": "people who chose its neighbours rarely chose it",
    "title similarity": "its title is unlike its neighbours'",
    "popularity": "few people chose it at all",
    NETWORK_WITNESS: "in the whole window it looks out of place",
    TITLE_WITNESS: "the language model places its title far from its neighbours'",
    WINDOW_WITNESS: "the language model finds it surprising here",
}


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What the witnesses and their fusion say of every interaction.

    Attributes:
        sequences: What was judged.
        windows: How it was cut.
        asked: Windows that the language model was asked about, bool [B].
        asked_interactions: Interactions that stand in an asked window, bool [N].
        witnesses: Confidence by every witness alone, calibrated like the fusion, float64 [N] each; NaN where not asked.
        llm_free: Confidence that an interaction is not the user's own, without a language model, float64 [N] in [0, 1].
        fused: The same with the language model's part in it, float64 [N] in [0, 1].
    """

    sequences: Sequences
    windows: Windows
    asked: Bool
    asked_interactions: Bool
    witnesses: dict[str, Float64]
    llm_free: Float64
    fused: Float64


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Flagged interactions, each in a window that has it as near to the middle as its sequence allows.

    Attributes:
        rows: Numbers of the flagged interactions, int64 [E].
        cells: Numbers of the interactions around, int64 [E, L]; -1 = padding.
        items: Their items, int32 [E, L]; 0 = padding.
        columns: Where the flagged one stands, int64 [E].
    """

    rows: Int64
    cells: Int64
    items: Int32
    columns: Int64

    @classmethod
    def of(cls, sequences: Sequences, rows: Int64, max_length: int) -> "Surroundings":
        """The surroundings of the given interactions."""
        users = sequences.users[rows]
        lengths, positions = sequences.lengths[users], sequences.positions[rows]
        starts = np.clip(positions - max_length // 2, 0, np.maximum(lengths - max_length, 0))
        starts = np.where(lengths < max_length, lengths - max_length, starts)
        places = starts[:, None] + np.arange(max_length)
        cells = np.where(places >= 0, places + sequences.offsets[users][:, None], -1)
        items = np.where(cells >= 0, sequences.items[np.maximum(cells, 0)], 0).astype(np.int32)
        return cls(rows, cells, items, positions - starts)

    def trust(self, confidence: Float64) -> Float64:
        """How far every cell may be relied on, float64 [E, L]: 1 - its own confidence of being noise; 0 in padding."""
        return np.where(self.cells >= 0, 1 - np.nan_to_num(confidence)[np.maximum(self.cells, 0)], 0.0)


def explain(
    verdicts: Verdicts, around: Surroundings, suggestions: Sequence[Suggestion | None], model: str | None
) -> tuple[list[str], list[str]]:
    """A reason in words and evidence in JSON for every flagged interaction.

    Args:
        verdicts: What was believed.
        around: The flagged interactions.
        suggestions: What replaces each, if anything.
        model: Identity of the language model that was asked.
    """
    sequences = verdicts.sequences
    titles = sequences.catalogue.prompt_titles
    suspicion = {name: _percentiles(values)[around.rows] for name, values in verdicts.witnesses.items()}
    reasons: list[str] = []
    evidence: list[str] = []
    for index, row in enumerate(around.rows.tolist()):
        said = {name: round(float(v[index]), 3) for name, v in suspicion.items() if not np.isnan(v[index])}
        facts: dict[str, object] = {
            "witnesses": said,
            "llm_free": round(float(verdicts.llm_free[row]), 4),
            "window": [titles[item] for item in around.items[index].tolist() if item],
            "index": int(around.columns[index] - (around.items[index] == 0).sum()),
            "title_before": titles[int(sequences.items[row])],
        }
        if suggestion := suggestions[index]:
            facts["title_after"] = titles[suggestion.item]
            facts["replacement"] = suggestion.to_dict()
        if model is not None:
            facts["model"] = model
        reasons.append(_reason(said))
        evidence.append(json.dumps(facts, ensure_ascii=False))
    return reasons, evidence


def _reason(said: dict[str, float]) -> str:
    loudest = sorted(said.items(), key=lambda pair: -pair[1])
    strong = [_PHRASES[name] for name, value in loudest if value >= _STRONG and name in _PHRASES]
    return "; ".join(strong) if strong else "no single witness is sure, but together they are"


def _percentiles(values: npt.NDArray[np.float64]) -> Float64:
    """Share of the judged interactions that are less suspicious, in [0, 1]; NaN where a witness was not asked."""
    asked = ~np.isnan(values)
    result = np.full(len(values), np.nan)
    result[asked] = (rankdata(values[asked]) - 0.5) / max(int(asked.sum()), 1)
    return result
