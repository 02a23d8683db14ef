"""The only file of the client that knows aiohttp: one request out, one whole answer or a reason in.

No exception of the network library leaves it. Failures come back as values, so that no traceback of ours runs through
frames that hold the Authorization header.
"""

import asyncio
import math
import os
import platform
import sys
import warnings
import weakref
from collections.abc import Coroutine
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp import ClientSession as ClientSession  # noqa: PLC0414 -- for the clients, whose checkers ask for it
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from roamify_async._version import __version__
from roamify_async.errors import ConfigurationError
from roamify_async.settings import Settings, Timeouts

from .access import SHORTEST_SECRET, Access
from .crowd import Queue
from .wire import HttpRequest, HttpResponse, NoResponse, Outcome, Trail

T = TypeVar("T")

AGENT: Final = f"roamify-async/{__version__} python/{platform.python_version()} aiohttp/{aiohttp.__version__}"


NEVER_SENT: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)
"""Exceptions that come before a request without a body leaves."""


LONGEST_REASON: Final = 500
"""Characters of a reason that are kept: some quote what came over the wire."""


class MarkedPayload(aiohttp.BytesPayload):
    """A body that notes the moment before its first byte is written.

    The class of an exception does not tell whether a request had left: a time-out in the queue of a connection pool
    looks like one that waits for the answer.
    """

    def __init__(self, body: bytes, trail: Trail) -> None:
        super().__init__(body, content_type="application/json")
        self.has_left = False
        self._trail = trail

    def _leave(self) -> None:
        self.has_left = True
        self._trail.leave()

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write all of it."""
        self._leave()
        await super().write(writer)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write so much of it."""
        self._leave()
        await super().write_with_length(writer, content_length)


class Transport:
    """Connections to one host, made at first use, in the event loop that uses them first."""

    def __init__(
        self,
        access: Access,
        settings: Settings,
        session: aiohttp.ClientSession | None = None,
        *,
        name: str = "the client",
    ) -> None:
        if session is not None and not isinstance(session, aiohttp.ClientSession):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"session must be an aiohttp.ClientSession, not {type(session).__name__}")
        self.access = access
        self.name = name
        self._settings = settings
        self._theirs = session
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = os.getpid()
        self._closed = False
        self._env_proxy: str | None = None
        self._headers: dict[str | None, dict[str, str]] = {}
        """Of every request, by the user agent that it names."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self.queue: Queue
        """Where requests wait for a place on the wire, before their clock starts; there once it is open."""

    @property
    def state(self) -> str:
        """``"new"``, ``"open"`` or ``"closed"``."""
        return "closed" if self._closed else "new" if self._loop is None else "open"

    def open(self) -> None:
        """Bind to the running event loop; does nothing where that is done.

        Raises ``ConfigurationError`` after close, after a fork, and in another loop than the first.
        """
        loop = asyncio.get_running_loop()
        if loop is self._loop and not self._closed and os.getpid() == self._pid:
            return
        if os.getpid() != self._pid:
            raise ConfigurationError(f"{self.name} was made before a fork: make one in each process")
        if self._closed:
            raise ConfigurationError(f"{self.name} is closed: make a new one")
        if self._loop is not None:
            raise ConfigurationError(
                f"{self.name} belongs to another event loop: make one in each loop (each asyncio.run)"
            )
        self._loop = loop
        self.queue = Queue(self._settings.concurrency, self._settings.rate)

    def _opened(self) -> aiohttp.ClientSession:
        self.open()
        if self._theirs is not None and self._theirs.closed:
            raise ConfigurationError("the session given to the client was closed")
        if self._session is None:
            self._session = self._new_session()
            _open_ones.add(self)
            if self._settings.trust_env or (self._theirs is not None and self._theirs.trust_env):
                self._env_proxy = _proxy_of_environment(self.access.base_url)
        return self._session

    def _new_session(self) -> aiohttp.ClientSession:
        """Make a session whose habits are known; of the caller's it takes the connections, headers and traces only."""
        theirs, settings = self._theirs, self._settings
        traces = cast("list[aiohttp.TraceConfig]", list(settings.trace_configs))
        if theirs is None:
            # The queue in front of the wire limits; a second limit here would let requests wait on the running clock.
            connector: aiohttp.BaseConnector = aiohttp.TCPConnector(limit=0, ssl=settings.ssl or True)
        else:
            connector = cast("aiohttp.BaseConnector", theirs.connector)
            traces += theirs.trace_configs
        session = aiohttp.ClientSession(
            connector=connector,
            connector_owner=theirs is None,
            headers=None if theirs is None else theirs.headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=traces,
        )
        # aiohttp sends a GET or PUT once more by itself on a dead connection; what is sent again is decided elsewhere.
        if hasattr(session, "_retry_connection"):
            session._retry_connection = False  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        return session

    async def send(
        self,
        request: HttpRequest,
        timeouts: Timeouts,
        *,
        agent: str | None = None,
        proxy: str | None = None,
        trail: Trail | None = None,
    ) -> Outcome:
        """Send one request once and read its whole answer."""
        session = self._opened()
        payload = None
        try:
            payload = None if request.body is None else MarkedPayload(request.body, trail or Trail())
            async with session.request(
                request.method,
                URL(f"{self.access.base_url}{request.path}{'?' * bool(request.query)}{request.query}", encoded=True),
                data=payload,
                headers=self._headers.get(agent) or self._headers_of(agent),
                timeout=_timeout(timeouts),
                allow_redirects=False,
                raise_for_status=False,
                proxy=proxy or self._env_proxy,
                ssl=self._settings.ssl or True,
            ) as response:
                body = await response.read()
                redact = self.access.redact
                headers = {name.lower(): redact(value) for name, value in response.headers.items()}
                return HttpResponse(response.status, headers, self._redacted(body))
        except Exception as error:  # noqa: BLE001 -- aiohttp raises from several families, and not one may pass
            return self._failure(error, payload, session, proxy or self._env_proxy)

    def _headers_of(self, agent: str | None) -> dict[str, str]:
        headers = {
            "Authorization": f"Bearer {self.access.token}",
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": agent or AGENT,
        }
        return self._headers.setdefault(agent, headers)

    def _redacted(self, body: bytes) -> bytes:
        token = self.access.token.encode()
        return body.replace(token, b"***") if len(token) >= SHORTEST_SECRET else body

    def _failure(
        self, error: Exception, payload: MarkedPayload | None, session: aiohttp.ClientSession, proxy: str | None
    ) -> NoResponse:
        has_left = not isinstance(error, NEVER_SENT) if payload is None else payload.has_left
        reason = "the client was closed" if session.closed else f"{type(error).__name__}: {error}".removesuffix(": ")
        if proxy:
            reason = reason.replace(proxy, "the proxy")  # it may hold a password, where no pattern would find it
        return NoResponse(
            "timeout" if isinstance(error, TimeoutError) else "lost" if has_left else "connect",
            "maybe" if has_left else "no",
            self.access.redact(reason)[:LONGEST_REASON],
        )

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start work beside its caller that ends with the client at the latest."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def aclose(self) -> None:
        """Close the connections; what is in flight ends with an error. Closing twice does nothing."""
        if os.getpid() != self._pid:
            return
        session, self._session, self._closed = self._session, None, True
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if session is not None:
            if self._theirs is None:
                await session.close()
            else:
                session.detach()

    def __del__(self) -> None:
        """Let go of the sockets where it was dropped open, and warn."""
        session: aiohttp.ClientSession | None = getattr(self, "_session", None)
        if session is None or session.closed:
            return
        self._let_go(session)
        warnings.warn(
            f"{self.name} was dropped unclosed: use it in a with block, or close it", ResourceWarning, 2, self
        )

    def disown(self) -> None:
        """Leave the connections to the process that this one was forked from.

        Closing them would take the parent's sockets out of the selector that both share; and whether this object or the
        connector is collected first, which closes them, is chance.
        """
        session, self._session = self._session, None
        if session is not None and session.connector is not None:
            if self._theirs is None:
                session.connector._closed = True  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            session.detach()

    def _let_go(self, session: aiohttp.ClientSession) -> None:
        connector = session.connector
        session.detach()
        if connector is None or self._theirs is not None or self._loop is None or sys.is_finalizing():
            return
        if self._loop.is_running():
            asyncio.run_coroutine_threadsafe(_closing(connector), self._loop)
        else:  # The loop is over: what it would have waited for has ended, and one step is all.
            closing = _closing(connector)
            with suppress(StopIteration, RuntimeError):
                closing.send(None)
            closing.close()


_open_ones: "weakref.WeakSet[Transport]" = weakref.WeakSet()


def _disown_all() -> None:
    for transport in [*_open_ones]:
        transport.disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)


async def _closing(connector: aiohttp.BaseConnector) -> None:
    await connector.close()


def _proxy_of_environment(url: str) -> str | None:
    """Give the proxy that the environment names for a URL; ``.netrc``, which aiohttp reads besides, has no say."""
    parts = urlsplit(url)
    if parts.hostname is None or proxy_bypass(parts.hostname):
        return None
    return getproxies().get(parts.scheme)


@lru_cache
def _timeout(timeouts: Timeouts) -> aiohttp.ClientTimeout:
    def limit(seconds: float | None) -> float | None:
        return None if seconds is None or math.isinf(seconds) else seconds

    return aiohttp.ClientTimeout(
        total=limit(timeouts.total), sock_connect=limit(timeouts.connect), sock_read=limit(timeouts.read)
    )
