"""What is done with each delivery, whatever the web framework: verify, read, handle once, answer in time."""

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

from roamify_async.errors import WebhookError
from roamify_async.settings import positive, seconds, whole

from .events import WebhookEvent
from .dedupe import Claim, MemoryStore, Store, once, once_awaited
from .decode import decode
from .signature import Keys, Secret, verify

log: logging.Logger = logging.getLogger("roamify_async")

Handler = Callable[[WebhookEvent], object]
"""Takes an event; an ``async def``, or a plain function, which runs in a thread."""
Awaited = Callable[[WebhookEvent], Awaitable[object]]
"""A handler that is an ``async def``."""


@attrs.frozen
class Answer:
    """What to answer a delivery with."""

    status: int
    """HTTP status; Roamify delivers again unless it is 200."""
    message: str

    @property
    def body(self) -> bytes:
        """JSON."""
        return json.dumps({"code": self.status, "status": self.message}).encode()


TOOK: Final = Answer(HTTPStatus.OK, "success")
UNREADABLE: Final = Answer(HTTPStatus.BAD_REQUEST, "unreadable")
FORGED: Final = Answer(HTTPStatus.UNAUTHORIZED, "bad signature")
NOT_POSTED: Final = Answer(HTTPStatus.METHOD_NOT_ALLOWED, "POST only")
BUSY: Final = Answer(HTTPStatus.CONFLICT, "in progress")
TOO_LARGE: Final = Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too large")
FAILED: Final = Answer(HTTPStatus.INTERNAL_SERVER_ERROR, "failed")

ANSWERS: Final[dict[Claim, Answer]] = {"new": TOOK, "busy": BUSY, "done": TOOK}


def _keys(secret: Secret | None) -> Keys:
    return Keys.of(os.environ.get("ROAMIFY_WEBHOOK_SECRET", "").strip() if secret is None else secret)


@attrs.frozen
class Receiver:
    """Hands each event to a handler, once, and says what to answer.

    ======  =================================================================================================
    200     the handler ended well, now or when the same event came before
    400     signed, and no event that can be read
    401     the signature is missing or wrong
    409     the same event is being handled at this moment; Roamify delivers again, and learns how it ended
    413     the body is over the limit
    500     the handler failed, or was not done in time: the event is not marked, and handled when it comes again
    ======  =================================================================================================

    An ``async def`` handler is cancelled at the deadline. A plain function cannot be: it goes on in its thread, and the
    event is marked once it has ended well.
    """

    handler: Handler = attrs.field(validator=attrs.validators.is_callable())
    secret: Keys = attrs.field(default=None, converter=_keys, repr=False)
    """One secret or several; by default that of ``ROAMIFY_WEBHOOK_SECRET``."""
    store: Store = attrs.field(factory=MemoryStore, kw_only=True)
    """Remembers what was handled."""
    deadline: float = attrs.field(default=2.5, converter=seconds, validator=positive, kw_only=True)
    """Seconds, as a number or a ``timedelta``, after which it answers 500. Roamify waits 3 s."""
    limit: int = attrs.field(default=2**20, validator=whole, kw_only=True)
    """Bytes that a body may have."""

    async def receive(self, body: bytes, signature: str | None) -> Answer:
        """Take a delivery: its raw body, and the ``X-Roamify-Signature`` header."""
        if len(body) > self.limit:
            return TOO_LARGE
        try:
            verify(body, signature, self.secret)
        except WebhookError as error:
            log.warning("a webhook was refused: %s", error)
            return FORGED
        try:
            event = decode(body)
        except WebhookError as error:
            log.warning("a webhook was refused: %s", error)
            return UNREADABLE
        with anyio.move_on_after(self.deadline):
            return await self._handled(event)
        log.error("the webhook handler was not done with %s after %g s", event.key, self.deadline)
        return FAILED

    def receive_blocking(self, body: bytes, signature: str | None) -> Answer:
        """Take a delivery where no event loop runs: in Flask, or a plain view of Django.

        An ``async def`` handler runs in an event loop of its own.
        """
        return anyio.run(self.receive, body, signature)

    async def _handled(self, event: WebhookEvent) -> Answer:
        if _is_async(self.handler):
            return await self._awaited(self.handler, event)
        return await to_thread.run_sync(self._called, event, abandon_on_cancel=True)

    async def _awaited(self, handler: Awaited, event: WebhookEvent) -> Answer:
        try:
            async with once_awaited(event, self.store) as claim:
                if claim == "new":
                    await handler(event)
        except Exception:
            log.exception("the webhook handler failed with %s", event.key)
            return FAILED
        return ANSWERS[claim]

    def _called(self, event: WebhookEvent) -> Answer:
        try:
            with once(event, self.store) as claim:
                if claim == "new":
                    _refuse_coroutine(self.handler(event))
        except Exception:
            log.exception("the webhook handler failed with %s", event.key)
            return FAILED
        return ANSWERS[claim]


def _is_async(handler: Handler) -> TypeGuard[Awaited]:
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(type(handler).__call__)


def _refuse_coroutine(given: object) -> None:
    """Raise where a plain function gave something to await: its work is not done, and nobody would do it."""
    if inspect.iscoroutine(given):
        given.close()
    if inspect.isawaitable(given):
        raise TypeError("the webhook handler is no async def, but gave something to await: make it an async def")
