"""Language models and sentence encoders: what they may be asked, who answers, and the journal of the answers."""

from seqmend.llm.adapt import Adaptation, LoRAConfig, adapt
from seqmend.llm.counting import CountingModel, Pace
from seqmend.llm.encoder import SentenceEncoder
from seqmend.llm.journal import Budget, Journal, JournaledModel
from seqmend.llm.local import LocalModel
from seqmend.llm.protocol import (
    Answer,
    Encoder,
    Failure,
    Judged,
    LanguageModel,
    Passage,
    PassageScore,
    Question,
    Usage,
    metered,
)
from seqmend.llm.server import ServerConfig, ServerModel
from seqmend.llm.titles import title_vectors, unit, whiten

__all__ = [
    "Adaptation",
    "Answer",
    "Budget",
    "CountingModel",
    "Encoder",
    "Failure",
    "Journal",
    "JournaledModel",
    "Judged",
    "LanguageModel",
    "LoRAConfig",
    "LocalModel",
    "Pace",
    "Passage",
    "PassageScore",
    "Question",
    "SentenceEncoder",
    "ServerConfig",
    "ServerModel",
    "Usage",
    "adapt",
    "metered",
    "title_vectors",
    "unit",
    "whiten",
]
