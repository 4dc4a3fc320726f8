"""One OpenAI-compatible endpoint: requests side by side, bounded retries, and errors that never hold the key."""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from seqmend.errors import InputError, ResourceError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

T = TypeVar("T")
R = TypeVar("R")
Sleep = Callable[[float], Awaitable[None]]

_RETRIED = frozenset({408, 429, 500, 502, 503, 504})
_REFUSED_KEY = frozenset({401, 403})
_FIRST_WAIT = 0.5
_LONGEST_BACK_OFF = 30.0
_SHOWN = 300
_NO_KEY = "none"  # the client insists on one; servers without keys ignore it


class ServerConfig(BaseModel):
    """Where a served model is and how it is asked.

    Attributes:
        base_url: Up to and with the version, such as http://localhost:8000/v1.
        key_env: Name of the environment variable that holds the key; servers without keys need none.
        capability: What the server can do; "auto" finds out.
        api: "completions" continues prompts as they are, "chat" sends each as a message. "auto": texts are continued
            and objects are asked for in a chat, each by the other where the server has only that.
        structured: "json_schema" has the server keep to an object's schema, "none" puts the schema into the prompt;
            "auto" does the first where the server accepts it.
        concurrency: Requests under way at once.
        timeout: Seconds that one request may take from the first byte sent to the last received.
        max_retries: Further attempts at a request that failed in passing.
        max_wait: Most seconds before an attempt; a server that demands more is given up.
        max_repairs: Times that an answer which is no such object is sent back with what is wrong about it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    base_url: str = "http://localhost:8000/v1"
    key_env: str = Field(default="OPENAI_API_KEY", min_length=1)
    capability: Literal["auto", "exact", "typed", "label", "written"] = "auto"
    api: Literal["auto", "completions", "chat"] = "auto"
    structured: Literal["auto", "json_schema", "none"] = "auto"
    concurrency: int = Field(default=8, ge=1)
    timeout: float = Field(default=120.0, gt=0)
    max_retries: int = Field(default=6, ge=0)
    max_wait: float = Field(default=120.0, ge=0)
    max_repairs: int = Field(default=2, ge=0)

    @field_validator("base_url")
    @classmethod
    def _plain_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected an address such as http://localhost:8000/v1")
        if "@" in parts.netloc or parts.query:
            raise ValueError("an address holds no password and no query: keys belong into environment variables")
        return value.rstrip("/")

    @property
    def host(self) -> str:
        """Host, and port where one is given."""
        return urlsplit(self.base_url).netloc


class RefusedError(InputError):
    """The server will not do what it was asked, however often; `status` is HTTP's."""

    def __init__(self, status: int, what: str, where: str) -> None:
        self.status = status
        super().__init__(what, where=where)


class Session:
    """Requests of one call; made by `Endpoint.gather`."""

    def __init__(self, endpoint: "Endpoint", client: "AsyncOpenAI") -> None:
        self.endpoint = endpoint
        self.client = client
        self._places = asyncio.Semaphore(endpoint.config.concurrency)

    async def send(self, path: str, body: dict[str, Any] | None, read: Callable[[str], T], probing: bool = False) -> T:
        """One request, repeated while it fails in passing.

        Args:
            path: Behind the base address.
            body: What is posted; None gets.
            read: Makes of the reply's text what is wanted; a `ValueError` counts as a failure in passing.
            probing: HTTP 500 for a second time is a refusal: so do some servers answer what they cannot do.

        Raises:
            InputError: The key is refused.
            RefusedError: The server refuses the request.
            ResourceError: The server keeps failing, or demands a longer wait than is allowed.
        """
        async with self._places:
            attempt = 0
            while True:
                result = await self._attempt(path, body, read)
                if not isinstance(result, _Trouble):
                    return result[0]
                if probing and attempt and result.status == 500:
                    raise self.endpoint.refusal(500, result.what, path)
                await self.endpoint.pause(result, attempt)
                attempt += 1

    async def _attempt(self, path: str, body: dict[str, Any] | None, read: Callable[[str], T]) -> "tuple[T] | _Trouble":
        import openai

        endpoint = self.endpoint
        ask = self.client.get(f"/{path}", cast_to=str) if body is None else self.client.post(
            f"/{path}", cast_to=str, body=body
        )  # fmt: skip
        refused: Exception | None = None
        try:
            return (read(await asyncio.wait_for(ask, endpoint.config.timeout)),)
        except (TimeoutError, openai.APITimeoutError):
            return _Trouble(f"no whole answer within {endpoint.config.timeout:g} seconds")
        except openai.APIConnectionError as error:
            return _Trouble(f"the connection failed ({endpoint.redacted(str(error.__cause__ or error))})")
        except openai.APIStatusError as error:
            said = endpoint.redacted(error.message)
            if error.status_code in _RETRIED and error.code != "insufficient_quota":
                after = _seconds(error.response.headers.get("retry-after"))
                return _Trouble(f"HTTP {error.status_code}: {said}", after, error.status_code)
            refused = endpoint.refusal(error.status_code, said, path)
        except ValueError as error:
            return _Trouble(f"an answer that cannot be read ({endpoint.redacted(str(error))})")
        raise refused  # outside, so that the client's error, which knows the request's headers, is no part of it


class _Trouble:
    """What failed in passing, and the seconds that the server wants to be left alone."""

    def __init__(self, what: str, after: float | None = None, status: int | None = None) -> None:
        self.what, self.after, self.status = what, after, status


class Endpoint:
    """Sends requests to one server.

    Args:
        config: Where and how.
        sleep: Waits some seconds; replaced where time must not pass.
        rng: Spreads the waits, so that clients that failed together do not come back together.

    Raises:
        ResourceError: The client library is not installed.
        InputError: The key's environment variable is named but not set, or no header can hold its value.
    """

    def __init__(self, config: ServerConfig, sleep: Sleep = asyncio.sleep, rng: random.Random | None = None) -> None:
        try:
            import openai  # noqa: F401  # pyright: ignore[reportUnusedImport]  # takes seconds, and is an extra
        except ModuleNotFoundError:
            raise ResourceError(
                "a served language model needs the openai client", fix="pip install 'seqmend[server]'"
            ) from None
        self.config = config
        self._sleep = sleep
        self._rng = rng or random.Random()
        self._key = os.environ.get(config.key_env, "").strip()
        if not self._key and config.key_env != ServerConfig.model_fields["key_env"].default:
            raise InputError("the server's key is not set", where=f"environment variable {config.key_env}")
        if not self._key.isascii() or not self._key.isprintable():
            raise InputError("the server's key holds characters that no key has", where=f"variable {config.key_env}")

    def gather(
        self, ask: Callable[[Session, T], Coroutine[Any, Any, R]], requests: Sequence[T]
    ) -> tuple[list[R], float]:
        """The answers to all requests in their order, and the seconds that they took; the first error ends them all.

        Args:
            ask: Answers one request, with one `Session.send` or several.
            requests: Any number.
        """

        async def together() -> list[R]:
            from openai import AsyncOpenAI

            client = AsyncOpenAI(
                base_url=self.config.base_url,
                api_key=self._key or _NO_KEY,
                timeout=self.config.timeout,
                max_retries=0,
            )
            async with client:
                session = Session(self, client)
                tasks = [asyncio.create_task(ask(session, request)) for request in requests]
                try:
                    return list(await asyncio.gather(*tasks))
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)

        begin = time.perf_counter()
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            found = asyncio.run(together())
        else:  # a notebook's loop is running already
            with ThreadPoolExecutor(1) as pool:
                found = pool.submit(asyncio.run, together()).result()
        return found, time.perf_counter() - begin

    async def pause(self, trouble: _Trouble, attempt: int) -> None:
        """Wait before the next attempt: as long as the server says, at least twice as long as before otherwise.

        Raises:
            ResourceError: There is no next attempt.
        """
        config = self.config
        too_long = trouble.after is not None and trouble.after > config.max_wait
        if attempt >= config.max_retries or too_long:
            raise ResourceError(
                f"the language-model server is failing: {trouble.what}",
                where=config.base_url,
                expected=f"a wait of at most {config.max_wait:g} seconds, not {trouble.after:g}" if too_long else None,
                fix="see that it is up and has room, then run again: answers so far are in the journal"
                + (f" (attempts made: {attempt + 1})" if attempt else ""),
            )
        back_off = min(_FIRST_WAIT * 2**attempt, _LONGEST_BACK_OFF, config.max_wait)
        await self._sleep(max(trouble.after or 0.0, back_off * self._rng.uniform(0.5, 1.0)))

    def refusal(self, status: int, said: str, path: str) -> InputError:
        """What to tell of a request that would be refused again."""
        where = f"{self.config.base_url}/{path}"
        if status in _REFUSED_KEY:  # what the server says of the key may hold some of it
            sent = "the key in" if self._key else "no key, as there is none in"
            return InputError(
                f"the language-model server refused access (HTTP {status})",
                where=where,
                fix=f"{sent} the environment variable {self.config.key_env} was sent: set the right one",
            )
        return RefusedError(status, f"the language-model server refused the request (HTTP {status}): {said}", where)

    def redacted(self, text: str) -> str:
        """A server's or library's message, without the key, short and on one line."""
        if self._key:
            text = text.replace(self._key, "[key]")
        line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
        return line if len(line) <= _SHOWN else line[:_SHOWN] + "…"


def _seconds(retry_after: str | None) -> float | None:
    """What a Retry-After header asks for: a number of seconds or a date (RFC 9110, section 10.2.3)."""
    if retry_after is None:
        return None
    try:
        return max(float(retry_after), 0.0)
    except ValueError:
        pass
    try:
        return max(parsedate_to_datetime(retry_after).timestamp() - time.time(), 0.0)
    except ValueError:
        return None
