import polars as pl
import pytest


@pytest.fixture
def with_inverted_masks(tmp_path):
    """A copy of a folder laid out like llm4dsr-toy, in which noise is called clean and clean noise."""

    def inverted(folder):
        target = tmp_path / "inverted"
        for path in folder.rglob("*.parquet"):
            frame = pl.read_parquet(path)
            if "mask" in frame.columns:
                frame = frame.with_columns(pl.col("mask").list.eval(1 - pl.element()))
            copy = target / path.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            frame.write_parquet(copy)
        return target

    return inverted
