"""The sandbox as a running server, in the current event loop or in a thread of its own."""

import asyncio
import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from decimal import Decimal
from functools import cached_property, partial
from os import PathLike
from random import Random
from types import TracebackType
from typing import Self

from aiohttp import web

from .catalogue import Catalogue, Json
from .faults import Faults
from .gate import handle
from .money import decimal
from .options import (
    TOKEN,
    WEBHOOK_SECRET,
    DuplicateReference,
    InstantOrderShows,
    Options,
    PageCounts,
    PastEnd,
)
from .store import Store
from .world import World

_GRACE = 0.05  # seconds that requests under way have to end when the sandbox stops


class Sandbox:
    """A stand-in for the partner API on a loopback port: `async with` in this loop, `with` in a thread of its own."""

    def __init__(
        self,
        *,
        packages: int = 28_000,
        seed: int = 0,
        balance: Decimal | str | int = "1000.00",
        token: str = TOKEN,
        webhook_secret: str = WEBHOOK_SECRET,
        host: str = "127.0.0.1",
        port: int = 0,
        latency: float = 0.0,
        page_counts: PageCounts = "packages",
        totals: bool | int = False,
        past_end: PastEnd = "empty",
        db: str | PathLike[str] | None = None,
        duplicate_reference: DuplicateReference = "accept",
        instant_order_shows: InstantOrderShows = "items",
        apply_needs_esim_id: bool = False,
        compress: bool = True,
    ) -> None:
        """Choose how the sandbox behaves; ValueError for a choice that does not exist."""
        self._options = Options(
            packages=packages,
            seed=seed,
            balance=balance,
            token=token,
            webhook_secret=webhook_secret,
            host=host,
            port=port,
            latency=latency,
            page_counts=page_counts,
            totals=totals,
            past_end=past_end,
            db=db,
            duplicate_reference=duplicate_reference,
            instant_order_shows=instant_order_shows,
            apply_needs_esim_id=apply_needs_esim_id,
            compress=compress,
        )
        self._world: World | None = None
        self._runner: web.ServerRunner | None = None
        self._door: socket.socket | None = None
        self._port = 0
        self._thread: threading.Thread | None = None
        self._stop: Future[None] = Future()

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        self._running()
        host = self._options.host
        return f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"

    @property
    def token(self) -> str:
        """The token that it accepts."""
        return self._options.token

    @property
    def webhook_secret(self) -> str:
        """The secret that its partner signs webhooks with."""
        return self._options.webhook_secret

    @property
    def catalogue(self) -> list[Json]:
        """The destinations with their packages, as the API serves them."""
        return [group.shown for group in self._catalogue.groups]

    @property
    def kinds(self) -> dict[str, list[str]]:
        """The package ids of each kind: plain, travel_date, unlimited, throttled, no_usage_check, no_top_up, ..."""
        return self._catalogue.kinds

    def price(self, package_id: str) -> Decimal:
        """Tell the exact price of a package."""
        return decimal(self._catalogue.packages[package_id].cents)

    def package_json(self, package_id: str) -> str:
        """Give a package as the very JSON text that the API serves."""
        return self._catalogue.packages[package_id].text

    def state(self) -> Json:
        """Tell the balance, the orders, the eSIMs, and how many requests came for what."""
        return self._running().state()

    def reset(self) -> None:
        """Return to the start: balance, orders, eSIMs, faults and counts."""
        self._running().reset()

    def fail(
        self,
        method: str,
        path: str,
        fault: str,
        *,
        when: str = "before",
        times: int = 1,
        probability: float = 1.0,
        seconds: float = 0.0,
    ) -> None:
        """Script a fault for the next requests of that method and path; `*` stands for any."""
        world = self._running()
        given = {"method": method, "path": path, "fault": fault, "when": when}
        with world.lock:
            world.faults.add(given | {"times": times, "probability": probability, "seconds": seconds})

    async def __aenter__(self) -> Self:
        self._refuse_second_start()
        await self._start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._end()

    def __enter__(self) -> Self:
        self._refuse_second_start()
        started: Future[None] = Future()
        self._stop = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="roamify-sandbox", daemon=True)
        self._thread.start()
        try:
            started.result()
        except BaseException:
            # Also on Ctrl-C while the catalogue is made: the thread is told to end before it is waited for.
            self._stop.set_result(None)
            self._thread.join()
            self._thread = None
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set_result(None)
        if self._thread:
            self._thread.join()
            self._thread = None

    @cached_property
    def _catalogue(self) -> Catalogue:
        return Catalogue(self._options.seed, self._options.packages)

    def _running(self) -> World:
        if self._world is None:
            raise RuntimeError("the sandbox is not running: use it inside its `with` or `async with` block")
        return self._world

    def _refuse_second_start(self) -> None:
        if self._world is not None:
            raise RuntimeError("the sandbox is running already")

    def _run(self, started: "Future[None]") -> None:
        asyncio.run(self._serve(started))

    async def _serve(self, started: "Future[None]") -> None:
        try:
            await self._start()
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits for the start
            started.set_exception(error)
            return
        started.set_result(None)
        try:
            await asyncio.wrap_future(self._stop)
        finally:
            await self._end()

    async def _start(self) -> None:
        options = self._options
        store = Store(options.db, catalogue=f"seed={options.seed} packages={options.packages}", balance=options.balance)
        self._world = World(options, self._catalogue, store, Faults(Random(f"{options.seed}/faults")))
        server = web.Server(partial(handle, self._world), access_log=None)
        self._runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=_GRACE)
        try:
            await self._runner.setup()
            self._door = _listen(options.host, options.port)
            await web.SockSite(self._runner, self._door).start()
        except BaseException:
            await self._end()
            raise
        self._port = int(self._door.getsockname()[1])

    async def _end(self) -> None:
        if self._door:
            await _close_door(self._door)
            self._door = None
        if self._runner:
            await self._runner.cleanup()
            self._runner = None
        if self._world:
            self._world.close()
            self._world = None


def _listen(host: str, port: int) -> socket.socket:
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


async def _close_door(door: socket.socket) -> None:
    # A connection that is accepted in the very turn in which a server closes is lost with a logged error, so
    # accepting ends a turn earlier.
    with suppress(NotImplementedError):
        asyncio.get_running_loop().remove_reader(door)
    await asyncio.sleep(0)
