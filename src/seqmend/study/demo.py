"""The demo: the main job on a small real corpus, sized for a laptop."""

from seqmend.menders.denoise import DenoiseConfig, NetworkConfig
from seqmend.recommenders import SASRecConfig, TrainingConfig
from seqmend.study.config import DataConfig, LanguageConfig, NoiseConfig, RunConfig


def demo_config() -> RunConfig:
    """MovieLens-100K with 10 % uniform noise; at most five minutes of language model and of training on two cores."""
    return RunConfig(
        data=DataConfig(corpus="movielens-100k"),
        noise=NoiseConfig(kind="uniform", ratio=0.1),
        language=LanguageConfig(test_windows=200),
        denoise=DenoiseConfig(
            network=NetworkConfig(epochs=6), tuning_windows=200, language_windows=600, language_replacements=40
        ),
        backbone=SASRecConfig(),
        training=TrainingConfig(epochs=40, patience=5),
        seeds=(0, 1, 2),
    )
