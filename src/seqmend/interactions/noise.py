"""Known noise: six ways to spoil the training part of a log, each with the truth that takes it back exactly."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from seqmend.errors import InputError
from seqmend.interactions.sequences import PADDING, Int32, Int64, Sequences
from seqmend.interactions.splits import Split, Targets

NoiseKind = Literal["uniform", "popularity", "hard", "burst", "shared-account", "insertion"]

_REDRAWS = 20


@dataclass(frozen=True, eq=False)
class Noisy:
    """A split with injected noise.

    Attributes:
        kind: How it was injected.
        split: The split of the noisy sequences; targets and training ends are moved by what was inserted before them.
        items_before: int32 [N], what every interaction of the noisy sequences was before; `PADDING` where it was none.
    """

    kind: NoiseKind
    split: Split
    items_before: Int32

    @cached_property
    def mask(self) -> npt.NDArray[np.bool_]:
        """Which interactions of the noisy sequences are noise, bool [N]."""
        return self.items_before != self.split.sequences.items

    @cached_property
    def truth(self) -> pl.DataFrame:
        """One row per injected item: `user_id, position, kind, item_before, item_after`.

        Positions are those in the noisy sequences; `kind` is replaced or inserted; `item_before` is null if inserted.
        """
        sequences, rows = self.split.sequences, np.flatnonzero(self.mask)
        before, item_ids = self.items_before[rows], sequences.catalogue.item_ids
        is_inserted = pl.Series(before == PADDING)
        return pl.DataFrame(
            {
                "user_id": sequences.user_ids.gather(sequences.users[rows]),
                "position": sequences.positions[rows],
                "kind": pl.Series(["replaced", "inserted"]).gather(is_inserted.cast(pl.UInt32)),
                "item_before": item_ids.gather(before).set(is_inserted, None),
                "item_after": item_ids.gather(sequences.items[rows]),
            }
        )


def inject(
    split: Split,
    kind: NoiseKind,
    ratio: float,
    rng: np.random.Generator,
    *,
    neighbours: Int32 | None = None,
    block_length: int = 5,
    burst_users: int = 50,
) -> Noisy:
    """Spoil a share of the training interactions; validation and test targets stay as they are.

    Every intruder is an item that occurs in training, and never the one that it replaces (or is inserted beside).

    - uniform: replaced by any item, all equally likely (LLM4DSR, official data preparation).
    - popularity: replaced by the item of a random training interaction.
    - hard: replaced by one of the item's neighbours, all equally likely.
    - burst: one promoted item replaces one interaction each of up to `burst_users` users at about the same time; the
      next burst promotes another item.
    - shared-account: blocks are replaced by as many consecutive items of another user.
    - insertion: any item is inserted before or after an interaction, at that interaction's time.

    Args:
        split: Clean data.
        kind: Which noise.
        ratio: Injected items per training interaction, 0 to 1; the number is rounded and exact, except that a
            shared-account block or a burst leaves out what happens to be the same item (rare).
        rng: Source of all randomness.
        neighbours: int32 [V + 1, k], for "hard": the items most like each item, `PADDING` where there are fewer (see
            `nearest_items`).
        block_length: For "shared-account": interactions of a block.
        burst_users: For "burst": users of one burst.

    Raises:
        InputError: The ratio is outside 0 to 1, or there is too little to draw from.
    """
    if not 0 <= ratio <= 1:
        raise InputError(f"the noise ratio is {ratio}", expected="a share from 0 to 1")
    sequences = split.sequences
    eligible = np.flatnonzero(sequences.positions < np.repeat(split.train_ends, sequences.lengths))
    counts = np.bincount(sequences.items[eligible], minlength=len(sequences.catalogue) + 1)
    n_noise = round(ratio * len(eligible))
    if n_noise and np.count_nonzero(counts) < 2:
        raise InputError("noise needs at least two different items in training", fix="bring a larger log")
    if kind == "insertion":
        return _insert(split, eligible, counts, n_noise, rng)
    if kind == "hard":
        if neighbours is None:
            raise InputError("hard noise needs the neighbours of every item", fix="hand in `neighbours`")
        rows, items = _hard(sequences, eligible, counts, n_noise, rng, neighbours)
    elif kind == "burst":
        rows, items = _burst(sequences, eligible, counts, n_noise, rng, burst_users)
    elif kind == "shared-account":
        rows, items = _shared_account(sequences, eligible, n_noise, rng, block_length)
    else:
        rows = rng.choice(eligible, n_noise, replace=False)
        items = _draw(rng, counts if kind == "popularity" else counts > 0, sequences.items[rows])
    noisy_items = sequences.items.copy()
    noisy_items[rows] = items
    noisy = replace(sequences, items=noisy_items, source=None)
    return Noisy(kind, replace(split, sequences=noisy), sequences.items)


def undo(noisy: Noisy, where: npt.NDArray[np.bool_] | None = None) -> Split:
    """Take injected noise back: the exact oracle.

    Args:
        noisy: What was injected.
        where: bool [N], which interactions of the noisy sequences to look at; None = all, which gives the clean split.
    """
    sequences = noisy.split.sequences
    undone = noisy.mask if where is None else noisy.mask & where
    is_removed = undone & (noisy.items_before == PADDING)
    kept = ~is_removed
    items = np.where(undone, noisy.items_before, sequences.items)[kept]
    removed = np.bincount(sequences.users[is_removed], minlength=len(sequences))
    return _moved(noisy.split, items, sequences.timestamps[kept], -removed)


def nearest_items(embeddings: npt.NDArray[np.float32], k: int = 20) -> Int32:
    """The items most like each item, most alike first: what "hard" noise draws from.

    Items with the very same vector are left out: nobody could tell such an intruder from the title it replaces.

    Args:
        embeddings: float32 [V + 1, d], L2-normalised titles; all zero where there is no title (and for padding).
        k: Neighbours per item.

    Returns:
        int32 [V + 1, k], `PADDING` where there are fewer.
    """
    has_title = embeddings.any(axis=1)
    neighbours = np.full((len(embeddings), k), PADDING, dtype=np.int32)
    k = min(k, len(embeddings))
    for start in range(0, len(embeddings), 1024):
        likeness = embeddings[start : start + 1024] @ embeddings.T
        likeness[:, ~has_title] = -np.inf
        likeness[likeness > 1 - 1e-5] = -np.inf
        nearest = np.argpartition(likeness, -k, axis=1)[:, -k:]
        values = np.take_along_axis(likeness, nearest, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        is_real = np.isfinite(np.take_along_axis(values, order, axis=1))
        found = np.where(is_real, np.take_along_axis(nearest, order, axis=1), PADDING)
        neighbours[start : start + 1024, :k] = found
    neighbours[~has_title] = PADDING
    return neighbours


def _draw(rng: np.random.Generator, weights: npt.NDArray[np.integer | np.bool_], others: Int32) -> Int32:
    """One item for each of `others`, drawn in proportion to whole weights [V + 1] and never that item itself.

    A lottery without the item's own tickets: numbers from its first ticket on are moved past its last one.
    """
    tickets = np.cumsum(weights, dtype=np.int64)
    own = weights[others].astype(np.int64)
    return np.searchsorted(tickets, _skip(rng, tickets[others] - own, own, tickets[-1]), side="right").astype(np.int32)


def _skip(rng: np.random.Generator, first: Int64, length: Int64, end: int) -> Int64:
    """Numbers below `end`, each outside its own stretch of `length` numbers from `first` on."""
    numbers = rng.integers(0, end - length)
    return numbers + length * (numbers >= first)


def _hard(
    sequences: Sequences, eligible: Int64, counts: Int64, n_noise: int, rng: np.random.Generator, neighbours: Int32
) -> tuple[Int64, Int32]:
    allowed = (neighbours != PADDING) & (counts[neighbours] > 0) & (neighbours != np.arange(len(neighbours))[:, None])
    usable = eligible[allowed.any(axis=1)[sequences.items[eligible]]]
    if n_noise > len(usable):
        raise InputError(
            f"only {len(usable)} training interactions have an item with a usable neighbour, of {n_noise} to replace",
            fix="take a smaller ratio or more neighbours",
        )
    rows = rng.choice(usable, n_noise, replace=False)
    originals = sequences.items[rows]
    lots = np.where(allowed[originals], rng.random((n_noise, neighbours.shape[1])), -1.0)
    return rows, neighbours[originals, lots.argmax(axis=1)]


def _burst(
    sequences: Sequences, eligible: Int64, counts: Int64, n_noise: int, rng: np.random.Generator, burst_users: int
) -> tuple[Int64, Int32]:
    """Rounds with at most one interaction of every user; each round is cut into bursts in the order of time."""
    shuffled = rng.permutation(eligible)
    by_user = np.argsort(sequences.users[shuffled], kind="stable")
    rounds = np.empty(len(shuffled), dtype=np.int64)
    rounds[by_user] = _within(sequences.users[shuffled[by_user]])
    first = np.argsort(rounds, kind="stable")[:n_noise]
    rows, rounds = shuffled[first], rounds[first]
    by_time = np.lexsort((sequences.timestamps[rows], rounds))
    rows, rounds = rows[by_time], rounds[by_time]
    bursts = np.cumsum(_within(rounds) % burst_users == 0) - 1
    pool = np.flatnonzero(counts)
    return _draw_for_groups(
        rows,
        bursts,
        sequences.items[rows],
        draw=lambda bursts: rng.choice(pool, len(bursts)),
        items_of=lambda promoted: promoted[bursts].astype(np.int32),
    )


def _shared_account(
    sequences: Sequences, eligible: Int64, n_noise: int, rng: np.random.Generator, block_length: int
) -> tuple[Int64, Int32]:
    """Every training part is cut into blocks at a random phase; whole blocks are drawn until there are enough."""
    users = sequences.users[eligible]
    lengths = np.bincount(users, minlength=len(sequences))
    starts = np.cumsum(lengths) - lengths
    if n_noise and np.count_nonzero(lengths) < 2:
        raise InputError("shared-account noise needs at least two users in training", fix="bring a larger log")
    phases = rng.integers(0, block_length, len(sequences))
    cuts = (sequences.positions[eligible] + phases[users]) // block_length
    blocks = np.cumsum(np.r_[True, (users[1:] != users[:-1]) | (cuts[1:] != cuts[:-1])][: len(users)]) - 1
    ranks = rng.permutation(len(np.unique(blocks)))[blocks]
    drawn = np.argsort(ranks, kind="stable")[:n_noise]
    blocks, steps = ranks[drawn], _within(ranks[drawn])
    owners = users[drawn[steps == 0]]
    items = sequences.items[eligible]

    def items_of(sources: Int64) -> Int32:
        lenders = users[sources]
        places = sources - starts[lenders]
        return items[starts[lenders][blocks] + (places[blocks] + steps) % lengths[lenders][blocks]]

    return _draw_for_groups(
        eligible[drawn],
        blocks,
        items[drawn],
        draw=lambda blocks: _skip(rng, starts[owners[blocks]], lengths[owners[blocks]], len(eligible)),
        items_of=items_of,
    )


def _draw_for_groups(
    rows: Int64,
    groups: Int64,
    originals: Int32,
    draw: Callable[[Int64], Int64],
    items_of: Callable[[Int64], Int32],
) -> tuple[Int64, Int32]:
    """Draw something for every group of rows until no row would get the item that it has; give up on rows that do."""
    drawn = draw(np.arange(groups.max(initial=-1) + 1))
    for _ in range(_REDRAWS):
        items = items_of(drawn)
        spoiled = np.unique(groups[items == originals])
        if not len(spoiled):
            return rows, items
        drawn[spoiled] = draw(spoiled)
    items = items_of(drawn)
    differs = items != originals
    return rows[differs], items[differs]


def _insert(split: Split, eligible: Int64, counts: Int64, n_noise: int, rng: np.random.Generator) -> Noisy:
    sequences = split.sequences
    beside = np.sort(rng.choice(eligible, n_noise, replace=False))
    places = beside + rng.integers(0, 2, n_noise)
    items = np.insert(sequences.items, places, _draw(rng, counts > 0, sequences.items[beside]))
    timestamps = np.insert(sequences.timestamps, places, sequences.timestamps[beside])
    inserted = np.bincount(sequences.users[beside], minlength=len(sequences))
    before = np.insert(sequences.items, places, PADDING)
    return Noisy("insertion", _moved(split, items, timestamps, inserted), before)


def _moved(split: Split, items: Int32, timestamps: npt.NDArray[np.int64 | np.float64], added: Int64) -> Split:
    """The split after `added[u]` interactions of every user's training part came (or went, where negative)."""
    sequences = split.sequences
    moved = replace(
        sequences,
        items=items,
        timestamps=timestamps,
        offsets=sequences.offsets + np.concatenate([[0], np.cumsum(added)]),
        source=None,
    )

    def shifted(targets: Targets) -> Targets:
        return Targets(targets.users, targets.positions + added[targets.users])

    return replace(
        split,
        sequences=moved,
        train_ends=split.train_ends + added,
        valid=shifted(split.valid),
        test=shifted(split.test),
    )


def _within(groups: Int32 | Int64) -> Int64:
    """0-based place of every element in its run of equal neighbours."""
    places = np.arange(len(groups), dtype=np.int64)
    is_first = np.r_[True, groups[1:] != groups[:-1]][: len(groups)]
    return places - np.maximum.accumulate(np.where(is_first, places, 0))
