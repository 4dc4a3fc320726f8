"""The models that read titles: a sentence encoder, and a language model whose answers are journaled."""

from dataclasses import dataclass
from pathlib import Path

from seqmend import assets
from seqmend.llm import Encoder, Journal, JournaledModel, LocalModel, SentenceEncoder
from seqmend.progress import Progress
from seqmend.study.config import LanguageConfig


@dataclass(frozen=True, eq=False)
class Readers:
    """What reads titles; None where the settings name none."""

    encoder: Encoder | None
    model: JournaledModel | None


def load_readers(language: LanguageConfig, journal: Path, progress: Progress, adapter: Path | None = None) -> Readers:
    """The models that the settings name, with the settings' budget.

    Args:
        language: Which, and what they may cost.
        journal: SQLite file of answers, so that nothing is asked twice.
        progress: Told what is being done.
        adapter: Folder of a LoRA adapter of the language model.

    Raises:
        InputError: The adapter was fitted to another model.
        ResourceError: A model cannot be fetched or loaded.
    """
    encoder = None
    if language.encoder is not None:
        encoder = SentenceEncoder.load(assets.resolve(language.encoder, "encoder", progress))
    if language.model is None:
        return Readers(encoder, None)
    model = LocalModel.load(assets.resolve(language.model, "model", progress), adapter=adapter)
    return Readers(encoder, JournaledModel(model, Journal(journal), language.budget(), progress=progress))
