"""Declarations of calls for both clients: awaited on ``AsyncRoamify``, blocking on ``Roamify``.

An endpoint of the API is an ``Endpoint`` in the body of a ``Resource`` class. The call has the parameters of the
request class and returns the response type. The type of the resource, ``Resource[Async]`` or ``Resource[Sync]``,
decides whether the call is awaited. A workflow of several requests is a ``dual_method``, and an iterator a
``dual_iterator``.
"""

import difflib
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from enum import Enum
from functools import partial
from types import GenericAlias, MethodType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Generic,
    ParamSpec,
    Self,
    TypeVar,
    cast,
    dataclass_transform,
    get_args,
    overload,
)

import attrs

from roamify_async._http.messages import HttpResponse
from roamify_async.errors import RoamifyError

from . import telemetry
from .sync import Sync
from .tracebacks import trim

if TYPE_CHECKING:  # The engine imports this module.
    from .engine import Engine

P = ParamSpec("P")
T = TypeVar("T")
RequestT = TypeVar("RequestT")
BookedT = TypeVar("BookedT")


class Safety(Enum):
    """What may be sent again when a call fails."""

    READ = "changes nothing and may be sent again"
    PURCHASE = "spends money and can be looked up by its reference"
    ACTION = "changes something and has no key; sent again only if provably not sent or refused with a 429"


READ: Final = Safety.READ
PURCHASE: Final = Safety.PURCHASE
ACTION: Final = Safety.ACTION


@attrs.frozen
class Async:
    """Mode of ``AsyncRoamify``: calls are coroutines, run by the caller's event loop."""


Mode = TypeVar("Mode", bound=Async | Sync, covariant=True)  # noqa: PLC0105 -- users read it in hovers: Orders[Mode]


@attrs.define(eq=False)
class Resource(Generic[Mode]):
    """A resource of the API: a group of calls, awaited or blocking.

    Calls can be replaced in tests, as by ``monkeypatch.setattr(client.account, "balance", ...)``.
    """

    engine: "Engine" = attrs.field(repr=False)
    mode: Mode = attrs.field(repr=False)

    def __dir__(self) -> Iterable[str]:
        """Return the names of the calls."""
        members = inspect.getmembers_static(type(self))
        return [name for name, member in members if isinstance(member, dual_method | dual_iterator)]

    @property
    def as_async(self) -> "Resource[Async]":
        """The same resource for use in the event loop, with either client."""
        return cast("Callable[[Engine, Async], Resource[Async]]", type(self))(self.engine, Async())


MYPY: Final = False
"""True to mypy."""

if MYPY:

    def resource(cls: type[T]) -> type[T]:  # pyright: ignore[reportRedeclaration]
        """Return a class of resources as it is."""
        return cls

else:

    @dataclass_transform(field_specifiers=())
    def resource(cls: type[T]) -> type[T]:
        """Return a class of resources as it is.

        To pyright it is a data class. ``Final`` variables of other classes are class variables to it, which do not
        satisfy methods of a user's protocol.
        """
        return cls


class dual_method(Generic[P, T]):  # noqa: N801 -- a decorator
    """Decorator of a coroutine method, which blocks if its resource belongs to ``Roamify``.

    With both clients *self* is an asynchronous resource, so that the method can ``await`` endpoints and dual methods.
    """

    def __init__(self, function: Callable[Concatenate[Any, P], Awaitable[T]]) -> None:
        self._function: Callable[..., Awaitable[T]] = function
        self._call_async: Callable[..., Awaitable[T]] = partial(type(self).call_async, self)
        self._call_sync: Callable[..., T] = partial(type(self).call_sync, self)
        self._describe(_expand_keywords(inspect.signature(function)), function.__doc__)

    def _describe(self, signature: inspect.Signature, doc: str | None) -> None:
        """Set the signature and the docstring of both variants, for ``help()`` and editors."""
        self.__doc__: str | None = doc
        for function in (self._call_async, self._call_sync):
            _set(function, __signature__=signature, __doc__=doc)

    def __set_name__(self, owner: type, name: str) -> None:
        """Set the name, as assigned in the class body."""
        self.__name__: str = name
        self.__qualname__: str = f"{owner.__qualname__}.{name}"
        self.call: str = self.__qualname__.lower()
        """The call as in users' code: ``orders.create``."""
        for function in (self._call_async, self._call_sync):
            _set(function, __name__=name, __qualname__=self.__qualname__, __module__=owner.__module__)

    def __repr__(self) -> str:
        """Show the name."""
        return f"<{type(self).__name__} {getattr(self, '__qualname__', '?')}>"

    async def call_async(self, resource: Resource[Any], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Await the coroutine."""
        try:
            return await telemetry.observe(self.call, partial(self._function, resource, *args, **kwargs))
        except Exception as error:
            trim(error)
            raise

    def call_sync(self, resource: Resource[Sync], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the coroutine in the event loop of the client's thread, and wait for its result."""
        try:
            return resource.mode.run(partial(self._call_async, resource.as_async, *args, **kwargs))
        except Exception as error:
            trim(error)
            raise

    if TYPE_CHECKING:

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
            """Satisfy protocols of users under pyright, which does not call ``__get__`` for that."""

    @overload
    def __get__(self, resource: None, owner: type) -> Self: ...
    @overload
    def __get__(self, resource: Resource[Async], owner: type) -> Callable[P, Coroutine[object, None, T]]: ...
    @overload
    def __get__(self, resource: Resource[Sync], owner: type) -> Callable[P, T]: ...
    def __get__(self, resource: Resource[Async] | Resource[Sync] | None, owner: type) -> Any:
        """Return a bound call, or the declaration itself if accessed on the class."""
        if resource is None:
            return self
        return MethodType(self._call_sync if isinstance(resource.mode, Sync) else self._call_async, resource)


@attrs.frozen(kw_only=True)
class Reconciliation(Generic[RequestT, BookedT, T]):
    """How an endpoint finds a purchase by its reference, and checks it before it is sent."""

    kind: str
    """What is bought. Endpoints of the same kind make the same purchases."""
    find: Callable[["Engine", RequestT], Awaitable[tuple[BookedT, ...]]]
    """Returns the purchases under the reference of a request."""
    latest: Callable[["Engine"], Awaitable[tuple[BookedT, ...]]]
    """Returns the latest purchases of all references."""
    to_response: Callable[["Engine", BookedT], Awaitable[T]]
    """Converts a purchase that was found to the endpoint's response."""
    refresh: Callable[["Engine", RequestT, str], Awaitable[BookedT | None]]
    """Reads a purchase again by its id."""
    check: Callable[["Engine", RequestT], Awaitable[None]]
    """Raises ``PackageNotFoundError`` if the server responds that a package does not exist."""
    other_evidence: Callable[["Engine", RequestT, datetime], Awaitable[tuple[object, ...]]] | None = None
    """Returns other evidence, since a time, of a purchase that is not found by its reference."""
    price: Callable[["Engine", RequestT], Awaitable[Decimal]] | None = None
    """Returns the cost of a purchase, for a budget that processes share."""
    complete: Callable[["Engine", T], Awaitable[T]] | None = None
    """Waits for what a response to a purchase lacks."""


class Endpoint(dual_method[P, T]):
    """An endpoint of the API. Its docstring, as that of its call, is the docstring of the request class.

    Args:
        method: HTTP method.
        path: Path below the base URL. Fields of the request replace names in braces, as in
            ``"/api/esim/voucher/{voucherId}"``.
        request: Class of the request, whose parameters are those of the call.
        response: Type of the response.
        safety: Whether the request may be sent again; by default ``READ`` for GET, else ``ACTION``.
        data_path: Keys that lead to the response in the body, such as ``"data.orders"``. ``""`` is the whole body, and
            ``"data?"`` is ``data`` if the body is an envelope, else the body.
        timeout: Seconds for one attempt, if the endpoint needs more than the default.
        reconciliation: How a purchase is looked up; required for ``PURCHASE``.
        prepare: Runs before the request is sent, and returns the request that is sent in its place.
        check: Runs after each response, and raises if the response reveals a wrong argument.
        recover: Runs after each failure, and returns the response if it can be read in another way, or raises.
        decode: Decodes a response whose content is not documented.
    """

    def __init__(
        self,
        method: str,
        path: str,
        request: Callable[P, object],
        response: type[T],
        *,
        safety: Safety | None = None,
        data_path: str = "data",
        timeout: float | None = None,
        reconciliation: Reconciliation[Any, Any, T] | None = None,
        prepare: Callable[["Engine", Any], Awaitable[object]] | None = None,
        check: Callable[["Engine", Any, T], Awaitable[None]] | None = None,
        recover: Callable[["Engine", Any, RoamifyError], Awaitable[T]] | None = None,
        decode: Callable[[HttpResponse], T] | None = None,
    ) -> None:
        self.method: str = method
        self.path: str = path
        self.request: Callable[P, object] = request
        self.response: type[T] = response
        self.safety: Safety = safety or (READ if method == "GET" else ACTION)
        self.data_path: str = data_path
        self.timeout: float | None = timeout
        self.reconciliation: Reconciliation[Any, Any, T] | None = reconciliation
        self.prepare: Callable[[Engine, Any], Awaitable[object]] | None = prepare
        self.check: Callable[[Engine, Any, T], Awaitable[None]] | None = check
        self.recover: Callable[[Engine, Any, RoamifyError], Awaitable[T]] | None = recover
        self.decode: Callable[[HttpResponse], T] | None = decode
        self._function = self._send
        self._call_async = partial(type(self).call_async, self)
        self._call_sync = partial(type(self).call_sync, self)
        signature = inspect.signature(request)
        resource = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        parameters = [resource, *signature.parameters.values()]
        self._describe(signature.replace(parameters=parameters, return_annotation=response), request.__doc__)

    async def _send(self, resource: Resource[Any], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Create the request from the arguments, send it, and return its response."""
        try:
            request = self.request(*args, **kwargs)
        except TypeError:
            explain_arguments(self.call, inspect.signature(self.request), args, kwargs)
            raise
        return await resource.engine.send(self, request)


class BatchIterator(Generic[T]):
    """Iterates over the items of batches.

    It is not a generator, since an event loop closes all generators when it ends, and would close a nested one twice.
    """

    def __init__(self, batches: AsyncGenerator[tuple[T, ...], None], name: str) -> None:
        self._batches = batches
        self._name = name
        self._items: Iterator[T] = iter(())
        self._call: telemetry.Call | None = None
        self._has_begun = False

    def __aiter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> T:
        """Return the next item."""
        while True:
            for item in self._items:
                return item
            self._items = iter(await self.step())

    async def step(self) -> tuple[T, ...]:
        """Return the next batch."""
        if not self._has_begun:
            self._has_begun, self._call = True, telemetry.start(self._name)
        if self._call is None:
            return await self._next()
        try:
            with self._call.active():
                return await self._next()
        except StopAsyncIteration:
            self._call.end()
            raise
        except BaseException as error:
            self._call.end(error=error)
            raise

    async def _next(self) -> tuple[T, ...]:
        try:
            return await anext(self._batches)
        except Exception as error:
            trim(error)
            raise

    async def aclose(self) -> None:
        """End the iteration."""
        self._items = iter(())
        await self._batches.aclose()
        if self._call is not None:
            self._call.end()


class dual_iterator(Generic[P, T]):  # noqa: N801 -- a decorator
    """Decorator of an asynchronous generator method, which is a plain iterator if its resource belongs to ``Roamify``.

    The function yields batches, and the caller receives single items, so that the synchronous client switches threads
    once per batch. No task group or timeout may be open across a ``yield``, since each step runs in a task of its own.
    """

    def __init__(self, function: Callable[Concatenate[Any, P], AsyncGenerator[tuple[T, ...], None]]) -> None:
        self._batches: Callable[..., AsyncGenerator[tuple[T, ...], None]] = function
        self._name: str = function.__qualname__.lower()
        """The call as in users' code: ``packages.iter``."""
        self._iterate_async: Callable[..., AsyncIterator[T]] = partial(type(self).iterate_async, self)
        self._iterate_sync: Callable[..., Iterator[T]] = partial(type(self).iterate_sync, self)
        self.__doc__: str | None = function.__doc__
        signature = _expand_keywords(inspect.signature(function))
        (item, *_) = get_args(get_args(signature.return_annotation)[0])
        for variant, result in ((self._iterate_async, AsyncIterator), (self._iterate_sync, Iterator)):
            annotated = signature.replace(return_annotation=GenericAlias(result, item))
            names = {name: getattr(function, name) for name in ("__name__", "__qualname__", "__module__", "__doc__")}
            _set(variant, __signature__=annotated, **names)

    def iterate_async(self, resource: Resource[Async], /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        """Return an asynchronous iterator over the items."""
        return BatchIterator(self._batches(resource, *args, **kwargs), self._name)

    def iterate_sync(self, resource: Resource[Sync], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        """Yield the items; each batch is fetched in the event loop of the client's thread."""
        batches = BatchIterator(self._batches(resource.as_async, *args, **kwargs), self._name)
        mode, process = resource.mode, resource.mode.process

        async def step() -> tuple[T, ...] | None:
            try:
                return await batches.step()
            except StopAsyncIteration:
                return None

        try:
            while (batch := mode.run(step, process)) is not None:
                yield from batch
        except Exception as error:
            trim(error)
            raise
        finally:  # The caller may stop early. The generator must be closed in its own loop.
            mode.finish(partial(_close, batches), process)

    @overload
    def __get__(self, resource: None, owner: type) -> Self: ...
    @overload
    def __get__(self, resource: Resource[Async], owner: type) -> Callable[P, AsyncIterator[T]]: ...
    @overload
    def __get__(self, resource: Resource[Sync], owner: type) -> Callable[P, Iterator[T]]: ...
    def __get__(self, resource: Resource[Async] | Resource[Sync] | None, owner: type) -> Any:
        """Return a bound call, or the declaration itself if accessed on the class."""
        if resource is None:
            return self
        return MethodType(self._iterate_sync if isinstance(resource.mode, Sync) else self._iterate_async, resource)


async def _close(batches: BatchIterator[Any]) -> None:
    """Close a generator, unless its event loop is closing it or it is still running."""
    with suppress(RuntimeError):
        await batches.aclose()


def _expand_keywords(signature: inspect.Signature) -> inspect.Signature:
    """Return a signature in which ``**filters: Unpack[Filters]`` is replaced by its keywords."""
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


def _set(function: Any, **attributes: object) -> None:
    for name, value in attributes.items():
        setattr(function, name, value)


def endpoints(resource: type[Resource[Any]]) -> Mapping[str, Endpoint[..., Any]]:
    """Return the endpoints of a resource by name."""
    members: dict[str, Any] = {name: member for name, member in vars(resource).items() if isinstance(member, Endpoint)}
    return members


# ---------------------------------------------------------------- wrong arguments


def explain_arguments(name: str, signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise ``TypeError`` with the call and the most similar argument, if the arguments do not match the signature."""
    refuse_unknown_arguments(name, kwargs, signature.parameters)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{name}(): {error}") from None


def refuse_unknown_arguments(name: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise ``TypeError`` for the first unknown argument."""
    names = [*known]
    for argument in given:
        if argument not in names:
            near = difflib.get_close_matches(argument, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(names) or 'none'}"
            raise TypeError(f"{name}() has no argument {argument!r}; {hint}")
