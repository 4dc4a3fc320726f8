"""What a server can do with a model, found out by asking for each thing once."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from seqmend.errors import ResourceError
from seqmend.llm.decisions import DECISIONS, body_of_decisions, read_decisions
from seqmend.llm.endpoint import RefusedError, Session
from seqmend.llm.protocol import Capability
from seqmend.llm.replies import ReadText, Reply

COMPLETIONS, CHAT, EMBEDDINGS = "completions", "chat/completions", "embeddings"

_TEXT = "One, two, three, four, five"
_ONE = {"max_tokens": 1}
_TYPED = [{"type": "noul", "instructions": "Are these numbers?"}]
_READ: tuple[dict[str, Any], ...] = (
    {"echo": True, "logprobs": 1, "max_tokens": 0},
    {"echo": True, "logprobs": 1, "max_tokens": 1},  # some insist on writing
    {"prompt_logprobs": 0, "max_tokens": 1},  # vLLM
)
_NEXT: tuple[dict[str, Any], ...] = ({"logprobs": 20, "max_tokens": 1}, {"logprobs": 5, "max_tokens": 1})
_NEXT_IN_CHAT: tuple[dict[str, Any], ...] = ({"logprobs": True, "top_logprobs": 20, "max_tokens": 1},)
_LASTING = ("revision", "digest", "root", "meta")  # of a model's entry; others change with every start or request
_NO_SUCH_PLACE = frozenset({404, 405})


class _Models(BaseModel):
    data: list[dict[str, Any]] = []


@dataclass(frozen=True)
class Abilities:
    """What a server can do.

    Attributes:
        capability: See `LanguageModel`.
        completions: It continues texts.
        chat: It answers messages.
        embeddings: It embeds texts.
        read: What to add to a request for the log-probabilities of its prompt; None where they are not given.
        next_token: Path and what to add to a request for those of the next token; None where they are not given.
    """

    capability: Capability
    completions: bool
    chat: bool
    embeddings: bool
    read: dict[str, Any] | None = None
    next_token: tuple[str, dict[str, Any]] | None = None

    @property
    def n_written(self) -> int:
        """Tokens that stand behind the prompt's own in an echo."""
        return self.read["max_tokens"] if self.read and "echo" in self.read else 0


def body_of(path: str, model: str, turns: Sequence[str], more: dict[str, Any]) -> dict[str, Any]:
    """A request.

    Args:
        path: `COMPLETIONS` or `CHAT`.
        model: The server's name for the model.
        turns: What was said by turns, the asker first and last.
        more: Further fields.
    """
    if path == COMPLETIONS:
        return {"model": model, "prompt": "\n\n".join(turns), "temperature": 0, **more}
    roles = ("user", "assistant")
    messages = [{"role": roles[number % 2], "content": turn} for number, turn in enumerate(turns)]
    return {"model": model, "messages": messages, "temperature": 0, **more}


async def find_abilities(session: Session, model: str) -> Abilities:
    """Ask a server for everything that the settings leave open.

    Raises:
        InputError: The key is refused, the server does not know the model, or cannot do what the settings state.
        ResourceError: The server fails.
    """
    config = session.endpoint.config
    stated = config.capability
    refused: list[RefusedError] = []

    async def first(path: str, ways: Sequence[dict[str, Any]], shows: Callable[[Reply], bool]) -> dict[str, Any] | None:
        """The first way in which the server shows what is wanted."""
        for way in ways:
            try:
                reply = await session.send(path, body_of(path, model, [_TEXT], way), Reply.read, probing=True)
            except RefusedError as error:
                refused.append(error)
                if error.status in _NO_SUCH_PLACE:
                    return None
                continue
            if shows(reply):
                return way
        return None

    read = after = after_chat = None
    completions = config.api != "chat" and await first(COMPLETIONS, [_ONE], _any) is not None
    chat = config.api != "completions" and await first(CHAT, [_ONE], _any) is not None
    if completions and stated in ("auto", "exact"):
        read = await first(COMPLETIONS, _READ, _reads)
    decides = read is None and stated in ("auto", "typed") and await _decides(session, model)
    looks_ahead = read is None and not decides and stated in ("auto", "label")
    if completions and looks_ahead:
        after = await first(COMPLETIONS, _NEXT, _foresees)
    if chat and looks_ahead and after is None:
        after_chat = await first(CHAT, _NEXT_IN_CHAT, _foresees)
    if not (completions or chat or decides):
        raise refused[-1]
    capability: Capability = "exact" if read else "typed" if decides else "label" if after or after_chat else "written"
    if stated not in ("auto", capability):
        raise RefusedError(
            refused[-1].status if refused else 200,
            f"the server cannot do what the settings state: capability = {stated!r}, found {capability!r}",
            config.base_url,
        )
    label = (COMPLETIONS, after) if after else (CHAT, after_chat) if after_chat else None
    return Abilities(capability, completions, chat, await _embeds(session, model), read, label)


async def revision_of(session: Session, model: str) -> str:
    """Twelve hexadecimal digits of what the server says of the model's files; "" where it says nothing that lasts."""
    try:
        models = await session.send("models", None, _Models.model_validate_json, probing=True)
    except RefusedError:
        return ""
    entry = next((entry for entry in models.data if entry.get("id") == model), {})
    lasting = {key: entry[key] for key in _LASTING if entry.get(key)}
    return hashlib.sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()[:12] if lasting else ""


async def _decides(session: Session, model: str) -> bool:
    request = body_of_decisions(model, _TEXT, _TYPED)
    try:
        await session.send(DECISIONS, request, lambda reply: read_decisions(reply, _TYPED), probing=True)
    except RefusedError:
        return False
    return True


async def _embeds(session: Session, model: str) -> bool:
    try:
        await session.send(EMBEDDINGS, {"model": model, "input": [_TEXT]}, _has_data, probing=True)
    except RefusedError:
        return False
    return True


def _has_data(text: str) -> None:
    if '"embedding"' not in text:
        raise ValueError("no embedding in the reply")


def _any(reply: Reply) -> bool:
    return bool(reply.choices)


def _reads(reply: Reply) -> bool:
    """Whether the reply tells the prompt's tokens; servers that know no echo may ignore that it was asked for."""
    for n_written in (0, 1):
        try:
            found = ReadText.of(_TEXT, reply.prompt_tokens(n_written), "")
        except ResourceError:
            continue
        if len(found.texts) > 2 and bool(found.known[1:].all()) and bool(found.log_probabilities.any()):
            return True
    return False


def _foresees(reply: Reply) -> bool:
    return len(reply.next_token()) > 1
