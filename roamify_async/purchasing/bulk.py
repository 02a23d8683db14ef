"""Many purchases at once: each journaled before it is sent and after, none made twice, none lost."""

import asyncio
import itertools
import logging
import math
import os
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, cast

import anyio
import anyio.to_thread
import attrs
from anyio import CancelScope
from anyio.abc import TaskGroup

from roamify_async._core.callbacks import run_in_caller
from roamify_async._core.concurrency import Limiter, gather, raise_first
from roamify_async._core.engine import Engine
from roamify_async._core.progress_bar import ProgressBar
from roamify_async._validation import check, rate as rate_limit, text
from roamify_async.errors import BudgetError, ConfigurationError, JournalError, LedgerError, RoamifyError
from roamify_async.ledger.protocol import PurchaseLedger
from roamify_async.ledger.store import SqlLedger
from roamify_async.models._text import money
from roamify_async.models.orders import CreateOrder

from .batch import Batch
from .batch_source import BatchSource, open_batch
from .budget import Budget
from .journal import JournalFile
from .journal_rows import Entry
from .line import BulkAdapter, LineProcessor, new_entry
from .report import NO_REQUEST, BulkReport, request_of
from .source import Source

log: logging.Logger = logging.getLogger("roamify_async")

PROGRESS_PAUSE: Final = 1.0
"""Seconds between two readings of the progress of a batch, which counts all of its lines."""
BATCH_SIZE: Final = 64
"""Number of lines that are checked again at a time."""


@attrs.frozen(kw_only=True)
class Progress:
    """The progress of a bulk order."""

    done: int
    """Lines that have an outcome, including those of earlier runs of the journal."""
    total: int | None
    """Number of all lines, if it is known."""
    counts: dict[str, int]
    """Number of lines by status."""
    spent: Decimal
    """Cost of the ordered lines in US dollars."""

    def __str__(self) -> str:
        """Return a line of text."""
        text = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in self.counts.items() if count)
        return f"{self.done}{'' if self.total is None else f' of {self.total}'} lines: {text}; spent {self.spent}"


class Run:
    """One run of a bulk order."""

    def __init__(
        self,
        processor: LineProcessor,
        source: Source | BatchSource,
        on_progress: Callable[[Progress], object] | None,
        bar: ProgressBar | None = None,
    ) -> None:
        self.processor = processor
        self.source = source
        self.on_progress = on_progress
        self.bar = bar
        self.total: int | None = None
        self.spare_workers: int = 0
        """Number of workers that may still start."""
        self.counts: dict[str, int] = {"ordered": 0, "refused": 0, "in_doubt": 0, "not_sent": 0}
        self.spent: Decimal = Decimal(0)
        self.in_flight: set[asyncio.Future[None]] = set()
        """A future for each line in flight, done when the line is finished."""
        self.has_begun: bool = False
        """Whether lines may have been sent."""
        self._left: Iterator[Entry] = iter(())
        self._reported: float = -math.inf
        """When the progress of a batch was last read."""

    def resume(self) -> None:
        """Start with the lines that an earlier run left open."""
        is_open, file = self.processor.is_open, self.processor.file
        for entry in itertools.filterfalse(is_open, file.entries()):
            self._count(entry)
        self._left = filter(is_open, file.entries())

    async def work(self, group: TaskGroup) -> None:
        """Process lines until there are no more. There are never more workers than lines."""
        while (taken := await self._next()) is not None:
            if self.spare_workers:
                self.spare_workers -= 1
                group.start_soon(self.work, group)
            entry, request = taken
            finished = asyncio.get_running_loop().create_future()
            self.in_flight.add(finished)
            try:
                await self.processor.line(entry, request)
                await self.processor.file.finish(entry)
                self._count(entry)
            except JournalError as error:  # What cannot be journaled is not sent; lines in flight are finished.
                self.source.stop(error)
            finally:
                self.in_flight.discard(finished)
                finished.set_result(None)
            if self.processor.end_reason is not None:
                self.source.stop()
            await self._report()

    async def check_again(self) -> None:
        """Check orders that may have been sent more than once, a reconcile window after the last of them."""
        processor = self.processor
        if processor.last_resent is None:
            return
        left = processor.last_resent + processor.engine.settings.reconcile_window - anyio.current_time()
        await anyio.sleep(max(0.0, left))
        entries = (entry for entry in processor.file.entries("ordered") if entry.resent)
        while some := [*itertools.islice(entries, BATCH_SIZE)]:
            raise_first(await gather(processor.recheck, some))
            if isinstance(processor.file, Batch):
                for entry in some:
                    await processor.file.end_check(entry)

    async def _next(self) -> tuple[Entry, Any] | None:
        file = self.processor.file
        if isinstance(self.source, BatchSource):
            return await self._take(self.source)
        if not self.source.is_stopped:
            for entry in self._left:
                return entry, request_of(entry)
        taken = await self.source.next()
        return None if taken is None else (new_entry(file, *taken), taken[1])

    async def _take(self, source: BatchSource) -> tuple[Entry, Any] | None:
        """Take a line of a batch. A ledger that cannot be reached ends the run."""
        try:
            return await source.next()
        except LedgerError as error:
            source.stop(JournalError(f"no more lines can be taken: {error}"))
            return None

    def _count(self, entry: Entry) -> None:
        self.counts[entry.status] += 1
        if entry.status == "ordered" and entry.total is not None:
            self.spent += Decimal(entry.total)

    async def report_all(self) -> None:
        """Report the progress of a batch at its end, with the lines of all processes."""
        self._reported = -math.inf
        if isinstance(self.processor.file, Batch):
            await self._report()

    def progress(self) -> Progress:
        """Return the progress."""
        return Progress(done=sum(self.counts.values()), total=self.total, counts=dict(self.counts), spent=self.spent)

    async def show(self) -> None:
        """Show the progress in the bar, if there is one. A screen that cannot be written ends no purchases."""
        if self.bar is None:
            return
        done = self.progress()
        others = (f"{count} {status.replace('_', ' ')}" for status, count in self.counts.items() if count)
        text = ", ".join([f"spent {money(done.spent, 'USD')}", *others])
        try:
            await self.bar.show(done.done, done.total, text)
        except Exception as error:  # noqa: BLE001 -- of tqdm, or of the stream
            self.bar = None
            log.warning("the progress bar cannot be drawn: %s", error)

    async def _report(self) -> None:
        on_progress, file = self.on_progress, self.processor.file
        if on_progress is None and self.bar is None:
            return
        if isinstance(file, Batch) and self._reported + PROGRESS_PAUSE <= anyio.current_time():
            self._reported = anyio.current_time()
            with suppress(LedgerError):
                counts, self.spent = await file.done()
                self.counts = dict.fromkeys(self.counts, 0) | counts
        await self.show()
        if on_progress is None:
            return
        progress = self.progress()
        try:
            await run_in_caller(lambda: on_progress(progress))
        except Exception as error:  # noqa: BLE001 -- the caller's own, raised at the end
            self.source.stop(error)


async def bulk(
    engine: Engine,
    adapter: BulkAdapter,
    requests: Iterable[Any] | AsyncIterable[Any],
    *,
    journal: str | Path | PurchaseLedger | None,
    batch: str | None,
    concurrency: int | None,
    rate: float | None,
    max_spend: Decimal | int | str | None,
    on_progress: Callable[[Progress], object] | None,
    bar: ProgressBar | None = None,
) -> BulkReport:
    """Make the purchases of *requests*; see ``orders.bulk``."""
    limit = to_money(max_spend)
    if rate is not None:
        check("rate", rate, rate_limit)
    engine.transport.open()
    slots = concurrency or engine.settings.concurrency
    engine = engine.view(engine.settings, Limiter(slots, rate or engine.settings.rate, is_adaptive=True))
    source = Source(requests, CreateOrder)
    ledger = _ledger(engine, journal, batch)
    if batch is not None and ledger is not None:
        return await _share(engine.with_ledger(ledger), adapter, source, ledger, batch, slots, limit, on_progress, bar)
    path = cast("str | Path | None", journal)
    file = JournalFile.temporary() if path is None else JournalFile(Path(path))
    run: Run | None = None
    try:
        file.bind(engine.transport.credentials)
        await _compare(file, source)
        spent = file.cost("ordered", "sending", "in_doubt", bought_only=True)
        budget = Budget(adapter.price, adapter.balance, max_spend=limit, spent=spent)
        run = Run(LineProcessor(engine, adapter, file, budget), source, on_progress, bar)
        run.resume()
        run.total = await source.total()
        await _refuse_excess(budget, await source.packages(_done(file)))
        await run_lines(engine, run, slots)
    except BaseException as error:
        if run is not None and run.has_begun:
            _end(error, run, bar)
        file.close() if file.is_worth_keeping else file.discard()
        raise
    # Released, so that holding the report does not block the next run.
    file.close()
    return BulkReport(JournalFile(file.path, run=False), is_own=journal is None)


async def _share(
    engine: Engine,
    adapter: BulkAdapter,
    source: Source,
    ledger: SqlLedger,
    name: str,
    slots: int,
    limit: Decimal | None,
    on_progress: Callable[[Progress], object] | None,
    bar: ProgressBar | None,
) -> BulkReport:
    """Make purchases of a batch, whose lines this process shares with others."""
    base_url = engine.transport.credentials.base_url
    applies = adapter.finish is not None
    batch = await open_batch(ledger, name, base_url, source, max_spend=limit, applies=applies)
    await batch.begin()
    run: Run | None = None
    try:
        budget = Budget(adapter.price, adapter.balance, max_spend=limit, spent=await batch.reserved())
        lines = BatchSource(batch)
        run = Run(LineProcessor(engine, adapter, batch, budget), lines, on_progress, bar)
        run.counts |= (await batch.done())[0]
        run.total = await anyio.to_thread.run_sync(batch.count)
        await budget.read_balance()  # Before the lines are, which others buy meanwhile.
        await _refuse_excess(budget, await lines.packages())
        await run_lines(engine, run, slots)
        await run.report_all()
    except BaseException as error:
        if run is not None and run.has_begun:
            _end(error, run, bar)
        raise
    finally:
        await batch.end()
    return BulkReport(batch, is_own=False)


def _ledger(engine: Engine, journal: str | Path | PurchaseLedger | None, batch: str | None) -> SqlLedger | None:
    """Return the ledger of a batch, and ``None`` if the lines are in a file."""
    own = engine.memory.ledger
    if batch is None:
        if journal is not None and not isinstance(journal, str | os.PathLike):
            raise ValueError("a ledger as journal needs batch=, the name of the bulk order")
        return None
    check("batch", batch, text)
    ledger = own if journal is None else journal
    if not isinstance(ledger, SqlLedger):
        raise ValueError(  # noqa: TRY004 -- both arguments together
            "batch= needs a SqliteLedger or PostgresLedger: pass it as journal, or to the client"
        )
    if own is not None and own is not ledger and repr(own) != repr(ledger):
        raise ValueError(f"the client has another ledger than the batch: {own!r}, not {ledger!r}")
    return ledger


def to_money(value: Decimal | int | str | None) -> Decimal | None:
    """Convert ``max_spend`` to an amount of money."""
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


async def _compare(file: JournalFile, source: Source) -> None:
    """Refuse requests that differ from the lines of the journal. Nothing is sent before all are compared."""
    known, missing = file.end, list[Entry]()
    for position in range(known):
        taken = await source.next()
        if taken is None:
            raise source.error or JournalError(
                f"the journal has {known} lines, but there are only {position} requests: it belongs to other requests"
            )
        entry, line = file.get(position), new_entry(file, *taken)
        if entry is not None and entry.digest == NO_REQUEST:
            file.remove(position)
            entry = None
        if entry is None:
            missing.append(line)
        elif entry.digest != line.digest:
            raise JournalError(f"line {position} differs from the journal's, which belongs to other requests")
    for line in missing:  # An earlier run ended before it wrote them, or they were not requests.
        await file.put(line)


def _done(file: JournalFile) -> set[int]:
    return {entry.position for entry in file.entries() if entry.final or entry.first_sent is not None}


async def _refuse_excess(budget: Budget, wanted: Mapping[str, int]) -> None:
    """Raise if the packages of all lines that are to be sent are known to cost too much."""
    if wanted and (cost := await budget.quote(wanted)):
        try:
            await budget.refuse(cost, "all lines")
        except BudgetError:
            raise
        except RoamifyError as error:  # The single lines are checked again.
            log.info("the balance could not be read: %s", error)


async def run_lines(engine: Engine, run: Run, slots: int) -> None:
    """Process all lines. When cancelled, take no more lines and let those in flight finish."""

    async def work() -> None:
        async with anyio.create_task_group() as group:
            # Some workers wait for the disk while others hold the limiter's slots.
            run.spare_workers = slots + slots // 2 - 1
            group.start_soon(run.work, group)
        await run.check_again()

    await run.show()
    run.has_begun = True
    task = engine.transport.spawn(work())
    try:
        await asyncio.wait([task])
    except BaseException:
        run.source.stop()
        run.on_progress = run.bar = None  # The caller's thread is leaving and runs no callbacks any more.
        with CancelScope(shield=True):
            if run.in_flight:
                await asyncio.wait(run.in_flight, timeout=engine.settings.reconcile_window)
            task.cancel()
            await asyncio.wait([task])
        raise
    error = None if task.cancelled() else task.exception()
    if run.source.error is not None:
        raise run.source.error
    if isinstance(error, BaseExceptionGroup):
        raise cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    if task.cancelled():
        raise ConfigurationError(
            "the client was closed while a bulk order ran; call again with its journal to continue"
        )
    await run.show()
    if run.bar is not None:
        await run.bar.finish()


def _end(error: BaseException, run: Run, bar: ProgressBar | None) -> None:
    """Report what was done to whatever ends a bulk order, and below the bar."""
    note = _add_summary(error, run)
    if bar is not None:
        bar.close(note)


def _add_summary(error: BaseException, run: Run) -> str:
    """Add to *error* what was done, and where the lines are: as a note, which is returned, and as ``journal``."""
    file = run.processor.file
    if not file.is_worth_keeping:
        return ""
    try:
        note = _summary(run)
    except (JournalError, LedgerError) as damage:
        note = f"the bulk order was interrupted after {sum(run.counts.values())} lines; its journal: {damage}"
    error.add_note(note)
    with suppress(AttributeError):  # Some exceptions are frozen.
        error.journal = file.path  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    log.warning("%s", note)
    return note


def _summary(run: Run) -> str:
    file = run.processor.file
    doubts = (
        entry for entry in file.entries("sending", "in_doubt") if entry.status == "in_doubt" or file.is_own(entry)
    )
    in_doubt = [entry.reference for entry in itertools.islice(doubts, 50)]
    text = f"the bulk order was interrupted after {sum(run.counts.values())} lines"
    text += f"; in doubt: {' '.join(in_doubt)}" if in_doubt else "; no line is in doubt"
    if file.is_kept:
        return f"{text}; call again with the same journal and requests to continue"
    return f"{text}; its lines are kept: call again with journal={str(file.path)!r} and the same requests to continue"
