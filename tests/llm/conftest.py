"""A server that fails in whatever way a test wants, in a thread on loopback."""

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@dataclass
class Reply:
    """What the server does: `whole`, `reset` the connection, `cut` the body short, or `drip` it."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    manner: str = "whole"


def chat_reply(text: str | None, **more: Any) -> dict[str, Any]:
    """A chat's answer."""
    message = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop", **more}
    return {"choices": [message], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}


class FaultServer:
    """Answers at its `places`, chats at first, with what `answer(body, number of the request)` says."""

    def __init__(self) -> None:
        self.answer: Callable[[dict[str, Any], int], Reply] = lambda _, __: Reply(chat_reply("ok"))
        self.places: tuple[str, ...] = ("/chat/completions",)
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.released = threading.Event()
        self.busy = self.most_busy = 0
        lock, fault = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                self._send(Reply({"error": {"message": "no list of models"}}, 404))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if not self.path.endswith(fault.places):
                    self._send(Reply({"error": {"message": "no such place"}}, 404))
                    return
                with lock:
                    fault.bodies.append(body)
                    fault.keys.append(self.headers.get("Authorization", ""))
                    number = len(fault.bodies) - 1
                    fault.busy += 1
                    fault.most_busy = max(fault.busy, fault.most_busy)
                try:
                    reply = fault.answer(body, number)
                finally:
                    with lock:
                        fault.busy -= 1
                self._send(reply)

            def _send(self, reply: Reply) -> None:
                body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                if reply.manner == "reset":
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.close()
                    return
                self.send_response(reply.status)
                for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if reply.manner == "drip":
                    self._drip(body)
                elif reply.manner == "cut":
                    self.wfile.write(body[: len(body) // 2])
                    self.close_connection = True
                else:
                    self.wfile.write(body)

            def _drip(self, body: bytes) -> None:
                """A byte at a time, each soon enough for a reader that only minds the single wait."""
                try:
                    for byte in body:
                        self.wfile.write(bytes([byte]))
                        self.wfile.flush()
                        if fault.released.wait(0.02):
                            return
                except OSError:
                    pass  # the client has had enough

            def finish(self) -> None:
                with contextlib.suppress(OSError):
                    super().finish()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # connections are broken on purpose
        self.base_url = f"http://127.0.0.1:{self.server.server_port}/v1"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def close(self) -> None:
        """Stop serving."""
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def fault() -> Iterator[FaultServer]:
    server = FaultServer()
    yield server
    server.close()


@pytest.fixture
def reply() -> type[Reply]:
    return Reply


@pytest.fixture
def chat() -> Callable[..., dict[str, Any]]:
    return chat_reply
