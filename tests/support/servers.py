"""Loopback servers with scripted responses, an HTTP proxy, and a clock that tests control."""

import asyncio
import socket
import ssl
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Self

import attrs
import pytest


@attrs.frozen
class Received:
    """A request as it was received."""

    line: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def all(self, name: str) -> list[str]:
        """Return all values of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """Return the value of a header that occurs at most once."""
        values = self.all(name)
        assert len(values) <= 1, values
        return values[0] if values else None


def answer(body: bytes | str = b"{}", status: int = 200, **headers: str) -> bytes:
    """Return a complete response; ``_`` in a header name stands for ``-``."""
    body = body.encode() if isinstance(body, str) else body
    given = {"Content_Type": "application/json", "Content_Length": str(len(body))} | headers
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in given.items())
    return f"HTTP/1.1 {status} Word\r\n{lines}\r\n".encode() + body


class Connection:
    """A connection that a client made."""

    def __init__(self, server: "Raw", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Keep both streams."""
        self.server = server
        self.reader = reader
        self.writer = writer

    async def request(self) -> Received | None:
        """Read a request; return ``None`` if the client closed the connection."""
        try:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        line, *rest = head.rstrip().split("\r\n")
        headers = tuple((name, value.strip()) for name, _, value in (field.partition(":") for field in rest))
        length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
        received = Received(line, headers, await self.reader.readexactly(length))
        self.server.requests.append(received)
        self.server.came.set()
        return received

    async def write(self, data: bytes) -> None:
        """Send some bytes."""
        self.writer.write(data)
        await self.writer.drain()

    def abort(self) -> None:
        """Abort the connection; the client sees a reset if something it sent was not read."""
        self.writer.transport.abort()


Play = Callable[[Connection], Awaitable[None]]


class Raw:
    """A loopback server that runs a function of the test on each connection, and closes the connection afterwards."""

    def __init__(self, play: Play, *, ssl: ssl.SSLContext | None = None, sock: socket.socket | None = None) -> None:
        """Set the function; listen on *sock*, or on a new socket."""
        self._play = play
        self._ssl = ssl
        self._sock = sock or bound()
        self._port = self._sock.getsockname()[1]
        self._tasks: set[asyncio.Task[Any]] = set()
        self.connections = 0
        self.requests: list[Received] = []
        self.came = asyncio.Event()
        """Set once a request has arrived."""

    @property
    def url(self) -> str:
        """URL of the server."""
        return f"http{'s' if self._ssl else ''}://127.0.0.1:{self._port}"

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._play(Connection(self, reader, writer))
        except (asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
            pass  # the test is over, or the client closed the connection
        finally:
            self._tasks.discard(task)
            with suppress(OSError):
                writer.close()

    def refuse(self) -> None:
        """Stop listening, so that further connections are refused."""
        self._server.close()

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, sock=self._sock, ssl=self._ssl)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop, and abort open connections."""
        self._server.close()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def bound() -> socket.socket:
    """Return a socket that is bound and does not listen, so that connections are refused."""
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    return made


@contextmanager
def nobody() -> Iterator[str]:
    """Yield a URL at which connections are refused."""
    with bound() as made:
        yield f"http://127.0.0.1:{made.getsockname()[1]}"


def answering(*answers: bytes) -> Play:
    """Send the responses one by one, and repeat the last."""
    left = list(answers)

    async def play(connection: Connection) -> None:
        while await connection.request():
            await connection.write(left.pop(0) if len(left) > 1 else left[0])

    return play


def routed(routes: Mapping[str, Sequence[bytes]]) -> Play:
    """Send the responses of each route one by one, and repeat the last.

    An empty response aborts the connection.
    """
    left = {route: list(answers) for route, answers in routes.items()}

    async def play(connection: Connection) -> None:
        while asked := await connection.request():
            answers = left[asked.line.removesuffix(" HTTP/1.1").partition("?")[0]]
            given = answers.pop(0) if len(answers) > 1 else answers[0]
            if not given:
                connection.abort()
                return
            await connection.write(given)

    return play


def basic(user: str, password: str) -> str:
    """Return a basic ``Authorization`` header."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()


def proxying(refusal: bytes = b"") -> Play:
    """Act as an HTTP proxy, for CONNECT and absolute URLs; with *refusal* respond with that."""

    async def play(connection: Connection) -> None:
        asked = await connection.request()
        if asked is None:
            return
        if refusal:
            await connection.write(refusal)
            return
        method, target, _ = asked.line.split(" ")
        host, _, port = target.removeprefix("http://").partition("/")[0].partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        if method == "CONNECT":
            await connection.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        else:
            path = "/" + target.removeprefix("http://").partition("/")[2]
            fields = "".join(f"{name}: {value}\r\n" for name, value in asked.headers)
            writer.write(f"{method} {path} HTTP/1.1\r\n{fields}\r\n".encode() + asked.body)
        try:
            await asyncio.gather(_pump(connection.reader, writer), _pump(reader, connection.writer))
        finally:
            writer.close()

    return play


class Clock:
    """Controls the time of the running event loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Replace the loop's clock."""
        loop = asyncio.get_running_loop()
        real = loop.time
        self._ahead = 0.0
        self.slept: list[float] = []
        """Duration of each sleep in seconds."""
        monkeypatch.setattr(loop, "time", lambda: real() + self._ahead)

    def move(self, seconds: float) -> None:
        """Advance the time; timers fire when the loop next runs."""
        self._ahead += seconds

    async def sleep(self, seconds: float) -> None:
        """Record a duration, and advance the time by it."""
        self.slept.append(seconds)
        self.move(seconds)
        await asyncio.sleep(0)
