"""What happened to an eSIM on its device."""

from datetime import datetime
from typing import Any, Final

import attrs

from roamify_async._engine.codec import parse
from roamify_async._engine.facade import MAYBE_DATA, Endpoint, Engine
from roamify_async._engine.readers import State
from roamify_async.errors import NotFoundError, RoamifyError

from .values import exactly_one


class EventStatus(State):
    """What an event tells; the set is open."""

    NEW = "NEW"
    DOWNLOADED = "DOWNLOADED"
    INSTALLED = "INSTALLED"
    ACTIVATED = "ACTIVATED"
    INACTIVE = "INACTIVE"
    DELETED = "DELETED"
    UNKNOWN = "UNKNOWN"
    """The server did not say."""


@attrs.frozen(kw_only=True)
class GetEvents:
    """Get what happened to an eSIM, by its ICCID, its id or the reference of its order; ``/esims/events``.

    Where the server does not know the path of today's documentation, that of 2025 is asked. What the API answers for
    an order of several eSIMs is not documented; each event names its own.
    """

    iccid: str | None = None
    esim_id: str | None = None
    reference_id: str | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse none and several."""
        exactly_one(self)


@attrs.define(kw_only=True)
class EsimEvent:
    """One thing that happened."""

    iccid: str | None = None
    eid: str | None = None
    """The device's own number; ``None`` before it downloads the profile."""
    status: EventStatus = EventStatus.UNKNOWN
    time_stamp: datetime | None = None
    date_time: datetime | None = None
    """The same moment; the API sends it as text without a zone, which is read as UTC."""


@attrs.define(kw_only=True)
class EsimEvents:
    """What happened to an eSIM."""

    iccid: str | None = None
    esim_id: str | None = None
    reference_id: str | None = None
    events: tuple[EsimEvent, ...] = ()
    """In the server's order, which is oldest first in its example."""
    locations: tuple[Any, ...] = ()
    """As parsed JSON: what stands in it is not documented."""


EVENTS_OF_2025: Final = Endpoint("GET", "/api/esim/events", GetEvents, EsimEvents, answer=MAYBE_DATA)
"""The path that older pages name."""


async def _ask_elsewhere(engine: Engine, request: GetEvents, failure: RoamifyError) -> EsimEvents:
    """Ask the other path, where the 404 is that of a server which does not know this one."""
    if not isinstance(failure, NotFoundError) or _is_of_the_api(failure.body):
        raise failure
    try:
        return await engine.send(EVENTS_OF_2025, request)
    except NotFoundError as other:
        raise other if _is_of_the_api(other.body) else failure from None


def _is_of_the_api(body: str) -> bool:
    try:
        return isinstance(parse(body.encode()), dict)
    except ValueError:
        return False


GET_EVENTS: Final = Endpoint("GET", "/api/esim/event", GetEvents, EsimEvents, answer=MAYBE_DATA, recover=_ask_elsewhere)
"""The row of ``esims.events``."""
