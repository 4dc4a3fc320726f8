from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from seqmend.interactions import Catalogue, Sequences


@pytest.fixture(scope="session")
def sequences_of() -> Callable[..., Sequences]:
    return make_sequences


def make_sequences(*users: list[int]) -> Sequences:
    """Sequences of item numbers, in which 0 is a masked interaction."""
    items = np.array([item for user in users for item in user], dtype=np.int32)
    lengths = [len(user) for user in users]
    return Sequences(
        pl.Series("user_id", [f"u{number}" for number in range(len(users))], dtype=pl.String),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        items,
        np.concatenate([np.arange(n) for n in lengths] + [[]]).astype(np.int64),
        Catalogue.from_titles({f"i{number}": None for number in range(1, 1 + max(items, default=0))}),
    )
