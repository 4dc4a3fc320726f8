"""What one mender learned to make of the witnesses, taken over by another."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from seqmend.menders.denoise import DenoiseConfig, Denoiser

CONFIG = DenoiseConfig(tuning_windows=50, networks=False)


def test_layers_of_the_same_log_give_the_same_verdicts(spoiled, encoder):
    noisy, _ = spoiled
    own = Denoiser(CONFIG, encoder).fit(noisy)
    taken = Denoiser(CONFIG, encoder).fit(noisy, layers_of=own)
    assert taken.noise_rate == own.noise_rate
    np.testing.assert_array_equal(taken.judge(noisy).fused, own.judge(noisy).fused)


def test_layers_of_other_users_find_noise_by_the_statistics_of_these(spoiled, encoder):
    noisy, is_noise = spoiled
    is_first = np.arange(len(noisy)) % 8 < 4  # users of all kinds on both sides
    first, second = (noisy.up_to(np.where(half, noisy.lengths, 0)) for half in (is_first, ~is_first))
    config = CONFIG.model_copy(update={"corruption_rounds": 6})
    source = Denoiser(config, encoder).fit(first)
    taken = Denoiser(config, encoder).fit(second, layers_of=source)
    truth = is_noise[~is_first[noisy.users]]
    assert roc_auc_score(truth, taken.judge(second).fused) > 0.95
    assert taken.noise_rate != source.noise_rate
    counts = np.bincount(second.items, minlength=len(noisy.catalogue) + 1)
    np.testing.assert_allclose(taken._everyone.log_popularity, np.log1p(counts), rtol=1e-6)


def test_layers_with_a_model_are_no_use_without_one(spoiled, encoder, tiny):
    noisy, _ = spoiled
    source = Denoiser(CONFIG, encoder).fit(noisy)
    with pytest.raises(ValueError, match="same kinds of readers"):
        Denoiser(CONFIG, encoder, tiny).fit(noisy, layers_of=source)


def test_networks_are_of_one_catalogue(spoiled, encoder):
    noisy, _ = spoiled
    source = Denoiser(CONFIG.model_copy(update={"networks": True}), encoder).fit(noisy)
    with pytest.raises(ValueError, match="one catalogue"):
        Denoiser(CONFIG, encoder).fit(noisy, layers_of=source)
