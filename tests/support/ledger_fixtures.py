"""Fixtures of ledgers of both kinds, empty for each test."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from support.clients import QUICK, InThread
from support.postgres import Cluster, cluster

from roamify_async import AsyncRoamify, Roamify
from roamify_async.ledger import SqliteLedger
from roamify_async.sandbox import Sandbox

_numbers = itertools.count()


@pytest.fixture(scope="session")
def running_cluster() -> Iterator[Cluster]:
    """Run PostgreSQL, or skip the test."""
    with cluster() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.long)])
def open_ledger(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Callable[..., Any]]:
    """Open the same ledger again and again, as different processes do."""
    opened: list[Any] = []
    if request.param == "postgres":
        url = request.getfixturevalue("running_cluster").url
        from roamify_async.ledger import PostgresLedger  # Skipped before, if the extra is missing.

        schema = f"test_{next(_numbers)}"

    def open_it(**options: Any) -> Any:
        ledger = (
            SqliteLedger(tmp_path / "purchases.db", **options)
            if request.param == "sqlite"
            else PostgresLedger(url, schema, **options)
        )
        opened.append(ledger)
        return ledger

    if request.param == "sqlite":
        open_it.place = {"path": str(tmp_path / "purchases.db")}  # type: ignore[attr-defined]
    else:
        open_it.place = {"url": url, "schema": schema}  # type: ignore[attr-defined]
    yield open_it
    for ledger in opened:
        ledger.close()


@pytest.fixture
def ledger(open_ledger) -> Any:
    """Open one ledger."""
    return open_ledger()


@pytest.fixture(params=["awaiting", pytest.param("blocking", marks=pytest.mark.long)])
async def replica(request: pytest.FixtureRequest) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Open clients as replicas of a shop do, first of one kind, then of the other; the calls of both are awaited."""
    async with AsyncExitStack() as stack:

        async def opened(sandbox: Sandbox, ledger: Any, settings: Any = QUICK) -> Any:
            options = {"base_url": sandbox.url, "settings": settings, "ledger": ledger}
            if request.param == "awaiting":
                return await stack.enter_async_context(AsyncRoamify(sandbox.token, **options))
            blocking = Roamify(sandbox.token, **options)
            stack.push_async_callback(asyncio.to_thread, blocking.close)
            return InThread(blocking)

        yield opened
