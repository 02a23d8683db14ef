"""The lifecycle of eSIMs as the clock advances: installation, usage and expiry, with their webhook events.

Only the times of the events are documented. The rest is this sandbox's own model: an eSIM is installed an hour after it
was applied, or on its start date, is first used an hour later, and has used up its data after four fifths of its days.
"""

import heapq
from calendar import timegm
from collections.abc import Iterator
from datetime import date
from operator import itemgetter
from typing import Final

from .context import Context
from .data.encoding import Json
from .data.plans import UNLIMITED
from .http.serializers import usage as usage_json
from .notifications import esim_status, esim_usage
from .state.records import Esim

_HOUR: Final = 3_600
_DAY: Final = 86_400
_REPORT_INTERVAL: Final = 4  # hours between two usage events
_MARKS: Final = (25, 50, 75, 90, 100)  # percentages of the data at which a usage event is sent
_UNLIMITED_DAILY: Final = 1_024  # megabytes
_STATUS_EVENTS: Final = {
    "INSTALLED": ("INSTALLED",),
    "ACTIVATED": ("ACTIVATED",),
    "INACTIVE": ("EXPIRED",),
    "DELETED": ("REVOKED", "DELETED"),
}

TimedEvent = tuple[float, Json]
"""A webhook event and the time at which it happens."""


def move(context: Context, esim: Esim, status: str, megabytes: int) -> list[Json]:
    """Set the status of an applied eSIM and add data usage; return the webhook events of the change."""
    before, count = _used(context, esim), len(context.store.events(esim.id))
    context.store.move(esim, status, megabytes)
    moved = context.find_esim(id=esim.id, hidden=True)
    added = context.store.events(esim.id)[count:]
    events = [esim_status(context, moved, word) for event in added for word in _STATUS_EVENTS.get(event.status, ())]
    reached = _checked(context, moved) and _reached(_allowed(context, moved), before, before + megabytes)
    return [*events, esim_usage(context, moved)] if reached else events


def simulate(context: Context, since: float) -> list[Json]:
    """Simulate every eSIM from a point in time until now; return the webhook events in chronological order."""
    streams = [_simulate_one(context, esim, since) for esim in [*context.store.esims(hidden=True)][::-1] if esim.iccid]
    return [event for _, event in heapq.merge(*streams, key=itemgetter(0))]


def _simulate_one(context: Context, esim: Esim, since: float) -> Iterator[TimedEvent]:
    until = context.now()
    if esim.status == "READY" and (at := _installed_at(esim, since)) <= until:
        yield from _moved(context, esim, at, "INSTALLED")
        esim = context.find_esim(id=esim.id, hidden=True)
    if esim.status != "INSTALLED":
        return
    ends = _ends(context, esim)
    first_use = _first_use(context, esim) or esim.started_at + _HOUR
    if since < first_use <= min(until, ends):
        yield from _moved(context, esim, first_use, "INSTALLED", megabytes=1)
    yield from _use(context, esim, first_use, since, min(until, ends))
    if ends <= until:
        yield from _moved(context, esim, max(since, ends), "EXPIRED")


def _use(context: Context, esim: Esim, first_use: float, since: float, until: float) -> Iterator[TimedEvent]:
    """Add the usage of each full hour since the first use, independent of the steps in which the clock advances."""
    allowed, used, checked = _allowed(context, esim), _used(context, esim), _checked(context, esim)
    days = sum(package.plan.days for package in context.packages_of(esim, hidden=True))
    first = max(0, int(since - first_use) // _HOUR) + 1
    for hour in range(first, int(until - first_use) // _HOUR + 1):
        grown = _usage_by(hour, allowed, days) - _usage_by(hour - 1, allowed, days)
        before, used = used, max(used, min(allowed, used + grown))
        at = first_use + hour * _HOUR
        reported = (
            context.webhooks.url and checked and (hour % _REPORT_INTERVAL == 0 or _reached(allowed, before, used))
        )
        with context.store.at(at):
            if used > before:
                context.store.use(esim.id, used - before)
            event = esim_usage(context, esim) if reported else None
        if event:
            yield at, event


def _moved(context: Context, esim: Esim, at: float, status: str, megabytes: int = 0) -> list[TimedEvent]:
    with context.store.at(at):
        return [(at, event) for event in move(context, esim, status, megabytes)]


def _installed_at(esim: Esim, since: float) -> float:
    travel = timegm(date.fromisoformat(esim.start_date).timetuple()) if esim.start_date else 0
    return max(esim.updated_at + _HOUR, travel, since)


def _first_use(context: Context, esim: Esim) -> int | None:
    return next((event.at for event in context.store.events(esim.id) if event.status == "ACTIVATED"), None)


def _ends(context: Context, esim: Esim) -> int:
    return int(usage_json(esim, context.packages_of(esim, hidden=True), ())["expiredAt"])


def _allowed(context: Context, esim: Esim) -> int:
    return int(usage_json(esim, context.packages_of(esim, hidden=True), ())["allowedData"])


def _used(context: Context, esim: Esim) -> int:
    return sum(day.megabytes for day in context.store.usages(esim.id))


def _checked(context: Context, esim: Esim) -> bool:
    """Return whether its usage can be checked."""
    return context.catalogue.packages[esim.package_id].supports_usage_check


def _usage_by(hour: int, allowed: int, days: int) -> int:
    """Return the megabytes used in the first hours since the first use."""
    if allowed == UNLIMITED:
        return hour * _UNLIMITED_DAILY // 24
    return allowed * hour * 5 // (days * 24 * 4)


def _reached(allowed: int, before: int, after: int) -> bool:
    return allowed != UNLIMITED and any(before * 100 < mark * allowed <= after * 100 for mark in _MARKS)
