"""Many purchases at once: each written down before it is sent and after, none made twice, none lost."""

import asyncio
import hashlib
import itertools
import json
import logging
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import anyio
import attrs
from anyio import CancelScope

from roamify_async._engine.caller import in_caller
from roamify_async._engine.codec import write
from roamify_async._engine.crowd import Queue, gather
from roamify_async._engine.engine import Engine
from roamify_async.errors import (
    APIStatusError,
    AuthenticationError,
    BudgetError,
    ConfigurationError,
    ConflictError,
    JournalError,
    PermissionDeniedError,
    PurchaseInDoubtError,
    RateLimitError,
    RoamifyError,
    TransportError,
)

from .journal import Entry, Ledger, Status
from .report import BulkReport, Forms, error_text
from .settle import Meaning, meaning
from .source import Source

log: logging.Logger = logging.getLogger("roamify_async")


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


@attrs.frozen(kw_only=True)
class Trade:
    """What a bulk order has to know of the room that it buys from."""

    forms: Forms
    buy: Callable[[Engine, Any, datetime | None], Awaitable[Any]]
    """Makes sure of one purchase, which may have been sent before at a time."""
    price: Callable[[str], Awaitable[Decimal]]
    """Of one package."""
    balance: Callable[[], Awaitable[Decimal]]
    finish: Callable[[Any], Awaitable[tuple[Any, ...]]] | None = None
    """What is done with an order that was bought: gives its eSIMs."""


@attrs.define(kw_only=True)
class Budget:
    """The money that may be spent, and what of it is spoken for."""

    balance: Decimal
    """When it was read, before this run."""
    max_spend: Decimal | None
    """By all lines, those of earlier runs included."""
    spent: Decimal
    """By all lines."""
    drawn: Decimal = Decimal(0)
    """From the balance since it was read."""

    def reserve(self, price: Decimal) -> None:
        """Speak for an amount; raises ``BudgetError`` where it would pass a limit."""
        self.refuse(price)
        self.add(price)

    def refuse(self, price: Decimal, what: str = "this line") -> None:
        """Raise ``BudgetError`` where an amount would pass a limit."""
        limits = [("the balance", self.balance, self.drawn)]
        if self.max_spend is not None:
            limits.append(("max_spend", self.max_spend, self.spent))
        for name, limit, used in limits:
            if used + price > limit:
                raise BudgetError(f"{what} would cost {price} and pass {name}: {limit - used} of {limit} is left")

    def add(self, amount: Decimal, *, is_older: bool = False) -> None:
        """Count an amount, or with a minus give it back; one of before the run is gone from the balance already."""
        self.spent += amount
        if not is_older:
            self.drawn += amount


def digest(request: Any) -> str:
    """Give what a line is known by: its items and the caller's own reference."""
    return hashlib.sha256(json.dumps(write(request), sort_keys=True).encode()).hexdigest()[:32]


def fresh(position: int, request: Any) -> Entry:
    """Make the entry of a line that was not begun; its reference is made here where the caller gave none."""
    return Entry(
        position=position,
        digest=digest(request),
        request=json.dumps(write(request)),
        reference=request.reference_id or str(uuid4()),
        status="not_sent",
    )


class Run:
    """One run of a bulk order."""

    def __init__(self, engine: Engine, trade: Trade, source: Source, ledger: Ledger, budget: Budget) -> None:
        self.engine = engine
        self.trade = trade
        self.source = source
        self.ledger = ledger
        self.budget = budget
        self.total: int | None = None
        self.counts: dict[str, int] = {"ordered": 0, "refused": 0, "in_doubt": 0, "not_sent": 0}
        self.spent: Decimal = Decimal(0)
        self.on_progress: Callable[[Progress], object] | None = None
        self.landings: set[asyncio.Future[None]] = set()
        """One for each line in flight, done when the line has come to its end."""
        self._prices: dict[str, asyncio.Future[Decimal]] = {}
        self._in_flight: dict[str, int] = {}
        """The callers' own references of lines that are not in the ledger yet."""
        self._left: Iterator[Entry] = iter(())

    def resume(self) -> None:
        """Begin with the lines that an earlier run left open."""
        if not self.ledger.end:
            return
        self._left = self.ledger.entries(final=False)
        for entry in self.ledger.entries(final=True):
            self._tell(entry)

    async def work(self) -> None:
        """Take line after line until there are no more."""
        while (taken := await self._next()) is not None:
            landing = asyncio.get_running_loop().create_future()
            self.landings.add(landing)
            try:
                self._tell(await self._line(*taken))
            except JournalError as error:  # What cannot be written is not sent; what was sent comes to its end.
                self.source.stop(error)
            finally:
                self.landings.discard(landing)
                landing.set_result(None)
            if self.on_progress is not None:
                await self._report(self.on_progress)

    async def _next(self) -> tuple[int, Any, Entry | None] | None:
        if not self.source.is_stopped:
            for entry in self._left:
                return entry.position, self.trade.forms.request_of(entry), entry
        taken = await self.source.next()
        return None if taken is None else (*taken, None)

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

    # -------------------------------------------------------- one line

    async def _line(self, position: int, request: Any, known: Entry | None) -> Entry:
        """Bring one line to its outcome, and write that down."""
        entry = known or fresh(position, request)
        wanted = attrs.evolve(request, reference_id=entry.reference)
        if entry.answer is None:
            entry = await self._bought(entry, request, wanted)
        if entry.status == "ordered" and self.trade.finish is not None and not entry.final:
            entry = await self._finished(entry)
        return entry

    async def _bought(self, entry: Entry, request: Any, wanted: Any) -> Entry:
        if entry.first_sent is not None:
            return await self._settled(entry, wanted)
        held: Decimal | None = None
        try:
            self._refuse_twin(entry, request)
            price = await self._price(wanted)
            self.budget.reserve(price)
            held = price
            # This client may have sent it in another call.
            before = self.engine.doubts.get(entry.reference)
            sent = (before or datetime.now(UTC)).isoformat()
            entry = attrs.evolve(entry, status="sending", first_sent=sent, total=str(held), error=None)
            await self.ledger.put(entry)
            order = await self.trade.buy(self.engine, wanted, before)
        except JournalError:
            raise
        except RoamifyError as error:
            return await self._failed(entry, error, held)
        except asyncio.CancelledError:
            if entry.reference not in self.engine.doubts:  # It had not left.
                with CancelScope(shield=True):
                    await self.ledger.put(attrs.evolve(entry, status="not_sent", first_sent=None, total=None))
            raise
        finally:
            if self._in_flight.get(request.reference_id) == entry.position:
                del self._in_flight[request.reference_id]
        self.budget.add(order.total - held)
        return await self._ordered(entry, order)

    async def _settled(self, entry: Entry, wanted: Any) -> Entry:
        """Settle a line that may have been sent by an earlier run: it is looked for first, whatever the budget says.

        It is sent again only if the settings allow that, and the money does.
        """
        engine, held = self.engine, Decimal(entry.total or 0)
        try:
            self.budget.refuse(await self._price(wanted) - held)  # What it may have cost is counted already.
        except RoamifyError as error:
            log.info("line %d is looked up only: %s", entry.position, error)
            engine = engine.view(engine.settings.changed(on_doubt="look_up"))
        try:
            order = await self.trade.buy(engine, wanted, datetime.fromisoformat(entry.first_sent or ""))
        except RoamifyError as error:
            return await self._failed(entry, error, held, is_older=True)
        self.budget.add(order.total - held, is_older=True)
        return await self._ordered(entry, order)

    async def _ordered(self, entry: Entry, order: Any) -> Entry:
        entry = attrs.evolve(
            entry,
            status="ordered",
            final=self.trade.finish is None,
            total=str(order.total),
            answer=json.dumps(write(order)),
            error=None,
        )
        await self.ledger.put(entry)
        return entry

    async def _failed(
        self, entry: Entry, error: RoamifyError, held: Decimal | None, *, is_older: bool = False
    ) -> Entry:
        status = outcome(error, was_sent=held is not None)
        if held is not None and status != "in_doubt":
            self.budget.add(-held, is_older=is_older)
        if ends_all(error):
            self.source.stop()
        entry = attrs.evolve(
            entry,
            status=status,
            final=status == "refused" and not ends_all(error),
            # What may have left in any run is looked for before it is sent again.
            first_sent=entry.first_sent if is_older or status == "in_doubt" else None,
            total=entry.total if status == "in_doubt" else None,
            error=error_text(error),
        )
        await self.ledger.put(entry)
        return entry

    async def _finished(self, entry: Entry) -> Entry:
        """Make the eSIMs of a line that was bought; what goes wrong there leaves it bought."""
        line = self.trade.forms.line(entry)
        assert self.trade.finish is not None  # noqa: S101
        try:
            esims = await self.trade.finish(line.order)
        except RoamifyError as error:
            ready = [write(esim) for esim in getattr(error, "esims", ())]
            entry = attrs.evolve(entry, error=error_text(error), esims=json.dumps(ready) if ready else None)
        else:
            made = json.dumps([write(esim) for esim in esims])
            entry = attrs.evolve(entry, final=True, esims=made, error=None)
        await self.ledger.put(entry)
        return entry

    def _refuse_twin(self, entry: Entry, request: Any) -> None:
        """Refuse a line whose own reference an earlier one has: one reference is one purchase."""
        if request.reference_id is None:
            return
        first = self._in_flight.setdefault(request.reference_id, entry.position)
        held = self.ledger.holder(request.reference_id)
        if first != entry.position or (held is not None and held < entry.position):
            raise ConflictError(
                "an earlier line has this reference; nothing was sent",
                status=409,
                sent="no",
                reference_id=request.reference_id,
            )

    async def _price(self, request: Any) -> Decimal:
        """Give what a line will cost; each package is asked for once."""
        total = Decimal(0)
        for package_id, quantity in request.packages().items():
            total += quantity * await self._price_of(package_id)
        return total

    async def _price_of(self, package_id: str) -> Decimal:
        if package_id not in self._prices:
            self._prices[package_id] = asyncio.ensure_future(self.trade.price(package_id))
        try:
            return await asyncio.shield(self._prices[package_id])
        except RoamifyError as error:
            if outcome(error, was_sent=False) != "refused":
                self._prices.pop(package_id, None)
            raise

    async def quote(self, wanted: Mapping[str, int]) -> Decimal:
        """Give what so many of each package will cost together, as far as they are known."""
        prices = await gather(self._price_of, wanted)
        pairs = zip(wanted.values(), prices, strict=True)
        return sum((count * price for count, price in pairs if isinstance(price, Decimal)), Decimal(0))


def outcome(error: RoamifyError, *, was_sent: bool) -> Status:
    """Tell what a line's error makes of it."""
    if isinstance(error, PurchaseInDoubtError):
        return "in_doubt"
    if isinstance(error, TransportError | RateLimitError) or (was_sent and error.sent == "no"):
        return "not_sent"
    if isinstance(error, ConfigurationError) or (not was_sent and meaning(error) is Meaning.DOUBT):
        return "not_sent"
    if meaning(error) is Meaning.DOUBT and not isinstance(error, APIStatusError):
        return "in_doubt"
    return "refused"


def ends_all(error: RoamifyError) -> bool:
    """Tell whether an error says that no further line will fare better: the token, or the balance."""
    return isinstance(error, AuthenticationError | PermissionDeniedError | ConfigurationError) or (
        isinstance(error, ConflictError) and "balance" in error.message.lower()
    )


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
        run = Run(engine, trade, source, ledger, Budget(balance=await trade.balance(), max_spend=limit, spent=spent))
        run.resume()
        run.on_progress = on_progress
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
    if rate is not None and not rate > 0:
        raise ValueError(f"rate must be more than 0, not {rate!r}")
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
    done = {entry.position for entry in run.ledger.entries() if entry.final or entry.first_sent is not None}
    if cost := await run.quote(await run.source.packages(done)):
        run.budget.refuse(cost, "all lines")


async def _all(engine: Engine, run: Run, places: int) -> None:
    """Work at all lines; cut off, take no more and let what is in flight come to its end."""

    async def work() -> None:
        async with anyio.create_task_group() as group:
            # Some wait for the disk while others are on the wire, whose places the queue counts.
            for _ in range(places + places // 2 + 1):
                group.start_soon(run.work)

    task = engine.transport.spawn(work())
    try:
        await asyncio.wait([task])
    except BaseException as cut:
        run.source.stop()
        run.on_progress = None  # The caller's thread is on its way out and runs no errands any more.
        with CancelScope(shield=True):
            if run.landings:
                # A little less than the window: a blocking call does not wait longer than that for its last word.
                await asyncio.wait(run.landings, timeout=0.9 * engine.settings.settle_window)
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
    doubtful = [entry.reference for entry in itertools.islice(run.ledger.entries("sending", "in_doubt"), 50)]
    told = f"the bulk order was cut off after {sum(run.counts.values())} lines"
    open_ones = f"; in doubt: {' '.join(doubtful)}" if doubtful else "; no line is in doubt"
    if run.ledger.is_kept:
        return f"{told}{open_ones}; call again with the same journal and requests to go on"
    return f"{told}{open_ones}; it had no journal to go on with: see orders.list() for what was bought"
