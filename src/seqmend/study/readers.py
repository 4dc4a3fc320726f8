"""The models that read titles: a sentence encoder, and a language model whose answers are journaled."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seqmend import assets
from seqmend.llm import (
    Encoder,
    Journal,
    JournaledModel,
    LocalModel,
    SentenceEncoder,
    ServerModel,
    Usage,
)
from seqmend.progress import Progress
from seqmend.study.config import LanguageConfig


@dataclass(frozen=True, eq=False)
class Readers:
    """What reads titles; None where the settings name none."""

    encoder: Encoder | None
    model: JournaledModel | None


def load_model(
    language: LanguageConfig,
    progress: Progress,
    adapter: Path | None = None,
    needs: Sequence[str] = ("score", "embed"),
) -> LocalModel | ServerModel:
    """The language model that the settings name, without a journal and whatever it costs; see `load_readers`."""
    if language.served_model is not None:
        served = ServerModel.connect(language.served_model, language.server)
        served.require(*needs)
        return served
    assert language.model is not None
    return LocalModel.load(assets.resolve(language.model, "model", progress), adapter=adapter, progress=progress)


def load_readers(
    language: LanguageConfig,
    journal: Path,
    progress: Progress,
    adapter: Path | None = None,
    needs: Sequence[str] = ("score", "embed"),
    account: Usage | None = None,
) -> Readers:
    """The models that the settings name, with the settings' budget.

    Args:
        language: Which, and what they may cost.
        journal: SQLite file of answers, so that nothing is asked twice.
        progress: Told what is being done.
        adapter: Folder of a LoRA adapter of the language model.
        needs: What a server must be able to do: by default what judging windows needs.
        account: What was spent of the budget before, added to from now on.

    Raises:
        InputError: The adapter was fitted to another model, or a server cannot do what is needed.
        ResourceError: A model cannot be fetched or loaded, or its server fails.
    """
    encoder = None
    if language.encoder is not None:
        encoder = SentenceEncoder.load(assets.resolve(language.encoder, "encoder", progress))
    if language.model is None:
        return Readers(encoder, None)
    model = load_model(language, progress, adapter, needs)
    asked = JournaledModel(model, Journal(journal), language.budget(), progress=progress, account=account)
    return Readers(encoder, asked)
