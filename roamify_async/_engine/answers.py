"""Answers as they came over the wire, for those who want to see them beside the values that are made of them."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

import attrs

from .wire import HttpRequest, HttpResponse

UNSHOWN: Final = frozenset({"set-cookie", "set-cookie2"})
"""Headers that are left out: a gateway's cookie is as good as a key to it."""


@attrs.frozen
class RawAnswer:
    """One answer of the server, to one try of a call."""

    method: str
    path: str
    """Path of the request, without the query."""
    query: str
    """Query of the request, percent-encoded."""
    status: int
    headers: Mapping[str, str]
    """Header names in lower case; cookies are left out."""
    request_id: str | None
    """The server's own name for the request, for its support."""
    body: bytes

    @property
    def text(self) -> str:
        """The body as text; what is not UTF-8 is replaced."""
        return self.body.decode("utf-8", "replace")

    def __repr__(self) -> str:
        """Show what it answers, and how long it is."""
        return f"<RawAnswer {self.method} {self.path}: {self.status}, {len(self.body)} bytes>"


@attrs.define(eq=False)
class _Listener:
    """One block that listens, and whether it still does."""

    heard: list[RawAnswer] = attrs.field(factory=list[RawAnswer])
    is_over: bool = False


_listeners: ContextVar[tuple[_Listener, ...]] = ContextVar("raw_answers", default=())


@contextmanager
def raw_answers() -> Generator[list[RawAnswer], None, None]:
    """Collect every answer that comes to calls of this block, of any client, as it came over the wire.

    Each try that was answered counts, refusals too, in the order in which the answers came; a try to which none came
    leaves nothing. Tasks that are started in the block are listened to until it ends; other threads are not.
    """
    listener = _Listener()
    before = _listeners.set((*_listeners.get(), listener))
    try:
        yield listener.heard
    finally:
        listener.is_over = True
        _listeners.reset(before)


def hear(request: HttpRequest, response: HttpResponse, redact: Callable[[str], str]) -> None:
    """Give an answer to all who listen in this context."""
    listeners = _listeners.get()
    if not listeners:
        return
    answer = RawAnswer(
        request.method,
        redact(request.path),
        redact(request.query),
        response.status,
        {name: value for name, value in response.headers.items() if name not in UNSHOWN},
        response.request_id,
        response.body,
    )
    for listener in listeners:
        if not listener.is_over:
            listener.heard.append(answer)
