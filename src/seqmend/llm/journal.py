"""The journal: every answer of a model is kept, so that nothing is ever asked twice, whatever happens in between."""

import base64
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from seqmend.errors import BudgetExceeded, InputError, ResourceError
from seqmend.llm.protocol import (
    Answer,
    Capability,
    Failure,
    LanguageModel,
    Passage,
    PassageScore,
    Question,
    SchemaT,
    Usage,
)
from seqmend.progress import Progress, silent

T = TypeVar("T")

_BUSY_MILLISECONDS = 60_000
_KEYS_AT_ONCE = 500
_TOKENS_PER_PRICE = 1_000_000
_A_MOMENT = 1e-6  # seconds that a first question takes at least


class Journal:
    """Answers by the hash of what was asked, in one SQLite file that several processes may use at once.

    Args:
        path: The file; made, with its folder, if it is not there.

    Raises:
        InputError: The file cannot be made or written.
        ResourceError: The file is damaged or is no journal.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Every statement commits by itself; the few large writes name their own transaction.
            self._connection = sqlite3.connect(path, timeout=_BUSY_MILLISECONDS / 1000, isolation_level=None)
        except (OSError, sqlite3.OperationalError) as error:
            raise InputError(f"cannot open the journal: {error}", where=str(path)) from error
        try:
            # A file system without shared memory keeps the older mode, which is as safe, only slower.
            self._run("PRAGMA journal_mode = WAL")
            self._run("PRAGMA synchronous = NORMAL")
            self._run("CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        """Number of answers kept."""
        return self._run("SELECT count(*) FROM answers")[0][0]

    def close(self) -> None:
        """Close the file; what was put is kept."""
        self._connection.close()

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Any]:
        """The answers that are kept for these keys."""
        found: dict[bytes, Any] = {}
        for begin in range(0, len(keys), _KEYS_AT_ONCE):
            some = list(keys[begin : begin + _KEYS_AT_ONCE])
            marks = ", ".join("?" * len(some))
            rows = self._run(f"SELECT key, value FROM answers WHERE key IN ({marks})", some)  # noqa: S608 (marks only)
            found.update((key, json.loads(value)) for key, value in rows)
        return found

    def keep(self, answers: dict[bytes, Any]) -> None:
        """Keep answers (JSON values) for good: all of them or, if the process dies now, none."""
        rows = [(key, json.dumps(value, ensure_ascii=False)) for key, value in answers.items()]
        self._run("BEGIN IMMEDIATE")
        try:
            self._connection.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?)", rows)
        except BaseException as error:
            self._connection.rollback()
            if isinstance(error, sqlite3.Error):
                raise self._explained(error) from error
            raise
        self._run("COMMIT")

    def _run(self, statement: str, values: Iterable[Any] = ()) -> list[Any]:
        try:
            return self._connection.execute(statement, tuple(values)).fetchall()
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def _explained(self, error: sqlite3.Error) -> Exception:
        where, message = str(self.path), str(error)
        if "readonly" in message or "unable to open" in message:
            return InputError(f"cannot write the journal: {message}", where=where, fix="name a file you may write to")
        if "full" in message:
            return ResourceError(f"cannot write the journal: {message}", where=where, fix="free some space, run again")
        if "locked" in message:
            return ResourceError("another process holds the journal for too long", where=where, fix="run again later")
        return ResourceError(
            f"the journal is damaged or is no journal: {message}",
            where=where,
            fix="move the file away and run again; its answers are then asked for anew",
        )


@dataclass(frozen=True)
class Budget:
    """The most that may be asked of a model in one run; None = no limit. Answers from the journal are free.

    Attributes:
        calls: Questions.
        tokens: Tokens read and written.
        seconds: Time spent asking.
        money: In the currency of the prices.
        prompt_price: Of a million tokens read.
        completion_price: Of a million tokens written.
    """

    calls: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    money: float | None = None
    prompt_price: float = 0.0
    completion_price: float = 0.0

    def cost(self, usage: Usage) -> float:
        """What a usage costs, in the currency of the prices."""
        return (
            usage.prompt_tokens * self.prompt_price + usage.completion_tokens * self.completion_price
        ) / _TOKENS_PER_PRICE

    def limits(self, usage: Usage) -> list[tuple[str, float, float]]:
        """Every limit that is set: its name, the limit, and how much of it a usage takes."""
        taken = {
            "calls": usage.calls,
            "tokens": usage.prompt_tokens + usage.completion_tokens,
            "seconds": usage.seconds,
            "money": self.cost(usage),
        }
        return [(name, limit, value) for name, value in taken.items() if (limit := getattr(self, name)) is not None]


class JournaledModel:
    """A language model that looks into a journal first and keeps there what it has to ask.

    Calls, tokens and money stay within the budget: a question is asked only if the most that it can cost is left (its
    bytes, for byte-level vocabularies no less than its tokens). Seconds are foreseen from the questions before, and may
    be overrun by a little.

    Args:
        model: Who is asked.
        journal: Where answers are kept.
        budget: What `model`, and those that share its account, may spend.
        progress: Told how many of the missing answers have come.
        chunk: Questions asked at a time: what a killed run loses at most.
        account: What models with this budget have used so far, added to here: they share it.
    """

    def __init__(
        self,
        model: LanguageModel,
        journal: Journal,
        budget: Budget | None = None,
        progress: Progress = silent,
        chunk: int = 64,
        account: Usage | None = None,
    ) -> None:
        self.model = model
        self.journal = journal
        self.budget = budget or Budget()
        self.progress = progress
        self.chunk = chunk
        self.identity = model.identity
        self.capability: Capability = model.capability
        self.usage = model.usage
        self.cache_hits = 0
        self.account = Usage() if account is None else account
        self._seconds_per_call: dict[str, float] = {}

    def choose(self, questions: Sequence[Question]) -> list[Answer]:
        """See `LanguageModel.choose`."""

        def ask(indices: list[int]) -> list[Answer]:
            return self.model.choose([questions[index] for index in indices])

        def pack(answer: Answer) -> Any:
            sums = None if answer.log_likelihoods is None else answer.log_likelihoods.tolist()
            return [answer.probabilities.tolist(), sums, answer.missing_mass]

        def unpack(value: Any) -> Answer:
            sums = None if value[1] is None else np.array(value[1], dtype=np.float64)
            return Answer(np.array(value[0], dtype=np.float64), sums, value[2])

        most = [_most("".join((question.prompt, *_continued(question)))) for question in questions]
        return self._answers("choose", [asdict(question) for question in questions], most, ask, pack, unpack)

    def score(self, passages: Sequence[Passage]) -> list[PassageScore]:
        """See `LanguageModel.score`."""

        def ask(indices: list[int]) -> list[PassageScore]:
            return self.model.score([passages[index] for index in indices])

        def pack(score: PassageScore) -> Any:
            return [score.log_probabilities.tolist(), score.n_tokens.tolist()]

        def unpack(value: Any) -> PassageScore:
            return PassageScore(np.array(value[0], dtype=np.float64), np.array(value[1], dtype=np.int32))

        most = [_most("".join(passage.parts)) for passage in passages]
        return self._answers("score", [asdict(passage) for passage in passages], most, ask, pack, unpack)

    def write(self, prompts: Sequence[str], max_new_tokens: int = 64, stop: str | None = None) -> list[str]:
        """See `LanguageModel.write`."""

        def ask(indices: list[int]) -> list[str]:
            return self.model.write([prompts[index] for index in indices], max_new_tokens, stop)

        requests = [[prompt, max_new_tokens, stop] for prompt in prompts]
        return self._answers("write", requests, [_most(prompt, max_new_tokens) for prompt in prompts], ask, str, str)

    def write_objects(
        self, prompts: Sequence[str], schema: type[SchemaT], max_new_tokens: int = 256
    ) -> list[SchemaT | Failure]:
        """See `LanguageModel.write_objects`; failures are not kept."""

        def ask(indices: list[int]) -> list[SchemaT | Failure]:
            return self.model.write_objects([prompts[index] for index in indices], schema, max_new_tokens)

        def pack(value: SchemaT | Failure) -> Any:
            return None if isinstance(value, Failure) else value.model_dump(mode="json")

        requests = [[prompt, max_new_tokens, schema.model_json_schema()] for prompt in prompts]
        most = [_most(prompt, max_new_tokens) for prompt in prompts]
        return self._answers("write_objects", requests, most, ask, pack, schema.model_validate)

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """See `LanguageModel.embed`; kept in half precision."""

        def ask(indices: list[int]) -> list[npt.NDArray[np.float32]]:
            return list(self.model.embed([texts[index] for index in indices]))

        def pack(vector: npt.NDArray[np.float32]) -> Any:
            return base64.b64encode(vector.astype("<f2").tobytes()).decode()

        def unpack(value: Any) -> npt.NDArray[np.float32]:
            return np.frombuffer(base64.b64decode(value), dtype="<f2").astype(np.float32)

        vectors = self._answers("embed", texts, [_most(text) for text in texts], ask, pack, unpack)
        if not vectors:
            return self.model.embed([])
        # What was just asked is rounded like what was kept, so that a resumed run computes with the same numbers.
        return np.stack(vectors).astype(np.float16).astype(np.float32)

    def _answers(
        self,
        kind: str,
        requests: Sequence[Any],
        most: Sequence[Usage],
        ask: Callable[[list[int]], list[T]],
        pack: Callable[[T], Any],
        unpack: Callable[[Any], T],
    ) -> list[T]:
        """Answers to all requests, those that are not kept being asked for once each, the longest first.

        Args:
            kind: Which method is asked.
            requests: What is asked, as JSON values.
            most: The most that each request can use; those of like length are asked together.
            ask: Answers to the requests of these indices.
            pack: An answer as a JSON value; None is not kept.
            unpack: The answer that was packed.
        """
        keys = [_key(self.identity, kind, request) for request in requests]
        found = {key: unpack(value) for key, value in self.journal.find(keys).items()}
        self.cache_hits += sum(key in found for key in keys)
        missing = list({key: index for index, key in enumerate(keys) if key not in found}.values())
        missing.sort(key=lambda index: -most[index].prompt_tokens)
        told = self.progress if len(missing) > self.chunk else silent  # who asks for little tells of it
        done = 0
        while done < len(missing):
            told("asking the language model", done, len(missing))
            some = missing[done : done + self._affordable(kind, [most[index] for index in missing[done:]])]
            before = replace(self.usage)
            try:
                answers = dict(zip((keys[index] for index in some), ask(some), strict=True))
            finally:
                used = self.usage.minus(before)
                self.account.add(used)
            self._seconds_per_call[kind] = used.seconds / len(some)
            packed = {key: pack(answer) for key, answer in answers.items()}
            self.journal.keep({key: value for key, value in packed.items() if value is not None})
            found.update(answers)
            done += len(some)
        if missing:
            told("asking the language model", done, len(missing))
        return [found[key] for key in keys]

    def _affordable(self, kind: str, most: list[Usage]) -> int:
        """How many of the missing requests may be asked now.

        Raises:
            BudgetExceeded: None.
        """
        planned = self.spent()
        pace = self._seconds_per_call.get(kind)
        for number, bound in enumerate(most[: self.chunk]):
            planned.add(replace(bound, seconds=pace or _A_MOMENT))
            overdrawn = [name for name, limit, value in self.budget.limits(planned) if value > limit]
            if overdrawn and not number:
                raise self._spent_error(overdrawn[0], len(most))
            if overdrawn or (pace is None and number and self.budget.seconds is not None):
                return number
        return min(self.chunk, len(most))

    def spent(self) -> Usage:
        """What was used of the budget, by all models of its account."""
        return replace(self.account)

    def _spent_error(self, name: str, n_missing: int) -> BudgetExceeded:
        limit, taken = next(place[1:] for place in self.budget.limits(self.account) if place[0] == name)
        left = f" but for {limit - taken:,.6g}" if taken < limit else ""
        return BudgetExceeded(
            f"the language model's budget of {limit:,} {name} is spent{left}, {n_missing:,} answers are missing",
            where=str(self.journal.path),
            fix="run again with a larger budget: the answers so far are kept and cost nothing",
        )


def _most(text: str, written: int = 0) -> Usage:
    """The most that a request about a text can use; a token has a byte or more, and one or two come before the text."""
    return Usage(calls=1, prompt_tokens=len(text.encode()) + 2, completion_tokens=written)


def _continued(question: Question) -> Iterable[str]:
    """All text that the choices of a question add to its prompt."""
    if question.mode != "subset":
        return question.choices
    return [choice + question.verdict + word for choice in question.choices for word in (" yes", " no")]


def _key(identity: str, kind: str, request: Any) -> bytes:
    text = json.dumps([identity, kind, request], sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()
