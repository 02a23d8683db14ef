"""What goes over the wire, as plain values that know no HTTP library."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

import attrs

from roamify_async.errors import Sent


@attrs.frozen
class HttpRequest:
    """One request, without what the client adds to each: host, token, agent."""

    method: str
    path: str
    """Path from the base URL on, percent-encoded, without the query."""
    query: str = ""
    """Percent-encoded query, without the question mark."""
    body: bytes | None = attrs.field(default=None, repr=False)
    """JSON, or ``None`` for a request without a body."""


@attrs.frozen
class HttpResponse:
    """One whole answer."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    """Header names in lower case."""
    body: bytes = attrs.field(repr=False)

    @property
    def text(self) -> str:
        """The body as text; what is not UTF-8 is replaced."""
        return self.body.decode("utf-8", "replace")

    @property
    def request_id(self) -> str | None:
        """The server's, or its gateway's, own name for the request."""
        return self.headers.get("x-request-id") or self.headers.get("cf-ray")

    def retry_after(self, now: datetime | None = None) -> float | None:
        """Seconds to wait before asking again, from ``Retry-After`` in either of its forms (RFC 9110, 10.2.3)."""
        value = self.headers.get("retry-after", "").strip()
        if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value):
            return float(value)
        try:
            at = parsedate_to_datetime(value)
        except (ValueError, TypeError, IndexError, OverflowError):  # what no date is, breaks the parser in many ways
            return None
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        return max(0.0, (at - (now or datetime.now(UTC))).total_seconds())


@attrs.frozen
class NoResponse:
    """What is known where no whole answer came."""

    failure: Literal["connect", "lost", "timeout"]
    sent: Sent
    """``"no"`` only where it is certain that not one byte of the body had left."""
    reason: str
    """What the network library says, in words."""


@attrs.define
class Trail:
    """How far a request got over all its tries, for those who are cut off before they are told."""

    first_left: datetime | None = None
    """When the first byte of its body may have left."""
    resent: bool = False
    """Whether it was sent again after it had been proven absent: then it may yet turn up twice."""

    def leave(self) -> None:
        """Note that bytes are about to leave."""
        if self.first_left is None:
            self.first_left = datetime.now(UTC)


Outcome = HttpResponse | NoResponse
"""What one try came to."""
