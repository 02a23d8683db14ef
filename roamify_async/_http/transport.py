"""Sends a request and returns a complete response or a failure. No other module of the client imports aiohttp.

Exceptions of aiohttp do not leave this module. Failures are returned as values, and what must pass, such as a
cancellation, passes without the traceback inside aiohttp, whose frames hold the Authorization header.
"""

import asyncio
import math
import os
import platform
import socket
import sys
import warnings
import weakref
from collections.abc import Coroutine
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any, Final, TypeVar, cast

import aiohttp
from aiohttp import ClientSession as ClientSession  # noqa: PLC0414 -- for the clients, whose checkers ask for it
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_exceptions import ContentEncodingError, DecompressSizeError
from yarl import URL

from roamify_async._fork import check_process, renew_in_children
from roamify_async._version import __version__
from roamify_async.errors import ConfigurationError
from roamify_async.settings import MAX_RESPONSE_SIZE, Settings, Timeouts

from .credentials import MIN_REDACTED, Credentials, HiddenText
from .messages import AttemptResult, HttpRequest, HttpResponse, NoResponse, SendState
from .proxies import proxy_of_environment

T = TypeVar("T")

AGENT: Final = f"roamify-async/{__version__} python/{platform.python_version()} aiohttp/{aiohttp.__version__}"


NEVER_SENT: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)
"""Exceptions that are raised before a request without a body is sent."""


MAX_REASON: Final = 500
"""Maximum length of a reason in characters. Some reasons quote received data."""
SLICE: Final = 2**20
"""Size in bytes from which other tasks run between two pieces of a response."""


class MarkedPayload(aiohttp.BytesPayload):
    """A body that records when its first byte is about to be written.

    The class of an exception does not show whether a request was sent: a timeout in the queue of a connection pool has
    the same class as one during the wait for the response.
    """

    def __init__(self, body: bytes, send_state: SendState) -> None:
        super().__init__(body, content_type="application/json")
        self.was_sent = False
        self._send_state = send_state

    def _mark_sent(self) -> None:
        self._send_state.mark_sent()  # If it raises, nothing is sent.
        self.was_sent = True

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write the whole body."""
        self._mark_sent()
        await super().write(writer)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write the first *content_length* bytes."""
        self._mark_sent()
        await super().write_with_length(writer, content_length)


class Transport:
    """Connections to one host, which are opened at first use and belong to that event loop."""

    def __init__(
        self,
        credentials: Credentials,
        settings: Settings,
        session: aiohttp.ClientSession | None = None,
        *,
        name: str = "the client",
    ) -> None:
        if session is not None and not isinstance(session, aiohttp.ClientSession):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"session must be an aiohttp.ClientSession, not {type(session).__name__}")
        self.credentials = credentials
        self.name = name
        self._settings = settings
        self._external = session
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._parent_loop: weakref.ref[asyncio.AbstractEventLoop] | None = None
        """The loop of the process that this one was forked from."""
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._closed = False
        self._env_proxy: str | None = None
        self._headers: dict[str | None, dict[str, str]] = {}
        """Headers of requests, by user agent."""
        self._tasks: set[asyncio.Task[Any]] = set()
        renew_in_children(self)

    @property
    def state(self) -> str:
        """``"new"``, ``"open"`` or ``"closed"``."""
        return "closed" if self._closed else "new" if self._loop is None else "open"

    def open(self) -> None:
        """Bind the transport to the running event loop. Opening twice does nothing.

        Raises ``ConfigurationError`` after ``aclose``, in another event loop, and in one that was inherited by a fork.
        """
        check_process()
        loop = self._running_loop()
        if loop is self._loop and not self._closed:
            return
        if self._closed:
            raise ConfigurationError(f"{self.name} is closed: make a new one")
        if self._loop is not None:
            raise ConfigurationError(
                f"{self.name} belongs to another event loop: make one in each loop (each asyncio.run), "
                "or use one Roamify, which blocks and works in all of them"
            )
        if self._parent_loop is not None and self._parent_loop() is loop:
            raise ConfigurationError(
                f"{self.name} was called in an event loop that was made before a fork, and belongs to the parent "
                "process: make a new loop in each process, for example by asyncio.run"
            )
        self._loop = loop

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        try:
            return asyncio.get_running_loop()
        except RuntimeError:  # Another library's loop, such as trio's, or one that was running at a fork.
            raise ConfigurationError(
                f"{self.name} needs a running asyncio event loop: call it in asyncio.run(), or in anyio.run() with the "
                "asyncio backend. Under trio, use Roamify in a thread: await trio.to_thread.run_sync(...)"
            ) from None

    def _opened(self) -> aiohttp.ClientSession:
        self.open()
        if self._external is not None and self._external.closed:
            raise ConfigurationError("the session given to the client was closed")
        if self._session is None:
            self._session = self._new_session()
            if self._settings.trust_env or (self._external is not None and self._external.trust_env):
                self._env_proxy = proxy_of_environment(self.credentials.base_url)
        return self._session

    def _new_session(self) -> aiohttp.ClientSession:
        """Create a session. It shares only connections, headers and traces with a session of the caller's."""
        external, settings = self._external, self._settings
        traces = cast("list[aiohttp.TraceConfig]", list(settings.trace_configs))
        if external is None:
            # The limiter applies before. With a second limit here, requests would wait while their timeouts run.
            connector: aiohttp.BaseConnector = aiohttp.TCPConnector(
                limit=0,
                ssl=settings.ssl or True,
                resolver=aiohttp.ThreadedResolver(),  # aiodns keeps threads and descriptors, and crashed programs.
                socket_factory=partial(_new_socket, self._sockets),
            )
        else:
            connector = cast("aiohttp.BaseConnector", external.connector)
            traces += external.trace_configs
        session = aiohttp.ClientSession(
            connector=connector,
            connector_owner=external is None,
            headers=None if external is None else external.headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=traces,
        )
        # aiohttp resends a GET or PUT once after a connection was closed. Here only the engine decides on retries.
        if not hasattr(session, "_retry_connection"):
            session.detach()
            raise ConfigurationError(
                f"aiohttp {aiohttp.__version__} sends requests again by itself, and that cannot be turned off: "
                "install another version, 3.14.3 or later"
            )
        session._retry_connection = False  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        return session

    async def send(
        self,
        request: HttpRequest,
        timeouts: Timeouts,
        *,
        agent: str | None = None,
        proxy: str | None = None,
        send_state: SendState | None = None,
        max_size: int = MAX_RESPONSE_SIZE,
    ) -> AttemptResult:
        """Send a request once, and return its complete response or the failure."""
        session, handled = self._opened(), sys.exception()
        payload = None
        try:
            payload = None if request.body is None else MarkedPayload(request.body, send_state or SendState())
            async with session.request(
                request.method,
                URL(
                    f"{self.credentials.base_url}{request.path}{'?' * bool(request.query)}{request.query}", encoded=True
                ),
                data=payload,
                headers=self._headers_for(request, agent),
                timeout=_timeout(timeouts),
                allow_redirects=False,
                raise_for_status=False,
                proxy=proxy or self._env_proxy,
                ssl=self._settings.ssl or True,
            ) as response:
                body = await _read(response, max_size)
                if body is None:
                    response.close()
                    return _too_large(max_size, f"with status {response.status} ")
                redact = self.credentials.redact
                headers = {name.lower(): redact(value) for name, value in response.headers.items()}
                return HttpResponse(response.status, headers, self._redacted(body))
        except Exception as error:  # noqa: BLE001 -- aiohttp raises unrelated classes, and none may leave
            return self._failure(error, payload, session, proxy or self._env_proxy)
        except BaseException as error:
            _cut(error, handled)
            raise

    def _headers_for(self, request: HttpRequest, agent: str | None) -> dict[str, str]:
        headers = self._headers.get(agent) or self._headers_of(agent)
        return headers if request.etag is None else {**headers, "If-None-Match": request.etag}

    def _headers_of(self, agent: str | None) -> dict[str, str]:
        headers = {
            "Authorization": HiddenText(f"Bearer {self.credentials.token}"),
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": agent or AGENT,
        }
        return self._headers.setdefault(agent, headers)

    def _redacted(self, body: bytes) -> bytes:
        token = self.credentials.token.encode()
        return body.replace(token, b"***") if len(token) >= MIN_REDACTED else body

    def _failure(
        self, error: Exception, payload: MarkedPayload | None, session: aiohttp.ClientSession, proxy: str | None
    ) -> NoResponse:
        if _has_cause(error, DecompressSizeError):  # aiohttp before 3.14 has a limit of its own for each piece.
            return _too_large(2**25, "decompressed at once ")
        if isinstance(error, aiohttp.ClientResponseError) and _has_cause(error, ContentEncodingError):
            return NoResponse("coding", "answered", error.message)
        was_sent = not isinstance(error, NEVER_SENT) if payload is None else payload.was_sent
        reason = "the client was closed" if session.closed else f"{type(error).__name__}: {error}".removesuffix(": ")
        if proxy:
            reason = reason.replace(proxy, "the proxy")  # It may contain a password that no pattern matches.
        return NoResponse(
            "timeout" if isinstance(error, TimeoutError) else "lost" if was_sent else "connect",
            "maybe" if was_sent else "no",
            self.credentials.redact(reason)[:MAX_REASON],
        )

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a background task, which is cancelled when the client is closed."""
        try:
            loop = self._running_loop()
        except ConfigurationError:
            work.close()
            raise
        task = loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def aclose(self) -> None:
        """Close the connections. Requests in flight fail. Closing twice does nothing."""
        check_process()
        session, self._session, self._closed = self._session, None, True
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if session is not None:
            if self._external is None:
                await session.close()
            else:
                session.detach()

    def __del__(self) -> None:
        """Release the sockets of a transport that was not closed, and warn."""
        check_process()
        session: aiohttp.ClientSession | None = getattr(self, "_session", None)
        if session is None or session.closed:
            return
        self._release(session)
        warnings.warn(
            f"{self.name} was dropped unclosed: use it in a with block, or close it", ResourceWarning, 2, self
        )

    def renew(self) -> None:
        """Leave the connections to the parent process after a fork, so that the transport opens anew in this one.

        The selector of the parent's loop is shared with this process, as are the sockets. Closing a connection, as the
        finalizer of a connector does, would remove the parent's socket from it. Here the descriptors are redirected to
        the null device, so that whatever is left of the parent's connections can neither read them nor remove them.
        """
        session, self._session = self._session, None
        if session is not None and session.connector is not None:
            _inherited.append(session.connector)
            if self._external is None:
                session.connector._closed = True  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            session.detach()
        _redirect([*self._sockets])
        self._sockets = weakref.WeakSet()
        self._tasks = set()
        if self._loop is not None:
            self._parent_loop, self._loop = weakref.ref(self._loop), None

    def _release(self, session: aiohttp.ClientSession) -> None:
        connector = session.connector
        session.detach()
        if connector is None or self._external is not None or self._loop is None or sys.is_finalizing():
            return
        if self._loop.is_running():
            asyncio.run_coroutine_threadsafe(_close(connector), self._loop)
        else:  # The loop has ended: nothing can be waited for, and the coroutine would leave a task in it.
            with suppress(RuntimeError):
                connector._close()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def _new_socket(sockets: "weakref.WeakSet[socket.socket]", address: tuple[Any, Any, Any, Any, Any]) -> socket.socket:
    """Create a socket for a connection, and remember it."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    sockets.add(made)
    return made


_inherited: Final[list[aiohttp.BaseConnector]] = []
"""Connectors of the parent process, kept so that they are not finalized in this one."""


def _redirect(sockets: list[socket.socket]) -> None:
    """Replace the descriptors of inherited sockets in this process, while their numbers stay taken."""
    numbers = [number for number in (each.fileno() for each in sockets) if number >= 0]
    if numbers:
        null = os.open(os.devnull, os.O_RDWR)
        for number in numbers:
            os.dup2(null, number, inheritable=False)
        os.close(null)


async def _read(response: aiohttp.ClientResponse, max_size: int) -> bytes | None:
    """Return the body of a response, read in pieces and decompressed, or ``None`` if it is larger than *max_size*."""
    content = response.content
    pieces = [await content.readany()]
    size = len(pieces[0])
    while not content.at_eof():
        if max(size, response.content_length or 0) > max_size:
            return None
        if size > SLICE:
            await asyncio.sleep(0)  # What is decompressed from data that has arrived comes without waiting.
        pieces.append(await content.readany())
        size += len(pieces[-1])
    if size > max_size:
        return None
    body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    for trace in response._traces:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        await trace.send_response_chunk_received(response.method, response.url, body)
    return body


def _too_large(max_size: int, what: str) -> NoResponse:
    return NoResponse("too_large", "maybe", f"the response {what}has more than {max_size} bytes")


def _chain(error: BaseException, end: BaseException | None = None) -> list[BaseException]:
    """Return an exception with its causes and contexts, up to *end*."""
    found: list[BaseException] = []
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is not None and one is not end and one not in found:
            found.append(one)
            left += [one.__cause__, one.__context__]
    return found


def _cut(error: BaseException, handled: BaseException | None) -> None:
    """Remove the traceback of an exception and its contexts, except that of *handled*, which is the caller's."""
    for one in _chain(error, handled):
        one.__traceback__ = None


def _has_cause(error: BaseException, cause: type[Exception]) -> bool:
    return any(isinstance(one, cause) for one in _chain(error))


async def _close(connector: aiohttp.BaseConnector) -> None:
    await connector.close()


@lru_cache
def _timeout(timeouts: Timeouts) -> aiohttp.ClientTimeout:
    def limit(seconds: float | None) -> float | None:
        return None if seconds is None or math.isinf(seconds) else seconds

    return aiohttp.ClientTimeout(
        total=limit(timeouts.total), sock_connect=limit(timeouts.connect), sock_read=limit(timeouts.read)
    )
