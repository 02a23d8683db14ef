"""Handle each event once, although it may be delivered several times."""

import math
from collections import OrderedDict
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from threading import Lock, Thread
from time import monotonic
from typing import Literal, Protocol

import anyio
from anyio import to_thread

from .events import WebhookEvent

Claim = Literal["new", "busy", "done"]
"""What a store says of a key: yours to handle, being handled elsewhere, or handled before."""


class Store(Protocol):
    """Remembers which events were handled, by their ``key``; its methods are called from several threads.

    It lets a claim lapse that was neither finished nor released for a while: whoever held it may have died.
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

    def __init__(self, size: int = 10_000, *, lapse: float = 600) -> None:
        """Make room for so many keys; a claim that has not ended after *lapse* seconds counts for nothing."""
        self._size = size
        self._lapse = lapse
        self._done: OrderedDict[str, None] = OrderedDict()
        self._busy: dict[str, float] = {}
        self._lock = Lock()

    def __repr__(self) -> str:
        """Show how many keys are known, of how many there is room for."""
        return f"MemoryStore({len(self._done)} of {self._size})"

    def claim(self, key: str) -> Claim:
        """Take a key that is neither done nor held."""
        with self._lock:
            now = monotonic()
            if key in self._done:
                return "done"
            if now - self._busy.get(key, -math.inf) < self._lapse:
                return "busy"
            self._busy[key] = now
            return "new"

    def finish(self, key: str) -> None:
        """Note that it is done; the oldest key makes room for it."""
        with self._lock:
            self._busy.pop(key, None)
            self._done[key] = None
            while len(self._done) > self._size:
                self._done.popitem(last=False)

    def release(self, key: str) -> None:
        """Let go of it."""
        with self._lock:
            self._busy.pop(key, None)


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
    claim = await _claimed(event.key, store)
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


async def _claimed(key: str, store: Store) -> Claim:
    """Claim a key in a thread, which is left behind at the deadline, and where the task is cancelled.

    What it has claimed then is given back, or nobody would handle the event until the claim lapses.
    """
    lock, is_left = Lock(), False
    claims: list[Claim] = []

    def claim() -> Claim:
        found = store.claim(key)
        with lock:
            claims.append(found)
            is_unwanted = is_left and found == "new"
        if is_unwanted:
            store.release(key)
        return found

    try:
        return await to_thread.run_sync(claim, abandon_on_cancel=True)
    except BaseException:
        with lock:
            is_left = True
            is_unwanted = "new" in claims
        if is_unwanted:
            Thread(target=store.release, args=(key,), name="roamify_async webhook").start()
        raise
