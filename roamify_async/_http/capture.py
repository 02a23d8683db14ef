"""Capturing raw responses, to inspect them beside the decoded values."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

import attrs

from .messages import HttpRequest, HttpResponse

HIDDEN_HEADERS: Final = frozenset({"set-cookie", "set-cookie2"})
"""Headers that are not captured, since the cookie of a gateway is a credential."""


@attrs.frozen
class RawResponse:
    """The raw response to one attempt of a call."""

    method: str
    path: str
    """Path of the request, without the query."""
    query: str
    """Query of the request, percent-encoded."""
    status: int
    """HTTP status."""
    headers: Mapping[str, str]
    """Headers with names in lower case, without cookies."""
    request_id: str | None
    """Identifier that the server assigned to the request, for Roamify's support."""
    body: bytes
    """Body after decompression, with the token replaced by ``***``."""

    @property
    def text(self) -> str:
        """The body as text; bytes that are not UTF-8 are replaced."""
        return self.body.decode("utf-8", "replace")

    def __repr__(self) -> str:
        """Return the request, the status and the length of the body."""
        return f"<RawResponse {self.method} {self.path}: {self.status}, {len(self.body)} bytes>"


@attrs.define(eq=False)
class _Capture:
    """The responses that a block captures."""

    responses: list[RawResponse] = attrs.field(factory=list[RawResponse])
    is_over: bool = False


_captures: ContextVar[tuple[_Capture, ...]] = ContextVar("captures", default=())


@contextmanager
def capture_responses() -> Generator[list[RawResponse], None, None]:
    """Collect the raw responses to all calls in a ``with`` block, of any client, in a list.

    The list contains a ``RawResponse`` for each attempt that received a response, including error responses, in the
    order of their arrival. Calls in tasks that are started in the block are captured until it ends; calls in other
    threads are not.
    """
    capture = _Capture()
    before = _captures.set((*_captures.get(), capture))
    try:
        yield capture.responses
    finally:
        capture.is_over = True
        _captures.reset(before)


def record(request: HttpRequest, response: HttpResponse, redact: Callable[[str], str]) -> None:
    """Add a response to all captures of the current context."""
    captures = _captures.get()
    if not captures:
        return
    raw = RawResponse(
        request.method,
        redact(request.path),
        redact(request.query),
        response.status,
        {name: value for name, value in response.headers.items() if name not in HIDDEN_HEADERS},
        response.request_id,
        response.body,
    )
    for capture in captures:
        if not capture.is_over:
            capture.responses.append(raw)
