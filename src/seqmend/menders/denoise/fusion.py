"""Fusion: one calibrated probability from many witnesses, learned on windows whose noise is known.

Gradient-boosted trees fuse the witnesses that speak of every cell, of which there are plenty of labelled ones; logistic
regression joins their verdict with that of networks over whole windows. Where a language model was asked about a
window, another one fuses the verdict with what it says: few parameters, because few windows are asked about.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from seqmend.menders.denoise.networks import WindowNetworks
from seqmend.menders.trees import BoostedTrees

Float64 = npt.NDArray[np.float64]
Features = npt.NDArray[np.floating]
Bool = npt.NDArray[np.bool_]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

_CERTAIN = 1e-6
_TRUSTS = (0.0, 0.25, 0.5, 0.75, 1.0)
_TRUST_FOLDS = 5


@dataclass
class LogisticFusion:
    """Logistic regression: for a witness that speaks alone, and for the verdict that a language model may change."""

    scaler: StandardScaler = field(init=False)
    regression: LogisticRegression = field(init=False)

    def fit(self, inputs: Features, labels: Bool) -> "LogisticFusion":
        """Learn from labelled cells: inputs [P, G], labels bool [P]."""
        self.scaler = StandardScaler().fit(inputs)
        self.regression = LogisticRegression(C=1.0, max_iter=1000).fit(self.scaler.transform(inputs), labels)
        return self

    def probability(self, inputs: Features) -> Float64:
        """P(corrupted) under the mix that was learned from, float64 [P]."""
        probability = self.regression.predict_proba(self.scaler.transform(inputs))[:, 1]
        return np.clip(probability, _CERTAIN, 1 - _CERTAIN)


@dataclass(frozen=True)
class CellFusion:
    """One probability of every cell, from the witnesses and, where there are any, from networks over whole windows.

    Attributes:
        trees: Over the witnesses.
        networks: Over whole windows, or None.
        both: Joins the log-odds of the two, learned on users that neither learned from; None without networks.
    """

    trees: BoostedTrees
    networks: WindowNetworks | None
    both: LogisticFusion | None

    @classmethod
    def fit(
        cls,
        evidence: Features,
        windows: Int32,
        labels: Bool,
        folds: Int64,
        networks: WindowNetworks | None,
        seed: int,
    ) -> "CellFusion":
        """Learn from corrupted windows.

        Args:
            evidence: What the witnesses say, [B, L, F].
            windows: Item numbers, int32 [B, L], 0 = padding.
            labels: Which cells are corrupted, bool [B, L].
            folds: Of their users, int64 [B]; the trees do not learn from fold 0.
            networks: Already learned.
            seed: Of the trees.
        """
        real, held_out = windows > 0, folds == 0
        learning = real & ~held_out[:, None]
        trees = BoostedTrees(seed).fit(evidence[learning], labels[learning])
        if networks is None:
            return cls(trees, None, None)
        cells = real[held_out]
        inputs = _joined(trees, evidence[held_out][cells], networks.logits(windows[held_out], folds[held_out])[cells])
        return cls(trees, networks, LogisticFusion().fit(inputs, labels[held_out][cells]))

    def logits(self, windows: Int32, folds: Int64) -> Float64 | None:
        """What the networks say of every cell, float64 [B, L] log-odds; None without networks."""
        return None if self.networks is None else self.networks.logits(windows, folds)

    def probability(self, evidence: Features, windows: Int32, logits: Float64 | None) -> Float64:
        """P(corrupted) under the mix that was learned from, float64 [B, L]; NaN in padding.

        Args:
            evidence: What the witnesses say, [B, L, F].
            windows: Item numbers, int32 [B, L], 0 = padding.
            logits: What `logits` says of them.
        """
        real = windows > 0
        probability = np.full(windows.shape, np.nan)
        if not real.any():
            return probability
        if logits is None or self.both is None:
            probability[real] = self.trees.probability(evidence[real])
        else:
            probability[real] = self.both.probability(_joined(self.trees, evidence[real], logits[real]))
        return probability


def _joined(trees: BoostedTrees, evidence: Features, logits: Float64) -> Float64:
    return np.stack([logit(trees.probability(evidence)), logits], axis=1)


def with_testimony(probability: Float64, testimony: Float64) -> Float64:
    """Inputs of the last layer, float64 [P, 3]: the verdict's log-odds, the testimony, their product."""
    verdict: Float64 = logit(probability)
    return np.stack([verdict, testimony, verdict * testimony], axis=1)


@dataclass
class WindowFusion:
    """What a language model's reading of whole windows adds to a verdict, as far as it has shown to add anything."""

    fusion: LogisticFusion = field(init=False)
    trust: float = field(init=False)

    def fit(self, probability: Float64, testimony: Float64, labels: Bool, groups: Int64) -> "WindowFusion":
        """Learn from labelled cells, float64 [P] each; `trust` is found on users that the regression did not see.

        Args:
            probability: The verdict without the reading.
            testimony: What the reading says.
            labels: Which cells are corrupted, bool [P].
            groups: Cells that are seen or unseen together (those of one user), int64 [P].
        """
        inputs = with_testimony(probability, testimony)
        self.fusion = LogisticFusion().fit(inputs, labels)
        unseen = probability.copy()
        for train, test in GroupKFold(_TRUST_FOLDS).split(inputs, groups=groups):
            if labels[train].any() and labels[test].any():
                unseen[test] = LogisticFusion().fit(inputs[train], labels[train]).probability(inputs[test])
        self.trust = best_trust(probability, unseen, labels)
        return self

    def probability(self, probability: Float64, testimony: Float64) -> Float64:
        """P(corrupted) under the mix that was learned from, float64 [P]."""
        return blend(probability, self.fusion.probability(with_testimony(probability, testimony)), self.trust)


def best_trust(verdict: Float64, other: Float64, labels: Bool) -> float:
    """How far to move from a verdict to another, in [0, 1], for the least log loss on cells neither was fitted to."""
    losses = [log_loss(labels, blend(verdict, other, trust)) for trust in _TRUSTS]
    return _TRUSTS[int(np.argmin(losses))]


def blend(verdict: Float64, other: Float64, trust: float) -> Float64:
    """The verdict, moved the given share of the way towards the other in log-odds, float64 [P]."""
    return verdict if trust == 0 else np.asarray(expit((1 - trust) * logit(verdict) + trust * logit(other)))
