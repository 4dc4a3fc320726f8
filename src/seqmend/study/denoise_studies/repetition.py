"""One repetition's findings, kept in the study's folder, so that a killed study goes on where it stopped."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

from seqmend.files import write_atomic, write_json
from seqmend.study.stages import RunDirectory, fingerprint


@dataclass(frozen=True, eq=False)
class Repetition:
    """What one repetition found.

    Attributes:
        figures: Plain values.
        ranks: Of the test targets under every arm, where backbones were trained: columns "<arm>|<test history>".
    """

    figures: dict[str, Any]
    ranks: pl.DataFrame | None = None


def kept(
    directory: RunDirectory, name: str, identity: list[Any], make: Callable[[], Repetition], *, ranked: bool
) -> Repetition:
    """A repetition: made, unless it was kept under the same identity.

    Args:
        directory: The study's folder.
        name: Unique in the study, and part of file names.
        identity: Everything that decides the result, as plain values.
        make: Does the work.
        ranked: Whether it gives ranks.
    """
    figures, ranks = f"stages/{name}.json", f"stages/{name}.parquet"

    def write() -> None:
        found = make()
        write_json(directory.path / figures, found.figures)
        if found.ranks is not None:
            with write_atomic(directory.path / ranks) as temporary:
                found.ranks.write_parquet(temporary)

    def read() -> Repetition:
        said = json.loads((directory.path / figures).read_text("utf-8"))
        return Repetition(said, pl.read_parquet(directory.path / ranks) if ranked else None)

    files = [figures, ranks] if ranked else [figures]
    return directory.stage(name, fingerprint(identity), files, write, read)
