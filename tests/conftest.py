"""Fixtures that many tests need: a sandbox, clients, and the watch for leaked tokens."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aioresponses.core
import hypothesis
import pytest
from support.clients import QUICK, InThread, MockedResponse
from support.leaks import TOKENS, Watch
from support.partner import Partner, partner_of
from support.purchases import PLAIN, top_up

from roamify_async import AsyncRoamify, Roamify
from roamify_async._core import concurrency
from roamify_async.purchasing import look_up, machine, shared
from roamify_async.sandbox import Sandbox

for profile, examples in (("dev", 8), ("ci", 100), ("nightly", 2_000)):
    hypothesis.settings.register_profile(
        profile,
        max_examples=examples,
        deadline=None,
        derandomize=profile != "nightly",  # what runs for every change gives the same result every time
        database=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # As in a shell's background jobs, whose programs inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers() -> int | None:
    """Run three workers on two cores: tests wait for servers and programs a third of the time."""
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else (os.cpu_count() or 1) * 3 // 2


@pytest.fixture
def mocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[aioresponses.aioresponses]:
    """Answer requests without a server."""
    monkeypatch.setattr(aioresponses.core, "ClientResponse", MockedResponse)
    with aioresponses.aioresponses() as mock:
        yield mock


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Run a small sandbox in the test's own loop."""
    async with Sandbox(packages=300) as running:
        yield running


@pytest.fixture
async def partner() -> AsyncIterator[Partner]:
    """Run a small sandbox with a plain HTTP client."""
    async with partner_of() as made:
        yield made


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[AsyncRoamify]:
    """Open an awaiting client of the sandbox."""
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK) as roamify:
        yield roamify


@pytest.fixture(params=["awaiting", pytest.param("blocking", marks=pytest.mark.long)])
async def opened(request: pytest.FixtureRequest) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Open clients of any server, first of one kind, then of the other; the calls of both are awaited."""
    async with AsyncExitStack() as stack:

        async def opened(url: str, token: str = "secret-token") -> Any:
            if request.param == "awaiting":
                return await stack.enter_async_context(AsyncRoamify(token, base_url=url, settings=QUICK))
            blocking = Roamify(token, base_url=url, settings=QUICK)
            stack.push_async_callback(asyncio.to_thread, blocking.close)
            return InThread(blocking)

        yield opened


@pytest.fixture
async def either(sandbox: Sandbox, opened: Callable[..., Awaitable[Any]]) -> Any:
    """Open one client of the sandbox, then the other; the calls of both are awaited."""
    return await opened(sandbox.url, sandbox.token)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again sooner than a real server, or a database, should be asked."""
    monkeypatch.setattr(concurrency, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(look_up, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(machine, "MIN_RATE_LIMIT_DELAY", 0.01)
    monkeypatch.setattr(shared, "FIRST_PAUSE", 0.01)


@pytest.fixture
async def iccid(request: pytest.FixtureRequest, sandbox: Sandbox) -> str:
    """Buy an eSIM that can be topped up, for a test whose ``way`` needs one."""
    if request.node.callspec.params.get("way", top_up) is not top_up:
        return ""
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url) as roamify:
        (esim,) = await roamify.esims.buy(PLAIN)
        assert esim.iccid
        return esim.iccid


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sandbox]:
    """Run a sandbox that clients without arguments use, in an empty folder."""
    with Sandbox(packages=500) as running:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("ROAMIFY_TOKEN", running.token)
        monkeypatch.setenv("ROAMIFY_BASE_URL", running.url)
        monkeypatch.setenv("ROAMIFY_WEBHOOK_SECRET", running.webhook_secret)
        yield running


@pytest.fixture(autouse=True)
def no_token_shows(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Search all that a test logs, raises and warns of for the token, and fail where it stands."""
    watch = Watch(monkeypatch)
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(watch)
    root.setLevel(logging.DEBUG)
    yield watch
    root.removeHandler(watch)
    root.setLevel(level)
    leaks = [text for text in watch.shown() if any(token in text for token in TOKENS)]
    assert not leaks
