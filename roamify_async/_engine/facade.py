"""One description, two views: the same attribute is awaited in one client and blocks in the other.

A row of the API is an ``Endpoint`` in the class body of a ``Resource``. What it takes comes from its request class,
what it answers from its response type, and whether it is awaited from the type of its owner: ``Resource[Awaiting]`` or
``Resource[Blocking]``. What is more than one call is an ``operation``; what yields is a ``stream``.
"""

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from enum import Enum
from functools import partial, update_wrapper
from types import GenericAlias, MethodType
from typing import Any, Concatenate, Final, Generic, ParamSpec, Protocol, Self, TypeVar, cast, get_args, overload

import attrs

from roamify_async.errors import RoamifyError
from roamify_async.settings import Settings

from .arguments import explain
from .blocking import Blocking
from .paging import PageT, Reading
from .wire import HttpResponse

P = ParamSpec("P")
T = TypeVar("T")


class Kind(Enum):
    """What may be repeated when a call fails."""

    READ = "changes nothing and may be sent again"
    PURCHASE = "spends money and has a reference by which it is found"
    ACTION = "changes something and has no key: sent again only where it was provably never sent"


READ: Final = Kind.READ
PURCHASE: Final = Kind.PURCHASE
ACTION: Final = Kind.ACTION

MAYBE_DATA: Final = "data?"
"""The place of an answer that lies in ``data`` where there is an envelope, else is the body itself."""


@attrs.frozen
class Awaiting:
    """Calls are coroutines, run by the caller's own event loop."""


Way = TypeVar("Way", bound=Awaiting | Blocking, covariant=True)  # noqa: PLC0105 -- users read it in hovers: Orders[Way]


class Engine(Protocol):
    """Sends a request to an endpoint and gives its decoded answer."""

    doubts: dict[str, datetime]
    """References of purchases that were left in doubt, and when each was first sent."""

    async def send(self, endpoint: "Endpoint[..., T]", request: object, /) -> T:
        """Send one request."""
        ...

    def pages(self, fetch: Callable[[int], Awaitable[PageT]], size: int, concurrency: int | None) -> Reading[PageT]:
        """Read pages ahead, in order, until an empty one."""
        ...

    @property
    def settings(self) -> Settings:
        """How the client behaves."""
        ...


@attrs.frozen
class Resource(Generic[Way]):
    """A subject of the API: its endpoints, called one way or the other."""

    engine: Engine = attrs.field(repr=False)
    way: Way = attrs.field(repr=False)

    @property
    def awaiting(self) -> "Resource[Awaiting]":
        """The same subject for use inside the event loop, whichever client it belongs to."""
        return cast("Callable[[Engine, Awaiting], Resource[Awaiting]]", type(self))(self.engine, Awaiting())


class operation(Generic[P, T]):  # noqa: N801 -- a decorator
    """A coroutine method that blocks where its resource does.

    It is given an awaiting resource in both clients, and calls rows and other operations with ``await self.x()``.
    """

    def __init__(self, function: Callable[Concatenate[Any, P], Awaitable[T]]) -> None:
        call: Callable[..., Awaitable[T]] = function

        def block(resource: Resource[Blocking], /, *args: P.args, **kwargs: P.kwargs) -> T:
            return resource.way.run(partial(call, resource.awaiting, *args, **kwargs))

        self._await: Callable[..., Awaitable[T]] = call
        self._block: Callable[..., T] = update_wrapper(block, function)
        for shown in (function, block):
            _sign(shown, _expanded(inspect.signature(function)))
        self.__doc__: str | None = function.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        """Take the name that the class body gives."""
        self.__name__: str = name
        self.__qualname__: str = f"{owner.__qualname__}.{name}"
        self.call: str = self.__qualname__.lower()
        """As a user writes it: ``orders.create``."""

    def __repr__(self) -> str:
        """Show the name."""
        return f"<{type(self).__name__} {getattr(self, '__qualname__', '?')}>"

    @overload
    def __get__(self, resource: None, owner: type) -> Self: ...
    @overload
    def __get__(self, resource: Resource[Awaiting], owner: type) -> Callable[P, Coroutine[object, None, T]]: ...
    @overload
    def __get__(self, resource: Resource[Blocking], owner: type) -> Callable[P, T]: ...
    def __get__(self, resource: Resource[Awaiting] | Resource[Blocking] | None, owner: type) -> Any:
        """Give the row itself on the class, and a bound call on a resource."""
        if resource is None:
            return self
        return MethodType(self._block if isinstance(resource.way, Blocking) else self._await, resource)


@attrs.frozen
class LookUp(Generic[T]):
    """How a purchase is found again by its reference, and how it is known that what it names does not exist."""

    find: Callable[[Engine, Any], Awaitable[tuple[Any, ...]]]
    """Gives the orders under the reference of a request."""
    become: Callable[[Engine, Any], Awaitable[T]]
    """Makes the row's own answer of an order that was found."""
    missing: Callable[[Engine, Any], Awaitable[tuple[str, ...]]] | None = None
    """Gives the package ids of a request that the server does not offer, where it answers a 500 to those."""
    traces: Callable[[Engine, Any, datetime], Awaitable[tuple[Any, ...]]] | None = None
    """Gives what else since a time speaks for a purchase that no order shows."""
    offers: str = ""
    """What a user calls to see what it does offer."""


class Endpoint(operation[P, T]):
    """One row of the API: how it is called, what it takes and answers, and what may be repeated."""

    def __init__(
        self,
        method: str,
        path: str,
        request: Callable[P, object],
        response: type[T],
        *,
        kind: Kind | None = None,
        answer: str = "data",
        timeout: float | None = None,
        look_up: LookUp[T] | None = None,
        check: Callable[[Engine, Any, T], Awaitable[None]] | None = None,
        recover: Callable[[Engine, Any, RoamifyError], Awaitable[T]] | None = None,
        read: Callable[[HttpResponse], T] | None = None,
    ) -> None:
        async def send(resource: Resource[Any], /, *args: P.args, **kwargs: P.kwargs) -> T:
            try:
                wanted = request(*args, **kwargs)
            except TypeError:
                explain(self.call, signature, args, kwargs)
                raise
            return await resource.engine.send(self, wanted)

        signature = inspect.signature(request)
        resource = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        _sign(
            send, signature.replace(parameters=[resource, *signature.parameters.values()], return_annotation=response)
        )
        send.__doc__ = request.__doc__
        super().__init__(send)
        self.method: str = method
        self.path: str = path
        """Path from the base URL on; ``{fields}`` of the request stand in it."""
        self.request: Callable[P, object] = request
        self.response: type[T] = response
        self.kind: Kind = kind or (READ if method == "GET" else ACTION)
        self.answer: str = answer
        """Where in the body the answer lies, as keys joined by dots; ``""``: the body itself; or ``MAYBE_DATA``."""
        self.timeout: float | None = timeout
        """Seconds that one try needs, where that is a fact of this endpoint."""
        self.look_up: LookUp[T] | None = look_up
        self.check: Callable[[Engine, Any, T], Awaitable[None]] | None = check
        """What is done with an answer that came, before it is given out: raises where it shows a wrong argument."""
        self.recover: Callable[[Engine, Any, RoamifyError], Awaitable[T]] | None = recover
        """What is done where it failed: gives the answer after all, or raises the failure."""
        self.read: Callable[[HttpResponse], T] | None = read
        """Reads an answer that the API does not describe; by default the codec does."""

    def __set_name__(self, owner: type, name: str) -> None:
        """Take the name that the class body gives, for the calls as well."""
        super().__set_name__(owner, name)
        for call in (self._await, self._block):
            call.__name__, call.__qualname__, call.__module__ = name, self.__qualname__, owner.__module__


class Flow(Generic[T]):
    """The items of a stream, one by one.

    No generator: the event loop closes all generators at its end at once, and one inside another would be closed twice.
    """

    def __init__(self, batches: AsyncGenerator[tuple[T, ...], None]) -> None:
        self._batches = batches
        self._items: Iterator[T] = iter(())

    def __aiter__(self) -> Self:
        """Give itself."""
        return self

    async def __anext__(self) -> T:
        """Give the next item."""
        while True:
            for item in self._items:
                return item
            self._items = iter(await anext(self._batches))

    async def aclose(self) -> None:
        """End what is under way; there are no more items then."""
        self._items = iter(())
        await self._batches.aclose()


class stream(Generic[P, T]):  # noqa: N801 -- a decorator
    """An async generator method; a plain generator where its resource blocks.

    The function yields batches and the caller gets their items one by one, so that the blocking view changes threads
    once a batch. Keep nothing open across a ``yield`` (no task group, no timeout): the blocking view steps it from
    several tasks.
    """

    def __init__(self, function: Callable[Concatenate[Any, P], AsyncGenerator[tuple[T, ...], None]]) -> None:
        batches: Callable[..., AsyncGenerator[tuple[T, ...], None]] = function

        def flow(resource: Resource[Awaiting], /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
            return Flow(batches(resource, *args, **kwargs))

        def block(resource: Resource[Blocking], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
            source = batches(resource.awaiting, *args, **kwargs)

            async def step() -> tuple[T, ...] | None:
                return await anext(source, None)

            try:
                while (batch := resource.way.run(step)) is not None:
                    yield from batch
            finally:  # The caller may stop early; what the generator holds goes back in its own loop.
                resource.way.finish(partial(_close, source))

        self._flow: Callable[..., AsyncIterator[T]] = update_wrapper(flow, function)
        self._block: Callable[..., Iterator[T]] = update_wrapper(block, function)
        signature = _expanded(inspect.signature(function))
        (item, *_) = get_args(get_args(signature.return_annotation)[0])
        _sign(flow, signature.replace(return_annotation=GenericAlias(AsyncIterator, item)))
        _sign(block, signature.replace(return_annotation=GenericAlias(Iterator, item)))
        self.__doc__: str | None = function.__doc__

    @overload
    def __get__(self, resource: None, owner: type) -> Self: ...
    @overload
    def __get__(self, resource: Resource[Awaiting], owner: type) -> Callable[P, AsyncIterator[T]]: ...
    @overload
    def __get__(self, resource: Resource[Blocking], owner: type) -> Callable[P, Iterator[T]]: ...
    def __get__(self, resource: Resource[Awaiting] | Resource[Blocking] | None, owner: type) -> Any:
        """Give the stream itself on the class, and a bound call on a resource."""
        if resource is None:
            return self
        return MethodType(self._block if isinstance(resource.way, Blocking) else self._flow, resource)


async def _close(source: AsyncGenerator[Any, None]) -> None:
    """Close a generator, unless its loop does so already or it still runs."""
    with suppress(RuntimeError):
        await source.aclose()


def _expanded(signature: inspect.Signature) -> inspect.Signature:
    """Give a signature with the keywords of ``**filters: Unpack[Filters]`` one by one."""
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        packed = get_args(parameter.annotation) if parameter.kind is parameter.VAR_KEYWORD else ()
        if packed:
            kind = inspect.Parameter.KEYWORD_ONLY
            hints: dict[str, Any] = packed[0].__annotations__
            parameters += [inspect.Parameter(name, kind, default=None, annotation=hint) for name, hint in hints.items()]
        else:
            parameters.append(parameter)
    return signature.replace(parameters=parameters)


def _sign(function: Any, signature: inspect.Signature) -> None:
    """Let ``help`` and IDEs see the signature that callers use."""
    function.__signature__ = signature


def rows(resource: type[Resource[Any]]) -> Mapping[str, Endpoint[..., Any]]:
    """Give the rows of a resource's class by their names."""
    members: dict[str, Any] = {name: row for name, row in vars(resource).items() if isinstance(row, Endpoint)}
    return members
