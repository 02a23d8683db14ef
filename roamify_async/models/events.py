"""Events of an eSIM: downloaded, installed, activated and so on."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import attrs

from roamify_async._serde.fields import HINT, State
from roamify_async._validation import exactly_one

from ._value import Value


class EventStatus(State):
    """State that an event reports. Unknown values are kept as they are."""

    NEW = "NEW"
    DOWNLOADED = "DOWNLOADED"
    INSTALLED = "INSTALLED"
    ACTIVATED = "ACTIVATED"
    INACTIVE = "INACTIVE"
    DELETED = "DELETED"
    UNKNOWN = "UNKNOWN"
    """The response contains no state."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class GetEvents(Value):
    """Return the events of an eSIM, by its ICCID, its id or the reference of its order.

    If the server does not know the documented path, the path documented in 2025 (``/api/esim/events``) is requested.
    The response for an order with several eSIMs is not documented: an array of such responses is joined to one, whose
    events contain the ICCID of their eSIM.

    Args:
        iccid: The ICCID. Pass exactly one of the three.
        esim_id: The id of the eSIM.
        reference_id: The reference of the order.

    See: https://docs.getroamify.com/esims/events/
    """

    iccid: str | None = None
    esim_id: str | None = None
    reference_id: str | None = None

    def __attrs_post_init__(self) -> None:
        """Check that exactly one argument is given."""
        exactly_one(self)


@attrs.define(kw_only=True, eq=False, repr=False)
class EsimEvent(Value):
    """An event of an eSIM."""

    iccid: str | None = None
    eid: str | None = None
    """Identifier of the device (EID); ``None`` before the profile is downloaded."""
    status: EventStatus = EventStatus.UNKNOWN
    time_stamp: datetime | None = attrs.field(default=None, metadata=HINT)
    """When it happened; ``None`` if it cannot be decoded."""
    date_time: datetime | None = attrs.field(default=None, metadata=HINT)
    """The same time; ``None`` if it cannot be decoded. The API sends it as text without a time zone, taken as UTC."""


@attrs.define(kw_only=True, eq=False, repr=False)
class EsimEvents(Value):
    """The events of an eSIM, or of all eSIMs of an order."""

    iccid: str | None = None
    """``None`` for several eSIMs; each event contains an ICCID."""
    esim_id: str | None = None
    reference_id: str | None = None
    events: tuple[EsimEvent, ...] = ()
    """In the server's order; oldest first in the documented example."""
    locations: tuple[Any, ...] = ()
    """Parsed JSON; the content is not documented."""

    @classmethod
    def joined(cls, parts: "Iterable[EsimEvents]") -> "EsimEvents":
        """Join the events of several eSIMs."""
        parts = tuple(parts)

        def common(name: str) -> str | None:
            values = {getattr(part, name) for part in parts}
            return values.pop() if len(values) == 1 else None

        events = (attrs.evolve(event, iccid=event.iccid or part.iccid) for part in parts for event in part.events)
        return cls(
            iccid=common("iccid"),
            esim_id=common("esim_id"),
            reference_id=common("reference_id"),
            events=tuple(events),
            locations=tuple(location for part in parts for location in part.locations),
        )
