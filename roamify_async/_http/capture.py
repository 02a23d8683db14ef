"""Capturing responses as they came over the wire, for inspection beside the values made of them."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

import attrs

from .messages import HttpRequest, HttpResponse

HIDDEN_HEADERS: Final = frozenset({"set-cookie", "set-cookie2"})
"""Headers that are left out: a gateway's cookie is a credential."""


@attrs.frozen
class RawResponse:
    """A response of the server to one attempt of a call."""

    method: str
    path: str
    """Path of the request, without the query."""
    query: str
    """Query of the request, percent-encoded."""
    status: int
    headers: Mapping[str, str]
    """Header names in lower case; cookies are left out."""
    request_id: str | None
    """Identifier that the server gave the request, for its support."""
    body: bytes

    @property
    def text(self) -> str:
        """The body as text; bytes that are not UTF-8 are replaced."""
        return self.body.decode("utf-8", "replace")

    def __repr__(self) -> str:
        """Show the request and the length of the body."""
        return f"<RawResponse {self.method} {self.path}: {self.status}, {len(self.body)} bytes>"


@attrs.define(eq=False)
class _Capture:
    """A block that captures responses."""

    responses: list[RawResponse] = attrs.field(factory=list[RawResponse])
    is_over: bool = False


_captures: ContextVar[tuple[_Capture, ...]] = ContextVar("captures", default=())


@contextmanager
def capture_responses() -> Generator[list[RawResponse], None, None]:
    """Collect every response to calls made in this block, by any client, as it came over the wire.

    Every attempt that was answered counts, errors included, in the order in which the responses came. Tasks started in
    the block are captured until it ends; other threads are not.
    """
    capture = _Capture()
    before = _captures.set((*_captures.get(), capture))
    try:
        yield capture.responses
    finally:
        capture.is_over = True
        _captures.reset(before)


def record(request: HttpRequest, response: HttpResponse, redact: Callable[[str], str]) -> None:
    """Add a response to all captures of this context."""
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
