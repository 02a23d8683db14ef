"""A walk through everything a partner does with the API, in both clients, against a sandbox."""

import asyncio
from collections.abc import Callable
from time import perf_counter

from rich.console import Console

from roamify_async.sandbox import Sandbox

from .awaited import walk as walk_awaited
from .bill import Bill
from .blocking import walk as walk_blocking
from .show import Show, StepError, Walked, terminal

__all__ = ["StepError", "tour"]


def tour(sandbox: Sandbox, console: Console | None = None) -> None:
    """Walk with ``AsyncRoamify``, then with ``Roamify``; raises ``StepError`` where a step fails.

    The sandbox runs in a thread of its own.
    """
    show = Show(console or terminal())

    def awaiting() -> Bill:
        return asyncio.run(walk_awaited(sandbox.url, sandbox.token, show))

    def waiting() -> Bill:
        return walk_blocking(sandbox.url, sandbox.token, show)

    show.opening(sandbox.url)
    walks = [
        _walked(sandbox, show, "AsyncRoamify", "every call is awaited", awaiting),
        _walked(sandbox, show, "Roamify", "every call blocks", waiting),
    ]
    show.summary(walks)


def _walked(sandbox: Sandbox, show: Show, client: str, manner: str, walk: Callable[[], Bill]) -> Walked:
    show.chapter(client, manner)
    requests, start = _requests(sandbox), perf_counter()
    bill = walk()
    return Walked(client, bill, _requests(sandbox) - requests, perf_counter() - start)


def _requests(sandbox: Sandbox) -> int:
    return sum(sandbox.state()["requests"].values())
