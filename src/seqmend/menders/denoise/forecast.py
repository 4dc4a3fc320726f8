"""What the denoise mender would ask a language model, without running anything: for a cost before it is spent."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from seqmend.interactions import Sequences
from seqmend.llm import LanguageModel, Usage
from seqmend.menders.denoise.cascade import most_windows
from seqmend.menders.denoise.config import DenoiseConfig
from seqmend.menders.denoise.corruption import corrupt
from seqmend.menders.denoise.language import testimony
from seqmend.menders.denoise.replacement import WRITTEN_TOKENS, prompt_for
from seqmend.menders.denoise.verdicts import Surroundings
from seqmend.menders.denoise.windows import Int64, Windows, cut

Purpose = Literal["titles", "tuning", "windows", "replacements"]
METHODS: dict[Purpose, str] = {
    "titles": "embed",
    "tuning": "score",
    "windows": "score",
    "replacements": "write",
}
"""Which method of the language model serves what."""


@dataclass(frozen=True)
class Part:
    """Questions of one purpose.

    Attributes:
        purpose: What for.
        view: Whose windows or replacements; empty for what is learned once.
        usage: What they would use, seconds not counted; of windows and replacements the most.
        windows: Windows that would be read; None where none are meant.
        windows_total: All windows that could be.
    """

    purpose: Purpose
    view: str
    usage: Usage
    windows: int | None = None
    windows_total: int | None = None


def forecast(
    config: DenoiseConfig,
    train: Sequences,
    views: dict[str, tuple[Sequences, int | None]],
    model: LanguageModel,
    writes: bool,
) -> list[Part]:
    """What fitting, judging and proposing would ask, in the order in which it is asked.

    Which windows are in doubt is only known when the other witnesses were heard. Fuller windows hold more doubt, so
    that the fullest are counted where not all may be read.

    Args:
        config: Settings of the mender.
        train: What it would be fitted to.
        views: What it would judge, by view: the sequences and a limit on their windows.
        model: Counts (see `seqmend.llm.CountingModel`).
        writes: Whether the model would suggest replacements (a text encoder is needed to ground them).
    """
    rng = np.random.default_rng(config.seed)
    catalogue = train.catalogue
    parts: list[Part] = []

    def note(purpose: Purpose, view: str = "", windows: int | None = None, total: int | None = None) -> None:
        before = Usage()
        for part in parts:
            before.add(part.usage)
        now = model.usage
        used = Usage(
            now.calls - before.calls,
            now.prompt_tokens - before.prompt_tokens,
            now.completion_tokens - before.completion_tokens,
        )
        parts.append(Part(purpose, view, used, windows, total))

    model.embed([catalogue.prompt_titles[item] for item in np.flatnonzero(catalogue.has_title).tolist()])
    note("titles")
    windows = cut(train, config.max_length, config.stride)
    windows = windows[windows.real.sum(1) >= 2]
    held_out = windows[rng.permutation(len(windows))[: -(-len(windows) // config.folds)]]
    held_out = held_out[np.tile(np.arange(len(held_out)), config.corruption_rounds)]
    n_tuning = min(config.tuning_windows, len(held_out)) if config.language_windows != 0 else 0
    windows = held_out[_fullest(held_out, n_tuning, rng)]
    noisy, _ = corrupt(windows.items, np.unique(train.items), config.corruption_rate, rng)
    testimony(noisy, catalogue, model)
    note("tuning", windows=n_tuning, total=n_tuning)
    for view, (sequences, limit) in views.items():
        windows = cut(sequences, config.max_length, config.stride)
        n_read = most_windows(config, len(windows), limit)
        testimony(windows.items[_fullest(windows, n_read, rng)], catalogue, model)
        note("windows", view, n_read, len(windows))
    for view, (sequences, _) in views.items() if writes else ():
        rows = rng.permutation(sequences.n_interactions)[: config.language_replacements]
        around = Surroundings.of(sequences, rows, config.max_length)
        columns = around.columns.tolist()
        model.write(
            [prompt_for(row, at, catalogue) for row, at in zip(around.items, columns, strict=True)], WRITTEN_TOKENS
        )
        note("replacements", view)
    return parts


def _fullest(windows: Windows, n: int, rng: np.random.Generator) -> Int64:
    """Rows of the windows with the most items, in random order where they have as many."""
    order = rng.permutation(len(windows))
    return order[np.argsort(-windows.real[order].sum(1), kind="stable")][:n]
