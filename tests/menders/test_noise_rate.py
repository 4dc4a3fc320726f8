import numpy as np
import pytest
from scipy.stats import norm

from seqmend.menders.noise_rate import estimate_noise_rate, to_confidence


def overlapping(n, share, rng):
    """Scores of clean and noisy cells that overlap; returns score [n], is noise [n]."""
    noise = rng.random(n) < share
    return rng.normal(np.where(noise, 1.5, 0.0), 1.0), noise


@pytest.mark.parametrize("share", [0.03, 0.1, 0.2])
def test_the_noise_rate_is_estimated_from_self_corruption_alone(share):
    rng = np.random.default_rng(0)
    log, _ = overlapping(60_000, share, rng)
    corrupted = rng.normal(1.5, 1.0, 8_000)
    assert estimate_noise_rate(corrupted, log) == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_confidence_is_calibrated_for_the_logs_own_noise(share):
    rng = np.random.default_rng(1)
    log, hidden = overlapping(40_000, share, rng)
    # What a perfect classifier of "corrupted on purpose" against "the log as it is" would say.
    of_noise, of_clean = norm.pdf(log, 1.5), norm.pdf(log, 0.0)
    of_log = share * of_noise + (1 - share) * of_clean
    corrupted_share = 0.1
    probability = corrupted_share * of_noise / (corrupted_share * of_noise + (1 - corrupted_share) * of_log)
    confidence = to_confidence(probability, corrupted_share, share)
    assert confidence.mean() == pytest.approx(share, abs=0.01)
    for low in np.arange(0, 1, 0.1):
        inside = (confidence >= low) & (confidence < low + 0.1)
        if inside.sum() > 300:
            assert hidden[inside].mean() == pytest.approx(confidence[inside].mean(), abs=0.05)
    assert abs(probability - confidence).max() > 0.05  # without the correction it is not
