"""Batches that are submitted to workers: awaited with ``AsyncRoamify``, blocking with ``Roamify``."""

from collections.abc import AsyncIterable, Iterable
from decimal import Decimal
from functools import partial
from typing import Final, Self

import anyio

from roamify_async._core.engine import Engine
from roamify_async._core.sync import Sync
from roamify_async._validation import check, flag, one_of, text
from roamify_async.api.orders import bulk_adapter
from roamify_async.client import AsyncRoamify, Roamify
from roamify_async.errors import BudgetError, ConfigurationError, JournalError
from roamify_async.ledger.store import SqlLedger
from roamify_async.models.orders import CreateOrder
from roamify_async.purchasing.batch import Batch as Lines
from roamify_async.purchasing.batch_source import BatchSource, open_batch
from roamify_async.purchasing.budget import Budget
from roamify_async.purchasing.bulk import Progress, to_money
from roamify_async.purchasing.report import OUTCOMES, BulkReport
from roamify_async.purchasing.source import Source

from . import store
from .store import Options, Submitted
from .worker import Worker

PAUSE: Final = 0.5
"""Seconds between two looks at a batch that is waited for."""
Requests = Iterable[CreateOrder] | AsyncIterable[CreateOrder]
MaxSpend = Decimal | int | str | None


class Batch:
    """A batch that was submitted. It can be used in any process that has the ledger, at any time."""

    def __init__(self, ledger: SqlLedger, submitted: Submitted) -> None:
        self._ledger = ledger
        self._submitted = submitted
        limit = submitted.options.max_spend
        self._lines = Lines(ledger, submitted.name, submitted.id, max_spend=limit, applies=submitted.applies)

    @property
    def name(self) -> str:
        """Its name."""
        return self._submitted.name

    def __repr__(self) -> str:
        """Return the name."""
        return f"<{type(self).__name__} {self.name!r}>"

    async def progress(self) -> Progress:
        """Return how many lines have an outcome, in all workers.

        Raises:
            LedgerError: The ledger cannot be reached.
        """
        counts, spent = await self._lines.done()
        ((total,),) = await self._ledger.run(lambda session: session.rows(store.SIZE, batch=self._submitted.id))
        found = store.outcomes(counts)
        return Progress(done=sum(found.values()), total=int(total), counts=found, spent=spent)

    async def report(self, wait: bool = False) -> BulkReport:  # noqa: FBT001, FBT002 -- reads well
        """Return a report with a line for each request, which reads the ledger whenever it is used.

        Args:
            wait: Return only when no worker has anything left to do: all lines have an outcome, or the batch was
                cancelled or stopped. Without workers this waits forever; use ``asyncio.timeout``.

        Raises:
            LedgerError: The ledger cannot be reached, or the batch was purged.
        """
        is_worked_on = partial(store.is_worked_on, name=self.name, batch=self._submitted.id)
        while await self._ledger.run(is_worked_on) and wait:  # noqa: ASYNC110 -- others do the work
            await anyio.sleep(PAUSE)
        return BulkReport(self._lines, is_own=False)

    async def cancel(self) -> None:
        """Cancel the batch. Lines that are being sent are finished, and no others are sent after this returns.

        ``retry`` opens it again.

        Raises:
            LedgerError: The ledger cannot be reached. It is not known whether the batch was cancelled.
        """
        work = partial(store.close, batch=self._submitted.id, state="cancelled")
        await self._ledger.run(work, must_run=True)

    async def retry(self, *statuses: str) -> int:
        """Give lines to the workers again, and return their number. A cancelled or stopped batch is opened.

        Lines in doubt are looked up. What was refused for good is not tried again; submit it in another batch.

        Args:
            statuses: ``"in_doubt"``, ``"not_sent"``, ``"refused"`` (for the token or the balance), or ``"ordered"``
                (without its profiles, or not yet checked for a second booking); by default all of them.

        Raises:
            ValueError: A status is unknown.
            LedgerError: The ledger cannot be reached. It is not known whether lines are tried again.
        """
        for status in statuses:
            check("status", status, one_of(*OUTCOMES))
        work = partial(store.reopen, batch=self._submitted.id, statuses=statuses or OUTCOMES)
        return await self._ledger.run(work, must_run=True)


class DurableOrders:
    """Submits batches of orders to workers.

    The batches are in the ledger of the client, which must be a ``SqliteLedger`` or ``PostgresLedger``. Workers are
    processes that run ``python -m roamify_async.durable work`` with the same ledger, or ``work``.

    Args:
        client: An ``AsyncRoamify`` with a ledger. It is not closed.

    Raises:
        ConfigurationError: The client has no ledger.
    """

    def __init__(self, client: AsyncRoamify) -> None:
        if not isinstance(client, AsyncRoamify):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"client must be an AsyncRoamify, not {type(client).__name__}: see DurableOrders.blocking")
        self._engine: Engine = client.orders.engine
        _ledger(self._engine)

    @staticmethod
    def blocking(client: Roamify) -> "BlockingOrders":
        """Return the same for ``Roamify``: its calls block, and it is used with ``with``."""
        return BlockingOrders(client)

    async def __aenter__(self) -> Self:
        """Bind the ledger to the host of the client.

        Raises ``LedgerError`` if it cannot be reached or belongs to another host.
        """
        await _bind(self._engine)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Do nothing: the client and its ledger belong to the caller."""

    async def submit(self, name: str, requests: Requests, *, max_spend: MaxSpend = None, apply: bool = False) -> Batch:
        """Submit a batch. Return when all lines are on disk; workers buy them.

        A batch of this name with the same requests is returned as it is, so that a call whose result was lost can be
        repeated. The workers use the settings of the client for purchases: ``on_doubt``, ``reconcile_window``,
        ``look_first`` and ``check_packages``.

        Args:
            name: Name of the batch.
            requests: An iterable of ``CreateOrder``, which may be asynchronous.
            max_spend: Maximum amount in USD, such as ``Decimal("50")`` or ``"50"``, over all workers. Lines that would
                exceed it are not sent.
            apply: Also generate the profiles of the eSIMs. ``esims.get`` reads the data that installs them, which a
                ledger does not hold.

        Raises:
            JournalError: The batch belongs to other requests, or was submitted with other options.
            BudgetError: All lines together are known to cost more than *max_spend*; nothing was submitted.
            LedgerError: The ledger cannot be reached, or belongs to another host.
        """
        return await _submit(self._engine, name, requests, max_spend=max_spend, apply=apply)

    async def get(self, name: str) -> Batch:
        """Return a batch that was submitted.

        Raises:
            JournalError: There is no such batch.
            LedgerError: The ledger cannot be reached.
        """
        return await get_batch(_ledger(self._engine), name)

    async def work(
        self, *, until_done: bool = False, concurrency: int | None = None, rate: float | None = None
    ) -> None:
        """Buy lines of all batches in this process, until it is cancelled.

        Args:
            until_done: Return when no batch has lines left, also with other workers.
            concurrency: Maximum number of requests in flight; by default that of the settings.
            rate: Maximum number of requests per second of this worker; by default that of the settings.
                ``SharedLimits`` of the ledger limits all workers together.

        Raises:
            AuthenticationError, PermissionDeniedError: The token was refused. Other workers go on.
        """
        await _work(self._engine, until_done=until_done, concurrency=concurrency, rate=rate)


async def _submit(engine: Engine, name: str, requests: Requests, *, max_spend: MaxSpend, apply: bool) -> Batch:
    check("name", name, text)
    check("apply", apply, flag)
    limit, ledger = to_money(max_spend), _ledger(engine)
    host = engine.transport.credentials.base_url
    lines = await open_batch(ledger, name, host, Source(requests, CreateOrder), max_spend=limit, applies=apply)
    found = await ledger.run(partial(store.find, name=name))
    if found is None:
        await _refuse_excess(engine, lines, limit)
        options = Options.of(engine.settings, limit).to_json()
        await ledger.run(lambda session: session.rows(store.ACTIVATE, batch=lines.id, options=options))
        found = await ledger.run(partial(store.find, name=name))
    if found is None:
        raise JournalError(f"the batch {name!r} was purged while it was submitted")
    if found.options != Options.of(engine.settings, limit):
        raise JournalError(f"the batch {name!r} was submitted with other options: {found.options}")
    return Batch(ledger, found)


async def _work(engine: Engine, *, until_done: bool, concurrency: int | None, rate: float | None) -> None:
    await _bind(engine)
    await Worker(engine, concurrency=concurrency, rate=rate).run(until_done=until_done)


async def get_batch(ledger: SqlLedger, name: str) -> Batch:
    """Return a batch that was submitted. Raises ``JournalError`` if there is none."""
    found = await ledger.run(partial(store.find, name=name))
    if found is None:
        raise JournalError(f"no batch {name!r} was submitted")
    return Batch(ledger, found)


def _ledger(engine: Engine) -> SqlLedger:
    ledger = engine.memory.ledger
    if not isinstance(ledger, SqlLedger):
        raise ConfigurationError(
            "durable batches need a client with a SqliteLedger or PostgresLedger: pass ledger=, or set ROAMIFY_LEDGER"
        )
    return ledger


async def _bind(engine: Engine) -> None:
    await _ledger(engine).bind(engine.transport.credentials.base_url)


async def _refuse_excess(engine: Engine, lines: Lines, limit: Decimal | None) -> None:
    """Raise ``BudgetError``, and drop the lines, if all are known to cost too much."""
    if limit is None:
        return
    adapter = bulk_adapter(engine, apply=lines.applies)
    budget = Budget(adapter.price, adapter.balance, max_spend=limit, spent=Decimal(0))
    cost = await lines.reserved() + await budget.quote(await BatchSource(lines).packages())
    if cost > limit:
        await lines.ledger.run(partial(store.drop_untouched, batch=lines.id), must_run=True)
        raise BudgetError(f"all lines would cost {cost} and exceed max_spend, which is {limit}; nothing was submitted")


# ---------------------------------------------------------------- blocking


class BlockingBatch:
    """A batch that was submitted, with calls that block."""

    def __init__(self, batch: Batch, mode: Sync) -> None:
        self._batch = batch
        self._mode = mode

    @property
    def name(self) -> str:
        """Its name."""
        return self._batch.name

    def __repr__(self) -> str:
        """Return the name."""
        return f"<{type(self).__name__} {self.name!r}>"

    def progress(self) -> Progress:
        """Return how many lines have an outcome; see ``Batch.progress``."""
        return self._mode.run(self._batch.progress)

    def report(self, wait: bool = False) -> BulkReport:  # noqa: FBT001, FBT002 -- as in Batch
        """Return a report with a line for each request; see ``Batch.report``."""
        return self._mode.run(partial(self._batch.report, wait))

    def cancel(self) -> None:
        """Cancel the batch; see ``Batch.cancel``."""
        self._mode.run(self._batch.cancel)

    def retry(self, *statuses: str) -> int:
        """Give lines to the workers again; see ``Batch.retry``."""
        return self._mode.run(partial(self._batch.retry, *statuses))


class BlockingOrders:
    """``DurableOrders`` for ``Roamify``. It is made by ``DurableOrders.blocking``."""

    def __init__(self, client: Roamify) -> None:
        if not isinstance(client, Roamify):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"client must be a Roamify, not {type(client).__name__}")
        self._mode: Sync = client.orders.mode
        self._engine: Engine = client.orders.engine
        _ledger(self._engine)

    def __enter__(self) -> Self:
        """Bind the ledger to the host of the client."""
        self._mode.run(partial(_bind, self._engine))
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: the client and its ledger belong to the caller."""

    def submit(
        self, name: str, requests: Requests, *, max_spend: MaxSpend = None, apply: bool = False
    ) -> BlockingBatch:
        """Submit a batch, and return when all lines are on disk; see ``DurableOrders.submit``."""
        work = partial(_submit, self._engine, name, requests, max_spend=max_spend, apply=apply)
        return BlockingBatch(self._mode.run(work), self._mode)

    def get(self, name: str) -> BlockingBatch:
        """Return a batch that was submitted; see ``DurableOrders.get``."""
        return BlockingBatch(self._mode.run(partial(get_batch, _ledger(self._engine), name)), self._mode)

    def work(self, *, until_done: bool = False, concurrency: int | None = None, rate: float | None = None) -> None:
        """Buy lines of all batches in this process; see ``DurableOrders.work``."""
        work = partial(_work, self._engine, until_done=until_done, concurrency=concurrency, rate=rate)
        self._mode.run(work)
