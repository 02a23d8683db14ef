"""A tour of the library: from the list of countries to a topped-up eSIM, with both clients, against a sandbox."""

import asyncio
from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Any

from rich.console import Console

from roamify_async import AsyncRoamify, Roamify
from roamify_async.sandbox import Sandbox

from .screen import Result, Screen, Spending, StepError, terminal
from .steps import run_steps

__all__ = ["StepError", "tour"]


def tour(sandbox: Sandbox, console: Console | None = None) -> None:
    """Run the steps with ``AsyncRoamify``, then with ``Roamify``.

    Args:
        sandbox: A sandbox that runs in its own thread, entered with ``with``.
        console: Where to print; by default the standard output.

    Raises:
        StepError: A step failed.
    """
    screen = Screen(console or terminal())

    async def run_async() -> Spending:
        async with AsyncRoamify(sandbox.token, base_url=sandbox.url) as roamify:
            return await run_steps(roamify, sandbox.url, screen)

    def run_blocking() -> Spending:
        with Roamify(sandbox.token, base_url=sandbox.url) as roamify:
            return run_without_loop(run_steps(roamify, sandbox.url, screen))

    screen.title(sandbox.url)
    screen.heading("AsyncRoamify", "every call is awaited")
    results = [_measure(sandbox, "AsyncRoamify", lambda: asyncio.run(run_async()))]
    screen.heading("Roamify", "every call blocks")
    results.append(_measure(sandbox, "Roamify", run_blocking))
    screen.summary(results)


def run_without_loop(steps: Coroutine[Any, Any, Spending]) -> Spending:
    """Return the result of steps that never suspend: with ``Roamify``, nothing is awaited, so no loop is needed."""
    try:
        steps.send(None)
    except StopIteration as end:
        spending: Spending = end.value
        return spending
    raise RuntimeError("the steps of a blocking client must not wait for an event loop")


def _measure(sandbox: Sandbox, client: str, run: Callable[[], Spending]) -> Result:
    requests, start = _requests(sandbox), perf_counter()
    spending = run()
    return Result(client, spending, _requests(sandbox) - requests, perf_counter() - start)


def _requests(sandbox: Sandbox) -> int:
    return sum(sandbox.state()["requests"].values())
