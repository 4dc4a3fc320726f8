"""Vectors of a catalogue's titles, by whoever reads them."""

import numpy as np
import numpy.typing as npt

from seqmend.interactions import Catalogue
from seqmend.llm.protocol import Encoder, LanguageModel

Float32 = npt.NDArray[np.float32]

_LEAST = 1e-6
_LEAST_SPREAD = 1e-3  # of the first axis


def title_vectors(reader: Encoder | LanguageModel, catalogue: Catalogue) -> Float32:
    """The reader's vector of every title, float32 [V + 1, d]; zeros where an item has none."""
    titled = np.flatnonzero(catalogue.has_title)
    if not len(titled):
        return np.zeros((len(catalogue) + 1, 1), dtype=np.float32)
    found = reader.embed([catalogue.prompt_titles[item] for item in titled.tolist()])
    vectors = np.zeros((len(catalogue) + 1, found.shape[1]), dtype=np.float32)
    vectors[titled] = found
    return vectors


def whiten(vectors: Float32, size: int = 256) -> Float32:
    """Unit vectors along the leading principal axes, each scaled to the same spread, float32 [V + 1, size].

    A language model's states lie in a narrow cone, where every two texts look alike; whitening opens it (Su et al.
    2021). Rows of zeros (no title) stay zeros.
    """
    known = np.abs(vectors).sum(1) > 0
    if not known.any():
        return np.zeros((len(vectors), 1), dtype=np.float32)
    centred = vectors[known] - vectors[known].mean(0)
    _, spread, axes = np.linalg.svd(centred, full_matrices=False)
    kept = max(1, min(size, int((spread > _LEAST_SPREAD * spread[0]).sum())))
    scale = np.maximum(spread[:kept] + _LEAST_SPREAD * spread[0], _LEAST)
    result = np.zeros((len(vectors), kept), dtype=np.float32)
    result[known] = unit(centred @ axes[:kept].T / scale)
    return result


def unit(vectors: npt.NDArray[np.floating]) -> Float32:
    """Rows scaled to length 1, float32; rows of (almost) no length stay as they are."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(lengths, _LEAST)).astype(np.float32)
