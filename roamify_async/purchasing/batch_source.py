"""The requests of a batch: written to its ledger once, compared by every later call, and taken line by line."""

import hashlib
from collections import Counter, deque
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any, Final
from uuid import uuid4

import anyio
import anyio.to_thread

from roamify_async.errors import ConflictError, JournalError, LedgerError
from roamify_async.ledger.store import SqlLedger

from . import batch_statements as sql
from .batch import Batch
from .journal_rows import Entry
from .line import new_entry
from .report import request_of, write_error
from .source import Source, WrongItem

CHUNK: Final = 2_000
"""Number of lines that are written in one transaction."""
FIRST_PAUSE: Final = 0.05
"""Seconds between the first two looks for lines that other processes gave up. Each further pause is longer."""
LONGEST_PAUSE: Final = 0.5
"""Longest pause in seconds."""


async def open_batch(ledger: SqlLedger, name: str, base_url: str, source: Source, **options: Any) -> Batch:
    """Return the batch of a name, whose lines are written now if there is none.

    Raises ``JournalError`` if it has other requests, or another ``apply``. Nothing is sent before all are compared.
    """
    await ledger.bind(base_url)
    found = await ledger.run(lambda session: session.rows(sql.FIND, name=name))
    is_new = not found
    batch = Batch(ledger, name, str(uuid4()) if is_new else found[0][0], **options)
    digest = await (_write(batch, source) if is_new else _digest(source, batch))
    if is_new and not await _publish(batch, name, digest):
        found = await ledger.run(lambda session: session.rows(sql.FIND, name=name))
        if not found:
            raise JournalError(f"the batch {name!r} was purged while it was written; nothing was sent")
        batch = Batch(ledger, name, found[0][0], **options)
    if found and found[0][1] != digest:
        raise JournalError(f"the batch {name!r} belongs to other requests; nothing was sent")
    if found and bool(found[0][2]) != batch.applies:
        raise JournalError(f"the batch {name!r} was begun with apply={not batch.applies}; nothing was sent")
    return batch


async def _publish(batch: Batch, name: str, digest: str) -> bool:
    twin = ConflictError("an earlier line has this reference; nothing was sent", status=409, sent="no")
    work = partial(
        sql.publish, batch=batch.id, name=name, digest=digest, applies=batch.applies, twin_error=write_error(twin)
    )
    return await batch.ledger.run(work)


async def _write(batch: Batch, source: Source) -> str:
    """Write all lines. Return the digest of the requests."""
    await batch.ledger.run(lambda session: session.rows(sql.DRAFT, id=batch.id))
    try:
        return await _digest(source, batch, writes=True)
    except BaseException:
        with anyio.CancelScope(shield=True), suppress(LedgerError):  # Else it is purged.
            await batch.ledger.run(partial(sql.drop, batch=batch.id), must_run=True)
        raise


async def _digest(source: Source, batch: Batch, *, writes: bool = False) -> str:
    """Read all requests, and write them if they are new. Return their digest."""
    digest, chunk = hashlib.blake2b(digest_size=16), list[Entry]()
    while (taken := await source.next()) is not None:
        position, request = taken
        if isinstance(request, WrongItem):
            raise TypeError(request.message)
        entry = new_entry(batch, position, request)
        digest.update(f"{entry.digest}\n".encode())
        chunk.append(entry)
        if len(chunk) == CHUNK:
            await _add(batch, chunk, writes=writes)
            chunk = []
    if source.error is not None:
        raise source.error
    await _add(batch, chunk, writes=writes)
    return digest.hexdigest()


async def _add(batch: Batch, chunk: list[Entry], *, writes: bool) -> None:
    if writes and chunk:
        await batch.ledger.run(partial(sql.add_lines, batch=batch.id, entries=chunk))


class BatchSource:
    """The lines of a batch that this process takes.

    It ends when all lines of all processes have ended or, unless it *waits*, when others work on all that are left.
    """

    def __init__(self, batch: Batch, *, waits: bool = True) -> None:
        self._batch = batch
        self._waits = waits
        self._ready: deque[Entry] = deque()
        self._turn = anyio.Lock()
        self._askers = 0
        self.is_stopped: bool = False
        """Whether no more lines are taken."""
        self.error: BaseException | None = None

    async def next(self) -> tuple[Entry, Any] | None:
        """Take a line, and return it with its request; ``None`` at the end.

        If the lines that are left are all with other processes, wait for them to finish, or for their leases to end.
        """
        self._askers += 1
        try:
            async with self._turn:
                for attempt in count():
                    if self.is_stopped:
                        return None
                    if not self._ready:
                        await self._take()
                    if self._ready:
                        entry = self._ready.popleft()
                        return entry, request_of(entry)
                    if not self.is_stopped:
                        await anyio.sleep(min(FIRST_PAUSE * 2 ** min(attempt, 10), LONGEST_PAUSE))
        finally:
            self._askers -= 1
        return None

    async def _take(self) -> None:
        taken = await self._batch.take(max(1, self._askers))
        if taken is None or not (taken or self._waits):
            self.is_stopped = True
        else:
            self._ready.extend(taken)

    def stop(self, error: BaseException | None = None) -> None:
        """Take no more lines."""
        self.is_stopped = True
        self.error = self.error or error

    async def packages(self) -> Counter[str]:
        """Count the packages of all lines that may be sent for the first time."""

        def count() -> Counter[str]:
            wanted = Counter[str]()
            for entry in self._batch.entries(final=False):
                if entry.first_sent is None:
                    wanted.update(request_of(entry).packages())
            return wanted

        return await anyio.to_thread.run_sync(count)
