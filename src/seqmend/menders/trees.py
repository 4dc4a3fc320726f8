"""Boosted trees that weigh many witnesses of one cell: what each says alone, and together with the others."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier

Float64 = npt.NDArray[np.float64]
Features = npt.NDArray[np.floating]
Bool = npt.NDArray[np.bool_]

_CERTAIN = 1e-6


@dataclass
class BoostedTrees:
    """Gradient-boosted trees over what witnesses say; NaN where one says nothing.

    Args:
        seed: Of the trees.
        patience: Trees after which a tenth of the cells, held out, must be told better, else no more are grown; None =
            10 where there are more than 10,000 cells, and all are grown where there are fewer.
    """

    seed: int = 0
    patience: int | None = None
    trees: HistGradientBoostingClassifier = field(init=False)

    def fit(self, features: Features, labels: Bool) -> "BoostedTrees":
        """Learn from labelled cells: features [P, F], labels bool [P]."""
        stops_early: Any = "auto" if self.patience is None else True
        self.trees = HistGradientBoostingClassifier(
            learning_rate=0.05,
            max_iter=200,
            max_leaf_nodes=15,
            min_samples_leaf=50,
            l2_regularization=10.0,
            early_stopping=stops_early,
            n_iter_no_change=self.patience or 10,
            random_state=self.seed,
        ).fit(features, labels)
        return self

    def probability(self, features: Features) -> Float64:
        """P(corrupted) under the mix of clean and corrupted cells that was learned from, float64 [P]."""
        return np.clip(self.trees.predict_proba(features)[:, 1], _CERTAIN, 1 - _CERTAIN)
