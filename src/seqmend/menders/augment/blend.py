"""Recommender and titles together: how likely every item is next, by who chose what and by how alike titles are.

A recommender knows little of rare items, and their titles say more than it does. Each source's weight is learned on the
log itself: from items that are known, and that the recommender never had as a target.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize
from torch import Tensor

from seqmend.evaluation import Histories
from seqmend.interactions import PADDING, Sequences
from seqmend.menders.augment.candidates import Float64, Int32, Int64, Scorer, best, by_backbone
from seqmend.progress import Progress, silent
from seqmend.recommenders import Backbone

Float32 = npt.NDArray[np.float32]

RECOMMENDER = "recommender"
_READINGS = ("nearest", "mean", "closest")
_USUAL_RECOMMENDER, _USUAL_TITLES = 0.5, 6.0
_LEARNED_FROM, _LEAST_EXAMPLES = 100, 20
_USERS_AT_ONCE = 256
_LEAST = 1e-9


class Sources:
    """What a recommender and the readers of titles say of every item as the next one.

    Args:
        backbone: Trained on sequences like those that are shown.
        shown: Of every user what came until now.
        vectors: By reader, unit vectors of all titles, float32 [V + 1, d], zeros where there is none.
        max_history: Latest items of a user whose titles count.

    Attributes:
        names: Of the sources: the recommender, and of every reader how alike a title is to the latest item's, to all
            titles in the mean, and to the one that it is most alike.
        n_users: U.
        n_items: V.
    """

    def __init__(self, backbone: Backbone, shown: Sequences, vectors: Mapping[str, Float32], max_history: int) -> None:
        self._recommender = by_backbone(backbone, shown)
        device = next(backbone.parameters()).device
        self._vectors = {name: torch.from_numpy(own).to(device) for name, own in vectors.items()}
        self._histories = Histories.whole(shown, np.arange(len(shown), dtype=np.int32))
        self._max_history = max_history
        self.n_users, self.n_items = len(shown), backbone.n_items
        self.names = (RECOMMENDER, *(f"{name}, {reading}" for name in vectors for reading in _READINGS))

    def usual_weights(self) -> dict[str, float]:
        """Weights before anything is learned; without titles the recommender stands alone."""
        titles = {name: _USUAL_TITLES / (len(self.names) - 1) for name in self.names[1:]}
        return {RECOMMENDER: _USUAL_RECOMMENDER if titles else 1.0, **titles}

    def scorer(self, weights: Mapping[str, float]) -> Scorer:
        """The weighted sum of what they say."""

        def score(numbers: Int64) -> Tensor:
            said = self._each(numbers)
            total = next(said) * weights[RECOMMENDER]
            for name, values in zip(self.names[1:], said, strict=True):
                total += values * weights[name]
            return total

        return score

    def of_candidates(self, users: Int64, candidates: Int32) -> Float64:
        """What each says of some items.

        Args:
            users: Numbers of m users.
            candidates: n items for each, int32 [m, n].

        Returns:
            float64 [m, sources, n].
        """
        found = np.empty((len(users), len(self.names), candidates.shape[1]))
        for begin in range(0, len(users), _USERS_AT_ONCE):
            some = slice(begin, begin + _USERS_AT_ONCE)
            with torch.inference_mode():
                at = torch.from_numpy(candidates[some]).long()
                for place, values in enumerate(self._each(users[some])):
                    found[some, place] = values.cpu().gather(1, at).numpy()
        return found

    def _each(self, numbers: Int64) -> Iterator[Tensor]:
        """float32 [m, V + 1] of every source in turn."""
        yield self._recommender(numbers)
        items = torch.from_numpy(self._histories.windows(numbers, self._max_history)).long()
        is_there = (items != PADDING).float()
        for vectors in self._vectors.values():
            there = is_there.to(vectors.device)
            mean = torch.zeros(len(numbers), vectors.shape[1], device=vectors.device)
            closest = torch.full((len(numbers), len(vectors)), -torch.inf, device=vectors.device)
            alike = closest
            for place in range(items.shape[1]):
                own = vectors[items[:, place].to(vectors.device)]
                mean += own
                alike = own @ vectors.T
                closest = torch.maximum(closest, alike.masked_fill(there[:, place, None] == 0, -torch.inf))
            yield alike
            yield (mean / there.sum(1, keepdim=True).clamp(min=1)) @ vectors.T
            yield closest.nan_to_num(neginf=0.0)


def learned_weights(
    sources: Sources,
    users: Int64,
    hidden: Int32,
    left_out: Sequences | None,
    progress: Progress = silent,
) -> dict[str, float]:
    """The weights under which items that are known to come next are likeliest, no source counting against itself.

    A conditional logit over the best candidates under the usual weights, drawn to these the more, the fewer examples
    there are; the usual weights themselves where there are too few.

    Args:
        sources: What is weighed.
        users: Numbers of users, int64 [m].
        hidden: What comes next, int32 [m].
        left_out: Items that are no candidates of their user.
        progress: Told how many users are done.
    """
    usual = sources.usual_weights()
    pools = best(
        sources.scorer(usual),
        users,
        sources.n_users,
        sources.n_items,
        _LEARNED_FROM,
        left_out,
        progress,
        "weighing recommender and titles",
    )
    candidates = pools.items[users]
    is_hidden = (candidates == hidden[:, None]) & (hidden[:, None] != PADDING)
    known = np.flatnonzero(is_hidden.any(axis=1))
    if len(known) < _LEAST_EXAMPLES or len(sources.names) == 1:
        return usual
    said = sources.of_candidates(users[known], candidates[known])
    features = [own[:, :size] for own, size in zip(said, pools.sizes[users[known]].tolist(), strict=True)]
    found = conditional_logit(features, is_hidden[known].argmax(axis=1).tolist(), np.array(list(usual.values())))
    return dict(zip(sources.names, found.tolist(), strict=True))


def conditional_logit(features: Sequence[Float64], places: Sequence[int], usual: Float64) -> Float64:
    """Weights of features under which the known candidate of every example is likeliest; none is negative.

    Args:
        features: By example, float64 [features, n candidates].
        places: Of the known candidate of every example.
        usual: What the weights are drawn to, as strongly as one example counts; above 0, float64 [features].
    """
    ridge = 1 / len(features)

    def loss(weights: Float64) -> tuple[float, Float64]:
        away = (weights - usual) / usual
        value, slope = ridge * float(away @ away), 2 * ridge * away / usual
        for known, place in zip(features, places, strict=True):
            joined = weights @ known
            shares = np.exp(joined - joined.max())
            shares /= shares.sum()
            value -= float(np.log(max(shares[place], _LEAST))) / len(places)
            slope = slope - (known[:, place] - known @ shares) / len(places)
        return value, slope

    bounds = [(0.0, None)] * len(usual)
    return minimize(loss, usual, jac=True, method="L-BFGS-B", bounds=bounds).x
