"""Language models behind any OpenAI-compatible endpoint (vLLM, llama.cpp, Ollama, hosted ones)."""

import asyncio
import json
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from seqmend.errors import InputError
from seqmend.llm.abilities import CHAT, COMPLETIONS, EMBEDDINGS, Abilities, body_of, find_abilities, revision_of
from seqmend.llm.answers import answer_to, continuations, parsed
from seqmend.llm.decisions import AT_ONCE, DECISIONS, body_of_decisions, decisions_about, distinct, read_decisions
from seqmend.llm.endpoint import Endpoint, RefusedError, ServerConfig, Session, Sleep
from seqmend.llm.protocol import Answer, Capability, Failure, Passage, PassageScore, Question, SchemaT, Usage
from seqmend.llm.replies import ReadText, Reply, read_vectors, rough_tokens

T = TypeVar("T")
R = TypeVar("R")
Float64 = npt.NDArray[np.float64]

_YES_NO = (" yes", " no")
_BEFORE_CHOICE = "Answer:"
_NOT_ACCEPTED = frozenset({400, 404, 415, 422, 501})
_LEAST = 1e-12
_SHOWN = 600
_TEXTS_AT_ONCE = 32
_NEEDS = {
    "choose": "typed decisions (systemone), or log-probabilities of the prompt or of the next token",
    "score": "log-probabilities of the prompt (completions with echo and logprobs, or prompt_logprobs)",
    "embed": "embeddings of the same model",
    "write": "completions or chats",
}


class ServerModel:
    """A language model that a server runs; see `ServerModel.connect`.

    Under `exact`, `choose` answers `one_of`, `ranking` and `subset`; every choice is a request of its own, so that the
    prompt is read and paid for as often as there are choices. Under `typed` it is one request. Under `label`, too, but
    the choices must be single tokens, and one that the server does not report counts as likely as it can be at most.

    Args:
        endpoint: The server.
        model: Its name for the model.
        abilities: What it can do.
        revision: What it says of the model's files; "" if nothing.
    """

    def __init__(self, endpoint: Endpoint, model: str, abilities: Abilities, revision: str = "") -> None:
        self.endpoint = endpoint
        self.model = model
        self.abilities = abilities
        self.capability: Capability = abilities.capability
        self.identity = f"{endpoint.config.host}/{model}@{revision or 'unknown'}/{abilities.capability}"
        if endpoint.config.api != "auto":
            self.identity += f"/{endpoint.config.api}"
        self.usage = Usage()
        self._structured = endpoint.config.structured != "none"
        self._single_tokens: dict[str, bool] = {}

    @classmethod
    def connect(
        cls,
        model: str,
        config: ServerConfig | None = None,
        *,
        sleep: Sleep = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> "ServerModel":
        """Find out what a server can do with a model; a few short requests.

        Args:
            model: The server's name for it.
            config: Where and how.
            sleep: Waits some seconds between attempts.
            rng: Spreads these waits.

        Raises:
            InputError: The key is wrong, the server does not know the model, or cannot do what the settings state.
            ResourceError: The server fails, or the openai client is not installed.
        """
        endpoint = Endpoint(config or ServerConfig(), sleep, rng)

        async def look(session: Session, name: str) -> tuple[str, Abilities]:
            return await revision_of(session, name), await find_abilities(session, name)

        (found,), _ = endpoint.gather(look, [model])
        return cls(endpoint, model, found[1], found[0])

    def require(self, *methods: str) -> None:
        """Refuse a server that lacks one of these methods (`choose`, `score`, `embed`, `write`).

        Raises:
            InputError: It does; says which and what would be needed.
        """
        able = {
            "choose": self.capability != "written",
            "score": self.capability == "exact",
            "embed": self.abilities.embeddings,
            "write": self.abilities.completions or self.abilities.chat,
        }
        if lacking := [method for method in methods if not able[method]]:
            raise InputError(
                f"the served model {self.model} cannot {' or '.join(lacking)} (its capability is {self.capability})",
                where=self.endpoint.config.base_url,
                expected="a server that gives " + ", and ".join(_NEEDS[method] for method in lacking),
                fix="use a model in this process (a name or a folder); docs/models.md says what which server gives",
            )

    def choose(self, questions: Sequence[Question]) -> list[Answer]:
        """The probability of every choice; see the class and `Question`.

        Raises:
            InputError: The capability or the mode does not allow it, or a choice is no single token under `label`.
        """
        self.require("choose")
        for question in questions:
            if question.mode in ("trie", "first_token", "in_place"):
                raise InputError(
                    f"a served model cannot answer questions of the mode {question.mode}",
                    expected="one_of, ranking or subset",
                    fix="use a model in this process",
                )
            if not question.choices or any(not choice.strip() for choice in question.choices):
                raise InputError("a question has no choices or an empty one", where=f"{question.prompt[:60]!r}")
        if self.capability == "exact":
            return self._ask(self._choose_exactly, questions)
        if self.capability == "typed":
            return self._ask(self._choose_typed, questions)
        self._refuse_longer_than_a_token(questions)
        return self._ask(self._choose_label, questions)

    def score(self, passages: Sequence[Passage]) -> list[PassageScore]:
        """The log-probabilities of every passage's scored parts.

        A text's very first token has no log-probability on servers that put nothing before it; it is not counted then.

        Raises:
            InputError: The capability is not `exact`.
        """
        self.require("score")
        return self._ask(self._score, passages)

    def write(self, prompts: Sequence[str], max_new_tokens: int = 64, stop: str | None = None) -> list[str]:
        """The most likely continuation of every prompt, or the answer to it where the server only chats."""
        self.require("write")
        path = COMPLETIONS if self.abilities.completions else CHAT

        async def one(session: Session, prompt: str) -> str:
            more = {"max_tokens": max_new_tokens, **({"stop": [stop]} if stop else {})}
            reply = await self._send(session, path, [prompt], more)
            return reply.text.split(stop, 1)[0] if stop else reply.text

        return self._ask(one, prompts)

    def write_objects(
        self, prompts: Sequence[str], schema: type[SchemaT], max_new_tokens: int = 256
    ) -> list[SchemaT | Failure]:
        """For every prompt a validated object, or what was wrong with the last of the answers that were asked for."""
        self.require("write")
        shape = json.dumps(schema.model_json_schema(), ensure_ascii=False)

        async def one(session: Session, prompt: str) -> SchemaT | Failure:
            turns = [prompt]
            while True:
                reply = await self._object(session, turns, schema, shape, max_new_tokens)
                found = parsed(prompt, reply.text, schema)
                if not isinstance(found, Failure) or len(turns) > 2 * self.endpoint.config.max_repairs:
                    return found
                wrong = found.reason[:_SHOWN]
                turns += [reply.text, f"This answer cannot be used: {wrong}\nAnswer again, with one JSON object only."]

        return self._ask(one, prompts)

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """The server's embedding of every text, float32 [n, d].

        Raises:
            InputError: It gives none.
        """
        self.require("embed")

        async def some(session: Session, part: list[str]) -> list[list[float]]:
            request = {"model": self.model, "input": part, "encoding_format": "float"}
            found, n_tokens = await session.send(EMBEDDINGS, request, lambda reply: read_vectors(reply, part))
            self.usage.prompt_tokens += n_tokens
            return found

        parts = [list(texts[begin : begin + _TEXTS_AT_ONCE]) for begin in range(0, len(texts), _TEXTS_AT_ONCE)]
        vectors = [vector for part in self._ask(some, parts) for vector in part]
        self.usage.calls += len(texts) - len(parts)
        return np.array(vectors, dtype=np.float32) if vectors else np.zeros((0, 0), dtype=np.float32)

    def _ask(self, one: Callable[[Session, T], Coroutine[Any, Any, R]], requests: Sequence[T]) -> list[R]:
        if not requests:
            return []
        found, seconds = self.endpoint.gather(one, requests)
        self.usage.add(Usage(len(requests), seconds=seconds))
        return found

    async def _send(self, session: Session, path: str, turns: Sequence[str], more: dict[str, Any]) -> Reply:
        reply = await session.send(path, body_of(path, self.model, turns, more), Reply.read)
        self.usage.add(reply.used("".join(turns)))
        return reply

    async def _read(self, session: Session, text: str) -> ReadText:
        assert self.abilities.read is not None  # the capability is exact
        reply = await self._send(session, COMPLETIONS, [text], self.abilities.read)
        return ReadText.of(text, reply.prompt_tokens(self.abilities.n_written), self.endpoint.config.base_url)

    async def _score(self, session: Session, passage: Passage) -> PassageScore:
        score = PassageScore(np.zeros(sum(passage.scored)), np.zeros(sum(passage.scored), dtype=np.int32))
        if any(passage.scored):
            read = await self._read(session, "".join(passage.parts))
            ends = np.cumsum([len(part) for part in passage.parts])
            part = np.minimum(np.searchsorted(ends, read.begins, side="right"), len(ends) - 1)
            wanted = np.array(passage.scored)[part] & read.known
            owners = (np.cumsum(passage.scored) - 1)[part[wanted]]
            np.add.at(score.log_probabilities, owners, read.log_probabilities[wanted])
            np.add.at(score.n_tokens, owners, 1)
        return score

    async def _choose_exactly(self, session: Session, question: Question) -> Answer:
        names = list(dict.fromkeys(continuations(question)))
        reads = await asyncio.gather(*(self._read(session, question.prompt + name) for name in names))
        # A tokenizer may join the prompt's end with a choice: then the joined token is judged for all choices alike.
        shared = min(_n_shared(reads[0], read, len(question.prompt)) for read in reads)
        sums = np.array([read.log_probabilities[shared:].sum() for read in reads])
        return answer_to(question, names, sums, np.array([max(len(read.texts) - shared, 1) for read in reads]))

    async def _choose_typed(self, session: Session, question: Question) -> Answer:
        asked, shown = decisions_about(question), [choice.strip() for choice in question.choices]
        parts = [asked[begin : begin + AT_ONCE] for begin in range(0, len(asked), AT_ONCE)]
        told = await asyncio.gather(*(self._decide(session, question.prompt, part) for part in parts))
        by_choice = dict(zip(distinct(question), (p for part in told for p in part), strict=True))
        shares = np.array([by_choice[choice] for choice in shown])
        return Answer(shares if question.mode == "subset" else shares / [shown.count(one) for one in shown], None)

    async def _decide(self, session: Session, state: str, asked: Sequence[dict[str, Any]]) -> list[float]:
        request = body_of_decisions(self.model, state, asked)
        found, used = await session.send(DECISIONS, request, lambda reply: read_decisions(reply, asked))
        self.usage.add(used or Usage(0, rough_tokens(json.dumps(request))))
        return found

    async def _choose_label(self, session: Session, question: Question) -> Answer:
        if question.mode == "subset":
            prompts = [question.prompt + choice + question.verdict for choice in dict.fromkeys(question.choices)]
            choices = _YES_NO
        else:
            prompts, choices = [question.prompt], tuple(dict.fromkeys(question.choices))
        said = await asyncio.gather(*(self._next(session, prompt, choices) for prompt in prompts))
        names = list(dict.fromkeys(continuations(question)))
        answer = answer_to(question, names, np.concatenate([values for values, _, _ in said]), np.ones(len(names)))
        complete = all(all_told for _, all_told, _ in said)
        missing = max(missing for _, _, missing in said)
        return Answer(answer.probabilities, answer.log_likelihoods if complete else None, missing)

    def _refuse_longer_than_a_token(self, questions: Sequence[Question]) -> None:
        asked = [choice for q in questions for choice in (_YES_NO if q.mode == "subset" else q.choices)]
        if new := [choice for choice in dict.fromkeys(asked) if choice not in self._single_tokens]:
            (before, *lengths), _ = self.endpoint.gather(self._n_tokens, ["", *new])
            self._single_tokens.update((choice, n - before == 1) for choice, n in zip(new, lengths, strict=True))
        if longer := [choice for choice in asked if not self._single_tokens[choice]]:
            raise InputError(
                f"the choice {longer[0]!r} is not one token of the served model",
                expected="choices of one token, such as numbers or letters: the server tells only the next token",
                fix="number the choices, or use a server that gives the prompt's log-probabilities",
            )

    async def _next(self, session: Session, prompt: str, choices: Sequence[str]) -> tuple[Float64, bool, float]:
        """Log-probability of every choice as the next token, whether all were reported, and the mass that was not."""
        assert self.abilities.next_token is not None  # the capability is label
        path, more = self.abilities.next_token
        table = (await self._send(session, path, [prompt], more)).next_token()
        told = {token: float(np.exp(value)) for token, value in table.items()}
        missing = max(1 - sum(told.values()), 0.0)
        # What is not among the likeliest tokens is no likelier than any of them, nor than all that is missing.
        most = max(min(missing, min(told.values(), default=missing)), _LEAST)
        values = [sum(p for token, p in told.items() if _is_token(token, choice, path)) for choice in choices]
        return np.log([value or most for value in values]), all(values), missing

    async def _n_tokens(self, session: Session, choice: str) -> int:
        """Tokens before a choice and of it, as the server counts them; 0 where it does not.

        `choose` under `label` knows nothing of what comes after the next token.
        """
        assert self.abilities.next_token is not None
        path, more = self.abilities.next_token
        shown = choice if path == COMPLETIONS or not choice else " " + choice.strip()
        reply = await self._send(session, path, [_BEFORE_CHOICE + shown], more)
        return reply.usage.prompt_tokens if reply.usage else 0

    async def _object(
        self, session: Session, turns: list[str], schema: type[BaseModel], shape: str, max_new_tokens: int
    ) -> Reply:
        """An answer that shall be an object: by the server's own means where it has them, else by asking for it."""
        path = CHAT if self.abilities.chat else COMPLETIONS
        more: dict[str, Any] = {"max_tokens": max_new_tokens}
        mode, refused = self.endpoint.config.structured, None
        if self._structured:
            form = {"name": schema.__name__, "schema": json.loads(shape)}
            try:
                kept_to = {"response_format": {"type": "json_schema", "json_schema": form}}
                return await self._send(session, path, turns, {**more, **kept_to})
            except RefusedError as error:
                if mode == "json_schema" or error.status not in _NOT_ACCEPTED:
                    raise
                refused = error
        first = f"{turns[0]}\n\nAnswer with one JSON object that fits this JSON schema:\n{shape}\n"
        reply = await self._send(session, path, [first, *turns[1:]], more)
        if refused is not None:
            self._structured = False  # only now is it certain that the form was what the server did not accept
        return reply


def _n_shared(one: ReadText, other: ReadText, end: int) -> int:
    """Number of tokens before a place that both texts begin with."""
    n = 0
    for a, b, stop in zip(one.texts, other.texts, one.ends.tolist(), strict=False):
        if a != b or stop > end:
            break
        n += 1
    return n


def _is_token(token: str, choice: str, path: str) -> bool:
    """A continuation is taken as it is; in a chat's answer, which begins afresh, white space means nothing."""
    return token == choice if path == COMPLETIONS else token.strip() == choice.strip()
