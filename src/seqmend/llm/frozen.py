"""Blocks of a model that a fit leaves as they are: what they make of an example is computed once, not at every pass."""

import contextlib
from collections.abc import Generator, Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from seqmend.llm.scoring import CausalScorer, Row, batches, padded
from seqmend.progress import Progress

_MOST_BYTES = 1 << 30


class Reader:
    """Last hidden states of rows, from kept states of the first blocks where these are frozen.

    Args:
        scorer: Of the model that is fitted.
        rows: All rows that will be read.
        n_frozen: Number of first blocks that never change; 0 = keep nothing.
        progress: Told the rows whose states are made.
    """

    def __init__(self, scorer: CausalScorer, rows: Sequence[Row], n_frozen: int, progress: Progress) -> None:
        self.scorer = scorer
        self.n_frozen = n_frozen if self._fits(rows, n_frozen) else 0
        self._states: dict[Row, torch.Tensor] = {}
        if self.n_frozen:
            self._read(rows, progress)
            if not self._agrees(rows[:1]):
                self.n_frozen = 0
                self._states.clear()

    def hidden(self, rows: Sequence[Row], inputs: torch.Tensor) -> torch.Tensor:
        """Last hidden states [B, n, d] of rows.

        Args:
            rows: Some of those that were given.
            inputs: Their tokens, padded on the right, int64 [B, n].
        """
        decoder = self.scorer.decoder
        if not self.n_frozen:
            return decoder(input_ids=inputs, use_cache=False).last_hidden_state
        states = pad_sequence([self._states[row] for row in rows], batch_first=True)
        with self._skipping():
            return decoder(inputs_embeds=states, use_cache=False).last_hidden_state

    def _fits(self, rows: Sequence[Row], n_frozen: int) -> bool:
        weight = self.scorer.head.weight
        n_tokens = sum(len(row.tokens) for row in rows)
        is_list = isinstance(getattr(self.scorer.decoder, "layers", None), torch.nn.ModuleList)
        return bool(n_frozen and rows) and is_list and n_tokens * weight.shape[1] * weight.element_size() < _MOST_BYTES

    @torch.no_grad()
    def _read(self, rows: Sequence[Row], progress: Progress) -> None:
        done = 0
        with self.scorer.layers_up_to(self.n_frozen):
            for group in batches([len(row.tokens) for row in rows], self.scorer.batch_tokens):
                progress("reading the examples", done, len(rows))
                some = [rows[index] for index in group]
                inputs = padded(some)[0].to(self.scorer.device)
                output = self.scorer.decoder(input_ids=inputs, use_cache=False, output_hidden_states=True)
                for row, states in zip(some, output.hidden_states[self.n_frozen], strict=True):
                    self._states[row] = states[: len(row.tokens) - 1].clone()
                done += len(group)

    @torch.no_grad()
    def _agrees(self, rows: Sequence[Row]) -> bool:
        """Whether the model's blocks can be run apart without changing what comes out."""
        inputs = padded(rows)[0].to(self.scorer.device)
        whole = self.scorer.decoder(input_ids=inputs, use_cache=False).last_hidden_state
        return torch.allclose(self.hidden(rows, inputs), whole, rtol=0.05, atol=0.05)

    @contextlib.contextmanager
    def _skipping(self) -> Generator[None]:
        """Pass the frozen blocks by, each remaining one at its own place."""
        layers = self.scorer.decoder.layers
        self.scorer.decoder.layers = torch.nn.ModuleList(
            [_PassedBy(layer) if place < self.n_frozen else layer for place, layer in enumerate(layers)]
        )
        try:
            yield
        finally:
            self.scorer.decoder.layers = layers


class _PassedBy(torch.nn.Module):
    """Stands where a block was and changes nothing."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.attention_type = getattr(layer, "attention_type", None)

    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return hidden_states
