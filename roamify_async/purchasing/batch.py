"""The lines of a bulk order in a ledger, which several processes share.

They have the columns of a journal's lines, and an owner. A process takes a line with a lease that it renews while it
lives; what prevents a second purchase is the claim of the line's reference. The cost of a batch is reserved in the
transaction that records that a line is about to be sent.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID, uuid5

from anyio import CancelScope

from roamify_async.errors import JournalError, LedgerError
from roamify_async.ledger.lease import Lease
from roamify_async.ledger.store import SqlLedger

from . import batch_statements as sql
from .journal_rows import Entry

log: logging.Logger = logging.getLogger("roamify_async")


class Batch:
    """The lines of a batch: those that this process has taken, and all of them for reading."""

    is_kept = True
    """Whether it outlives its run."""
    is_worth_keeping = True

    def __init__(
        self, ledger: SqlLedger, name: str, batch_id: str, *, max_spend: Decimal | None, applies: bool = False
    ) -> None:
        self.ledger = ledger
        self.name = name
        self.id = batch_id
        self.applies = applies
        """Whether a line ends only when its eSIMs are ready."""
        self.began: float = 0.0
        """When this run began, by the database's clock. A run that began at 0 is one with those of all workers."""
        self._max_spend = max_spend
        self._lease: Lease | None = None
        self._tries: dict[int, int] = {}
        """Number of each line's attempt that is this process's. Those that may be booked twice are kept to the end."""
        self._open: set[int] = set()
        """Lines that this process has taken, and that have not ended."""
        self._unchecked: set[int] = set()
        """Those of them that were bought and may be booked twice. In a run of all workers they end with the check."""

    @property
    def path(self) -> SqlLedger:
        """The ledger, with which a call as *journal* continues."""
        return self.ledger

    # ---------------------------------------------------------------- taking lines

    async def begin(self) -> None:
        """Begin a run: its lines are those that have not ended since now."""
        self.began = await self.ledger.run(lambda session: float(session.rows("SELECT {now}")[0][0]))
        self.join()

    def join(self) -> None:
        """Join the run of all workers: its lines are those that have not ended."""
        self._lease = self.ledger.hold_lines()

    async def take(self, number: int) -> list[Entry] | None:
        """Take at most *number* lines. Return ``None`` if all lines of all processes have ended."""
        if self._lease is None:
            return None
        work = partial(
            sql.take_lines, batch=self.id, token=self._lease.token, known=[*self._tries], lease=self.ledger.lease,
            began=self.began, number=number,
        )  # fmt: skip
        taken = await self.ledger.run(work, must_run=True)
        if taken is None:
            return None
        for entry, tries in taken:
            self._tries[entry.position] = tries
            self._open.add(entry.position)
        return [entry for entry, _ in taken]

    async def end(self) -> None:
        """End the run: others may take the lines that it did not finish."""
        lease, self._lease = self._lease, None
        if lease is None:
            return
        self.ledger.drop_lines(lease)
        try:
            with CancelScope(shield=True):
                await self.ledger.run(lambda session: session.rows(sql.RELEASE, token=lease.token), must_run=True)
        except LedgerError as error:
            log.warning("lines of the batch %r are free only after their lease: %s", self.name, error)

    # ---------------------------------------------------------------- writing

    def is_first(self, entry: Entry) -> bool:
        """Return whether no earlier run, and no other process, can have sent a line."""
        return self._tries.get(entry.position) == 1

    def is_own(self, entry: Entry) -> bool:
        """Return whether a line is one that this process has taken, and that has not ended."""
        return entry.position in self._open

    async def put(self, entry: Entry, *, ends: bool = True) -> None:
        """Write a line, unless another process has taken it over. Unless it *ends* here, others may take it.

        A line that is about to be sent raises ``LedgerError`` if it was taken over, and ``BudgetError`` if it would
        exceed the budget of the batch.
        """
        tries = self._tries.get(entry.position)
        if tries is None:
            return
        is_done = entry.status == "ordered" and (entry.esims is not None or not self.applies)
        is_ended = entry.status != "sending" and (is_done or entry.error is not None) and ends
        if is_ended and not self.began and entry.status == "ordered" and entry.resent:
            is_ended = False
            self._unchecked.add(entry.position)
        work = partial(
            sql.put_line, batch=self.id, entry=entry, tries=tries, is_ended=is_ended, max_spend=self._max_spend
        )
        is_mine = False
        try:
            with CancelScope(shield=True):
                is_mine = await self.ledger.run(work, must_run=True)
        except LedgerError as error:
            raise JournalError(f"the batch {self.name!r} cannot be written: {error}") from None
        if not is_mine:
            log.warning("line %d of the batch %r was taken over by another process", entry.position, self.name)
        if not is_mine or is_ended or not ends:
            self._open.discard(entry.position)
        if not is_mine or (is_ended and not entry.resent):
            self._tries.pop(entry.position, None)
        if not is_mine and entry.status == "sending":
            raise LedgerError(f"line {entry.position} of the batch {self.name!r} was taken away; nothing was sent")

    async def finish(self, entry: Entry) -> None:
        """End the work on a line that was not written, such as one that was only checked again."""
        if entry.position not in self._open or entry.position in self._unchecked:
            return
        self._open.discard(entry.position)
        key = {"batch": self.id, "position": entry.position, "tries": self._tries.get(entry.position, 0)}
        try:
            await self.ledger.run(lambda session: session.rows(sql.END, **key), must_run=True)
        except LedgerError as error:
            raise JournalError(f"the batch {self.name!r} cannot be written: {error}") from None

    async def end_check(self, entry: Entry) -> None:
        """End a line that was checked for a second booking."""
        self._unchecked.discard(entry.position)
        await self.finish(entry)

    # ---------------------------------------------------------------- reading

    def reference_for(self, position: int, digest: str) -> str:
        """Return the reference of a line whose caller gave none."""
        return str(uuid5(UUID(self.id), f"{position}:{digest}"))

    def holder(self, _: str) -> int | None:
        """Return ``None``: lines whose reference an earlier line has were refused when the batch was made."""
        return None

    def entries(self, *statuses: str, final: bool | None = None) -> Iterator[Entry]:
        """Yield the lines with some statuses, or all, in order, with a few at a time in memory."""
        last = -1
        while rows := self._select(sql.NEXT, *statuses, last=last, final=-1 if final is None else int(final)):
            for row in rows:
                entry = sql.read_entry(row)
                last = entry.position
                yield entry

    def nth(self, index: int, *statuses: str) -> Entry:
        """Return the line at an index among those with some statuses."""
        return sql.read_entry(self._select(sql.NTH, *statuses, number=index)[0])

    def count(self, *statuses: str) -> int:
        """Count the lines with some statuses."""
        counts = self.counts
        return sum(counts.get(status, 0) for status in statuses) if statuses else sum(counts.values())

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of lines by status."""
        return dict(self.ledger.read(lambda session: session.rows(sql.COUNTS, batch=self.id)))

    @property
    def spent(self) -> Decimal:
        """Total cost of the ordered lines."""
        rows = self.ledger.read(lambda session: session.rows(sql.TOTALS, batch=self.id, began=-1.0))
        return sql.summary(rows)[1]

    async def done(self) -> tuple[dict[str, int], Decimal]:
        """Return the number of lines that have an outcome, by status, and what they cost."""
        rows = await self.ledger.run(lambda session: session.rows(sql.TOTALS, batch=self.id, began=self.began))
        return sql.summary(rows)

    async def reserved(self) -> Decimal:
        """Return what was bought, or may have been, by all processes."""
        return await self.ledger.run(lambda session: sql.reserved(session, self.id))

    def _select(self, statement: str, *statuses: str, **parameters: Any) -> list[tuple[Any, ...]]:
        facts = {"batch": self.id, "every": int(not statuses), "tokens": json.dumps(statuses), **parameters}
        return self.ledger.read(lambda session: session.rows(statement, **facts))

    def close(self) -> None:
        """Do nothing: the ledger belongs to the caller."""

    def discard(self) -> None:
        """Do nothing: only ``purge`` deletes lines."""
