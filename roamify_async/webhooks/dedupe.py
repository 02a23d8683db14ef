"""Deduplication: handle each event once, although it may be delivered several times."""

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
"""Outcome of claiming a key: the caller now holds it, another one holds it, or it was handled before."""


class Store(Protocol):
    """Storage of the keys of events that were handled; its methods are called from several threads.

    A claim is a lease. One that is neither finished nor released must expire after a while, since the process that
    held it may have died.
    """

    def claim(self, key: str) -> Claim:
        """Claim *key* atomically and return ``"new"``, or return ``"busy"`` or ``"done"`` if that is not possible."""
        ...

    def finish(self, key: str) -> None:
        """Mark *key* as handled."""
        ...

    def release(self, key: str) -> None:
        """Drop the claim on *key*, so that the next delivery is handled."""
        ...


class MemoryStore:
    """Store in the memory of one process.

    Args:
        size: How many handled keys are remembered; the oldest are forgotten first.
        lease: Seconds after which a claim that was neither finished nor released expires.
    """

    def __init__(self, size: int = 10_000, *, lease: float = 600) -> None:
        self._size = size
        self._lease = lease
        self._done: OrderedDict[str, None] = OrderedDict()
        self._claimed: dict[str, float] = {}
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"MemoryStore({len(self._done)} of {self._size})"

    def claim(self, key: str) -> Claim:
        """Claim *key* and return ``"new"``, or return ``"busy"`` or ``"done"`` if that is not possible."""
        with self._lock:
            now = monotonic()
            if key in self._done:
                return "done"
            if now - self._claimed.get(key, -math.inf) < self._lease:
                return "busy"
            self._claimed[key] = now
            return "new"

    def finish(self, key: str) -> None:
        """Mark *key* as handled and forget the oldest key if the store is full."""
        with self._lock:
            self._claimed.pop(key, None)
            self._done[key] = None
            while len(self._done) > self._size:
                self._done.popitem(last=False)

    def release(self, key: str) -> None:
        """Drop the claim on *key*."""
        with self._lock:
            self._claimed.pop(key, None)


@contextmanager
def once(event: WebhookEvent, store: Store) -> Generator[Claim, None, None]:
    """Claim an event for a ``with`` block and mark it as handled when the block ends without an exception.

    An exception in the block releases the claim, so that the next delivery is handled.

    Args:
        event: The event to claim, by its ``key``.
        store: Where claims are kept.

    Yields:
        ``"new"`` if the block is to handle the event; ``"busy"`` if another delivery of it is being handled and may
        still fail, so ask for a retry with a status other than 200; ``"done"`` if it was handled before.
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
async def once_async(event: WebhookEvent, store: Store) -> AsyncGenerator[Claim, None]:
    """Do the same as ``once`` for an ``async with`` block; the store is called in a thread."""
    claim = await _claim_in_thread(event.key, store)
    if claim != "new":
        yield claim
        return
    end = store.release
    try:
        yield claim
        end = store.finish
    finally:
        # Shielded from cancellation: until its lease expires, nobody would handle an event that stays claimed.
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(end, event.key)


async def _claim_in_thread(key: str, store: Store) -> Claim:
    """Claim a key in a thread that is abandoned when the task is cancelled.

    A claim made by an abandoned thread is released: nobody would handle the event until its lease expires.
    """
    lock, is_abandoned = Lock(), False
    claims: list[Claim] = []

    def claim() -> Claim:
        outcome = store.claim(key)
        with lock:
            claims.append(outcome)
            is_orphaned = is_abandoned and outcome == "new"
        if is_orphaned:
            store.release(key)
        return outcome

    try:
        return await to_thread.run_sync(claim, abandon_on_cancel=True)
    except BaseException:
        with lock:
            is_abandoned = True
            is_orphaned = "new" in claims
        if is_orphaned:
            Thread(target=store.release, args=(key,), name="roamify_async webhook").start()
        raise
