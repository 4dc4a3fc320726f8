"""What the pseudo items are like: do they meet what is held out, how popular are they, do they help recovery?"""

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from seqmend.evaluation import Difference, paired_bootstrap
from seqmend.interactions import Split, Targets
from seqmend.study.augment_studies.proposals import Proposal

Bool = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

_DRAWS = 20
_NEIGHBOURS = 50  # places up and down in the order of popularity
_BINS = 10


def evidence(proposal: Proposal, split: Split, weights: Float32, max_length: int) -> dict[str, Any]:
    """Facts about one arm's pseudo items.

    Args:
        proposal: The arm's.
        split: Of the log.
        weights: w of every user in the training, float32 [U].
        max_length: Inputs that the backbone reads.

    Returns:
        `users` who got items, `items_per_user`, `truncated` (users whose pseudo items do not all fit before what is
        shown at test time), `status` counts, `overlap` (share of these users whose held-out item is among their pseudo
        items, by part: `share, random, difference, ci95, p_value`; random: items of like popularity), `popularity`
        (mean training interactions of an item: `pseudo`, `real`), `reliability` (`mean`, `histogram` of r over ten
        equal bins, `hits`: guesses that are the hidden item, and r minus r0 where both are known: `r_minus_r0`),
        `weight` (mean w of these users), and `cost`.
    """
    users, items = _pseudo_items(proposal, split)
    owners = np.unique(users)
    popularity = np.bincount(split.train.items, minlength=len(split.sequences.catalogue) + 1)
    others = _of_like_popularity(users, items, split, popularity)
    real = split.train.items
    totals = split.sequences.lengths[owners]
    figures = proposal.users
    known = figures.filter(pl.col("n_pseudo") > 0)
    return {
        "users": len(owners),
        "items_per_user": len(items) / max(len(owners), 1),
        "truncated": int((totals - 1 + np.bincount(users, minlength=1)[owners] > max_length).sum()),
        "status": dict(figures.group_by("status").len().sort("status").iter_rows()),
        "overlap": {
            name: _overlap(users, items, others, split, targets)
            for name, targets in (("valid", split.valid), ("test", split.test))
        },
        "popularity": {
            "pseudo": float(popularity[items].mean()) if len(items) else None,
            "real": float(popularity[real].mean()) if len(real) else None,
        },
        "reliability": _reliability(known),
        "weight": float(weights[owners].mean()) if len(owners) else None,
        "cost": proposal.cost,
    }


def _pseudo_items(proposal: Proposal, split: Split) -> tuple[Int64, Int32]:
    """Users and items of all that is prepended to the training part."""
    edits = proposal.ledger.edits.filter((pl.col("view") == "train") & (pl.col("kind") == "prepend"))
    numbers = pl.DataFrame({"user_id": split.sequences.user_ids, "number": np.arange(len(split.sequences))})
    users = edits.select("user_id").join(numbers, on="user_id", how="left", maintain_order="left")["number"]
    return users.to_numpy().astype(np.int64), split.sequences.catalogue.index_of(edits["item_after"].to_list())


def _of_like_popularity(users: Int64, items: Int32, split: Split, popularity: Int64) -> Int32:
    """For every pseudo item others that are about as popular and new to the user, int32 [n, draws]."""
    order = np.argsort(popularity[1:], kind="stable") + 1
    place = np.empty(len(popularity), dtype=np.int64)
    place[order] = np.arange(len(order))
    rng = np.random.default_rng(0)
    size = len(popularity)
    met = np.unique(split.train.users.astype(np.int64) * size + split.train.items)
    steps = min(_NEIGHBOURS, len(order) - 1)

    def draw() -> Int32:
        at = place[items][:, None] + rng.integers(-steps, steps + 1, (len(items), _DRAWS))
        return order[np.clip(at, 0, len(order) - 1)].astype(np.int32)

    drawn = draw()
    for _ in range(3):  # an item that the user had could be no candidate either
        is_met = np.isin(users[:, None] * size + drawn, met)
        drawn = np.where(is_met, draw(), drawn)
    return drawn


def _overlap(users: Int64, items: Int32, others: Int32, split: Split, targets: Targets) -> dict[str, Any] | None:
    """How often a user's held-out item is among its pseudo items, beside items of like popularity; by user."""
    sequences, n_users = split.sequences, len(split.sequences)
    held_out = np.zeros(n_users, dtype=np.int32)
    held_out[targets.users] = sequences.items[sequences.offsets[targets.users] + targets.positions]
    known = held_out[users] > 0
    users, items, others = users[known], items[known], others[known]
    if not len(users):
        return None
    owners, number = np.unique(users, return_inverse=True)
    found = np.bincount(number, weights=items == held_out[users]) > 0
    chance = np.stack([np.bincount(number, weights=drawn == held_out[users]) > 0 for drawn in others.T])
    by_user = np.stack([found.astype(np.float64), chance.mean(axis=0)])
    said = paired_bootstrap(by_user[:1], by_user[1:], np.random.default_rng(0))
    return {"share": said.mean_a, "random": said.mean_b, "users": len(owners), **_difference(said)}


def _reliability(users: pl.DataFrame) -> dict[str, Any] | None:
    """r of users with pseudo items, None where nothing was recovered."""
    known = users.drop_nulls("raw")
    if not len(known):
        return None
    both = known.drop_nulls("r0")
    gain = None
    if len(both):
        said = paired_bootstrap(both["raw"].to_numpy()[None], both["r0"].to_numpy()[None], np.random.default_rng(0))
        gain = {"users": len(both), "r": said.mean_a, "r0": said.mean_b, **_difference(said)}
    raw = known["raw"].to_numpy()
    return {
        "mean": float(raw.mean()),
        "histogram": np.histogram(raw, bins=_BINS, range=(0, 1))[0].tolist(),
        "hits": float(np.mean((known["guess"] == known["hidden_item"]).fill_null(False).to_numpy())),
        "r_minus_r0": gain,
    }


def _difference(said: Difference) -> dict[str, Any]:
    return {"difference": said.difference, "ci95": list(said.ci95), "p_value": said.p_value}
