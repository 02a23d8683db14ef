"""The HTTP server of a sandbox, in the current event loop or in its own thread."""

import asyncio
import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from .app import handle
from .context import Context
from .data.catalogue import initial_catalogue
from .faults.rules import Faults
from .options import Options
from .state.clock import Clock
from .state.store import Store

_SHUTDOWN_TIMEOUT: Final = 0.05  # seconds that requests in progress have to finish


class Server:
    """A server on a port of this machine, running within its `with` or `async with` block; each block starts afresh."""

    def __init__(self, options: Options) -> None:
        """Create a server; nothing runs yet."""
        self._options = options
        self._context: Context | None = None
        self._runner: web.ServerRunner | None = None
        self._delivery: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None
        self._port = 0
        self._thread: threading.Thread | None = None
        self._stop: Future[None] = Future()

    @property
    def url(self) -> str:
        """The base URL for this machine, without a trailing slash."""
        self._running()
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._options.host, self._options.host)  # noqa: S104
        return f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"

    async def __aenter__(self) -> Self:
        self._refuse_second_start()
        await self._start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._shut_down()

    def __enter__(self) -> Self:
        self._refuse_second_start()
        started: Future[None] = Future()
        self._stop = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="roamify-sandbox", daemon=True)
        self._thread.start()
        try:
            started.result()
        except BaseException:
            # Also on Ctrl-C while the catalogue is generated: stop the thread before waiting for it.
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

    def _running(self) -> Context:
        if self._context is None:
            raise RuntimeError("the sandbox is not running: use it inside its `with` or `async with` block")
        return self._context

    def _refuse_second_start(self) -> None:
        if self._context is not None:
            raise RuntimeError("the sandbox is running already")

    def _run(self, started: "Future[None]") -> None:
        asyncio.run(self._serve(started))

    async def _serve(self, started: "Future[None]") -> None:
        try:
            await self._start()
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits for the start
            started.set_exception(error)
            return
        started.set_result(None)
        try:
            await asyncio.wrap_future(self._stop)
        finally:
            await self._shut_down()

    async def _start(self) -> None:
        options = self._options
        catalogue = initial_catalogue(options.seed, options.packages)
        origin = f"seed={options.seed} packages={options.packages}"
        store = Store(options.db, Clock(), catalogue=origin, balance=options.balance)
        self._context = Context(options, catalogue, store, Faults(options.seed, options.faults))
        server = web.Server(partial(handle, self._context), access_log=None)
        self._runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=_SHUTDOWN_TIMEOUT)
        try:
            await self._runner.setup()
            self._socket = _listen(options.host, options.port)
            await web.SockSite(self._runner, self._socket).start()
        except BaseException:
            await self._shut_down()
            raise
        self._delivery = asyncio.create_task(self._context.webhooks.run())
        self._port = int(self._socket.getsockname()[1])

    async def _shut_down(self) -> None:
        if self._socket:
            await _stop_accepting(self._socket)
            self._socket = None
        if self._runner:
            await self._runner.cleanup()
            self._runner = None
        if self._delivery:
            self._delivery.cancel()
            await asyncio.wait([self._delivery])
            self._delivery = None
        if self._context:
            self._context.close()
            self._context = None


def _listen(host: str, port: int) -> socket.socket:
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


async def _stop_accepting(listener: socket.socket) -> None:
    # A connection accepted in the same iteration of the loop in which the server closes would fail with a logged
    # error, so the server stops accepting one iteration earlier.
    with suppress(NotImplementedError):
        asyncio.get_running_loop().remove_reader(listener)
    await asyncio.sleep(0)
