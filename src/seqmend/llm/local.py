"""Language models in this process: any causal model that transformers loads from a local folder."""

import json
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from seqmend import assets
from seqmend.devices import choose_device
from seqmend.errors import InputError
from seqmend.llm.answers import answer_to, continuations, parsed
from seqmend.llm.protocol import Answer, Capability, Failure, Passage, PassageScore, Question, SchemaT, Usage
from seqmend.llm.scoring import CausalScorer, Row
from seqmend.llm.tokens import EncodedPassage, Tokens
from seqmend.llm.trie import Branch, Trie
from seqmend.llm.weights import choose_dtype, fingerprint, load_weights
from seqmend.progress import Progress, silent

Int64 = npt.NDArray[np.int64]

# Below this, copying a prefix's keys and values costs as much as computing them again.
_SHARED_PREFIX_TOKENS = 32

_NO_TOKENS = np.zeros(0, dtype=np.int64)


class LocalModel:
    """A causal language model in memory; see `LocalModel.load`.

    Args:
        model: A transformers causal language model, on its device, in evaluation mode.
        tokenizer: Its fast tokenizer.
        identity: What stored answers are keyed by.
        batch_tokens: Tokens of one forward pass, padding included.
    """

    capability: Capability = "exact"

    def __init__(self, model: Any, tokenizer: Any, identity: str, batch_tokens: int = 2048) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.identity = identity
        self.usage = Usage()
        self.tokens = Tokens(tokenizer, getattr(model.config.get_text_config(), "max_position_embeddings", 2048))
        self.scorer = CausalScorer(model, batch_tokens)

    @classmethod
    def load(
        cls,
        name_or_path: str | Path,
        device: str = "auto",
        dtype: str = "auto",
        adapter: Path | None = None,
        batch_tokens: int = 2048,
        progress: Progress = silent,
    ) -> "LocalModel":
        """Load a named model (fetched if need be) or one that lies in a folder.

        Args:
            name_or_path: A name that `seqmend.assets` knows, or a folder with safetensors weights or one GGUF file.
            device: `auto`, `cpu`, `cuda`, ...
            dtype: `auto`, `float32`, `bfloat16` or `float16`.
            adapter: Folder of a LoRA adapter (see `seqmend.llm.adapt`).
            batch_tokens: Tokens of one forward pass, padding included; more needs more memory.
            progress: Told about fetching the model and reading a GGUF file.

        Raises:
            InputError: The name is unknown, or the adapter was fitted to another model.
            ResourceError: The model cannot be fetched or loaded.
        """
        folder = assets.resolve(str(name_or_path), "model", progress)
        place = choose_device(device)
        number = choose_dtype(dtype, place)
        identity = f"{folder.name}@{fingerprint(folder)}"
        if adapter is not None:
            _refuse_other_base(adapter, identity)
        model, tokenizer = load_weights(folder, place, number, adapter, progress)
        if adapter is not None:
            identity += f"+{fingerprint(adapter)}"
        return cls(model, tokenizer, f"{identity}/{str(number).removeprefix('torch.')}", batch_tokens)

    def score(self, passages: Sequence[Passage]) -> list[PassageScore]:
        """The log-probabilities of every passage's scored parts; see `LanguageModel.score`.

        What all passages begin with (an instruction, say) is computed once where it is long enough to pay.

        Raises:
            InputError: A passage is longer than the model's context.
        """
        with self._counted(len(passages)):
            encoded = self.tokens.passages(passages)
            skip = max(_n_shared(encoded) - 1, 0)  # a row begins with the last shared token: it predicts the next
            asked = [index for index, passage in enumerate(encoded) if (passage.owners >= 0).any()]
            rows: list[Row] = []
            for passage in (encoded[index] for index in asked):
                end = int(np.flatnonzero(passage.owners >= 0)[-1]) + 1  # what follows the last scored token is not read
                rows.append(Row(passage.tokens[skip:end], passage.owners[skip:end] >= 0))
            scores = [PassageScore(np.zeros(p.n_scored), np.zeros(p.n_scored, dtype=np.int32)) for p in encoded]
            for at, values in self.scorer.rows(rows, encoded[0].tokens[:skip] if skip else None):
                owners = encoded[asked[at]].owners
                owners = owners[owners >= 0]
                np.add.at(scores[asked[at]].log_probabilities, owners, values)
                np.add.at(scores[asked[at]].n_tokens, owners, 1)
            self.usage.prompt_tokens += sum(len(row.tokens) for row in rows) + skip
        return scores

    def choose(self, questions: Sequence[Question]) -> list[Answer]:
        """The probability of every choice, from its exact likelihood after the prompt; see `Question` for the modes.

        Args:
            questions: Any number of questions; each prompt is computed once for all of its choices.

        Raises:
            InputError: A question has no choices, or is longer than the model's context.
        """
        for question in questions:
            if not question.choices:
                raise InputError("a question has no choices", where=f"{question.prompt[:60]!r}")
        with self._counted(len(questions)):
            answers: dict[int, Answer] = {}
            for mode, ask in (
                ("trie", self._by_branch),
                ("first_token", self._by_first_token),
                ("in_place", self._in_place),
            ):
                some = [index for index, question in enumerate(questions) if question.mode == mode]
                answers.update(zip(some, ask([questions[index] for index in some]), strict=True))
            rest = [index for index in range(len(questions)) if index not in answers]
            answers.update(zip(rest, self._by_text([questions[index] for index in rest]), strict=True))
        return [answers[index] for index in range(len(questions))]

    def write(self, prompts: Sequence[str], max_new_tokens: int = 64, stop: str | None = None) -> list[str]:
        """The greedy continuation of every prompt, up to the model's end token or to `stop` (which is cut off).

        Raises:
            InputError: A prompt is longer than the model's context.
        """
        ends = {self.tokenizer.eos_token_id, *_as_list(self.model.generation_config.eos_token_id)}

        def is_over(tokens: list[int]) -> bool:
            return tokens[-1] in ends or (stop is not None and stop in self.tokenizer.decode(tokens))

        with self._counted(len(prompts)):
            encoded = self.tokens.texts(prompts)
            written = self.scorer.greedy(encoded, max_new_tokens, is_over)
            self.usage.prompt_tokens += sum(map(len, encoded))
            self.usage.completion_tokens += sum(map(len, written))
        texts = [self.tokenizer.decode(tokens, skip_special_tokens=True) for tokens in written]
        return [text.split(stop, 1)[0] if stop else text for text in texts]

    def write_objects(
        self, prompts: Sequence[str], schema: type[SchemaT], max_new_tokens: int = 256
    ) -> list[SchemaT | Failure]:
        """For every prompt a validated object, or what was wrong with the answer; the prompt must ask for JSON."""
        texts = self.write(prompts, max_new_tokens)
        return [parsed(prompt, text, schema) for prompt, text in zip(prompts, texts, strict=True)]

    def chat(self, message: str) -> str:
        """The message as the model's chat template wraps it, ready for an answer; unchanged without a template."""
        if not self.tokenizer.chat_template:
            return message
        turns = [{"role": "user", "content": message}]
        return self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)

    def hidden_states(
        self, texts: Sequence[str], layer: int = -1, pooling: Literal["last", "mean"] = "last"
    ) -> npt.NDArray[np.float32]:
        """The model's own vector of every text, float32 [n, d], not normalised.

        Args:
            texts: Any number of texts.
            layer: 0 is the input embedding, -1 the last layer after the final normalisation.
            pooling: The state of the last token, or the mean over the text's tokens.
        """
        with self._counted(len(texts)):
            encoded = self.tokens.texts(texts)
            vectors = np.zeros((len(texts), self.model.config.get_text_config().hidden_size), dtype=np.float32)
            for index, states in self.scorer.states(encoded, layer):
                own = states[1:] if len(states) > 1 else states  # the first token is the same in all texts
                vectors[index] = own[-1] if pooling == "last" else own.mean(axis=0)
            self.usage.prompt_tokens += sum(map(len, encoded))
        return vectors

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """The model's own representation of every text: the mean state of its middle layer, float32 [n, d].

        Middle layers hold what a text is about, later ones what comes next; see `docs/denoise.md` for the measurement.
        """
        middle = self.model.config.get_text_config().num_hidden_layers // 2
        return self.hidden_states(texts, middle, "mean")

    def _by_text(self, questions: Sequence[Question]) -> list[Answer]:
        # Equal texts are one continuation. A judged choice has two: yes and no.
        texts = [list(dict.fromkeys(continuations(question))) for question in questions]
        encoded = self.tokens.questions([(q.prompt, list_) for q, list_ in zip(questions, texts, strict=True)])
        values = self._likelihoods(encoded)
        answers: list[Answer] = []
        for question, names, (_, added), sums in zip(questions, texts, encoded, values, strict=True):
            lengths = np.array([max(len(tokens), 1) for tokens in added])
            answers.append(answer_to(question, names, sums, lengths))
        return answers

    def _by_branch(self, questions: Sequence[Question]) -> list[Answer]:
        """Probabilities of choices that compete where their tokens part."""
        texts = [list(dict.fromkeys(question.choices)) for question in questions]
        encoded = self.tokens.questions([(q.prompt, list_) for q, list_ in zip(questions, texts, strict=True)])
        tries = [Trie.of(added) for _, added in encoded]
        values: list[list[npt.NDArray[np.float64]]] = [[] for _ in questions]
        for at, found in self._branches([shared for shared, _ in encoded], [trie.branches for trie in tries]):
            values[at] = found
        answers: list[Answer] = []
        for question, names, trie, found in zip(questions, texts, tries, values, strict=True):
            at = np.array([names.index(choice) for choice in question.choices])
            shares = np.exp(trie.log_probabilities(found))
            answers.append(Answer(shares[at] / np.bincount(at, minlength=len(names))[at], None))
        return answers

    def _by_first_token(self, questions: Sequence[Question]) -> list[Answer]:
        """Probabilities of the choices' first tokens, each tokenised by itself, among all tokens."""
        prompts = self.tokens.texts([question.prompt for question in questions])
        choices: list[Int64] = []
        for question in questions:
            alone = self.tokens.texts(question.choices)
            if any(len(tokens) < 2 for tokens in alone):
                raise InputError("a choice is empty", where=f"after {question.prompt[-60:]!r}")
            choices.append(np.array([tokens[1] for tokens in alone]))
        answers: list[Answer | None] = [None] * len(questions)
        for at, found in self._branches(prompts, [[Branch(_NO_TOKENS, tokens)] for tokens in choices]):
            answers[at] = Answer(np.exp(found[0]), found[0])
        return [answer for answer in answers if answer is not None]

    def _in_place(self, questions: Sequence[Question]) -> list[Answer]:
        """Probabilities of yes against no behind every choice, in one pass over prompt and choices."""
        no_yes = self.tokens.yes_no()
        encoded = self.tokens.in_place([(question.prompt, question.choices) for question in questions])
        rows = [Row.judging(tokens, ends, np.full(len(ends), no_yes[1])) for tokens, ends in encoded]
        self.usage.prompt_tokens += sum(len(tokens) for tokens, _ in encoded)
        answers: list[Answer | None] = [None] * len(questions)
        for at, values in self.scorer.rows(rows, among=no_yes):
            answers[at] = Answer(np.exp(values), None)
        return [answer for answer in answers if answer is not None]

    def _branches(
        self, prompts: list[Int64], branches: list[list[Branch]]
    ) -> Iterator[tuple[int, list[npt.NDArray[np.float64]]]]:
        if any(len(prompt) < 2 for prompt in prompts):
            raise InputError("a question has no prompt", expected="some text before its choices")
        self.usage.prompt_tokens += sum(map(len, prompts))
        self.usage.prompt_tokens += sum(len(branch.path) for places in branches for branch in places)
        yield from self.scorer.branches(prompts, branches)

    def _likelihoods(self, encoded: list[tuple[Int64, list[Int64]]]) -> list[npt.NDArray[np.float64]]:
        """Log-likelihood of every continuation of every shared beginning, float64 [n continuations] each."""
        sums = [np.zeros(len(added)) for _, added in encoded]
        labels = [index for index, (_, added) in enumerate(encoded) if max(map(len, added)) == 1]
        if labels:
            self._next_tokens(encoded, labels, sums)
        texts = [index for index, (_, added) in enumerate(encoded) if max(map(len, added)) > 1]
        rows = {
            index: [
                Row(np.append(encoded[index][0][-1:], own), np.arange(len(own) + 1) > 0) for own in encoded[index][1]
            ]
            for index in texts
        }
        self.usage.prompt_tokens += sum(len(encoded[i][0]) + sum(map(len, encoded[i][1])) for i in texts)
        long = [index for index in texts if len(encoded[index][0]) > 1]
        for at, found in self.scorer.continuations([encoded[i][0][:-1] for i in long], [rows[i] for i in long]):
            sums[long[at]][:] = [values.sum() for values in found]
        # A beginning of one token has nothing to compute ahead.
        short = [(i, at) for i in texts if len(encoded[i][0]) == 1 for at in range(len(encoded[i][1]))]
        for number, values in self.scorer.rows([rows[i][at] for i, at in short]):
            index, at = short[number]
            sums[index][at] = values.sum()
        return sums

    def _next_tokens(
        self, encoded: list[tuple[Int64, list[Int64]]], chosen: list[int], sums: list[npt.NDArray[np.float64]]
    ) -> None:
        """Fill in the log-likelihoods of the chosen questions, whose continuations are single tokens: one pass each."""
        beginnings = [encoded[index][0] for index in chosen]
        skip = _n_common(beginnings, [len(beginning) - 1 for beginning in beginnings])
        rows = [beginning[skip:] for beginning in beginnings]
        choices = [np.concatenate(encoded[index][1]) for index in chosen]
        for at, found in self.scorer.next_tokens(rows, choices, beginnings[0][:skip] if skip else None):
            sums[chosen[at]][:] = found
        self.usage.prompt_tokens += sum(map(len, rows)) + skip

    @contextmanager
    def _counted(self, calls: int) -> Generator[None]:
        begin = time.perf_counter()
        yield
        self.usage.calls += calls
        self.usage.seconds += time.perf_counter() - begin


def _refuse_other_base(adapter: Path, identity: str) -> None:
    """Raise an `InputError` for an adapter that `llm.adapt` fitted to another model; others' say nothing of theirs."""
    try:
        settings = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # loading will say what is wrong
    base = str(settings.get("base_model_name_or_path") or "").rpartition("/")[0]
    if "@" in base and base.partition("@")[2] != identity.partition("@")[2]:
        raise InputError(
            "the adapter was fitted to another model",
            where=str(adapter),
            expected=f"an adapter of {identity}, not of {base}",
            fix="load it with its own model, or tune one for this model",
        )


def _n_shared(encoded: list[EncodedPassage]) -> int:
    """Number of unscored tokens that all passages begin with; 0 where too few to be worth sharing."""
    scored = [passage.owners >= 0 for passage in encoded]
    ends = [int(np.argmax(one)) if one.any() else len(one) for one in scored]
    return _n_common([passage.tokens for passage in encoded], ends)


def _n_common(texts: list[Int64], ends: list[int]) -> int:
    """Number of tokens that all texts begin with, each read up to its end; 0 where too few to be worth sharing."""
    if len(texts) < 2:
        return 0
    shared = texts[0][: ends[0]]
    for tokens, end in zip(texts, ends, strict=True):
        shared = shared[:end]
        different = np.flatnonzero(shared != tokens[: len(shared)])
        shared = shared[: different[0]] if len(different) else shared
    return len(shared) if len(shared) >= _SHARED_PREFIX_TOKENS else 0


def _as_list(value: Any) -> list[int]:
    return [] if value is None else value if isinstance(value, list) else [value]
