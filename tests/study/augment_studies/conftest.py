"""A small log of short sequences: users stay within one kind of item and walk through it in order."""

import numpy as np
import polars as pl
import pytest

from seqmend.progress import silent
from seqmend.study import RunConfig
from seqmend.study.augment_studies import Setting

KINDS = ("wooden train", "card game", "plush bear", "science kit")


@pytest.fixture(scope="session")
def short_log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("short-log")
    rng = np.random.default_rng(0)
    ids = [[f"i{kind}{n:02}" for n in range(12)] for kind in range(4)]
    rows = [
        (f"u{user}", ids[user % 4][(start + step) % 12], 1_600_000_000 + 86_400 * step)
        for user in range(90)
        for start, length in [(int(rng.integers(12)), int(rng.integers(3, 9)))]
        for step in range(length)
    ]
    pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row").write_parquet(
        folder / "interactions.parquet"
    )
    titles = [(item, f"{KINDS[kind]} number {n}") for kind in range(4) for n, item in enumerate(ids[kind])]
    pl.DataFrame(titles, schema=["item_id", "title"], orient="row").write_parquet(folder / "items.parquet")
    return folder


@pytest.fixture(scope="session")
def make_setting(short_log):
    def make(**changes) -> Setting:
        options = {name: changes.pop(name) for name in ("groups", "mean_over", "max_users") if name in changes}
        values = {
            "data": {
                "interactions": str(short_log / "interactions.parquet"),
                "items": str(short_log / "items.parquet"),
            },
            "language": {"model": None, "encoder": None},
            "augment": {"n_items": 2, "n_candidates": 6, "n_recovery": 4, **changes.pop("augment", {})},
            "backbone": {"embedding_size": 16, "n_layers": 1, "n_heads": 1, "max_length": 12},
            "training": {"epochs": 3, "patience": 3, "batch_size": 16, "learning_rate": 1e-2},
            "seeds": [42, 43],
        }
        return Setting.read(RunConfig.from_dict({**values, **changes}, "test"), silent, **options)

    return make
