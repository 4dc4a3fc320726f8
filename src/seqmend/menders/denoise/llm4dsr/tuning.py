"""Self-supervised tuning: windows with an intruder put there on purpose, and the response that names it.

After LLM4DSR, generate_noise_data.py and train_denoise_model.py. Where we deviate (`default`): only histories are
shown, intruders are no items of the window, some windows stay clean and ask for None, and the loss is over the response
alone. Fitting stops on the held-out loss instead of detection F1: the scored response is the flagged title and its
replacement, of which the first is exactly what the noise score reads, so that its likelihood falls when detection gets
worse; F1 would need a threshold at every look.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqmend.errors import InputError
from seqmend.interactions import Catalogue, Sequences, nearest_items
from seqmend.llm import Adaptation, Encoder, LocalModel, Passage, adapt
from seqmend.menders.denoise.llm4dsr import prompt
from seqmend.menders.denoise.llm4dsr.config import Intruders, LLM4DSRConfig, TuningConfig
from seqmend.menders.denoise.llm4dsr.windows import all_instances
from seqmend.menders.denoise.windows import Bool, Int32, Int64
from seqmend.progress import Progress, silent

_LEAST_TITLES = 2


@dataclass(frozen=True, eq=False)
class Corrupted:
    """Windows of which some cells hold an intruder.

    Attributes:
        items: What stands there now, int32 [B, L], 0 = padding.
        originals: What stood there, int32 [B, L].
    """

    items: Int32
    originals: Int32

    @property
    def mask(self) -> Bool:
        """Which cells hold an intruder, bool [B, L]."""
        return self.items != self.originals


@dataclass(frozen=True, eq=False)
class Intrusion:
    """Where intruders come from.

    Attributes:
        kind: See `TuningConfig.intruders`.
        universe: Items with training interactions and a title, int32 [n].
        popularity: Training interactions of each of them, int64 [n].
        neighbours: Nearest titles of every item, int32 [V + 1, k], 0 = none; for hard intruders.
    """

    kind: Intruders
    universe: Int32
    popularity: Int64
    neighbours: Int32 | None = None

    @classmethod
    def of(cls, train: Sequences, kind: Intruders, encoder: Encoder | None = None) -> "Intrusion":
        """Intruders from a training part.

        Raises:
            InputError: Hard intruders without an encoder, or fewer than two items to draw from.
        """
        counts = np.bincount(train.items, minlength=len(train.catalogue) + 1)
        universe = np.flatnonzero((counts > 0) & train.catalogue.has_title).astype(np.int32)
        if len(universe) < _LEAST_TITLES:
            raise InputError(
                "fewer than two titled items have interactions, so that no item can stand in the place of another",
                fix="bring an item file with titles",
            )
        neighbours = None
        if kind == "hard":
            if encoder is None:
                raise InputError("hard intruders need a sentence encoder", fix='set language.encoder = "minilm-l6"')
            catalogue = train.catalogue
            found = encoder.embed([catalogue.prompt_titles[item] for item in universe.tolist()])
            vectors = np.zeros((len(catalogue) + 1, found.shape[1]), dtype=np.float32)
            vectors[universe] = found
            neighbours = nearest_items(vectors)
        return cls(kind, universe, counts[universe], neighbours)

    def draw(self, item: int, rng: np.random.Generator) -> int:
        """One intruder for the place of an item; the item itself where it has no neighbours to draw from."""
        if self.neighbours is not None:
            near = self.neighbours[item][self.neighbours[item] > 0]
            return int(rng.choice(near)) if len(near) else item
        shares = self.popularity / self.popularity.sum() if self.kind == "popular" else None
        return int(rng.choice(self.universe, p=shares))


def corrupt_windows(
    items: Int32, catalogue: Catalogue, intrusion: Intrusion, config: TuningConfig, rng: np.random.Generator
) -> Corrupted:
    """Put `config.corruptions` intruders into every window but the share that stays clean.

    Only cells that a prompt shows are corrupted: those with a title, the oldest left out where the list is too long. A
    window where no allowed intruder is found stays clean. The titles of an intruder and of the item it replaces differ,
    unless repeats are allowed.

    Args:
        items: int32 [B, L], 0 = padding.
        catalogue: Titles of the items.
        intrusion: Where intruders come from.
        config: Number of intruders, share of clean windows, whether repeats are allowed.
        rng: Randomness.
    """
    spoiled, titles = items.copy(), catalogue.prompt_titles
    for row in spoiled:
        if rng.random() < config.clean_share:
            continue
        columns = shown(row, catalogue)
        for column in rng.permutation(columns)[: config.corruptions].tolist():
            present = {titles[item] for item in row.tolist() if item}
            for _ in range(20):
                intruder = intrusion.draw(int(row[column]), rng)
                if config.allow_repeats or titles[intruder] not in present:
                    row[column] = intruder
                    break
    return Corrupted(spoiled, items)


def shown(row: Int32, catalogue: Catalogue) -> Int64:
    """Columns of a window whose titles a prompt shows, int64."""
    columns = np.flatnonzero(catalogue.has_title[row])
    return columns[prompt.n_dropped([catalogue.prompt_titles[item] for item in row[columns].tolist()]) :]


def passages(windows: Corrupted, catalogue: Catalogue, config: TuningConfig, end: str) -> list[Passage]:
    """One example per window: the prompt, and the response that names the intruders and what stood in their place.

    A window without a title, or whose intruder made the list too long for a title to be shown, is left out.

    Args:
        windows: What to name.
        catalogue: Titles of the items.
        config: What the loss is over.
        end: The text of the model's end token.
    """
    found: list[Passage] = []
    titles = catalogue.prompt_titles
    for row, originals in zip(windows.items, windows.originals, strict=True):
        columns = shown(row, catalogue)
        wrong = [int(column) for column in np.flatnonzero(row != originals)]
        if not len(columns) or not set(wrong) <= set(columns.tolist()):
            continue
        question = prompt.question([titles[item] for item in row[columns].tolist()])
        response = prompt.response([titles[row[at]] for at in wrong], [titles[originals[at]] for at in wrong])
        found.append(Passage((question, response + end), (config.loss == "text", True)))
    return found


def split_windows(train: Sequences, config: LLM4DSRConfig) -> tuple[Int32, Int32]:
    """Windows to tune on and windows to hold out, int32 [B, L] each; no user has windows in both.

    Histories alone, or with their target (`with_target`); windows with fewer than two titles teach nothing. Where the
    log is too short for the numbers asked for, they shrink alike.
    """
    tuning, rng = config.tuning, np.random.default_rng(config.tuning.seed)
    windows = all_instances(train, config.max_length)
    items = windows.items if config.with_target else windows.items[:, :-1]
    usable = np.flatnonzero(train.catalogue.has_title[items].sum(1) >= _LEAST_TITLES)
    share = tuning.held_out / (tuning.windows + tuning.held_out)
    held_out_users = rng.random(len(train)) < share
    order = rng.permutation(usable)
    is_held_out = held_out_users[windows.users[order]]
    n_windows = min(tuning.windows, int((~is_held_out).sum()))
    return items[order[~is_held_out][:n_windows]], items[order[is_held_out][: tuning.held_out]]


def tune(
    model: LocalModel,
    train: Sequences,
    folder: Path,
    config: LLM4DSRConfig,
    encoder: Encoder | None = None,
    progress: Progress = silent,
) -> Adaptation:
    """Fit an adapter that names intruders; a folder that was made of the same is returned as it is.

    Args:
        model: The untuned model.
        train: Training sequences alone.
        folder: Where the adapter is put.
        config: Which windows, which intruders, and how to fit.
        encoder: Of titles, for hard intruders.
        progress: Told the steps.

    Raises:
        InputError: No window has two titles, hard intruders are asked for without an encoder, or see `llm.adapt`.
    """
    tuning = config.tuning
    windows, held_out = split_windows(train, config)
    if not len(windows):
        raise InputError(
            "no window has two titled items, so there is nothing to tune the language model on",
            expected="histories of two or more items with titles",
            fix="bring an item file with titles, or switch tuning off",
        )
    intrusion = Intrusion.of(train, tuning.intruders, encoder)
    rng = np.random.default_rng([tuning.seed, 1])
    end: str = model.tokenizer.eos_token or ""
    examples, judges = (
        passages(corrupt_windows(items, train.catalogue, intrusion, tuning, rng), train.catalogue, tuning, end)
        for items in (windows, held_out)
    )
    return adapt(model, examples, judges, folder, tuning.lora, progress)


def calibration_windows(train: Sequences, config: LLM4DSRConfig, encoder: Encoder | None = None) -> Corrupted:
    """The held-out windows, corrupted and clean, that a gate's threshold is fitted on."""
    _, held_out = split_windows(train, config)
    intrusion = Intrusion.of(train, config.tuning.intruders, encoder)
    rng = np.random.default_rng([config.tuning.seed, 2])
    return corrupt_windows(held_out, train.catalogue, intrusion, config.tuning, rng)
