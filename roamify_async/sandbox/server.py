"""A world as a running server, in the current event loop or in a thread of its own."""

import asyncio
import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from functools import cached_property, partial
from types import TracebackType
from typing import Self

from aiohttp import web

from .app import handle
from .context import World
from .data.catalogue import Catalogue
from .data.generator import destinations
from .faults.rules import Faults
from .options import Options
from .state.clock import Clock
from .state.store import Store

_GRACE = 0.05  # seconds that requests under way have to end when the server stops


class Server:
    """A world on a loopback port while its block lasts; each block begins with a new one."""

    def __init__(self, options: Options) -> None:
        """Take the options; nothing runs yet."""
        self._options = options
        self._world: World | None = None
        self._runner: web.ServerRunner | None = None
        self._courier: asyncio.Task[None] | None = None
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
    def _first_catalogue(self) -> Catalogue:
        return Catalogue(destinations(self._options.seed, self._options.packages))

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
        catalogue = f"seed={options.seed} packages={options.packages}"
        store = Store(options.db, Clock(), catalogue=catalogue, balance=options.balance)
        self._world = World(options, self._first_catalogue, store, Faults(options.seed, options.faults))
        server = web.Server(partial(handle, self._world), access_log=None)
        self._runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=_GRACE)
        try:
            await self._runner.setup()
            self._door = _listen(options.host, options.port)
            await web.SockSite(self._runner, self._door).start()
        except BaseException:
            await self._end()
            raise
        self._courier = asyncio.create_task(self._world.webhooks.run())
        self._port = int(self._door.getsockname()[1])

    async def _end(self) -> None:
        if self._door:
            await _close_door(self._door)
            self._door = None
        if self._runner:
            await self._runner.cleanup()
            self._runner = None
        if self._courier:
            self._courier.cancel()
            await asyncio.wait([self._courier])
            self._courier = None
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
