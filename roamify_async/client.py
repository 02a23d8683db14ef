"""The two clients: the same rooms, awaited or blocking."""

from collections.abc import Coroutine, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypedDict, TypeVar, Unpack, overload

from ._engine.access import Secret, access
from ._engine.blocking import GRACE, Blocking
from ._engine.engine import Engine
from ._engine.facade import Awaiting, Way
from ._engine.transport import ClientSession, Transport
from ._engine.unlisted import Simple, unlisted
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
from .purchasing.settle import purchase
from .settings import OnDoubt, Retries, Seconds, Settings, Timeouts

T = TypeVar("T")
AnyDict = dict[Any, Any]


class Contents(TypedDict, total=False):
    """What may be sent along with a request to any path."""

    params: Mapping[str, Simple | None] | None
    json: object


class Changes(TypedDict, total=False):
    """Settings that a view of a client may change: those that do not belong to its connections."""

    timeouts: Timeouts
    retries: Retries
    settle_window: Seconds
    on_doubt: OnDoubt
    proxy: str | None
    user_agent: str | None


class _Client(Generic[Way]):
    """All rooms, named once for both clients."""

    def __init__(self, engine: Engine, way: Way) -> None:
        self._engine = engine
        self._way = way
        self.countries: Countries[Way] = Countries(engine, way)
        self.packages: Packages[Way] = Packages(engine, way)
        self.orders: Orders[Way] = Orders(engine, way)
        self.esims: Esims[Way] = Esims(engine, way)
        self.topups: TopUps[Way] = TopUps(engine, way)
        self.vouchers: Vouchers[Way] = Vouchers(engine, way)
        self.insurance: Insurance[Way] = Insurance(engine, way)
        self.account: Account[Way] = Account(engine, way)
        self.refunds: Refunds[Way] = Refunds(engine, way)
        self.rates: Rates[Way] = Rates(engine, way)
        self.affiliates: Affiliates[Way] = Affiliates(engine, way)
        self.devices: Devices[Way] = Devices(engine, way)
        self.service: Service[Way] = Service(engine, way)

    @property
    def settings(self) -> Settings:
        """How this client behaves."""
        return self._engine.settings

    def with_settings(self, **changes: Unpack[Changes]) -> Self:
        """Give a client with some settings changed, which shares connections, queue and lifetime.

        Closing it does nothing.
        Raises ``TypeError`` for settings that belong to the shared connections, such as ``concurrency``.
        """
        fixed = sorted(changes.keys() - Changes.__annotations__.keys())
        if fixed:
            raise TypeError(
                f"with_settings() takes {', '.join(Changes.__annotations__)}, not {', '.join(fixed)}: "
                "what belongs to the connections is set where the client is made"
            )
        view = object.__new__(type(self))
        engine = self._engine.view(self._engine.settings.changed(**changes))
        _Client.__init__(view, engine, self._way)  # pyright: ignore[reportUnknownMemberType]
        view._is_view = True
        return view

    @overload
    def request(
        self: "_Client[Awaiting]", method: str, path: str, *, answer: type[AnyDict] = ..., **contents: Unpack[Contents]
    ) -> Coroutine[object, None, dict[str, Any]]: ...
    @overload
    def request(
        self: "_Client[Awaiting]", method: str, path: str, *, answer: type[T], **contents: Unpack[Contents]
    ) -> Coroutine[object, None, T]: ...
    @overload
    def request(
        self: "_Client[Blocking]", method: str, path: str, *, answer: type[AnyDict] = ..., **contents: Unpack[Contents]
    ) -> dict[str, Any]: ...
    @overload
    def request(
        self: "_Client[Blocking]", method: str, path: str, *, answer: type[T], **contents: Unpack[Contents]
    ) -> T: ...
    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Simple | None] | None = None,
        json: object = None,
        answer: type[Any] = dict,
    ) -> Any:
        """Call what has no call of its own: any *path* of the API, like ``/api/balance``.

        With ``dict`` as *answer* the body comes as it is, its numbers exact; with an attrs class, or a tuple of one, it
        is read from ``data`` if there is an envelope; with ``object`` whatever came is given, text where it is no JSON.
        *params* that are ``None`` are left out; *json* may hold requests, dates and Decimals as well.

        ``GET`` and ``HEAD`` are repeated as all reads are; everything else is sent again only where it was provably
        never sent, or refused with a 429. It makes sure of no purchase: buy with ``orders``, ``topups``,
        ``vouchers`` and ``insurance``.

        Raises ``ValueError`` for a path that is no path, and what all calls raise.
        """
        row, request = unlisted(self._engine.transport.access, method, path, params, json, answer)
        send = partial(self._engine.send, row, request)
        return self._way.run(send) if isinstance(self._way, Blocking) else send()

    _is_view = False

    @property
    def _state(self) -> str:
        return self._way.state if isinstance(self._way, Blocking) else self._engine.transport.state

    def __repr__(self) -> str:
        """Show the host and whether it is open; never the token."""
        engine: Engine | None = getattr(self, "_engine", None)  # absent where making it failed
        state = f"{engine.transport.access.host} {self._state}" if engine else "not made"
        return f"<{type(self).__name__} {state}>"


def _engine(
    name: str,
    secret: Secret,
    base_url: str | None,
    settings: Settings | None,
    session: ClientSession | None = None,
) -> Engine:
    settings = Settings() if settings is None else settings
    if not isinstance(settings, Settings):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"settings must be Settings, not {type(settings).__name__}")
    who = access(secret, base_url, allow_http=settings.allow_http)
    return Engine(Transport(who, settings, session, name=f"this {name}"), settings, purchase)


class AsyncRoamify(_Client[Awaiting]):
    """Roamify's API, awaited.

    ``token`` and ``base_url`` default to ``ROAMIFY_TOKEN`` and ``ROAMIFY_BASE_URL``, and that to ``PRODUCTION``. It
    opens at first use or with ``async with``, and belongs to the event loop in which it does. Of a ``session`` that is
    given, its connections, headers and traces are used; it is never closed.

    Raises ``ConfigurationError`` where there is no token, or the base URL is none.
    """

    def __init__(
        self,
        token: str | None = None,
        *,
        base_url: str | None = None,
        settings: Settings | None = None,
        session: ClientSession | None = None,
    ) -> None:
        secret, token = Secret(token), None
        engine = _engine("AsyncRoamify", secret, base_url, settings, session)
        super().__init__(engine, Awaiting())

    async def __aenter__(self) -> Self:
        """Open it in this event loop."""
        self._engine.transport.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; calls in flight fail. Closing twice does nothing."""
        if not self._is_view:
            await self._engine.transport.aclose()


class Roamify(_Client[Blocking]):
    """Roamify's API, blocking: for scripts, threads and notebooks.

    The same calls as ``AsyncRoamify``, run by the event loop of one own daemon thread, so that it works where a loop
    runs already, and from several threads. It opens at first use or with ``with``, and ends with ``close()``.

    Raises ``ConfigurationError`` where there is no token, or the base URL is none.
    """

    def __init__(
        self, token: str | None = None, *, base_url: str | None = None, settings: Settings | None = None
    ) -> None:
        secret, token = Secret(token), None
        engine = _engine("Roamify", secret, base_url, settings)
        super().__init__(engine, Blocking(engine.transport.aclose, patience=engine.settings.settle_window + GRACE))

    def __enter__(self) -> Self:
        """Open it."""
        self._way.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the connections and end the thread; calls in flight fail. Closing twice does nothing."""
        if not self._is_view:
            self._way.close()
