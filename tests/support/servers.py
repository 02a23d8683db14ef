"""Loopback servers that a test plays byte by byte, a small HTTP proxy, and a clock that a test moves."""

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
    """One request as it came over the wire."""

    line: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def all(self, name: str) -> list[str]:
        """Give every value of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """Give the value of a header that comes once or never."""
        values = self.all(name)
        assert len(values) <= 1, values
        return values[0] if values else None


def answer(body: bytes | str = b"{}", status: int = 200, **headers: str) -> bytes:
    """Write a whole response; ``_`` in a header's name stands for ``-``."""
    body = body.encode() if isinstance(body, str) else body
    given = {"Content_Type": "application/json", "Content_Length": str(len(body))} | headers
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in given.items())
    return f"HTTP/1.1 {status} Word\r\n{lines}\r\n".encode() + body


class Connection:
    """One connection that a client made."""

    def __init__(self, server: "Raw", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hold both directions."""
        self.server = server
        self.reader = reader
        self.writer = writer

    async def request(self) -> Received | None:
        """Read one request; None where the client hung up instead."""
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
        """Cut the connection; the client sees a reset where it has sent what was not read."""
        self.writer.transport.abort()


Play = Callable[[Connection], Awaitable[None]]


class Raw:
    """A loopback server; what it does on each connection is up to the test. A connection is closed when that ends."""

    def __init__(self, play: Play, *, ssl: ssl.SSLContext | None = None, sock: socket.socket | None = None) -> None:
        """Choose what it does; it listens on *sock* if one is given."""
        self._play = play
        self._ssl = ssl
        self._sock = sock or bound()
        self._port = self._sock.getsockname()[1]
        self._tasks: set[asyncio.Task[Any]] = set()
        self.connections = 0
        self.requests: list[Received] = []
        self.came = asyncio.Event()
        """Set when a request has come."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http{'s' if self._ssl else ''}://127.0.0.1:{self._port}"

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._play(Connection(self, reader, writer))
        except (asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
            pass  # the test is over, or the client hung up
        finally:
            self._tasks.discard(task)
            with suppress(OSError):
                writer.close()

    def refuse(self) -> None:
        """Stop listening: further connections are refused."""
        self._server.close()

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, sock=self._sock, ssl=self._ssl)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop, and cut what is open."""
        self._server.close()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def bound() -> socket.socket:
    """Give a socket that has a port and does not listen: connections to it are refused."""
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    return made


@contextmanager
def nobody() -> Iterator[str]:
    """Give a URL where connections are refused."""
    with bound() as made:
        yield f"http://127.0.0.1:{made.getsockname()[1]}"


def answering(*answers: bytes) -> Play:
    """Answer each request with the next of the answers, and with the last one from then on."""
    left = list(answers)

    async def play(connection: Connection) -> None:
        while await connection.request():
            await connection.write(left.pop(0) if len(left) > 1 else left[0])

    return play


def routed(routes: Mapping[str, Sequence[bytes]]) -> Play:
    """Answer each request with the next answer to its method and path, and with the last one from then on.

    An answer of no bytes cuts the connection.
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
    """Write the credentials of the basic scheme."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()


def proxying(refusal: bytes = b"") -> Play:
    """Be an HTTP proxy, for CONNECT and for absolute URLs; with *refusal* answer that to everything."""

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
    """The running event loop's time, which a test moves on; and a sleep that only does that."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take over the loop's time."""
        loop = asyncio.get_running_loop()
        real = loop.time
        self._ahead = 0.0
        self.slept: list[float] = []
        """Seconds of each sleep."""
        monkeypatch.setattr(loop, "time", lambda: real() + self._ahead)

    def move(self, seconds: float) -> None:
        """Let so much time pass at once; what waits for it goes on when the loop next turns."""
        self._ahead += seconds

    async def sleep(self, seconds: float) -> None:
        """Note how long it should take, and let that time pass."""
        self.slept.append(seconds)
        self.move(seconds)
        await asyncio.sleep(0)
