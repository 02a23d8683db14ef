"""What becomes of eSIMs as time goes by: they are installed, used and expire, and the partner is told of it.

Undocumented, all of it but when the partner is told: a sandbox's customers install an eSIM an hour after it was
applied, or on its start date, use it from an hour later on, and have used it up after four fifths of its days.
"""

import heapq
from calendar import timegm
from collections.abc import Iterator
from datetime import date
from operator import itemgetter
from typing import Final

from . import notifications as events
from .context import World, known
from .data.packages import Json
from .data.plans import UNLIMITED
from .http.serializers import usage as usage_view
from .state.records import Esim

_HOUR: Final = 3_600
_DAY: Final = 86_400
_REPORTED: Final = 4  # hours from one report of the usage to the next
_MARKS: Final = (25, 50, 75, 90, 100)  # percent of the data, reported when they are reached
_UNLIMITED_DAILY: Final = 1_024  # megabytes
_TOLD: Final = {
    "INSTALLED": ("INSTALLED",),
    "ACTIVATED": ("ACTIVATED",),
    "INACTIVE": ("EXPIRED",),
    "DELETED": ("REVOKED", "DELETED"),
}

Told = tuple[float, Json]  # an event of the partner's, and when it happens


def move(world: World, esim: Esim, status: str, megabytes: int) -> list[Json]:
    """Move an applied eSIM to a status and let it use data now; give what the partner is told of it."""
    before, known_events = _used(world, esim), len(world.store.events(esim.id))
    world.store.move(esim, status, megabytes)
    moved = known(world.store.esim(id=esim.id, hidden=True))
    happened = world.store.events(esim.id)[known_events:]
    told = [events.status(world, moved, word) for event in happened for word in _TOLD.get(event.status, ())]
    reached = _checked(world, moved) and _reached(_allowed(world, moved), before, before + megabytes)
    return [*told, events.usage(world, moved)] if reached else told


def live(world: World, since: float) -> list[Json]:
    """Let every eSIM live from a moment on until now; give what the partner is told, in the order of time."""
    lives = [_life(world, esim, since) for esim in [*world.store.esims(hidden=True)][::-1] if esim.iccid]
    return [event for _, event in heapq.merge(*lives, key=itemgetter(0))]


def _life(world: World, esim: Esim, since: float) -> Iterator[Told]:
    until = world.now()
    if esim.status == "READY" and (at := _installed_at(esim, since)) <= until:
        yield from _moved(world, esim, at, "INSTALLED")
        esim = known(world.store.esim(id=esim.id, hidden=True))
    if esim.status != "INSTALLED":
        return
    ends = _ends(world, esim)
    used_from = _first_use(world, esim) or esim.started_at + _HOUR
    if since < used_from <= min(until, ends):
        yield from _moved(world, esim, used_from, "INSTALLED", megabytes=1)
    yield from _use(world, esim, used_from, since, min(until, ends))
    if ends <= until:
        yield from _moved(world, esim, max(since, ends), "EXPIRED")


def _use(world: World, esim: Esim, used_from: float, since: float, until: float) -> Iterator[Told]:
    """Let an eSIM use data hour by hour, counted from its first use on, whatever the steps in which time is moved."""
    allowed, used, checked = _allowed(world, esim), _used(world, esim), _checked(world, esim)
    days = sum(package.plan.days for package in world.bought(esim, hidden=True))
    first = max(0, int(since - used_from) // _HOUR) + 1
    for hour in range(first, int(until - used_from) // _HOUR + 1):
        grown = _by(hour, allowed, days) - _by(hour - 1, allowed, days)
        before, used = used, max(used, min(allowed, used + grown))
        at = used_from + hour * _HOUR
        told = world.webhooks.url and checked and (hour % _REPORTED == 0 or _reached(allowed, before, used))
        with world.store.at(at):
            if used > before:
                world.store.use(esim.id, used - before)
            event = events.usage(world, esim) if told else None
        if event:
            yield at, event


def _moved(world: World, esim: Esim, at: float, status: str, megabytes: int = 0) -> list[Told]:
    with world.store.at(at):
        return [(at, event) for event in move(world, esim, status, megabytes)]


def _installed_at(esim: Esim, since: float) -> float:
    travel = timegm(date.fromisoformat(esim.start_date).timetuple()) if esim.start_date else 0
    return max(esim.updated_at + _HOUR, travel, since)


def _first_use(world: World, esim: Esim) -> int | None:
    return next((event.at for event in world.store.events(esim.id) if event.status == "ACTIVATED"), None)


def _ends(world: World, esim: Esim) -> int:
    return int(usage_view(esim, world.bought(esim, hidden=True), ())["expiredAt"])


def _allowed(world: World, esim: Esim) -> int:
    return int(usage_view(esim, world.bought(esim, hidden=True), ())["allowedData"])


def _used(world: World, esim: Esim) -> int:
    return sum(day.megabytes for day in world.store.usages(esim.id))


def _checked(world: World, esim: Esim) -> bool:
    """Whether anybody knows its usage."""
    return world.catalogue.packages[esim.package_id].usage_check


def _by(hour: int, allowed: int, days: int) -> int:
    """Tell the megabytes that are used by that hour after the first use."""
    if allowed == UNLIMITED:
        return hour * _UNLIMITED_DAILY // 24
    return allowed * hour * 5 // (days * 24 * 4)


def _reached(allowed: int, before: int, after: int) -> bool:
    return allowed != UNLIMITED and any(before * 100 < mark * allowed <= after * 100 for mark in _MARKS)
