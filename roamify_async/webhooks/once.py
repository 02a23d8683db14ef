"""Handle each event once, although it may be delivered several times."""

from collections import OrderedDict
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from threading import Lock
from typing import Literal, Protocol

import anyio
from anyio import to_thread

from .events import WebhookEvent

Claim = Literal["new", "busy", "done"]
"""What a store says of a key: yours to handle, being handled elsewhere, or handled before."""


class Store(Protocol):
    """Remembers which events were handled, by their ``key``; its methods are called from several threads.

    A store that outlives the process, or is shared by several, lets a claim lapse that was neither finished nor
    released for a while: whoever held it may have died.
    """

    def claim(self, key: str) -> Claim:
        """Take a key that nobody holds and that is not done, in one step, and say ``"new"``; else say what it is."""
        ...

    def finish(self, key: str) -> None:
        """Note that it is done."""
        ...

    def release(self, key: str) -> None:
        """Let go of it, for the handler failed: the next delivery is handled."""
        ...


class MemoryStore:
    """Remembers the latest keys, in one process, until it ends."""

    def __init__(self, size: int = 10_000) -> None:
        self._size = size
        self._known: OrderedDict[str, Claim] = OrderedDict()
        self._lock = Lock()

    def __repr__(self) -> str:
        """Show how many keys are known, of how many there is room for."""
        return f"MemoryStore({len(self._known)} of {self._size})"

    def claim(self, key: str) -> Claim:
        """Take a key that is not known; the oldest key makes room for it."""
        with self._lock:
            known = self._known.get(key, "new")
            if known == "new":
                self._known[key] = "busy"
                while len(self._known) > self._size:
                    self._known.popitem(last=False)
            return known

    def finish(self, key: str) -> None:
        """Note that it is done."""
        with self._lock:
            self._known[key] = "done"

    def release(self, key: str) -> None:
        """Forget it."""
        with self._lock:
            self._known.pop(key, None)


@contextmanager
def once(event: WebhookEvent, store: Store) -> Generator[Claim, None, None]:
    """Claim an event for a ``with`` block, and mark it done when the block ends without an exception.

    Gives ``"new"`` where the block is to handle it; ``"busy"`` where another one does so now, which may still fail: ask
    for another delivery; ``"done"`` where that is over.
    """
    claim = store.claim(event.key)
    if claim != "new":
        yield claim
        return
    try:
        yield claim
    except BaseException:
        store.release(event.key)
        raise
    store.finish(event.key)


@asynccontextmanager
async def once_awaited(event: WebhookEvent, store: Store) -> AsyncGenerator[Claim, None]:
    """Do as ``once`` does, in an ``async with`` block; the store is called in a thread."""
    claim = await to_thread.run_sync(store.claim, event.key)
    if claim != "new":
        yield claim
        return
    end = store.release
    try:
        yield claim
        end = store.finish
    finally:
        # Also when cancelled: an event that stays claimed would never be handled.
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(end, event.key)
