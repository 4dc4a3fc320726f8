"""Exact log-probabilities of token rows under a causal language model: the arithmetic beneath every closed question."""

import contextlib
import copy
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.utils.rnn import pad_sequence

from seqmend.allocator import trim
from seqmend.errors import ResourceError
from seqmend.llm.trie import Branch

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

HEAD_ROWS = 512


@dataclass(frozen=True, eq=False)
class Row:
    """Tokens in a row, some of which are to be given a log-probability.

    Attributes:
        tokens: int64 [n], n >= 2.
        wanted: bool [n]; False for the first token, which is only conditioned on.
        targets: What is to be given one in place of the tokens that stand there, int64 [n].
    """

    tokens: Int64
    wanted: npt.NDArray[np.bool_]
    targets: Int64 | None = None

    @classmethod
    def judging(cls, tokens: Int64, ends: Int64, labels: Int64) -> "Row":
        """A row that asks for a label after some of its tokens, and reads on as if none stood there.

        Args:
            tokens: int64 [n].
            ends: Places of the tokens that a label is to follow, int64 [k].
            labels: int64 [k].
        """
        wanted, targets = np.zeros(len(tokens) + 1, dtype=bool), np.zeros(len(tokens) + 1, dtype=np.int64)
        wanted[ends + 1], targets[ends + 1] = True, labels
        return cls(np.append(tokens, tokens[-1:]), wanted, targets)  # the last one is never read


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices in groups of similar length, longest first, each group at most `budget` after padding (or one index).

    >>> list(batches([3, 9, 4, 8], 16))
    [[1], [3, 2], [0]]
    """
    group: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda at: -lengths[at]):
        if group and lengths[group[0]] * (len(group) + 1) > budget:
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def padded(rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What is read, int64 [B, n], what shall follow each of it, int64 [B, n], and where that is wanted, bool [B, n]."""

    def stacked(columns: list[npt.NDArray[Any]]) -> torch.Tensor:
        return pad_sequence([torch.from_numpy(column) for column in columns], batch_first=True)

    targets = stacked([row.tokens if row.targets is None else row.targets for row in rows])
    return stacked([row.tokens for row in rows])[:, :-1], targets[:, 1:], stacked([row.wanted for row in rows])[:, 1:]


class CausalScorer:
    """Runs a causal language model on padded batches and keeps logits only where they are asked for.

    Args:
        model: A transformers causal language model (LoRA layers may have been put into it).
        batch_tokens: Tokens of one forward pass, padding included.
    """

    def __init__(self, model: Any, batch_tokens: int) -> None:
        self.model = model
        self.decoder = model.get_decoder()
        self.head = model.get_output_embeddings()
        self.batch_tokens = batch_tokens
        self._check()

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.head.weight.device

    @torch.inference_mode()
    def rows(
        self, rows: Sequence[Row], prefix: Int64 | None = None, among: Int64 | None = None
    ) -> Iterator[tuple[int, Float64]]:
        """Index and log-probabilities (one per wanted token) of every row, as batches finish.

        Args:
            rows: Any number of rows.
            prefix: int64 [p], p >= 1: tokens that stand before every row; they are computed once.
            among: The tokens whose probabilities sum to 1, int64 [c]; None = all.
        """
        cache, mask = (None, None) if prefix is None else self._prefill([prefix])
        for group in batches([len(row.tokens) for row in rows], self.batch_tokens):
            chosen = torch.zeros(len(group), dtype=torch.int64)
            past = None if mask is None else (_selected(cache, chosen.to(self.device)), mask[chosen])
            yield from zip(group, self._log_probabilities([rows[index] for index in group], past, among), strict=True)

    @torch.inference_mode()
    def continuations(
        self, prefixes: Sequence[Int64], rows: Sequence[Sequence[Row]]
    ) -> Iterator[tuple[int, list[Float64]]]:
        """For every prefix, the log-probabilities of the rows that may follow it; each prefix is computed once.

        Args:
            prefixes: int64 [p_q], at least one token each, one array per question.
            rows: The rows that follow each prefix.
        """
        for group in batches([len(prefix) for prefix in prefixes], self.batch_tokens):
            cache, mask = self._prefill([prefixes[index] for index in group])
            owners = [(place, at) for place, index in enumerate(group) for at in range(len(rows[index]))]
            found: list[list[Float64]] = [[np.zeros(0)] * len(rows[index]) for index in group]
            # Every row carries a copy of its prefix's keys and values: memory, not arithmetic, limits this pass.
            lengths = [mask.shape[1] + len(rows[group[place]][at].tokens) for place, at in owners]
            for part in batches(lengths, 4 * self.batch_tokens):
                chosen = torch.tensor([owners[number][0] for number in part])
                past = _selected(cache, chosen.to(self.device)), mask[chosen]
                values = self._log_probabilities([rows[group[owners[n][0]]][owners[n][1]] for n in part], past)
                for number, value in zip(part, values, strict=True):
                    place, at = owners[number]
                    found[place][at] = value
            yield from zip(group, found, strict=True)

    @torch.inference_mode()
    def next_tokens(
        self, rows: Sequence[Int64], choices: Sequence[Int64], prefix: Int64 | None = None
    ) -> Iterator[tuple[int, Float64]]:
        """Index and log-probabilities of the tokens that may come next after every row, in one pass for all of them.

        Args:
            rows: int64 [n_q], at least one token each.
            choices: int64 [c_q], the tokens asked about, one array per row.
            prefix: int64 [p], p >= 1: tokens that stand before every row; they are computed once.
        """
        cache, mask = (None, None) if prefix is None else self._prefill([prefix])
        for group in batches([len(row) for row in rows], self.batch_tokens):
            inputs = pad_sequence([torch.from_numpy(rows[index]) for index in group], batch_first=True)
            if mask is None:
                hidden = self.decoder(input_ids=inputs.to(self.device), use_cache=False).last_hidden_state
            else:
                chosen = torch.zeros(len(group), dtype=torch.int64)
                past = _selected(cache, chosen.to(self.device))
                hidden = self._forward(inputs, torch.cat([mask[chosen], torch.ones_like(inputs)], dim=1), past)
            ends = torch.tensor([len(rows[index]) - 1 for index in group])
            logits = self.logits(hidden[torch.arange(len(group)), ends.to(self.device)])
            found = torch.log_softmax(logits, dim=1).double().cpu().numpy()
            yield from ((index, found[place, choices[index]]) for place, index in enumerate(group))

    @torch.inference_mode()
    def branches(
        self, prefixes: Sequence[Int64], branches: Sequence[Sequence[Branch]]
    ) -> Iterator[tuple[int, list[Float64]]]:
        """For every prefix, the log-probabilities of the tokens that may follow it, or a path after it.

        What all prefixes begin with is computed once, each prefix once, and each path after it once.

        Args:
            prefixes: int64 [p_q], at least one token each.
            branches: The places after each prefix, and the tokens that may follow there.
        """
        asked = [index for index in range(len(prefixes)) if branches[index]]
        skip = self._n_shareable([prefixes[index] for index in asked])
        past = self._prefill([prefixes[asked[0]][:skip]]) if skip else None
        for group in batches([len(prefixes[index]) for index in asked], self.batch_tokens):
            chosen = [asked[place] for place in group]
            # The last token of a prefix is left to the paths, so that the empty path is one like the others.
            cache, mask = self._prefill([prefixes[index][skip:-1] for index in chosen], past)
            found: list[list[Float64]] = [[np.zeros(0)] * len(branches[index]) for index in chosen]
            owners = [(place, at) for place, index in enumerate(chosen) for at in range(len(branches[index]))]
            rows = [np.append(prefixes[chosen[p]][-1:], branches[chosen[p]][at].path) for p, at in owners]
            for part in batches([mask.shape[1] + len(row) for row in rows], 4 * self.batch_tokens):
                inputs = pad_sequence([torch.from_numpy(rows[number]) for number in part], batch_first=True)
                picked = torch.tensor([owners[number][0] for number in part])
                attended = torch.cat([mask[picked], torch.ones_like(inputs)], dim=1)
                hidden = self._forward(inputs, attended, _selected(cache, picked.to(self.device)))
                ends = torch.tensor([len(rows[number]) - 1 for number in part], device=hidden.device)
                states = hidden[torch.arange(len(part), device=hidden.device), ends]
                for number, values in zip(part, self.logits(states).log_softmax(1), strict=True):
                    place, at = owners[number]
                    children = torch.from_numpy(branches[chosen[place]][at].children).to(values.device)
                    found[place][at] = values[children].double().cpu().numpy()
            yield from zip(chosen, found, strict=True)

    def _n_shareable(self, prefixes: list[Int64]) -> int:
        """Tokens that all prefixes begin with, if they may be computed once; two of each prefix are left.

        Between them and the rest of a shorter prefix stands padding, which sliding attention would count as distance.
        """
        longest = max(map(len, prefixes), default=0)
        window = getattr(self.model.config.get_text_config(), "sliding_window", None)
        if len(prefixes) < 2 or (window is not None and longest > window):
            return 0
        shortest = min(map(len, prefixes)) - 2
        together = np.stack([prefix[: max(shortest, 0)] for prefix in prefixes])
        same = (together == together[0]).all(0)
        return len(same) if same.all() else int(same.argmin())

    @torch.inference_mode()
    def greedy(
        self, prefixes: Sequence[Int64], max_new_tokens: int, ends: Callable[[list[int]], bool]
    ) -> list[list[int]]:
        """The most likely next tokens of every prefix, until `ends` says so of the tokens written so far.

        Args:
            prefixes: int64 [p_q], at least two tokens each.
            max_new_tokens: The most tokens to write.
            ends: Told what has been written after a prefix; true if that is all.
        """
        written: list[list[int]] = [[] for _ in prefixes]
        for group in batches([len(prefix) + max_new_tokens for prefix in prefixes], self.batch_tokens):
            cache, mask = self._prefill([prefixes[index][:-1] for index in group])
            alive = group
            inputs = torch.tensor([[int(prefixes[index][-1])] for index in group])
            for _ in range(max_new_tokens):
                mask = torch.cat([mask, torch.ones_like(inputs)], dim=1)
                hidden = self._forward(inputs, mask, cache)[:, -1]
                inputs = self.logits(hidden).argmax(1, keepdim=True).cpu()
                for index, token in zip(alive, inputs[:, 0].tolist(), strict=True):
                    written[index].append(token)
                going = [place for place, index in enumerate(alive) if not ends(written[index])]
                if not going:
                    break
                if len(going) < len(alive):
                    kept = torch.tensor(going)
                    cache, mask, inputs = _selected(cache, kept.to(self.device)), mask[kept], inputs[kept]
                    alive = [alive[place] for place in going]
        return written

    @torch.inference_mode()
    def states(self, texts: Sequence[Int64], layer: int) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        """Index and hidden states, float32 [n, d], of every text's tokens after the given layer (-1 = the last)."""
        with self.layers_up_to(layer):
            yield from self._states(texts, layer)

    def _states(self, texts: Sequence[Int64], layer: int) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        for group in batches([len(tokens) for tokens in texts], self.batch_tokens):
            inputs = pad_sequence([torch.from_numpy(texts[index]) for index in group], batch_first=True)
            output = self.decoder(input_ids=inputs.to(self.device), use_cache=False, output_hidden_states=layer != -1)
            states = output.last_hidden_state if layer == -1 else output.hidden_states[layer]
            states = states.float().cpu().numpy()
            yield from ((index, states[place, : len(texts[index])]) for place, index in enumerate(group))

    @contextlib.contextmanager
    def layers_up_to(self, layer: int) -> Generator[None]:
        """Leave out the layers that a state in the middle does not depend on, where the model's layers are a list."""
        layers = getattr(self.decoder, "layers", None)
        if layer == -1 or not isinstance(layers, torch.nn.ModuleList):
            yield
            return
        self.decoder.layers = layers[: layer + 1]  # the last one's output is normalised, so one more than asked for
        try:
            yield
        finally:
            self.decoder.layers = layers

    def _prefill(self, prefixes: list[Int64], past: tuple[Any, torch.Tensor] | None = None) -> tuple[Any, torch.Tensor]:
        """Keys and values of left-padded prefixes, and the mask int64 [B, P] of their real tokens.

        `past` is what this method made of one beginning that stands before all of them.

        Padding stands on the left so that the rows that follow are next to the prefix in the cache: windows of sliding
        attention are counted in cache places.
        """
        trim()
        longest = max(len(prefix) for prefix in prefixes)
        tokens = torch.zeros(len(prefixes), longest, dtype=torch.int64)
        mask = torch.zeros_like(tokens)
        for place, prefix in enumerate(prefixes):
            tokens[place, longest - len(prefix) :] = torch.from_numpy(prefix)
            mask[place, longest - len(prefix) :] = 1
        cache = None
        if past is not None:
            chosen = torch.zeros(len(prefixes), dtype=torch.int64)
            cache, mask = _selected(past[0], chosen.to(self.device)), torch.cat([past[1][chosen], mask], dim=1)
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -longest:]
        output = self.decoder(
            input_ids=tokens.to(self.device),
            attention_mask=mask.to(self.device),
            position_ids=positions.to(self.device),
            past_key_values=cache,
            use_cache=True,
        )
        return output.past_key_values, mask

    def _forward(self, inputs: torch.Tensor, mask: torch.Tensor, cache: Any) -> torch.Tensor:
        """Hidden states [B, n, d] of inputs [B, n] that follow a cache; mask int64 [B, P + n] covers both."""
        positions = (mask.cumsum(1) - 1)[:, -inputs.shape[1] :]
        return self.decoder(
            input_ids=inputs.to(self.device),
            attention_mask=mask.to(self.device),
            position_ids=positions.to(self.device),
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state

    def _log_probabilities(
        self, rows: list[Row], past: tuple[Any, torch.Tensor] | None, among: Int64 | None = None
    ) -> list[Float64]:
        """Log-probabilities of rows padded on the right, which causal attention never looks at.

        Args:
            rows: The rows of one batch.
            past: Cache of what stands before the rows, and its mask int64 [B, P].
            among: See `rows`.
        """
        trim()
        inputs, targets, wanted = padded(rows)
        if past is None:
            hidden = self.decoder(input_ids=inputs.to(self.device), use_cache=False).last_hidden_state
        else:
            cache, mask = past
            hidden = self._forward(inputs, torch.cat([mask, torch.ones_like(inputs)], dim=1), cache)
        found = self.log_softmax_at(hidden[wanted.to(self.device)], targets[wanted].to(self.device), among)
        return np.split(found.double().cpu().numpy(), np.cumsum(wanted.sum(1).numpy())[:-1])

    def log_softmax_at(self, hidden: torch.Tensor, targets: torch.Tensor, among: Int64 | None = None) -> torch.Tensor:
        """log p(targets[k] | hidden[k]), float32 [K], of hidden [K, d] and targets int64 [K], a few rows at a time.

        The probabilities of all tokens sum to 1, or of those of `among`, int64 [c].
        """
        rivals = slice(None) if among is None else torch.from_numpy(among).to(hidden.device)
        parts: list[torch.Tensor] = []
        for states, wanted in zip(hidden.split(HEAD_ROWS), targets.split(HEAD_ROWS), strict=True):
            logits = self.logits(states)
            parts.append(logits.gather(1, wanted[:, None])[:, 0] - logits[:, rivals].logsumexp(1))
        return torch.cat(parts) if parts else hidden.new_zeros(0, dtype=torch.float32)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Scores of the whole vocabulary, float32 [K, V], as the model's own forward pass makes them."""
        logits = self.head(hidden).float()
        config = self.model.config.get_text_config()
        if scale := getattr(config, "logit_scale", None):  # Cohere
            logits = logits * scale
        if scale := getattr(config, "logits_scaling", None):  # Granite
            logits = logits / scale
        if cap := getattr(config, "final_logit_softcapping", None):  # Gemma 2
            logits = torch.tanh(logits / cap) * cap
        return logits

    @torch.inference_mode()
    def _check(self) -> None:
        """Some architectures change their logits after the head: wrong numbers must not pass for exact ones."""
        tokens = torch.arange(4, device=self.device)[None]
        own = self.model(input_ids=tokens, use_cache=False).logits.float()
        ours = self.logits(self.decoder(input_ids=tokens, use_cache=False).last_hidden_state)
        if not torch.allclose(own, ours, rtol=0.05, atol=0.05):
            raise ResourceError(
                f"exact log-probabilities of {type(self.model).__name__} are not supported",
                expected="a model whose logits are its head applied to its last hidden state",
            )


def _selected(cache: Any, chosen: torch.Tensor) -> Any:
    """A cache whose sequences are those chosen of another, which stays as it is: updating a layer makes new tensors."""
    picked = copy.copy(cache)
    picked.layers = [copy.copy(layer) for layer in cache.layers]
    picked.batch_select_indices(chosen)
    return picked
