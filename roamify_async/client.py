"""The two clients, which have the same calls: awaited or blocking."""

from collections.abc import Coroutine, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypedDict, TypeVar, Unpack, overload

from anyio import to_thread

from ._core import telemetry
from ._core.endpoint import Async, Endpoint, Mode
from ._core.engine import Engine
from ._core.memory import Doubt
from ._core.raw_request import QueryValue, build_request
from ._core.sync import GRACE, Sync
from ._http.credentials import Token, resolve_credentials
from ._http.transport import ClientSession, Transport
from ._validation import Seconds
from .api.account import Account
from .api.affiliates import Affiliates
from .api.countries import Countries
from .api.devices import Devices
from .api.esims import Esims
from .api.insurance import Insurance
from .api.orders import Orders
from .api.packages import Packages
from .api.rates import Rates
from .api.refunds import Refunds
from .api.service import Service
from .api.topups import TopUps
from .api.vouchers import Vouchers
from .ledger import LedgerLike, Row, open_ledger
from .purchasing.classify import Booked
from .purchasing.purchase import purchase
from .purchasing.reconcile import reconcile_row
from .purchasing.recorded import doubts
from .settings import OnDoubt, Retries, Settings, Timeouts

T = TypeVar("T")
AnyDict = dict[Any, Any]


class RequestOptions(TypedDict, total=False):
    """Optional parameters of ``request``."""

    params: Mapping[str, QueryValue | None] | None
    json: object


class Changes(TypedDict, total=False):
    """Settings that ``with_settings`` may change. The others belong to the connections of the client."""

    timeouts: Timeouts
    retries: Retries
    reconcile_window: Seconds
    look_first: bool
    check_packages: bool
    max_response_size: int
    on_doubt: OnDoubt
    proxy: str | None
    user_agent: str | None


class _Client(Generic[Mode]):
    """The resources and methods of both clients."""

    def __init__(self, engine: Engine, mode: Mode) -> None:
        self._engine = engine
        self._mode = mode
        self.countries: Countries[Mode] = Countries(engine, mode)
        self.packages: Packages[Mode] = Packages(engine, mode)
        self.orders: Orders[Mode] = Orders(engine, mode)
        self.esims: Esims[Mode] = Esims(engine, mode)
        self.topups: TopUps[Mode] = TopUps(engine, mode)
        self.vouchers: Vouchers[Mode] = Vouchers(engine, mode)
        self.insurance: Insurance[Mode] = Insurance(engine, mode)
        self.account: Account[Mode] = Account(engine, mode)
        self.refunds: Refunds[Mode] = Refunds(engine, mode)
        self.rates: Rates[Mode] = Rates(engine, mode)
        self.affiliates: Affiliates[Mode] = Affiliates(engine, mode)
        self.devices: Devices[Mode] = Devices(engine, mode)
        self.service: Service[Mode] = Service(engine, mode)

    @property
    def settings(self) -> Settings:
        """The settings of this client."""
        return self._engine.settings

    def doubts(self) -> tuple[Doubt, ...]:
        """Return the purchases in doubt of this client, oldest first: those that may or may not be booked.

        A purchase is in doubt until it is found or refused, for example by ``orders.reconcile``. Nothing is sent, and
        the result is not awaited in either client. With a ledger these are the purchases in doubt of all its processes,
        and the call blocks while its database is read; their ``request`` is what the ledger records.

        Raises:
            LedgerError: The ledger cannot be reached.
        """
        return doubts(self._engine)

    def with_settings(self, **changes: Unpack[Changes]) -> Self:
        """Return a client with some settings changed. It shares connections, limiter and lifetime with this one.

        Closing it does nothing. For example, ``client.with_settings(timeouts=Timeouts(total=2)).service.health()``.

        Args:
            timeouts: See ``Settings``, as for all parameters.
            retries: Number and timing of attempts.
            reconcile_window: Seconds for which a purchase in doubt is looked up.
            look_first: Whether a reference is looked up before anything is sent.
            check_packages: Whether packages are checked before they are bought.
            max_response_size: Maximum size of a response in bytes, counted after decompression.
            on_doubt: What to do about a purchase in doubt.
            proxy: URL of an HTTP proxy.
            user_agent: Value of the ``User-Agent`` header.

        Raises:
            TypeError: A setting belongs to the shared connections, such as ``concurrency``.
        """
        fixed = sorted(changes.keys() - Changes.__annotations__.keys())
        if fixed:
            raise TypeError(
                f"with_settings() takes {', '.join(Changes.__annotations__)}, not {', '.join(fixed)}: "
                "settings of the connections are set when the client is created"
            )
        view = object.__new__(type(self))
        engine = self._engine.view(self._engine.settings.changed(**changes))
        _Client.__init__(view, engine, self._mode)  # pyright: ignore[reportUnknownMemberType]
        view._is_view = True
        return view

    @overload
    def request(
        self: "_Client[Async]",
        method: str,
        path: str,
        *,
        response_type: type[AnyDict] = ...,
        **options: Unpack[RequestOptions],
    ) -> Coroutine[object, None, dict[str, Any]]: ...
    @overload
    def request(
        self: "_Client[Async]", method: str, path: str, *, response_type: type[T], **options: Unpack[RequestOptions]
    ) -> Coroutine[object, None, T]: ...
    @overload
    def request(
        self: "_Client[Sync]",
        method: str,
        path: str,
        *,
        response_type: type[AnyDict] = ...,
        **options: Unpack[RequestOptions],
    ) -> dict[str, Any]: ...
    @overload
    def request(
        self: "_Client[Sync]", method: str, path: str, *, response_type: type[T], **options: Unpack[RequestOptions]
    ) -> T: ...
    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, QueryValue | None] | None = None,
        json: object = None,
        response_type: type[Any] = dict,
    ) -> Any:
        """Send a request to any path of the API, and return the response.

        ``GET`` and ``HEAD`` are retried like all reads. Other methods are sent again only if they were provably not
        sent, or refused with a 429. ``request()`` gives no exactly-once guarantee; buy through ``orders``, ``topups``,
        ``vouchers`` and ``insurance``.

        Args:
            method: ``"GET"``, ``"HEAD"``, ``"POST"``, ``"PUT"``, ``"PATCH"`` or ``"DELETE"``.
            path: Path below the base URL, such as ``"/api/balance"``, without a query.
            params: Query parameters. Those that are ``None`` are omitted.
            json: Body, which may contain requests such as ``CreateOrder``, dates and Decimals besides JSON types.
            response_type: ``dict`` returns the parsed body, with exact numbers. An attrs class, or a tuple of one such
                as ``tuple[Country, ...]``, is decoded from ``data`` if the body is an envelope, else from the body.
                ``object`` returns any JSON, or text if the body is not JSON.

        Raises:
            ValueError: The method, the path or a value is invalid; nothing was sent.
            TypeError: An argument has the wrong type; nothing was sent.
            RoamifyError: The request failed.
        """
        endpoint, request = build_request(self._engine.transport.credentials, method, path, params, json, response_type)
        send = partial(telemetry.observe, "request", partial(self._engine.send, endpoint, request))
        return self._mode.run(send) if isinstance(self._mode, Sync) else send()

    def __dir__(self) -> Iterable[str]:
        """Return the public names."""
        return [name for name in super().__dir__() if not name.startswith("_")]

    _is_view = False

    @property
    def _state(self) -> str:
        return self._mode.state if isinstance(self._mode, Sync) else self._engine.transport.state

    def __repr__(self) -> str:
        """Return the host and the state, but not the token."""
        engine: Engine | None = getattr(self, "_engine", None)  # absent if __init__ failed
        state = f"{engine.transport.credentials.host} {self._state}" if engine else "not created"
        return f"<{type(self).__name__} {state}>"


def _create_engine(
    name: str,
    token: Token,
    base_url: str | None,
    settings: Settings | None,
    session: ClientSession | None = None,
    ledger: LedgerLike = None,
) -> Engine:
    settings = Settings() if settings is None else settings
    if not isinstance(settings, Settings):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"settings must be Settings, not {type(settings).__name__}")
    credentials = resolve_credentials(token, base_url, allow_http=settings.allow_http)
    engine = Engine(Transport(credentials, settings, session, name=f"this {name}"), settings, purchase)
    engine.memory.ledger = opened = open_ledger(ledger)
    engine.memory.owns_ledger = opened is not None and opened is not ledger
    return engine


async def reconcile_purchase(client: "AsyncRoamify", row: Row) -> Booked:
    """Look up a purchase in doubt of the ledger, and record what was found. Nothing is bought."""
    endpoints: dict[str, Endpoint[..., Any]] = {
        "order": Orders.create, "top-up": TopUps.create, "vouchers": Vouchers.create, "insurance": Insurance.order,
    }  # fmt: skip
    return await reconcile_row(client._engine, endpoints, row)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


async def _close(engine: Engine) -> None:
    await engine.transport.aclose()
    ledger = engine.memory.ledger
    if ledger is not None and engine.memory.owns_ledger:
        await to_thread.run_sync(ledger.close)


class AsyncRoamify(_Client[Async]):
    """Asynchronous client of Roamify's partner API.

    The client opens at first use or with ``async with``, and belongs to the event loop in which it opens. Several tasks
    may use it. Close it with ``aclose()``, or by the end of the ``async with`` block.

    Args:
        token: API key of the partner portal; by default the value of ``ROAMIFY_TOKEN``.
        base_url: Base URL of the API, such as ``DEVELOPMENT``; by default the value of ``ROAMIFY_BASE_URL``, or else
            ``PRODUCTION``. Plain HTTP is accepted only for this machine.
        settings: Timeouts, retries, limits and the handling of purchases.
        session: An ``aiohttp.ClientSession``, whose connections, headers and traces are used. It is not closed.
        ledger: Ledger of purchases that several processes share: the path of a SQLite file, a URL such as
            ``"sqlite:///purchases.db"`` or ``"postgresql://..."``, or an object of ``roamify_async.ledger``, which is
            not closed. By default the value of ``ROAMIFY_LEDGER``, or else none.

    Raises:
        ConfigurationError: There is no token, or the token, the base URL or the URL of the ledger is invalid.

    See: https://docs.getroamify.com/authentication/
    """

    def __init__(
        self,
        token: str | None = None,
        *,
        base_url: str | None = None,
        settings: Settings | None = None,
        session: ClientSession | None = None,
        ledger: LedgerLike = None,
    ) -> None:
        given, token = Token(token), None  # Removes the plain text from this frame, which tracebacks may show.
        engine = _create_engine("AsyncRoamify", given, base_url, settings, session, ledger)
        super().__init__(engine, Async())

    async def __aenter__(self) -> Self:
        """Open the client in the running event loop."""
        self._engine.transport.open()
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the client."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. Calls in progress fail. Closing twice does nothing."""
        if not self._is_view:
            await _close(self._engine)


class Roamify(_Client[Sync]):
    """Synchronous client of Roamify's partner API, for scripts, threads and notebooks.

    It has the calls of ``AsyncRoamify``. They run in the event loop of a daemon thread, so that the client works while
    another event loop is running, and from several threads. It opens at first use or with ``with``. Close it with
    ``close()``, or by the end of the ``with`` block.

    Args:
        token: API key of the partner portal; by default the value of ``ROAMIFY_TOKEN``.
        base_url: Base URL of the API, such as ``DEVELOPMENT``; by default the value of ``ROAMIFY_BASE_URL``, or else
            ``PRODUCTION``. Plain HTTP is accepted only for this machine.
        settings: Timeouts, retries, limits and the handling of purchases.
        ledger: Ledger of purchases that several processes share, as of ``AsyncRoamify``.

    Raises:
        ConfigurationError: There is no token, or the token, the base URL or the URL of the ledger is invalid.

    See: https://docs.getroamify.com/authentication/
    """

    def __init__(
        self,
        token: str | None = None,
        *,
        base_url: str | None = None,
        settings: Settings | None = None,
        ledger: LedgerLike = None,
    ) -> None:
        given, token = Token(token), None  # Removes the plain text from this frame, which tracebacks may show.
        engine = _create_engine("Roamify", given, base_url, settings, ledger=ledger)
        super().__init__(engine, Sync(partial(_close, engine), grace=engine.settings.reconcile_window + GRACE))

    def __enter__(self) -> Self:
        """Open the client."""
        self._mode.open()
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the client."""
        self.close()

    def close(self) -> None:
        """Close the connections and end the thread. Calls in progress fail. Closing twice does nothing."""
        if not self._is_view:
            self._mode.close()
