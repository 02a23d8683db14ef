"""Type-checked and never run: the types of webhooks."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, assert_type

from aiohttp import web

from roamify_async.webhooks import (
    AsgiApp,
    BalanceEvent,
    EsimUsageEvent,
    MemoryStore,
    NotifiedStatus,
    Receiver,
    RefundEvent,
    WebhookEvent,
    aiohttp_handler,
    once,
    parse,
    sign,
    verify,
)


def reading(body: bytes, signature: str | None) -> None:
    """Events are distinguished by class, and their fields are typed."""
    assert_type(verify(body, signature, "secret"), None)
    assert_type(sign(body, "secret"), str)
    event = parse(body, signature, ["new", "old"])
    assert_type(event, WebhookEvent)
    assert_type(event.data, Mapping[str, Any])
    match event:
        case EsimUsageEvent(status=status, usage_data=left, start=start):
            assert_type(status, NotifiedStatus)
            assert_type(left.remaining_data, Decimal | None)
            assert_type(start, datetime | None)
        case BalanceEvent(balance=balance):
            assert_type(balance, Decimal)
        case RefundEvent(event_id=event_id):
            assert_type(event_id, str | None)
        case _:
            pass


async def awaited(event: WebhookEvent) -> None:
    """Handle an event."""


def plain(event: WebhookEvent) -> int:
    """Handle an event, and return a value that is ignored."""
    return len(event.key)


async def receiving(event: WebhookEvent, app: web.Application) -> None:
    """Both kinds of handlers and servers are accepted."""
    store = MemoryStore(size=10)
    receiver = Receiver(awaited, "secret", store=store, deadline=1)
    app.router.add_post("/roamify", aiohttp_handler(Receiver(plain, ("a", "b"))))
    AsgiApp(receiver)
    assert_type((await receiver.receive(b"", None)).status, int)
    with once(event, store) as claim:
        assert claim in {"new", "busy", "done"}
