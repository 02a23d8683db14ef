"""Many purchases at once: each written down before it is sent and after, none made twice, none lost."""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, cast

import anyio
import attrs
from anyio import CancelScope
from anyio.abc import TaskGroup

from roamify_async._engine.caller import in_caller
from roamify_async._engine.crowd import Queue, all_of, gather
from roamify_async._engine.engine import Engine
from roamify_async.errors import BudgetError, ConfigurationError, JournalError, RoamifyError
from roamify_async.settings import MOST_A_SECOND

from .budget import Budget
from .buyer import Buyer, Trade, fresh
from .journal import Entry, Ledger
from .report import BulkReport
from .source import Source

log: logging.Logger = logging.getLogger("roamify_async")

HANDFUL: Final = 64
"""Lines that are looked at again at a time."""


@attrs.frozen(kw_only=True)
class Progress:
    """How far a bulk order has come."""

    done: int
    """Lines that have an outcome, earlier runs of the journal included."""
    total: int | None
    """Lines in all, where that is known."""
    counts: dict[str, int]
    spent: Decimal

    def __str__(self) -> str:
        """Say it in a line."""
        told = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in self.counts.items() if count)
        return f"{self.done}{'' if self.total is None else f' of {self.total}'} lines: {told}; spent {self.spent}"


class Run:
    """One run of a bulk order."""

    def __init__(self, buyer: Buyer, source: Source, on_progress: Callable[[Progress], object] | None) -> None:
        self.buyer = buyer
        self.source = source
        self.on_progress = on_progress
        self.total: int | None = None
        self.vacancies: int = 0
        """Workers that may join."""
        self.counts: dict[str, int] = {"ordered": 0, "refused": 0, "in_doubt": 0, "not_sent": 0}
        self.spent: Decimal = Decimal(0)
        self.landings: set[asyncio.Future[None]] = set()
        """One for each line in flight, done when the line has come to its end."""
        self._left: Iterator[Entry] = iter(())

    def resume(self) -> None:
        """Begin with the lines that an earlier run left open."""
        is_open, ledger = self.buyer.is_open, self.buyer.ledger
        for entry in itertools.filterfalse(is_open, ledger.entries()):
            self._tell(entry)
        self._left = filter(is_open, ledger.entries())

    async def work(self, group: TaskGroup) -> None:
        """Take line after line until there are no more; there are never more workers than lines."""
        while (taken := await self._next()) is not None:
            if self.vacancies:
                self.vacancies -= 1
                group.start_soon(self.work, group)
            entry, request = taken
            landing = asyncio.get_running_loop().create_future()
            self.landings.add(landing)
            try:
                await self.buyer.line(entry, request)
                self._tell(entry)
            except JournalError as error:  # What cannot be written is not sent; what was sent comes to its end.
                self.source.stop(error)
            finally:
                self.landings.discard(landing)
                landing.set_result(None)
            if self.buyer.is_over:
                self.source.stop()
            if self.on_progress is not None:
                await self._report(self.on_progress)

    async def look_again(self) -> None:
        """Look once more at orders that may have been sent more than once: a settle window after the last of them."""
        buyer = self.buyer
        if buyer.last_resent is None:
            return
        left = buyer.last_resent + buyer.engine.settings.settle_window - anyio.current_time()
        await anyio.sleep(max(0.0, left))
        entries = (entry for entry in buyer.ledger.entries("ordered") if entry.resent)
        while some := [*itertools.islice(entries, HANDFUL)]:
            all_of(await gather(buyer.recheck, some))

    async def _next(self) -> tuple[Entry, Any] | None:
        if not self.source.is_stopped:
            for entry in self._left:
                return entry, self.buyer.trade.forms.request_of(entry)
        taken = await self.source.next()
        return None if taken is None else (fresh(*taken), taken[1])

    def _tell(self, entry: Entry) -> None:
        self.counts[entry.status] += 1
        if entry.status == "ordered" and entry.total is not None:
            self.spent += Decimal(entry.total)

    async def _report(self, on_progress: Callable[[Progress], object]) -> None:
        progress = Progress(
            done=sum(self.counts.values()), total=self.total, counts=dict(self.counts), spent=self.spent
        )
        try:
            await in_caller(lambda: on_progress(progress))
        except Exception as error:  # noqa: BLE001 -- the caller's own; it is raised at the end
            self.source.stop(error)


async def bulk(
    engine: Engine,
    trade: Trade,
    requests: Iterable[Any] | AsyncIterable[Any],
    *,
    journal: str | Path | None,
    concurrency: int | None,
    rate: float | None,
    max_spend: Decimal | int | str | None,
    on_progress: Callable[[Progress], object] | None,
) -> BulkReport[Any, Any]:
    """Buy all that *requests* name; see ``orders.bulk``."""
    limit = _money(max_spend)
    places = concurrency or engine.settings.concurrency
    engine = engine.view(engine.settings, Queue(places, _pace(rate) or engine.settings.rate, is_yielding=True))
    source = Source(requests, trade.forms.request)
    ledger = Ledger.temporary() if journal is None else Ledger(Path(journal))
    try:
        await _compare(ledger, source)
        spent = ledger.cost("ordered", "sending", "in_doubt")
        budget = Budget(trade.price, trade.balance, max_spend=limit, spent=spent)
        run = Run(Buyer(engine, trade, ledger, budget), source, on_progress)
        run.resume()
        run.total = await source.total()
        await _refuse_what_is_too_much(run)
        await _all(engine, run, places)
    except BaseException:
        ledger.close() if journal is not None else ledger.discard()
        raise
    # Let go of the file: whoever holds the report does not keep the next run from it.
    ledger.close()
    return BulkReport(Ledger(ledger.path, run=False), trade.forms, is_own=journal is None)


def _pace(rate: float | None) -> float | None:
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int | float)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"rate must be a number of lines a second, not {rate!r}")
    if rate is not None and not 0 < rate <= MOST_A_SECOND:
        raise ValueError(f"rate must be more than 0 and at most {MOST_A_SECOND:,} a second, not {rate!r}")
    return rate


def _money(value: Decimal | int | str | None) -> Decimal | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Decimal | int | str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"max_spend must be a Decimal, a whole number or text, not {value!r}: floats are not exact")
    try:
        amount = Decimal(value)
    except InvalidOperation:
        amount = Decimal("NaN")
    if amount.is_nan() or amount < 0:
        raise ValueError(f"max_spend must be an amount of money, not {value!r}")
    return amount


async def _compare(ledger: Ledger, source: Source) -> None:
    """Read the lines that the journal knows, and refuse others than those; nothing is sent before all are compared."""
    known, missing = ledger.end, list[Entry]()
    for position in range(known):
        taken = await source.next()
        if taken is None:
            raise source.error or JournalError(
                f"the journal knows {known} lines, and only {position} came: it belongs to other requests"
            )
        entry, line = ledger.get(position), fresh(*taken)
        if entry is None:
            missing.append(line)
        elif entry.digest != line.digest:
            raise JournalError(f"line {position} is not the one that the journal knows: it belongs to other requests")
    for line in missing:  # They were taken by an earlier run that ended before it wrote them.
        await ledger.put(line)


async def _refuse_what_is_too_much(run: Run) -> None:
    """Raise where all lines that are to be sent are known to cost too much."""
    budget = run.buyer.budget
    done = {entry.position for entry in run.buyer.ledger.entries() if entry.final or entry.first_sent is not None}
    wanted = await run.source.packages(done)
    if wanted and (cost := await budget.quote(wanted)):
        try:
            await budget.refuse(cost, "all lines")
        except BudgetError:
            raise
        except RoamifyError as error:  # The lines will tell.
            log.info("the balance could not be read: %s", error)


async def _all(engine: Engine, run: Run, places: int) -> None:
    """Work at all lines; cut off, take no more and let what is in flight come to its end."""

    async def work() -> None:
        async with anyio.create_task_group() as group:
            # Some wait for the disk while others are on the wire, whose places the queue counts.
            run.vacancies = places + places // 2 - 1
            group.start_soon(run.work, group)
        await run.look_again()

    task = engine.transport.spawn(work())
    try:
        await asyncio.wait([task])
    except BaseException as cut:
        run.source.stop()
        run.on_progress = None  # The caller's thread is on its way out and runs no errands any more.
        with CancelScope(shield=True):
            if run.landings:
                await asyncio.wait(run.landings, timeout=engine.settings.settle_window)
            task.cancel()
            await asyncio.wait([task])
        cut.add_note(_word(run))
        raise
    error = None if task.cancelled() else task.exception()
    if run.source.error is not None:
        raise run.source.error
    if isinstance(error, BaseExceptionGroup):
        raise cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    if task.cancelled():
        raise ConfigurationError("the client was closed while a bulk order ran; its journal can be run again")


def _word(run: Run) -> str:
    doubtful = [entry.reference for entry in itertools.islice(run.buyer.ledger.entries("sending", "in_doubt"), 50)]
    told = f"the bulk order was cut off after {sum(run.counts.values())} lines"
    open_ones = f"; in doubt: {' '.join(doubtful)}" if doubtful else "; no line is in doubt"
    if run.buyer.ledger.is_kept:
        return f"{told}{open_ones}; call again with the same journal and requests to go on"
    return f"{told}{open_ones}; it had no journal to go on with: see orders.list() for what was bought"
