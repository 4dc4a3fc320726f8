"""From the data settings to a log that was read and checked, to its known noise, and to what may be edited in it."""

from pathlib import Path

import numpy as np

from seqmend import assets
from seqmend.errors import InputError
from seqmend.interactions import (
    Log,
    Noisy,
    Sequences,
    Split,
    global_time,
    inject,
    leave_one_out,
    nearest_items,
    read_log,
)
from seqmend.llm import SentenceEncoder
from seqmend.progress import Progress, silent
from seqmend.study.config import DataConfig, NoiseConfig, RunConfig, SplitName


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


def divided(sequences: Sequences, split: SplitName) -> Split:
    """The log with its held-out parts."""
    return leave_one_out(sequences) if split == "leave-one-out" else global_time(sequences)


def ready_to_mend(config: RunConfig, out: Path, bench: str, taken: str | None = None) -> None:
    """Refuse a ledger of a log that is to be spoilt first, and a file that no ledger can be.

    Args:
        config: The settings.
        out: The ledger.
        bench: Command that measures what mending known noise brings.
        taken: Name of a file that is put beside the ledger.

    Raises:
        InputError: See above.
    """
    if config.noise is not None:
        raise InputError(
            "a ledger is for the log as it is, and the configuration spoils it with known noise",
            fix=f"leave [noise] out, or use {bench}",
        )
    if out.suffix != ".parquet" or out.is_dir() or out.name == taken:
        but = "" if taken is None else f", not {taken}"
        raise InputError("a ledger cannot be written here", where=str(out), expected=f"a file ending in .parquet{but}")


def spoil(clean: Split, noise: NoiseConfig, encoder: str | None, progress: Progress) -> Noisy:
    """Inject the known noise that the settings ask for.

    Args:
        clean: The split of the log as it was read.
        noise: Kind, ratio and seed.
        encoder: Name or folder of a sentence encoder, which "hard" noise finds an item's neighbours by.
        progress: Told what is being done.

    Raises:
        InputError: Hard noise without an encoder, or see `inject`.
    """
    neighbours = None
    if noise.kind == "hard":
        if encoder is None:
            raise InputError("hard noise needs a sentence encoder", fix='set language.encoder = "minilm-l6"')
        reader = SentenceEncoder.load(assets.resolve(encoder, "encoder", progress))
        catalogue = clean.sequences.catalogue
        neighbours = nearest_items(reader.embed(catalogue.prompt_titles) * catalogue.has_title[:, None])
    return inject(clean, noise.kind, noise.ratio, np.random.default_rng(noise.seed), neighbours=neighbours)


def before_test(split: Split) -> Sequences:
    """Every user's interactions before the test target; users without one are empty."""
    ends = np.zeros(len(split.sequences), dtype=np.int64)
    # Under a global-time split a user may have several test targets: edits may use what precedes the first.
    np.maximum.at(ends, split.test.users, split.sequences.lengths[split.test.users])
    np.minimum.at(ends, split.test.users, split.test.positions)
    return split.sequences.up_to(ends)
