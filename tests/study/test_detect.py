import numpy as np
import polars as pl
import pytest

from seqmend.errors import InputError
from seqmend.menders.denoise import NETWORK_WITNESS, SIMPLE_FUSION, DenoiseConfig
from seqmend.menders.denoise.witnesses import SINGLE_WITNESSES
from seqmend.study import bench_detect


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A corpus laid out like llm4dsr-toy: four kinds of items, users within one kind, 10 % noise in the windows."""
    root = tmp_path_factory.mktemp("toy")
    rng = np.random.default_rng(0)
    users = {str(u): rng.integers(0, 12, 14) + 12 * (u % 4) + 1 for u in range(200)}
    rows = [(u, str(i), t) for u, items in users.items() for t, i in enumerate(items)]
    pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row").write_parquet(
        root / "interactions.parquet"
    )
    pl.DataFrame(
        {"item_id": [str(i) for i in range(1, 49)], "title": [f"kind {(i - 1) // 12} thing {i}" for i in range(1, 49)]}
    ).write_parquet(root / "items.parquet")
    splits = root / "official_splits" / "noise_user0.1"
    splits.mkdir(parents=True)
    windows = []
    for user, items in users.items():
        for end in range(11, 15):
            true = items[end - 11 : end]
            mask = (rng.random(11) < 0.1) & (np.arange(11) < 10)
            noisy = np.where(mask, rng.integers(1, 49, 11), true)
            windows.append((user, noisy.tolist(), mask.astype(int).tolist(), end))
    frame = pl.DataFrame(windows, schema=["user_id", "item_ids", "mask", "timestamp"], orient="row")
    frame.filter(pl.col("timestamp") < 14).write_parquet(splits / "train_5000.parquet")
    frame.filter((pl.col("timestamp") == 14) & (pl.col("user_id").cast(int) < 60)).write_parquet(
        splits / "test.parquet"
    )
    clean = root / "official_splits" / "noise_user0.0"
    clean.mkdir()
    true = {user: items[3:14].tolist() for user, items in users.items() if int(user) < 60}
    pl.DataFrame(
        {"user_id": list(true), "item_ids": list(true.values()), "mask": [[0] * 11] * 60, "timestamp": [14] * 60}
    ).write_parquet(clean / "test.parquet")
    return root


@pytest.mark.parametrize("regime", ["small", "full"])
def test_known_noise_is_found_in_windows_of_unseen_or_seen_users(folder, regime):
    figures = bench_detect(folder, regime, encoder=None, model=None, config=DenoiseConfig(tuning_windows=50))
    assert figures["auroc"] > 0.85
    assert (figures["n_windows"], figures["n_positions"]) == (60, 600)
    assert set(figures["witnesses"]) == {*SINGLE_WITNESSES, SIMPLE_FUSION, NETWORK_WITNESS}
    assert figures["auroc"] == figures["llm_free"]["auroc"]
    assert figures["edited_clean"] < 0.05


def test_with_a_model_the_gain_has_an_interval_over_seeds(folder, tiny):
    figures = bench_detect(
        folder,
        "full",
        encoder=None,
        model=tiny,
        config=DenoiseConfig(tuning_windows=50, language_windows=10),
        seeds=(0, 1),
    )
    gain = figures["gain_auroc"]
    assert gain["ci95"][0] <= gain["difference"] <= gain["ci95"][1]
    assert gain["seeds"] == 2
    plain, simple = figures["gain_over_simple"], figures["witnesses"][SIMPLE_FUSION]
    assert plain["ci95"][0] <= plain["difference"] <= plain["ci95"][1]
    assert plain["difference"] == pytest.approx(figures["auroc"] - simple["auroc"], abs=0.02)  # over seeds, of means
    assert figures["n_asked"] in (0, 10)  # a model of random weights may or may not seem to help


def test_the_judge_alone_reads_the_mask(folder, with_inverted_masks):
    """With every mask inverted the verdicts stay, and the measurement is turned upside down."""
    config = DenoiseConfig(tuning_windows=50)
    before = bench_detect(folder, "full", encoder=None, model=None, config=config)
    after = bench_detect(with_inverted_masks(folder), "full", encoder=None, model=None, config=config)
    assert after["auroc"] == pytest.approx(1 - before["auroc"], abs=1e-9)


def test_a_folder_laid_out_otherwise_is_refused(tmp_path):
    with pytest.raises(InputError, match="a file of the benchmark is missing"):
        bench_detect(tmp_path, "small", encoder=None, model=None, config=DenoiseConfig())
