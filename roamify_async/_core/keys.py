"""Types of endpoints that take exactly one of several keys, so that type checkers refuse none and two.

At run time they are endpoints like all others, whose request class checks the keys.
"""

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, overload

from .endpoint import Async, Endpoint, Resource
from .sync import Sync

T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)


class ByOrder(Protocol[R_co]):
    """A call that takes the id or the reference of an order."""

    @overload
    def __call__(self, *, order_id: str, reference_id: None = None) -> R_co: ...
    @overload
    def __call__(self, *, order_id: None = None, reference_id: str) -> R_co: ...


class ByEsim(Protocol[R_co]):
    """A call that takes the ICCID or the id of an eSIM."""

    @overload
    def __call__(self, *, iccid: str, esim_id: None = None) -> R_co: ...
    @overload
    def __call__(self, *, iccid: None = None, esim_id: str) -> R_co: ...


class ByEsimOrOrder(Protocol[R_co]):
    """A call that takes the ICCID or the id of an eSIM, or the reference of its order."""

    @overload
    def __call__(self, *, iccid: str, esim_id: None = None, reference_id: None = None) -> R_co: ...
    @overload
    def __call__(self, *, iccid: None = None, esim_id: str, reference_id: None = None) -> R_co: ...
    @overload
    def __call__(self, *, iccid: None = None, esim_id: None = None, reference_id: str) -> R_co: ...


class OrderEndpoint(Endpoint[..., T]):
    """An endpoint whose call is ``ByOrder``."""

    if TYPE_CHECKING:

        @overload
        def __get__(self, resource: None, owner: type) -> Self: ...
        @overload
        def __get__(self, resource: Resource[Async], owner: type) -> ByOrder[Coroutine[object, None, T]]: ...
        @overload
        def __get__(self, resource: Resource[Sync], owner: type) -> ByOrder[T]: ...
        def __get__(self, resource: Resource[Async] | Resource[Sync] | None, owner: type) -> Any: ...


class EsimEndpoint(Endpoint[..., T]):
    """An endpoint whose call is ``ByEsim``."""

    if TYPE_CHECKING:

        @overload
        def __get__(self, resource: None, owner: type) -> Self: ...
        @overload
        def __get__(self, resource: Resource[Async], owner: type) -> ByEsim[Coroutine[object, None, T]]: ...
        @overload
        def __get__(self, resource: Resource[Sync], owner: type) -> ByEsim[T]: ...
        def __get__(self, resource: Resource[Async] | Resource[Sync] | None, owner: type) -> Any: ...


class EsimOrOrderEndpoint(Endpoint[..., T]):
    """An endpoint whose call is ``ByEsimOrOrder``."""

    if TYPE_CHECKING:

        @overload
        def __get__(self, resource: None, owner: type) -> Self: ...
        @overload
        def __get__(self, resource: Resource[Async], owner: type) -> ByEsimOrOrder[Coroutine[object, None, T]]: ...
        @overload
        def __get__(self, resource: Resource[Sync], owner: type) -> ByEsimOrOrder[T]: ...
        def __get__(self, resource: Resource[Async] | Resource[Sync] | None, owner: type) -> Any: ...
