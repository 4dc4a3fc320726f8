"""Sentence encoders in this process: texts to vectors whose cosine says how alike they are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seqmend import assets
from seqmend.devices import choose_device
from seqmend.errors import ResourceError
from seqmend.llm.weights import fingerprint, quiet_transformers
from seqmend.progress import Progress, silent


class SentenceEncoder:
    """A sentence-transformers model in memory; see `SentenceEncoder.load`."""

    def __init__(self, model: Any, identity: str) -> None:
        self.model = model
        self.identity = identity

    @classmethod
    def load(
        cls, name_or_path: str | Path = "minilm-l6", device: str = "auto", progress: Progress = silent
    ) -> "SentenceEncoder":
        """Load a named encoder (fetched if need be) or one that lies in a folder.

        Raises:
            InputError: The name is unknown.
            ResourceError: The encoder cannot be fetched or loaded.
        """
        from sentence_transformers import SentenceTransformer  # takes seconds, which only loading should cost

        folder = assets.resolve(str(name_or_path), "encoder", progress)
        try:
            with quiet_transformers():
                model = SentenceTransformer(str(folder), device=str(choose_device(device)), local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise ResourceError(f"cannot load the sentence encoder: {error}", where=str(folder)) from error
        return cls(model, f"{folder.name}@{fingerprint(folder)}")

    def embed(self, texts: Sequence[str], batch_size: int = 128) -> npt.NDArray[np.float32]:
        """L2-normalised vectors of the texts, float32 [n, d], in their order; equal texts get equal vectors."""
        if not texts:
            return np.zeros((0, self.model.get_embedding_dimension()), dtype=np.float32)
        distinct = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        vectors = self.model.encode(
            list(distinct), batch_size=batch_size, normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(vectors, dtype=np.float32)[[distinct[text] for text in texts]]
