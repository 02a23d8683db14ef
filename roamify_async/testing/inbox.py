"""A receiver of the sandbox's webhook events, for tests."""

import asyncio
import socketserver
import threading
import time
from collections.abc import Generator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Final, TypeVar, overload

import attrs

from roamify_async.errors import WebhookError
from roamify_async.sandbox import Sandbox
from roamify_async.webhooks import SIGNATURE_HEADER, WebhookEvent, parse

E = TypeVar("E", bound=WebhookEvent)

_POLL: Final = 0.01  # seconds in which the server ends


@attrs.frozen
class Delivery:
    """A delivery of an event, as Roamify sends it to a receiver."""

    event: WebhookEvent
    """The event."""
    body: bytes
    """The signed body."""
    headers: dict[str, str] = attrs.field(hash=False)
    """The headers with the signature and the content type."""


class WebhookInbox:
    """The webhook events that a sandbox has sent to this receiver.

    Pass ``body`` and ``headers`` of its ``deliveries`` to the receiver of your program to test that.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._deliveries: list[Delivery] = []
        self._waiters: list[tuple[int, type[WebhookEvent], Future[None]]] = []
        self._lock = threading.Lock()
        self.url: str = ""
        """The URL of this receiver."""

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        """The deliveries, oldest first."""
        with self._lock:
            return tuple(self._deliveries)

    @property
    def events(self) -> tuple[WebhookEvent, ...]:
        """The events, oldest first."""
        return tuple(delivery.event for delivery in self.deliveries)

    @overload
    def wait(self, count: int = 1, *, timeout: float = 10.0) -> tuple[WebhookEvent, ...]: ...
    @overload
    def wait(self, count: int = 1, *, kind: type[E], timeout: float = 10.0) -> tuple[E, ...]: ...
    def wait(
        self, count: int = 1, *, kind: type[WebhookEvent] = WebhookEvent, timeout: float = 10.0
    ) -> tuple[WebhookEvent, ...]:
        """Block until events have arrived, among them all that the sandbox has sent, and return them, oldest first.

        Args:
            count: Number of events to wait for; more may arrive.
            kind: Class of the events, such as ``EsimUsageEvent``; by default any.
            timeout: Seconds after which ``TimeoutError`` is raised.

        Raises:
            TimeoutError: Fewer events have arrived.
            RuntimeError: An event loop is running, which it would block: await ``arrived()`` there.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise RuntimeError("wait would block this event loop: await arrived() instead")
        future, deadline = self._expect(count, kind), time.monotonic() + timeout
        try:
            future.result(timeout)
        except TimeoutError:
            future.cancel()
            raise self._too_few(count, kind, timeout) from None
        self._sandbox.wait_delivered(max(0, deadline - time.monotonic()))
        return self._of(kind)

    @overload
    async def arrived(
        self,
        count: int = 1,
        *,
        timeout: float = 10.0,  # noqa: ASYNC109 -- the parameters are those of wait()
    ) -> tuple[WebhookEvent, ...]: ...
    @overload
    async def arrived(
        self,
        count: int = 1,
        *,
        kind: type[E],
        timeout: float = 10.0,  # noqa: ASYNC109
    ) -> tuple[E, ...]: ...
    async def arrived(
        self,
        count: int = 1,
        *,
        kind: type[WebhookEvent] = WebhookEvent,
        timeout: float = 10.0,  # noqa: ASYNC109
    ) -> tuple[WebhookEvent, ...]:
        """Wait until events have arrived, and return them. Parameters and errors are those of ``wait``."""
        try:
            async with asyncio.timeout(timeout):
                await asyncio.wrap_future(self._expect(count, kind))
                await self._sandbox.delivered()
        except TimeoutError:
            raise self._too_few(count, kind, timeout) from None
        return self._of(kind)

    def _of(self, kind: type[E]) -> tuple[E, ...]:
        return tuple(event for event in self.events if isinstance(event, kind))

    def _expect(self, count: int, kind: type[WebhookEvent]) -> "Future[None]":
        future: Future[None] = Future()
        with self._lock:
            self._waiters.append((count, kind, future))
            self._wake()
        return future

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for count, kind, future in waiters:
            if sum(isinstance(item.event, kind) for item in self._deliveries) < count:
                self._waiters.append((count, kind, future))
            elif future.set_running_or_notify_cancel():
                future.set_result(None)

    def _too_few(self, count: int, kind: type[WebhookEvent], timeout: float) -> TimeoutError:
        others = ", ".join(f"{event.category}.{event.type}" for event in self.events)
        return TimeoutError(
            f"received {len(self._of(kind))} of {count} events {kind.__name__} after {timeout} s; "
            f"all events: {others or 'none'}"
        )

    def receive(self, body: bytes, signature: str | None) -> HTTPStatus:
        """Keep a delivery if its signature is right, and return the status of the response."""
        try:
            event = parse(body, signature, self._sandbox.webhook_secret)
        except WebhookError:
            return HTTPStatus.UNAUTHORIZED
        headers = {SIGNATURE_HEADER: signature or "", "Content-Type": "application/json"}
        with self._lock:
            self._deliveries.append(Delivery(event, body, headers))
            self._wake()
        return HTTPStatus.OK

    @contextmanager
    def serving(self) -> "Generator[WebhookInbox, None, None]":
        """Receive events on a free port of this machine within the block."""
        with socketserver.TCPServer(("127.0.0.1", 0), partial(_Handler, self)) as server:
            self.url = f"http://127.0.0.1:{server.server_address[1]}/roamify"
            thread = threading.Thread(target=server.serve_forever, args=(_POLL,), name="roamify-webhooks", daemon=True)
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, inbox: WebhookInbox, *args: Any) -> None:  # those of socketserver
        self._inbox = inbox
        super().__init__(*args)

    def do_POST(self) -> None:
        """Receive one delivery."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(self._inbox.receive(body, self.headers.get(SIGNATURE_HEADER)))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing to the standard error of the tests."""
