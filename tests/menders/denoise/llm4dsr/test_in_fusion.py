import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from seqmend.menders.denoise import WINDOW_WITNESS, DenoiseConfig, Denoiser
from seqmend.menders.denoise.llm4dsr import SCORERS


class Reader:
    """The oracle of this folder, as a witness that also has a (poor) representation of titles."""

    def __init__(self, oracle):
        self.oracle = oracle
        self.identity, self.capability, self.usage = "reader", "exact", oracle.usage

    def choose(self, questions):
        return self.oracle.choose(questions)

    def embed(self, texts):
        return np.random.default_rng(0).normal(size=(len(texts), 8)).astype(np.float32)


@pytest.mark.parametrize("scorer", list(SCORERS))
def test_a_noise_score_can_be_the_fusion_s_window_witness(spoiled, oracle, scorer):
    """Neither encoder nor networks, so that there is something left to say; the sign must be the other testimony's."""
    noisy, is_noise = spoiled
    config = DenoiseConfig(scorer=scorer, tuning_windows=60, language_replacements=0, networks=False)
    verdicts = Denoiser(config, None, Reader(oracle)).fit(noisy).judge(noisy, language_windows=60)
    said = verdicts.witnesses.get(WINDOW_WITNESS)
    assert said is not None
    heard = ~np.isnan(said)
    assert roc_auc_score(is_noise[heard], said[heard]) > 0.8
