"""Augmentations: what was prepended to every user, how far to trust it, and the edits that say so."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from seqmend.interactions import PADDING, Sequences
from seqmend.ledger import Ledger
from seqmend.menders.augment.config import WeightMap

Bool = npt.NDArray[np.bool_]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

Status = Literal["augmented", "unreadable", "unasked", "no_candidates", "long", "empty"]

_USERS = {
    "user_id": pl.String,
    "n": pl.Int64,
    "raw": pl.Float64,
    "r0": pl.Float64,
    "weight": pl.Float64,
    "hidden_item": pl.String,
    "guess": pl.String,
    "n_pseudo": pl.Int64,
    "status": pl.String,
}
_EDITS = {
    "user_id": pl.String,
    "view": pl.String,
    "position": pl.Int64,
    "kind": pl.String,
    "item_after": pl.String,
    "confidence": pl.Float64,
    "weight": pl.Float64,
    "group_id": pl.String,
    "reason": pl.String,
    "evidence": pl.String,
}
_DECIMALS = 6


@dataclass(frozen=True, eq=False)
class Augmentation:
    """Pseudo-prior items of U users.

    Attributes:
        sequences: What the users were augmented for.
        totals: n, each user's interactions with the held-out ones, int64 [U].
        pseudo: Pseudo items, int32 [U, M]; column 0 stands next to the user's first item; 0 = none.
        filled: Which of them the recommender's rank filled in, bool [U, M].
        probabilities: Of each among the pool, float64 [U, M]; NaN where there are none.
        ranks: Place of each in the pool, from 1, int64 [U, M].
        raw: r, the reliability, float64 [U] in [0, 1]; NaN where nothing could be recovered.
        raw_without: r0, the same without the pseudo items, float64 [U]; NaN where that was not asked.
        hidden: The item that was hidden, int32 [U]; 0 = none.
        guess: What was recovered in its place, int32 [U]; 0 = nothing.
        weights: w, float64 [U] in [0, 1].
        status: What became of every user.
    """

    sequences: Sequences
    totals: Int64
    pseudo: Int32
    filled: Bool
    probabilities: Float64
    ranks: Int64
    raw: Float64
    raw_without: Float64
    hidden: Int32
    guess: Int32
    weights: Float64
    status: Sequence[Status]

    @property
    def users(self) -> pl.DataFrame:
        """One row per user: `user_id, n, raw, r0, weight, hidden_item, guess, n_pseudo, status`."""
        ids = self.sequences.catalogue.item_ids
        frame = pl.DataFrame(
            {
                "user_id": self.sequences.user_ids,
                "n": self.totals,
                "raw": pl.Series(self.raw).fill_nan(None),
                "r0": pl.Series(self.raw_without).fill_nan(None),
                "weight": self.weights,
                "hidden_item": ids.gather(self.hidden),
                "guess": ids.gather(self.guess),
                "n_pseudo": (self.pseudo != PADDING).sum(axis=1),
                "status": pl.Series(list(self.status), dtype=pl.String),
            }
        )
        named = (pl.when(pl.col(name) != "").then(pl.col(name)).alias(name) for name in ("hidden_item", "guess"))
        return frame.with_columns(named).select(pl.col(name).cast(dtype) for name, dtype in _USERS.items())

    def to_ledger(self, mender: str, told: Mapping[str, object], is_tested: Bool | None = None) -> Ledger:
        """Edits that prepend the pseudo items to the training part and to what is shown at test time.

        A user's edits of both views are one group. Their confidence is the user's weight: it is what the method says of
        the group.

        Args:
            mender: Name of the proposer.
            told: Goes into the evidence of every edit.
            is_tested: Users who have a test target, bool [U]; of the others only the training part is edited.
        """
        catalogue = self.sequences.catalogue
        ids, titles = catalogue.item_ids.to_list(), catalogue.prompt_titles
        edits: dict[str, list[Any]] = {name: [] for name in _EDITS}
        for user in np.flatnonzero((self.pseudo != PADDING).any(axis=1)).tolist():
            user_id = self.sequences.user_ids[user]
            group = hashlib.sha256(json.dumps([mender, user_id]).encode()).hexdigest()[:16]
            weight = float(self.weights[user])
            views = ("train", "test") if is_tested is None or is_tested[user] else ("train",)
            for place in np.flatnonzero(self.pseudo[user]).tolist():
                item = int(self.pseudo[user, place])
                evidence = json.dumps({**self._evidence(user, place, titles[item]), **told}, ensure_ascii=False)
                source = "filled in by rank" if self.filled[user, place] else "selected"
                reason = f"“{titles[item]}” may well have come before the history ({source} from the candidates)"
                for view in views:
                    row = (user_id, view, -1 - place, "prepend", ids[item], weight, weight, group, reason, evidence)
                    for name, value in zip(_EDITS, row, strict=True):
                        edits[name].append(value)
        return Ledger.propose(pl.DataFrame(edits, schema=_EDITS), self.sequences, mender)

    def _evidence(self, user: int, place: int, title: str) -> dict[str, object]:
        facts: dict[str, object] = {
            "title": title,
            "source": "filled" if self.filled[user, place] else "selected",
            "rank_in_pool": int(self.ranks[user, place]),
        }
        if np.isfinite(self.probabilities[user, place]):
            facts["probability"] = round(float(self.probabilities[user, place]), _DECIMALS)
        if np.isfinite(self.raw[user]):
            facts["reliability"] = round(float(self.raw[user]), _DECIMALS)
        return facts


def final_weights(
    raw: Float64, is_hit: Bool, totals: Int64, weight_map: WeightMap, long_after: int, decay: float
) -> Float64:
    """w of every user, float64 [U] in [0, 1]: w = f(r) up to T interactions, beta f(r) beyond (LLMSeR, ARV).

    Args:
        raw: r, float64 [U]; NaN where nothing was recovered, which gives weight 0.
        is_hit: Whether the guess is the hidden item, bool [U].
        totals: n, int64 [U].
        weight_map: "raw" is r; "rank" is its percentile among the users who have one, ties sharing the highest; "hit"
            is 1 where the guess hits, else r.
        long_after: T.
        decay: beta.
    """
    known = np.isfinite(raw)
    mapped = np.where(known, np.clip(np.where(known, raw, 0.0), 0.0, 1.0), 0.0)
    if weight_map == "rank" and known.any():
        mapped[known] = np.searchsorted(np.sort(raw[known]), raw[known], side="right") / known.sum()
    elif weight_map == "hit":
        mapped = np.where(is_hit & known, 1.0, mapped)
    return np.where(totals > long_after, decay * mapped, mapped)
