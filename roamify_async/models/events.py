"""Events in the life of an eSIM on its device."""

from datetime import datetime
from typing import Any

import attrs

from roamify_async._validation import exactly_one

from ._fields import State


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
