"""Is a difference more than chance? Paired bootstrap over users and seeds."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

_CHUNK_CELLS = 1 << 22


@dataclass(frozen=True)
class Difference:
    """Mean of a minus mean of b.

    Attributes:
        mean_a: Over seeds and targets.
        mean_b: The same.
        difference: mean_a - mean_b.
        ci95: Percentile interval of the resampled differences, widened where it would miss `difference`.
        p_value: Two-sided; of no difference.
        seeds: Number of seeds.
    """

    mean_a: float
    mean_b: float
    difference: float
    ci95: tuple[float, float]
    p_value: float
    seeds: int


@dataclass(frozen=True)
class RecoveredShare:
    """Which part of what the oracle regains a mender regains.

    Attributes:
        value: (mended - raw) / (oracle - raw), or None.
        ci95: Its interval, or None.
        reason: Why there is no value, or None.
    """

    value: float | None
    ci95: tuple[float, float] | None
    reason: str | None


def paired_bootstrap(
    a: Float64, b: Float64, rng: np.random.Generator, n_resamples: int = 2000, users: Int32 | None = None
) -> Difference:
    """Compare two arms on the same targets and seeds, resampling both users and seeds.

    Every resample draws as many users and as many seeds, with replacement, and takes all pairs of them: the interval
    covers other users and other seeds alike. With few seeds their share of the spread is understated.

    Args:
        a: float64 [S, M], the metric of every seed and target.
        b: float64 [S, M], the same seeds and targets.
        rng: Source of the resamples.
        n_resamples: Number of resamples.
        users: int32 [M], the user of each target, where a user has several; by default each target is a user.
    """
    return paired_bootstraps(a[None], b, rng, n_resamples, users)[0]


def paired_bootstraps(
    many: Float64, b: Float64, rng: np.random.Generator, n_resamples: int = 2000, users: Int32 | None = None
) -> list[Difference]:
    """`paired_bootstrap` of many arms with one, all under the same resamples: hardly dearer than for a single arm.

    Args:
        many: float64 [K, S, M], the metric of every arm, seed and target.
        b: float64 [S, M]; with zeros the intervals are those of the arms' own means.
        rng: Source of the resamples.
        n_resamples: Number of resamples.
        users: int32 [M]; see `paired_bootstrap`.
    """
    resampled = _resampled_means(many - b, rng, n_resamples, users)
    return [
        _difference(float(a.mean()), float(b.mean()), differences, len(a))
        for a, differences in zip(many, resampled, strict=True)
    ]


def mean_interval(
    values: Float64, rng: np.random.Generator, n_resamples: int = 2000, users: Int32 | None = None
) -> tuple[float, float]:
    """95 % interval of one arm's mean, resampled like `paired_bootstrap`; it holds the mean.

    Args:
        values: float64 [S, M].
        rng: Source of the resamples.
        n_resamples: Number of resamples.
        users: int32 [M]; see `paired_bootstrap`.
    """
    return _interval(_resampled_means(values[None], rng, n_resamples, users)[0], float(values.mean()))


def recovered_share(
    raw: Float64,
    mended: Float64,
    oracle: Float64,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    users: Int32 | None = None,
) -> RecoveredShare:
    """(mended - raw) / (oracle - raw), all three resampled together.

    There is no value where the interval of oracle - raw includes 0: there is then nothing to recover that could be told
    from chance, and the ratio could be anything.

    Args:
        raw: float64 [S, M], the metric of every seed and target without mending.
        mended: float64 [S, M].
        oracle: float64 [S, M], with exactly the injected noise undone.
        rng: Source of the resamples.
        n_resamples: Number of resamples.
        users: int32 [M]; see `paired_bootstrap`.
    """
    recoverable = float(oracle.mean() - raw.mean())
    gained, gainable = _resampled_means(np.stack([mended - raw, oracle - raw]), rng, n_resamples, users)
    low, high = _interval(gainable, recoverable)
    if low <= 0 <= high:
        reason = f"the interval of oracle - raw includes 0 ({low:.4f} to {high:.4f}): nothing to recover beyond chance"
        return RecoveredShare(None, None, reason)
    value = float(mended.mean() - raw.mean()) / recoverable
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = gained / gainable
    return RecoveredShare(value, _interval(shares[np.isfinite(shares)], value), None)


def paired_detection_bootstrap(
    is_noise: Bool,
    score_a: Float64,
    score_b: Float64,
    users: Int64,
    rng: np.random.Generator,
    n_resamples: int = 1000,
) -> Difference:
    """Difference of two AUROCs on the same positions, resampling users; resamples of one class only are left out.

    Args:
        is_noise: bool [P], with both values.
        score_a: float [P].
        score_b: float [P].
        users: int [P], the user of each position.
        rng: Source of the resamples.
        n_resamples: Number of resamples.
    """
    if not 0 < is_noise.sum() < len(is_noise):
        raise ValueError("AUROC needs noise and clean positions")
    number, n_users = _numbered(users)
    auroc_a, auroc_b = (_ResampledAuroc(is_noise, scores, number) for scores in (score_a, score_b))
    everyone = np.ones((1, n_users))
    drawn = _resampled_counts(n_users, n_resamples, len(users), rng)
    resampled = np.concatenate([auroc_a(counts) - auroc_b(counts) for counts in drawn])
    mean_a, mean_b = float(auroc_a(everyone)[0]), float(auroc_b(everyone)[0])
    return _difference(mean_a, mean_b, resampled[np.isfinite(resampled)], seeds=1)


class _ResampledAuroc:
    """AUROC of many resamples of the same users: the order is found once, each resample costs a running sum."""

    def __init__(self, is_noise: Bool, scores: Float64, users: Int64) -> None:
        order = np.argsort(scores, kind="stable")
        scores, is_noise, users = scores[order], is_noise[order], users[order]
        self.clean_users, self.noise_users = users[~is_noise], users[is_noise]
        clean_scores, noise_scores = scores[~is_noise], scores[is_noise]
        self.n_below = np.searchsorted(clean_scores, noise_scores, side="left")
        self.n_up_to = np.searchsorted(clean_scores, noise_scores, side="right")

    def __call__(self, counts: Float64) -> Float64:
        """AUROC, float64 [R], for users drawn as often as `counts`, float64 [R, U], says.

        Equal scores count half; not a number where one class was not drawn.
        """
        clean = np.zeros((len(counts), len(self.clean_users) + 1))
        np.cumsum(counts[:, self.clean_users], axis=1, out=clean[:, 1:])
        noise = counts[:, self.noise_users]
        won = (noise * (clean[:, self.n_below] + clean[:, self.n_up_to])).sum(axis=1) / 2
        with np.errstate(invalid="ignore"):
            return won / (noise.sum(axis=1) * clean[:, -1])


def _resampled_means(values: Float64, rng: np.random.Generator, n_resamples: int, users: Int32 | None) -> Float64:
    """Means of values [K, S, M] over resampled seeds and users, float64 [K, R]; the same resamples for every k."""
    n_seeds, n_targets = values.shape[1:]
    number, n_users = _numbered(np.arange(n_targets) if users is None else users)
    # A user's targets come and go together, so sums by user are all that resampling needs.
    sums = np.stack([np.bincount(number, weights=row, minlength=n_users) for row in values.reshape(-1, n_targets)])
    sizes = np.bincount(number, minlength=n_users)
    means = [
        np.einsum(
            "rs,rks->kr", _seed_shares(n_seeds, len(counts), rng), (counts @ sums.T).reshape(-1, *values.shape[:2])
        )
        / (counts @ sizes)
        for counts in _resampled_counts(n_users, n_resamples, n_users, rng)
    ]
    return np.concatenate(means, axis=1)


def _seed_shares(n_seeds: int, n_resamples: int, rng: np.random.Generator) -> Float64:
    return rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=n_resamples) / n_seeds


def _resampled_counts(n_users: int, n_resamples: int, row_cells: int, rng: np.random.Generator) -> Iterator[Float64]:
    """How often each user is drawn, float64 [r, n_users], in chunks whose rows of `row_cells` numbers fit in memory."""
    chunk = max(1, _CHUNK_CELLS // row_cells)
    for start in range(0, n_resamples, chunk):
        n = min(chunk, n_resamples - start)
        drawn = rng.integers(n_users, size=(n, n_users)) + np.arange(n)[:, None] * n_users
        yield np.bincount(drawn.ravel(), minlength=n * n_users).reshape(n, n_users).astype(np.float64)


def _numbered(users: npt.NDArray[np.integer]) -> tuple[Int64, int]:
    names, number = np.unique(users, return_inverse=True)
    return number, len(names)


def _difference(mean_a: float, mean_b: float, resampled: Float64, seeds: int) -> Difference:
    difference = mean_a - mean_b
    one_sided = (1 + min((resampled <= 0).sum(), (resampled >= 0).sum())) / (1 + len(resampled))
    return Difference(
        mean_a, mean_b, difference, _interval(resampled, difference), min(1.0, 2 * float(one_sided)), seeds
    )


def _interval(resampled: Float64, point: float) -> tuple[float, float]:
    """95 % percentile interval; widened to the point estimate, which rounding or a skewed ratio may leave outside."""
    low, high = np.percentile(resampled, [2.5, 97.5]).tolist()
    return min(low, point), max(high, point)
