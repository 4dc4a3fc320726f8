"""Self-labelled instances: reliable ones of the log, whose first inputs give way to items that do not belong.

After the structure of the rows that LLM4RSR's authors released: the inputs that go with the target are the last k, the
others are noise. Here half of the rows have their inputs shuffled, so that the place alone does not tell, and inputs of
a completely mismatched row are all drawn anew (the released ones share a last input per target).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from pydantic import BaseModel, ConfigDict, Field

from seqmend.interactions import Catalogue, Sequences
from seqmend.menders.correct.question import Asked
from seqmend.menders.correct.uncertain import Bool, Float64, Int32, Int64, co_occurrence, pair_counts
from seqmend.recommenders import rows_from_sequences


class LabelledConfig(BaseModel):
    """How instances are labelled.

    Attributes:
        rows: Most instances; a log with few reliable ones yields fewer.
        max_length: L, inputs of an instance.
        least_pairs: m, co-occurrences of an input with the target that make it one of the target's own.
        mismatched_share: Share of the rows in which no input goes with the target (released sets: 4 to 18 %).
        shuffled_share: Share of the rows whose inputs change places at random.
        balanced: Of a target's own inputs keep fewer where rows with fewer are rarer so far. In a dense log nearly
            every input is the target's own, and rows in which all inputs go along or none teach little.
        seed: Of everything random.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int = Field(default=1000, ge=1)
    max_length: int = Field(default=5, ge=1)
    least_pairs: int = Field(default=5, ge=1)
    mismatched_share: float = Field(default=0.1, ge=0, lt=1)
    shuffled_share: float = Field(default=0.5, ge=0, le=1)
    balanced: bool = False
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Labelled:
    """R instances whose answer is known.

    Attributes:
        instance_id: int64 [R], number of the target interaction that a row was made of; those that were made up
            (completely mismatched) are numbered on from the last interaction.
        inputs: int32 [R, L], item numbers.
        targets: int32 [R].
        relevant: Which inputs go with the target, bool [R, L].
        strange: Log-odds that an input is a stranger whatever the target, float64 [R, L]; None where nobody knows.
    """

    instance_id: Int64
    inputs: Int32
    targets: Int32
    relevant: Bool
    strange: Float64 | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def select(self, numbers: npt.NDArray[np.integer]) -> "Labelled":
        """The rows of these numbers, in this order."""
        strange = None if self.strange is None else self.strange[numbers]
        return Labelled(
            self.instance_id[numbers], self.inputs[numbers], self.targets[numbers], self.relevant[numbers], strange
        )

    def questions(self) -> list[Asked]:
        """What a teacher is asked, row by row."""
        strange = [()] * len(self) if self.strange is None else map(tuple, self.strange.tolist())
        return [
            Asked(tuple(inputs), target, own)
            for inputs, target, own in zip(self.inputs.tolist(), self.targets.tolist(), strange, strict=True)
        ]

    def parted(self, sizes: Sequence[int], seed: int) -> list["Labelled"]:
        """At most so many random rows each, then the rest; rows of one target are always in the same part.

        Args:
            sizes: Of all parts but the last. A target whose rows a part has no more room for goes to a later one.
            seed: Of the order in which targets are taken.
        """
        parts: list[list[int]] = [[] for _ in sizes]
        rest: list[int] = []
        names, numbers = np.unique(self.targets, return_inverse=True)
        rows = np.split(np.argsort(numbers, kind="stable"), np.cumsum(np.bincount(numbers, minlength=len(names)))[:-1])
        for target in np.random.default_rng(seed).permutation(len(names)).tolist():
            own = rows[target].tolist()
            fits = (part for part, size in zip(parts, sizes, strict=True) if len(part) + len(own) <= size)
            next(fits, rest).extend(own)
        return [self.select(np.sort(np.array(part, dtype=np.int64))) for part in (*parts, rest)]

    def statistics(self) -> dict[str, int | float]:
        """Rows by number of relevant inputs (`relevant_0`, ...), different targets and noise items, share of noise."""
        noise = self.inputs[~self.relevant]
        counts = np.bincount(self.relevant.sum(1), minlength=self.inputs.shape[1] + 1).tolist()
        return {
            "rows": len(self),
            **{f"relevant_{k}": count for k, count in enumerate(counts)},
            "targets": len(np.unique(self.targets)),
            "noise_items": len(np.unique(noise)),
            "noise_share": len(noise) / max(self.inputs.size, 1),
        }


def label(train: Sequences, config: LabelledConfig, attributes: Sequence[frozenset[str]] | None = None) -> Labelled:
    """Instances of the training part with known answers (LLM4RSR, section 3.5 of our account of it).

    Reliable are those whose last k >= 1 inputs all co-occur with the target at least `least_pairs` times. Noise never
    co-occurs with the target and shares no attribute with it; it is drawn uniformly, and an item that was used comes
    again only after those that were used less often. Rows without L inputs, or with an item that has no title, are
    left out, as are those that no noise is left for.

    Args:
        train: Training sequences.
        config: How many, of what kind.
        attributes: Key attributes of every item, length V + 1; nothing is shared where absent.
    """
    rng = np.random.default_rng(config.seed)
    catalogue, L = train.catalogue, config.max_length
    pairs = co_occurrence(train)
    rows = rows_from_sequences(train, L, "instance")
    targets = rows.targets[:, -1]
    titled = catalogue.has_title[rows.items].all(1) & catalogue.has_title[targets]  # padding has none
    rows, targets = rows.select(titled), targets[titled]
    own = pair_counts(pairs, rows.items, targets) >= config.least_pairs
    n_own = np.logical_and.accumulate(own[:, ::-1], axis=1).sum(1)
    reliable = rng.permutation(np.flatnonzero(n_own > 0))

    noise = _Noise(catalogue, pairs, attributes, rng)
    n_mismatched = round(config.mismatched_share * config.rows)
    ids: list[int] = []
    made: list[tuple[list[int], int, int]] = []
    n_with = np.zeros(L + 1, dtype=np.int64)  # rows by number of inputs that were kept
    for number in _in_turn(reliable, config.rows, n_mismatched):
        is_mismatched = number < 0
        source = ~number if is_mismatched else number
        kept, target = 0 if is_mismatched else int(n_own[source]), int(targets[source])
        if config.balanced and kept:
            kept = 1 + int(n_with[1 : kept + 1].argmin())
        inputs = rows.items[source].tolist()
        drawn = noise.draw(target, inputs, L - kept)
        if drawn is None:
            continue
        ids.append(train.n_interactions + len(ids) if is_mismatched else int(rows.row_id[source]))
        made.append(([*drawn, *inputs[L - kept :]], target, kept))
        n_with[kept] += 1
    return _assembled(ids, made, config, rng)


def spoil(train: Sequences, share: float, seed: int) -> tuple[Sequences, Bool]:
    """The training part with some of its items replaced by chance, and which of its interactions were, bool [N].

    Args:
        train: Training sequences. No item without a title is put there; where none has one, nothing is replaced.
        share: Of all interactions that are replaced, in (0, 1).
        seed: Of the draws.
    """
    rng = np.random.default_rng([seed, 1])
    is_noise = rng.random(train.n_interactions) < share
    known = np.unique(train.items)
    titled = known[train.catalogue.has_title[known]]
    is_noise &= len(titled) > 0
    items = train.items.copy()
    items[is_noise] = rng.choice(titled, int(is_noise.sum()))
    return replace(train, items=items, source=None), is_noise


def corrupted(
    spoiled: Sequences,
    is_noise: Bool,
    config: LabelledConfig,
    strange: Float64 | None = None,
    allowed: Bool | None = None,
) -> Labelled:
    """Instances with known answers of a training part some of whose items were replaced by chance.

    An input goes with its target where neither of the two was replaced or, where it is known how strange every
    interaction is, where it was not replaced itself: the target is judged for itself then. Unlike `label`, nothing is
    asked of how often two items meet, so that co-occurrence may be evidence for these answers.

    Args:
        spoiled: See `spoil`.
        is_noise: Likewise.
        config: How many instances, how long; those with an item that has no title are left out.
        strange: Log-odds that an interaction is a stranger, float64 [N].
        allowed: Interactions that may be targets, bool [N]; all where absent.
    """
    titled = spoiled.catalogue.has_title
    rng = np.random.default_rng([config.seed, 2])
    rows = rows_from_sequences(spoiled, config.max_length, "instance")
    is_whole = titled[rows.items].all(1) & titled[rows.targets[:, -1]]
    if allowed is not None:
        is_whole &= allowed[rows.row_id]
    rows = rows.select(np.sort(rng.permutation(np.flatnonzero(is_whole))[: config.rows]))
    places = rows.row_id[:, None] - config.max_length + np.arange(config.max_length)
    targets = rows.targets[:, -1]
    if strange is not None:
        return Labelled(rows.row_id, rows.items, targets, ~is_noise[places], strange[places])
    relevant = ~(is_noise[places] | is_noise[rows.row_id][:, None])
    return Labelled(rows.row_id, rows.items, targets, relevant)


class _Noise:
    """Draws items that do not belong to a target."""

    def __init__(
        self,
        catalogue: Catalogue,
        pairs: sp.csr_matrix,
        attributes: Sequence[frozenset[str]] | None,
        rng: np.random.Generator,
    ) -> None:
        self.items = np.flatnonzero(catalogue.has_title & (pairs.diagonal() > 0))  # those that training knows
        self.uses = np.zeros(len(catalogue) + 1, dtype=np.int64)
        self.pairs, self.attributes, self.rng = pairs, attributes, rng

    def draw(self, target: int, inputs: list[int], n: int) -> list[int] | None:
        """n different items, the least used first; None where there are not so many."""
        begin, end = self.pairs.indptr[target : target + 2]
        strangers = np.setdiff1d(self.items, [*self.pairs.indices[begin:end].tolist(), target, *inputs])
        if self.attributes is not None:
            own = self.attributes[target]
            strangers = np.array([i for i in strangers.tolist() if not own & self.attributes[i]], dtype=np.int64)
        if len(strangers) < n:
            return None
        strangers = self.rng.permutation(strangers)
        chosen = strangers[np.argsort(self.uses[strangers], kind="stable")][:n]
        self.uses[chosen] += 1
        return chosen.tolist()


def _in_turn(reliable: npt.NDArray[np.int64], n_rows: int, n_mismatched: int) -> Iterator[int]:
    """Numbers of instances to make rows of; the complement ~number where the row shall be completely mismatched."""
    for place, number in enumerate(reliable[:n_rows].tolist()):
        yield ~number if place < min(n_mismatched, len(reliable) * n_mismatched // n_rows) else number


def _assembled(
    ids: list[int], made: list[tuple[list[int], int, int]], config: LabelledConfig, rng: np.random.Generator
) -> Labelled:
    L = config.max_length
    inputs = np.array([row for row, _, _ in made], dtype=np.int32).reshape(-1, L)
    kept = np.array([k for _, _, k in made], dtype=np.int64)
    relevant = np.arange(L) >= L - kept[:, None]
    shuffled = rng.random(len(made)) < config.shuffled_share
    order = np.where(shuffled[:, None], rng.random(inputs.shape).argsort(1), np.arange(L))
    return Labelled(
        np.array(ids, dtype=np.int64),
        np.take_along_axis(inputs, order, axis=1),
        np.array([target for _, target, _ in made], dtype=np.int32),
        np.take_along_axis(relevant, order, axis=1),
    )
