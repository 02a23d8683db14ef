"""Receiver: verify, decode, deduplicate and acknowledge deliveries, independently of the web framework."""

import inspect
import json
import logging
import os
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, TypeGuard

import anyio
import attrs
from anyio import to_thread

from roamify_async._validation import positive, seconds, whole_number
from roamify_async.errors import WebhookError

from .decode import decode
from .dedupe import Claim, MemoryStore, Store, once, once_async
from .events import WebhookEvent
from .signature import Secret, Secrets, verify

log: logging.Logger = logging.getLogger("roamify_async")

Handler = Callable[[WebhookEvent], object]
"""Called with each event: an ``async def``, or a plain function, which runs in a thread."""
AsyncHandler = Callable[[WebhookEvent], Awaitable[object]]
"""A handler that is an ``async def``."""


@attrs.frozen
class Response:
    """HTTP response to a delivery."""

    status: int
    """HTTP status; Roamify retries the delivery unless it is 200."""
    message: str
    """Reason in a word or two, part of the body."""

    @property
    def body(self) -> bytes:
        """Body of the response: JSON, ``{"code": 200, "status": "success"}``."""
        return json.dumps({"code": self.status, "status": self.message}).encode()


ACKNOWLEDGED: Final = Response(HTTPStatus.OK, "success")
UNREADABLE: Final = Response(HTTPStatus.BAD_REQUEST, "unreadable")
BAD_SIGNATURE: Final = Response(HTTPStatus.UNAUTHORIZED, "bad signature")
METHOD_NOT_ALLOWED: Final = Response(HTTPStatus.METHOD_NOT_ALLOWED, "POST only")
IN_PROGRESS: Final = Response(HTTPStatus.CONFLICT, "in progress")
TOO_LARGE: Final = Response(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too large")
FAILED: Final = Response(HTTPStatus.INTERNAL_SERVER_ERROR, "failed")

RESPONSES: Final[dict[Claim, Response]] = {"new": ACKNOWLEDGED, "busy": IN_PROGRESS, "done": ACKNOWLEDGED}


def _secrets(secret: Secret | None) -> Secrets:
    return Secrets.of(os.environ.get("ROAMIFY_WEBHOOK_SECRET", "").strip() if secret is None else secret)


@attrs.frozen
class Receiver:
    """Calls a handler once for each event and returns the HTTP response to each delivery.

    ======  =================================================================================================
    200     the handler returned, now or at an earlier delivery of the event
    400     the signature is right, but the body cannot be decoded
    401     the signature is missing or wrong
    409     another delivery of the event is being handled; Roamify retries and receives its outcome
    413     the body is larger than the limit
    500     the handler raised an exception or missed the deadline; the event is handled at the next delivery
    ======  =================================================================================================

    An ``async def`` handler is cancelled at the deadline. A plain function cannot be cancelled: it continues in its
    thread, and the event is marked as handled when it returns.

    Raises ``ConfigurationError`` if no secret is passed or set in the environment.

    See: https://docs.getroamify.com/webhooks/verification/
    """

    handler: Handler = attrs.field(validator=attrs.validators.is_callable())
    """Called with each event: an ``async def``, or a plain function, which runs in a thread."""
    secret: Secrets = attrs.field(default=None, converter=_secrets, repr=False)
    """One secret, or several during a rotation; by default the value of ``ROAMIFY_WEBHOOK_SECRET``."""
    store: Store = attrs.field(factory=MemoryStore, kw_only=True)
    """Where the keys of handled events are kept; by default in memory."""
    deadline: float = attrs.field(default=2.5, converter=seconds, validator=positive, kw_only=True)
    """Seconds, as a number or a ``timedelta``, after which the response is 500. Roamify waits 3 seconds."""
    limit: int = attrs.field(default=2**20, validator=whole_number, kw_only=True)
    """Maximum size of a body in bytes."""

    async def receive(self, body: bytes, signature: str | None) -> Response:
        """Process a delivery and return the response to it.

        Args:
            body: The raw bytes of the request.
            signature: The value of the ``X-Roamify-Signature`` header, or ``None`` if the header is missing.

        Raises:
            TypeError: *body* is not bytes.

        See: https://docs.getroamify.com/webhooks/verification/
        """
        if len(body) > self.limit:
            return TOO_LARGE
        try:
            verify(body, signature, self.secret)
        except WebhookError as error:
            log.warning("webhook rejected: %s", error)
            return BAD_SIGNATURE
        try:
            event = decode(body)
        except WebhookError as error:
            log.warning("webhook rejected: %s", error)
            return UNREADABLE
        with anyio.move_on_after(self.deadline):
            return await self._handle(event)
        log.error("webhook handler did not finish event %s within %g s", event.key, self.deadline)
        return FAILED

    def receive_blocking(self, body: bytes, signature: str | None) -> Response:
        """Process a delivery and return the response to it, without a running event loop, as in Flask or Django.

        An ``async def`` handler runs in a new event loop. Parameters and errors are those of ``receive``.
        """
        return anyio.run(self.receive, body, signature)

    async def _handle(self, event: WebhookEvent) -> Response:
        if _is_async(self.handler):
            return await self._handle_async(self.handler, event)
        return await to_thread.run_sync(self._handle_blocking, event, abandon_on_cancel=True)

    async def _handle_async(self, handler: AsyncHandler, event: WebhookEvent) -> Response:
        try:
            async with once_async(event, self.store) as claim:
                if claim == "new":
                    await handler(event)
        except Exception:
            log.exception("webhook handler failed for event %s", event.key)
            return FAILED
        return RESPONSES[claim]

    def _handle_blocking(self, event: WebhookEvent) -> Response:
        try:
            with once(event, self.store) as claim:
                if claim == "new":
                    _reject_awaitable(self.handler(event))
        except Exception:
            log.exception("webhook handler failed for event %s", event.key)
            return FAILED
        return RESPONSES[claim]


def _is_async(handler: Handler) -> TypeGuard[AsyncHandler]:
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(type(handler).__call__)


def _reject_awaitable(result: object) -> None:
    """Raise ``TypeError`` if a plain handler returned an awaitable, which nobody would await."""
    if inspect.iscoroutine(result):
        result.close()
    if inspect.isawaitable(result):
        raise TypeError("the webhook handler returned an awaitable but is not an async def: make it an async def")
