"""HTTP messages as plain values, independent of an HTTP library."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal, Protocol

import attrs

from roamify_async.errors import Sent


@attrs.frozen
class HttpRequest:
    """A request, without host, token and user agent, which the transport adds."""

    method: str
    path: str
    """Percent-encoded path below the base URL, without the query."""
    query: str = ""
    """Percent-encoded query, without the question mark."""
    body: bytes | None = attrs.field(default=None, repr=False)
    """JSON; ``None`` for a request without a body."""
    etag: str | None = attrs.field(default=None, repr=False)
    """ETag of the version that the client has. The server may respond with a 304 if it is the current one."""


@attrs.frozen
class HttpResponse:
    """A complete response."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    """Headers with names in lower case."""
    body: bytes = attrs.field(repr=False)

    @property
    def text(self) -> str:
        """The body as text; bytes that are not UTF-8 are replaced."""
        return self.body.decode("utf-8", "replace")

    @property
    def request_id(self) -> str | None:
        """Identifier that the server or its gateway assigned to the request."""
        return self.headers.get("x-request-id") or self.headers.get("cf-ray")

    @property
    def etag(self) -> str | None:
        """The ETag, unless it is not as RFC 9110 describes it."""
        etag = self.headers.get("etag", "")
        return etag if re.fullmatch(r'(W/)?"[!#-~]{1,200}"', etag) else None

    def retry_after(self, now: datetime | None = None) -> float | None:
        """Return the seconds of ``Retry-After``, in either of its forms (RFC 9110, section 10.2.3), or ``None``.

        A date is compared with the ``Date`` of the response, since clocks differ, and with *now* if there is none.
        """
        value = self.headers.get("retry-after", "").strip()
        if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value):
            return float(value)
        at = parse_http_date(value)
        if at is None:
            return None
        sent = parse_http_date(self.headers.get("date", "")) or now or datetime.now(UTC)
        return max(0.0, (at - sent).total_seconds())


def parse_http_date(text: str) -> datetime | None:
    """Return the time of an HTTP header in UTC, or ``None`` if it cannot be parsed."""
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):  # The parser raises various exceptions.
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


@attrs.frozen
class NoResponse:
    """A failed attempt: no complete response was received."""

    failure: Literal["connect", "lost", "timeout", "too_large", "coding"]
    """``"too_large"`` and ``"coding"``: a response came, but is too large, or compressed in an unknown coding."""
    sent: Sent
    """``"no"`` only if it is certain that not one byte of the body had left."""
    reason: str
    """Description by the HTTP library."""


AttemptResult = HttpResponse | NoResponse
"""Result of one attempt to send a request."""


class SendGuard(Protocol):
    """Decides right before each send whether a request may be sent."""

    async def ready(self) -> None:
        """Wait until the request may be sent. Raises ``RoamifyError`` if it may not."""
        ...

    def check(self) -> None:
        """Raise an exception if the first byte must not leave now."""
        ...

    async def throttle(self, seconds: float | None) -> None:
        """Learn that the server was too busy, and asked to wait for some seconds."""
        ...


@attrs.define
class SendState:
    """Tracks whether the request body may have left, across retries and cancellation."""

    first_sent_at: datetime | None = None
    """When the first byte of the body may have left; ``None`` if it has not."""
    resent: bool = False
    """Whether the request was sent again after a look-up found nothing. It may then be booked twice."""
    looked_first: bool = True
    """Whether the reference was new, or was looked up before sending, so that no older purchase can have it."""
    guard: SendGuard | None = attrs.field(default=None, repr=False, eq=False)
    """Who may refuse each send, up to its first byte."""

    def mark_sent(self) -> None:
        """Record that the first byte is about to leave, if the guard allows it."""
        if self.guard is not None:
            self.guard.check()
        if self.first_sent_at is None:
            self.first_sent_at = datetime.now(UTC)
