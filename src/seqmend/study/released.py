"""A folder laid out like `llm4dsr-toy`: LLM4DSR's released windows with known noise, and the log they come from."""

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from seqmend.errors import InputError
from seqmend.interactions import Catalogue, Sequences

NOISE_RATE = 0.1
_SPLITS = Path("official_splits")
_RELEASES = {"noisy": "noise_user0.1", "clean": "noise_user0.0"}


def read_catalogue(folder: Path) -> Catalogue:
    """All items and their titles."""
    items = _read(folder / "items.parquet")
    return Catalogue.from_titles(dict(zip(items["item_id"].cast(pl.String), items["title"], strict=True)))


def read_windows(
    folder: Path, split: Literal["train", "valid", "test"], release: Literal["noisy", "clean"] = "noisy"
) -> pl.DataFrame:
    """Released windows, with the noise in `mask`: 5,000 for training; of the others all, else 5,000.

    Raises:
        InputError: There is no such file.
    """
    directory = folder / _SPLITS / _RELEASES[release]
    path = directory / f"{split}.parquet"
    return _read(path if split != "train" and path.exists() else directory / f"{split}_5000.parquet")


def has_clean_release(folder: Path) -> bool:
    """Whether the same windows lie there without noise."""
    return (folder / _SPLITS / _RELEASES["clean"]).is_dir()


def histories(windows: pl.DataFrame, catalogue: Catalogue) -> tuple[Sequences, npt.NDArray[np.bool_]]:
    """Every window's history as a sequence of its own, and which interactions are injected noise, bool [N]."""
    # The last item of a window is its target, which no one is shown.
    windows = windows.with_columns(pl.col("item_ids", "mask").list.head(pl.col("item_ids").list.len() - 1))
    items = windows["item_ids"].cast(pl.List(pl.String)).to_list()
    mask = windows["mask"].explode()
    names = [f"{user}#{row}" for row, user in enumerate(windows["user_id"].to_list())]
    return _from_lists(names, items, catalogue), mask.to_numpy().astype(bool)


def as_log(windows: pl.DataFrame, catalogue: Catalogue) -> Sequences:
    """Each user's overlapping windows joined into one sequence, so that no interaction counts twice."""
    histories: dict[str, list[str]] = {}
    rows = windows.sort("timestamp", maintain_order=True).select(
        pl.col("user_id").cast(pl.String), pl.col("item_ids").cast(pl.List(pl.String))
    )
    for user, window in rows.iter_rows():
        joined = histories.setdefault(user, [])
        overlap = min(len(joined), len(window))
        while overlap and joined[-overlap:] != window[:overlap]:
            overlap -= 1
        joined.extend(window[overlap:])
    return _from_lists(list(histories), list(histories.values()), catalogue)


def noisy_log(folder: Path, excluded: set[str], catalogue: Catalogue, rng: np.random.Generator) -> Sequences:
    """The clean log of all users but the excluded ones, every interaction replaced with probability .1."""
    log = _read(folder / "interactions.parquet").with_columns(pl.col("user_id", "item_id").cast(pl.String))
    log = log.filter(~pl.col("user_id").is_in([str(user) for user in excluded]))
    users = log.sort("timestamp", maintain_order=True).group_by("user_id", maintain_order=True).agg("item_id")
    clean = _from_lists(users["user_id"].to_list(), users["item_id"].to_list(), catalogue)
    noisy = rng.random(clean.n_interactions) < NOISE_RATE
    # Shifting by 1..V-1 draws uniformly from all other items.
    other = (clean.items - 1 + rng.integers(1, len(catalogue), clean.n_interactions)) % len(catalogue) + 1
    items = np.where(noisy, other, clean.items).astype(np.int32)
    return Sequences(clean.user_ids, clean.offsets, items, clean.timestamps, catalogue)


def _read(path: Path) -> pl.DataFrame:
    if not path.exists():
        raise InputError(
            "a file of the benchmark is missing", where=str(path), expected="a folder laid out like llm4dsr-toy"
        )
    return pl.read_parquet(path)


def _from_lists(user_ids: list[str], items: list[list[str]], catalogue: Catalogue) -> Sequences:
    lengths = [len(row) for row in items]
    return Sequences(
        pl.Series("user_id", user_ids, dtype=pl.String),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        catalogue.index_of([item for row in items for item in row]),
        np.array([position for length in lengths for position in range(length)], dtype=np.int64),
        catalogue,
    )
