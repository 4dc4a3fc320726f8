"""From the data settings to a log that was read and checked."""

from pathlib import Path

from seqmend import assets
from seqmend.interactions import Log, read_log
from seqmend.progress import Progress, silent
from seqmend.study.config import DataConfig


def read_data(config: DataConfig, progress: Progress = silent) -> Log:
    """Read the log that the settings name, a known corpus or files.

    Raises:
        InputError: The files cannot be used, or no such corpus is known.
        ResourceError: The corpus cannot be fetched.
    """
    interactions, items = config.interactions, config.items
    if config.corpus is not None:
        folder = assets.resolve(config.corpus, "corpus", progress)
        interactions, items = folder / "interactions.inter", folder / "items.item"
    assert interactions is not None
    return read_log(
        Path(interactions),
        items,
        columns=config.columns(),
        delimiter=config.delimiter,
        encoding=config.encoding,
        order=config.order,
        keep_repeats=config.keep_repeats,
        progress=progress,
    )
