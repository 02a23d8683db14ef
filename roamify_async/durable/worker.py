"""A worker: it takes lines of the batches that were submitted, and buys them, until it is told to stop."""

import logging
import time
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import Final

import anyio
from anyio.abc import TaskGroup

from roamify_async._core.concurrency import Limiter
from roamify_async._core.engine import Engine
from roamify_async._core.server_messages import is_insufficient_balance
from roamify_async._validation import check, rate as rate_limit, whole_number
from roamify_async.api.account import Account
from roamify_async.api.orders import bulk_adapter
from roamify_async.errors import AuthenticationError, JournalError, LedgerError, PermissionDeniedError, RoamifyError
from roamify_async.ledger.store import SqlLedger
from roamify_async.models.account import GetBalance
from roamify_async.purchasing.batch import Batch as Lines
from roamify_async.purchasing.batch_source import BatchSource
from roamify_async.purchasing.budget import Budget
from roamify_async.purchasing.bulk import Run, run_lines
from roamify_async.purchasing.line import LineProcessor

from . import store
from .store import Submitted

log: logging.Logger = logging.getLogger("roamify_async")

POLL: Final = 1.0
"""Seconds between two looks for lines on which nobody works."""
BATCHES: Final = 4
"""Number of batches on which a worker works at the same time."""
SILENCE: Final = 30.0
"""Seconds without an answer of the ledger after which a worker is unhealthy."""


class Worker:
    """Buys lines of batches in this process."""

    def __init__(self, engine: Engine, *, concurrency: int | None = None, rate: float | None = None) -> None:
        if concurrency is not None:
            check("concurrency", concurrency, whole_number)
        if rate is not None:
            check("rate", rate, rate_limit)
        self._base = engine
        self._slots = concurrency or engine.settings.concurrency
        self._rate = rate or engine.settings.rate
        self._stopped: anyio.Event = anyio.Event()
        self._runs: dict[str, Run] = {}
        """What is in progress, by the id of the batch."""
        self._names: dict[str, str] = {}
        """Names of the batches on which this worker has worked, by id."""
        self._counts: Counter[tuple[str, str]] = Counter()
        """Lines that were finished in runs that have ended, by the id of the batch and by status."""
        self._spent: dict[str, Decimal] = {}
        self._failure: RoamifyError | None = None
        self._answered = time.monotonic()
        """When the ledger last answered."""

    # ---------------------------------------------------------------- running

    async def run(self, *, until_done: bool = False) -> None:
        """Work until ``stop`` or, with *until_done*, until no batch has lines left."""
        engine = self._base.view(self._base.settings, Limiter(self._slots, self._rate, is_adaptive=True))
        await self._check_token(engine)
        async with anyio.create_task_group() as group:
            while not self._stopped.is_set():
                try:
                    await self._start_runs(engine, group)
                    is_done = until_done and not self._runs and not any((await self.left()).values())
                except LedgerError as error:
                    log.warning("the worker waits for its ledger: %s", error)
                    is_done = False
                if is_done:
                    break
                with anyio.move_on_after(POLL):
                    await self._stopped.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Take no more lines. ``run`` returns when those in progress have their outcome."""
        self._stopped.set()
        for run in self._runs.values():
            run.source.stop()

    async def _check_token(self, engine: Engine) -> None:
        """Raise if the token is refused, before any line is taken with it."""
        try:
            await engine.send(Account.balance, GetBalance())
        except (AuthenticationError, PermissionDeniedError):
            raise
        except RoamifyError as error:
            log.warning("the token could not be checked: %s", error)

    async def _start_runs(self, engine: Engine, group: TaskGroup) -> None:
        free = await self._ledger.run(store.find_free)
        self._answered = time.monotonic()
        waiting = [batch for batch in free if batch.id not in self._runs]
        for batch in waiting[: BATCHES - len(self._runs)]:
            lines = Lines(
                self._ledger, batch.name, batch.id, max_spend=batch.options.max_spend, applies=batch.applies
            )  # fmt: skip
            view = engine.view(batch.options.apply_to(engine.settings))
            adapter = bulk_adapter(view, apply=batch.applies)
            spent = await lines.reserved()
            budget = Budget(adapter.price, adapter.balance, max_spend=batch.options.max_spend, spent=spent)
            if self._stopped.is_set():  # Meanwhile, by a run that has ended.
                return
            processor = LineProcessor(view, adapter, lines, budget)
            run = self._runs[batch.id] = Run(processor, BatchSource(lines, waits=False), None)
            self._names[batch.id] = batch.name
            group.start_soon(self._run_batch, batch, lines, run)

    async def _run_batch(self, batch: Submitted, lines: Lines, run: Run) -> None:
        """Buy lines of a batch, as long as some are free."""
        lines.join()
        try:
            try:
                await run_lines(run.processor.engine, run, self._slots)
            except (JournalError, LedgerError) as error:
                log.warning("the worker cannot write to its ledger: %s", error)
            finally:
                await lines.end()
            if run.processor.end_reason is not None:
                await self._end(batch, run.processor.end_reason)
        finally:
            self._runs.pop(batch.id)
            self._add(batch.id, run)

    async def _end(self, batch: Submitted, reason: RoamifyError) -> None:
        """Stop the batch for all workers if the balance is insufficient, and else this worker."""
        if is_insufficient_balance(reason):
            text = f"the balance is insufficient: {reason}"
            log.error("the batch %r was stopped: %s", batch.name, text)
            await self._ledger.run(partial(store.close, batch=batch.id, state="stopped", reason=text), must_run=True)
        else:
            self._failure = self._failure or reason
            self.stop()

    # ---------------------------------------------------------------- what is known of it

    @property
    def _ledger(self) -> SqlLedger:
        ledger = self._base.memory.ledger
        assert isinstance(ledger, SqlLedger)  # noqa: S101 -- as its caller has checked
        return ledger

    @property
    def is_stopping(self) -> bool:
        """Whether it takes no more lines."""
        return self._stopped.is_set()

    @property
    def is_healthy(self) -> bool:
        """Whether the ledger has answered recently."""
        return time.monotonic() - self._answered < SILENCE

    @property
    def in_progress(self) -> int:
        """Number of lines on which it works."""
        return sum(len(run.in_flight) for run in self._runs.values())

    async def left(self) -> Mapping[str, int]:
        """Return the number of lines without an outcome of each open batch, with whatever worker they are."""
        return await self._ledger.run(store.left)

    def counts(self) -> Mapping[tuple[str, str], int]:
        """Return how many lines this worker has finished, by the name of their batch and by status."""
        counts = self._counts.copy()
        for batch, run in self._runs.items():
            counts.update({(batch, status): count for status, count in run.counts.items()})
        named = Counter[tuple[str, str]]()
        for (batch, status), count in counts.items():
            named[self._names[batch], status] += count
        return named

    def spent(self) -> Mapping[str, Decimal]:
        """Return the cost of the lines that this worker has ordered, by the name of their batch."""
        spent = {self._names[batch]: amount for batch, amount in self._spent.items()}
        for batch, run in self._runs.items():
            spent[self._names[batch]] = spent.get(self._names[batch], Decimal(0)) + run.spent
        return spent

    def _add(self, batch: str, run: Run) -> None:
        self._counts.update({(batch, status): count for status, count in run.counts.items()})
        self._spent[batch] = self._spent.get(batch, Decimal(0)) + run.spent
