"""The two clients: the same calls, awaited or blocking."""

from collections.abc import Coroutine, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypedDict, TypeVar, Unpack, overload

from ._core.endpoint import Async, Mode
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
from .purchasing.attempt import purchase
from .settings import OnDoubt, Retries, Settings, Timeouts

T = TypeVar("T")
AnyDict = dict[Any, Any]


class RequestOptions(TypedDict, total=False):
    """Optional parts of a raw request."""

    params: Mapping[str, QueryValue | None] | None
    json: object


class Changes(TypedDict, total=False):
    """Settings that a view of a client may change; the others belong to its connections."""

    timeouts: Timeouts
    retries: Retries
    reconcile_window: Seconds
    look_first: bool
    check_packages: bool
    on_doubt: OnDoubt
    proxy: str | None
    user_agent: str | None


class _Client(Generic[Mode]):
    """The resources of both clients."""

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
        """Return the purchases of this client of which it is not known whether they were booked, the oldest first.

        A doubt is remembered until the purchase is found or refused. Nothing is sent, and nothing needs to be awaited.
        """
        return tuple(self._engine.memory.doubts.values())

    def with_settings(self, **changes: Unpack[Changes]) -> Self:
        """Return a client with some settings changed, which shares connections, limiter and lifetime.

        Closing it does nothing.

        Raises ``TypeError`` for settings that belong to the shared connections, such as ``concurrency``.
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
        """Call any *path* of the API, such as ``/api/balance``.

        *params* are the query; those that are ``None`` are left out. *json* is the body, which may also contain
        requests, dates and Decimals. With ``dict`` as *response_type* the parsed body is returned, its numbers exact;
        an attrs class, or a tuple of one, is read from ``data`` if the body is an envelope; with ``object`` any JSON is
        returned, or text if the body is not JSON.

        ``GET`` and ``HEAD`` are retried like all reads. Other methods are sent again only if they were provably never
        sent, or refused with a 429. ``request()`` gives no exactly-once guarantee; buy through ``orders``, ``topups``,
        ``vouchers`` and ``insurance``.

        Raises ``ValueError`` for an invalid path, and what all calls raise.
        """
        endpoint, request = build_request(self._engine.transport.credentials, method, path, params, json, response_type)
        send = partial(self._engine.send, endpoint, request)
        return self._mode.run(send) if isinstance(self._mode, Sync) else send()

    _is_view = False

    @property
    def _state(self) -> str:
        return self._mode.state if isinstance(self._mode, Sync) else self._engine.transport.state

    def __repr__(self) -> str:
        """Show the host and the state, never the token."""
        engine: Engine | None = getattr(self, "_engine", None)  # absent if creating it failed
        state = f"{engine.transport.credentials.host} {self._state}" if engine else "not created"
        return f"<{type(self).__name__} {state}>"


def _create_engine(
    name: str,
    token: Token,
    base_url: str | None,
    settings: Settings | None,
    session: ClientSession | None = None,
) -> Engine:
    settings = Settings() if settings is None else settings
    if not isinstance(settings, Settings):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"settings must be Settings, not {type(settings).__name__}")
    credentials = resolve_credentials(token, base_url, allow_http=settings.allow_http)
    return Engine(Transport(credentials, settings, session, name=f"this {name}"), settings, purchase)


class AsyncRoamify(_Client[Async]):
    """Roamify's API, awaited.

    *token* is the API key of the partner portal, by default ``ROAMIFY_TOKEN``. *base_url* is by default
    ``ROAMIFY_BASE_URL``, or ``PRODUCTION``. *settings* are the client's timeouts, retries and limits. *session* is an
    ``aiohttp.ClientSession`` whose connections, headers and traces are used; it is never closed.

    The client opens at first use or with ``async with``, and belongs to the event loop in which it opens.

    Raises ``ConfigurationError`` if there is no token, or the base URL is invalid.
    """

    def __init__(
        self,
        token: str | None = None,
        *,
        base_url: str | None = None,
        settings: Settings | None = None,
        session: ClientSession | None = None,
    ) -> None:
        given, token = Token(token), None  # The plain text leaves this frame, which tracebacks may show.
        engine = _create_engine("AsyncRoamify", given, base_url, settings, session)
        super().__init__(engine, Async())

    async def __aenter__(self) -> Self:
        """Open the client in this event loop."""
        self._engine.transport.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the client."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; calls in flight fail. Closing twice does nothing."""
        if not self._is_view:
            await self._engine.transport.aclose()


class Roamify(_Client[Sync]):
    """Roamify's API, blocking: for scripts, threads and notebooks.

    It has the calls of ``AsyncRoamify``, run by the event loop of its own daemon thread, so that it works while a loop
    is running, and from several threads. It opens at first use or with ``with``, and ends with ``close()``.

    *token* is the API key of the partner portal, by default ``ROAMIFY_TOKEN``. *base_url* is by default
    ``ROAMIFY_BASE_URL``, or ``PRODUCTION``. *settings* are the client's timeouts, retries and limits.

    Raises ``ConfigurationError`` if there is no token, or the base URL is invalid.
    """

    def __init__(
        self, token: str | None = None, *, base_url: str | None = None, settings: Settings | None = None
    ) -> None:
        given, token = Token(token), None  # The plain text leaves this frame, which tracebacks may show.
        engine = _create_engine("Roamify", given, base_url, settings)
        super().__init__(engine, Sync(engine.transport.aclose, grace=engine.settings.reconcile_window + GRACE))

    def __enter__(self) -> Self:
        """Open the client."""
        self._mode.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the client."""
        self.close()

    def close(self) -> None:
        """Close the connections and end the thread; calls in flight fail. Closing twice does nothing."""
        if not self._is_view:
            self._mode.close()
