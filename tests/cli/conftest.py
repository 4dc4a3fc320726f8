"""A command line in this process, and a log that holds noise."""

import numpy as np
import polars as pl
import pytest


@pytest.fixture
def seqmend(seqmend):
    """Exit code, standard output on one line, standard error on one line of a command."""

    def call(*arguments):
        code, out, err = seqmend(*arguments)
        return code, " ".join(out.split()), " ".join(err.split())

    return call


@pytest.fixture(scope="session")
def noisy_files(log_files, tmp_path_factory):
    """The small log with every tenth interaction replaced by an item of another kind, and its items."""
    folder = tmp_path_factory.mktemp("noisy")
    rng = np.random.default_rng(1)
    log = pl.read_csv(log_files[0])
    other = pl.Series([f"i{(int(item[1]) + 1 + rng.integers(3)) % 4}{item[2:]}" for item in log["item_id"]])
    noisy = pl.Series(rng.random(len(log)) < 0.1)
    log.with_columns(item_id=pl.when(noisy).then(other).otherwise("item_id")).write_csv(folder / "log.csv")
    return folder / "log.csv", log_files[1]
