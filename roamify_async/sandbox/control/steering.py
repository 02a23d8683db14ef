"""The control plane's time, money and webhooks: what a test does to a sandbox that lives and tells of it."""

import json
from datetime import UTC, datetime
from typing import Final, cast

from roamify_async.sandbox import balance_alerts as funds, lifecycle as life, notifications as events
from roamify_async.sandbox.context import World
from roamify_async.sandbox.data.money import decimal
from roamify_async.sandbox.data.packages import Json
from roamify_async.sandbox.options import receiver
from roamify_async.sandbox.routes import catch_up
from roamify_async.sandbox.state.clock import span

from .given import only

_ORDER_STATES: Final = ("completed", "pending", "failed", "refunded")


def clock(world: World, given: Json) -> Json:
    """Tell the time of day in the sandbox, and how far it is ahead of this machine's."""
    only(given)
    now = world.now()
    shown = datetime.fromtimestamp(int(now), UTC).isoformat().replace("+00:00", "Z")
    return {"now": int(now), "time": shown, "ahead": int(world.store.ahead)}


def move_clock(world: World, given: Json) -> Json:
    """Move time forward."""
    only(given, "advance")
    advance(world, span(given.get("advance")))
    return clock(world, {})


def advance(world: World, seconds: float) -> None:
    """Move time forward: what was to be done late is done, eSIMs live, and the partner is told."""
    with world.store.advance(seconds) as since:
        catch_up(world)
        told = life.live(world, since)
    world.webhooks.send(*told)
    world.webhooks.look()


def fund(world: World, given: Json) -> Json:
    """Add to the balance."""
    only(given, "add")
    funds.add(world, given.get("add"))
    return {"balance": str(decimal(world.store.balance()))}


def webhooks(world: World, given: Json) -> Json:
    """List the last deliveries, oldest first."""
    only(given)
    return {"url": world.webhooks.url, "deliveries": [delivery.shown() for delivery in world.webhooks.recent()]}


def register(world: World, given: Json) -> Json:
    """Send events to a URL from now on."""
    only(given, "url")
    world.webhooks.url = receiver(given.get("url"))
    return {"url": world.webhooks.url}


def unregister(world: World, given: Json) -> Json:
    """Send nothing any more."""
    only(given)
    world.webhooks.stop()
    return webhooks(world, {})


def send(world: World, given: Json) -> Json:
    """Send an event again, byte for byte, or any event that a test makes up."""
    only(given, "id", "event")
    if world.webhooks.url is None:
        raise ValueError("there is no url to send to: POST one to /_sandbox/webhooks")
    id = given.get("id")
    if (id is None) == (given.get("event") is None):
        raise ValueError("exactly one of id, event must be given")
    if id is not None:
        found = [delivery for delivery in world.webhooks.recent() if delivery.id == id]
        if not found:
            raise ValueError(f"there is no delivery {id!r}")
        world.webhooks.send_body(found[0].event, found[0].body)
    else:
        world.webhooks.send(_event(given["event"]))
    return world.webhooks.recent()[-1].shown()


def affiliate(world: World, given: Json) -> Json:
    """Tell an affiliate of an order, the newest one unless another is named."""
    only(given, "orderId", "status")
    id, state = given.get("orderId"), given.get("status", "completed")
    if state not in _ORDER_STATES:
        raise ValueError(f"status must be one of {', '.join(_ORDER_STATES)}, not {state!r}")
    orders = world.store.orders(id=None if id is None else str(id), limit=1, hidden=True)
    if not orders:
        raise ValueError("no such order")
    return send(world, {"event": events.affiliate_order(world, orders[0], state)})


def _event(given: object) -> Json:
    event = cast("Json", given) if isinstance(given, dict) else {}
    names = ("event_category", "event_type")
    if not all(isinstance(event.get(name), str) for name in names):
        raise ValueError(f"event must be an object with texts as {' and '.join(names)}, not {json.dumps(given)}")
    return event
