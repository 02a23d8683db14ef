"""Errors of the library. They are plain values without a live response, and can be pickled.

    RoamifyError
    ├── ConfigurationError            no token, invalid base URL, closed client, another event loop, under way at a fork
    ├── TransportError
    │   ├── ConnectError              not connected; nothing was sent
    │   ├── ConnectionLostError       no complete response was received
    │   ├── RequestTimeoutError       no complete response in time; also a TimeoutError
    │   └── ResponseTooLargeError     the response is larger than max_response_size
    ├── APIStatusError                any other status: 3xx, 402, 405, 408, ...
    │   ├── BadRequestError           400
    │   │   └── UsageNotSupportedError  the package has no usage check
    │   ├── AuthenticationError       401
    │   ├── PermissionDeniedError     403
    │   ├── NotFoundError             404
    │   │   └── PackageNotFoundError  there is no such package; nothing was sent
    │   ├── ConflictError             409
    │   ├── UnprocessableError        422
    │   ├── RateLimitError            429
    │   └── ServerError               5xx
    ├── DecodeError                   the response is not as documented
    ├── CatalogueChangedError         the catalogue changed again and again while it was read
    ├── PurchaseInDoubtError          it may have been booked and paid
    ├── PurchaseFailedError           booked, and then cancelled, refunded or failed
    ├── EsimsNotReadyError            bought and paid, but not all eSIMs can be installed yet
    ├── BudgetError                   max_spend or the balance would be exceeded; nothing was sent
    ├── JournalError                  the journal belongs to other requests, is in use, or is damaged
    ├── LedgerError                   the ledger cannot be reached, or belongs to another host; nothing was sent
    └── WebhookError                  wrong signature, or invalid event

Wrong arguments raise ``TypeError`` or ``ValueError`` before anything is sent.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, ParamSpec, Self, cast

if TYPE_CHECKING:
    from .models.esims import ReadyEsim
    from .models.insurance import InsuranceOrder, OrderInsurance
    from .models.orders import CreateOrder, InstantOrder, Order, RepeatOrder
    from .models.topups import CreateTopUp
    from .models.vouchers import CreateVouchers, VoucherBatch

P = ParamSpec("P")

Sent = Literal["no", "maybe", "answered"]
"""How far a request got: not sent, possibly sent, or answered with a complete response."""

IDENTITY: Final = (
    *("sent", "method", "path", "page", "reference_id", "package_ids", "request_id"),
    *("status", "code", "retry_after", "ids", "nearest"),
)
"""Attributes that ``args`` of an error contains, where it has them. They can be encoded as JSON."""


def _takes_args(init: Callable[P, None]) -> Callable[P, None]:
    """Make an ``__init__`` accept what ``args`` holds: the message, and facts in a dictionary.

    Task queues that store JSON, such as Celery, create an error again as ``type(error)(*error.args)``.
    """
    initialize = cast("Callable[..., None]", init)

    @wraps(init)
    def wrapper(self: Any, message: str = "", args: Mapping[str, Any] | None = None, /, **facts: Any) -> None:
        for name, value in (args or {}).items():
            facts.setdefault(name, tuple(cast("Iterable[object]", value)) if isinstance(value, list) else value)
        initialize(self, message, **facts)

    return cast("Callable[P, None]", wrapper)


class RoamifyError(Exception):
    """Base class of all errors of this library.

    ``args`` are the message and a dictionary of facts that identify the request and the purchase. They can be encoded
    as JSON, and ``type(error)(*error.args)`` has them again.
    """

    sent: Sent
    """How far the request got: ``"no"`` if no byte of its body left, ``"maybe"`` if it may have left and no complete
    response was received, ``"answered"`` if one was received. After several attempts, the furthest of them."""
    method: str | None
    """HTTP method of the request."""
    path: str | None
    """Path of the request, without the query."""
    page: int | None
    """Number of the page, if the call reads pages."""
    reference_id: str | None
    """Reference of the purchase."""
    package_ids: tuple[str, ...]
    """Package ids of the purchase."""
    request_id: str | None
    """Identifier that the server assigned to the request, for Roamify's support."""

    @_takes_args
    def __init__(
        self,
        message: str = "",
        *,
        sent: Sent = "no",
        method: str | None = None,
        path: str | None = None,
        page: int | None = None,
        reference_id: str | None = None,
        package_ids: tuple[str, ...] = (),
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.sent = sent
        self.method = method
        self.path = path
        self.page = page
        self.reference_id = reference_id
        self.package_ids = package_ids
        self.request_id = request_id

    @property
    def args(self) -> tuple[Any, ...]:
        """The message, and a dictionary of the facts that are known."""
        facts = {name: getattr(self, name, None) for name in IDENTITY}
        return self._text(), {name: value for name, value in facts.items() if value is not None and value != ()}

    @args.setter
    def args(self, args: tuple[Any, ...]) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        super().__init__(*args[:1])

    def _text(self) -> str:
        return str(super().args[0]) if super().args else ""

    def __str__(self) -> str:
        """Return the message and the facts of the request."""
        message = self._text()
        facts = ", ".join(self._facts())
        text = f"{message} [{facts}]" if facts else message
        # JSON may contain lone surrogates, which cannot be printed.
        return text.encode("utf-8", "backslashreplace").decode()

    def __repr__(self) -> str:
        """Return the class and the message."""
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by class, message and attributes, since pickle passes no keyword arguments to ``__init__``."""
        return _rebuild, (type(self), super().args, dict(self.__dict__))

    def _facts(self) -> Iterator[str]:
        if self.method and self.path:
            yield f"{self.method} {self.path}"
        if self.page is not None:
            yield f"page {self.page}"
        if self.reference_id:
            yield f"reference {self.reference_id}"
        if self.package_ids:
            yield "packages " + " ".join(self.package_ids)
        if self.request_id:
            yield f"request id {self.request_id}"

    def with_facts(self, **facts: Any) -> Self:
        """Set attributes and return the error."""
        for name, value in facts.items():
            setattr(self, name, value)
        return self


def _rebuild(cls: type[RoamifyError], args: tuple[Any, ...], state: dict[str, Any]) -> RoamifyError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigurationError(RoamifyError):
    """The client cannot make calls: no token, invalid base URL, closed, another event loop, or under way at a fork."""


class TransportError(RoamifyError):
    """No complete response was received."""

    last_try: Sent
    """How far the last attempt got."""

    @_takes_args
    def __init__(self, message: str = "", *, sent: Sent = "no", **facts: Any) -> None:
        super().__init__(message, sent=sent, **facts)
        self.last_try = sent


class ConnectError(TransportError):
    """No connection was established (name resolution, address, proxy, TLS). Nothing was sent."""


class ConnectionLostError(TransportError):
    """The connection was closed before a complete response was received."""


class RequestTimeoutError(TransportError, TimeoutError):  # pyright: ignore[reportIncompatibleVariableOverride]
    """No complete response was received before the timeout."""


class ResponseTooLargeError(TransportError):
    """The response is larger than ``Settings(max_response_size=)``, counted after decompression. It was not read."""


class APIStatusError(RoamifyError):
    """The server responded with an error status. Statuses without a subclass, such as 3xx and 405, raise this class."""

    hint: ClassVar[str] = ""
    """Advice that is appended to the message."""
    status: int
    """HTTP status."""
    message: str
    """Message of the server."""
    code: str | None
    """Error code of the server, if there is one."""
    body: str
    """The complete body, as text."""
    retry_after: float | None
    """Seconds of the ``Retry-After`` header, if there is one."""

    @_takes_args
    def __init__(
        self,
        message: str = "",
        *,
        status: int,
        code: str | None = None,
        body: str = "",
        retry_after: float | None = None,
        sent: Sent = "answered",
        **facts: Any,
    ) -> None:
        super().__init__(message, sent=sent, **facts)
        self.status = status
        self.message = message
        self.code = code
        self.body = body
        self.retry_after = retry_after

    def _facts(self) -> Iterator[str]:
        yield str(self.status)
        if self.code:
            yield f"code {self.code}"
        yield from super()._facts()
        if self.retry_after is not None:
            yield f"retry after {self.retry_after:g} s"

    def __str__(self) -> str:
        """Return the message, the facts of the request, and the advice."""
        return f"{super().__str__()}{self.hint}"


class BadRequestError(APIStatusError):
    """400: the request is malformed or incomplete."""


class UsageNotSupportedError(BadRequestError):
    """The package of an eSIM has no usage check (``with_usage_check`` is false)."""

    notes: tuple[str, ...]
    """The notes of the eSIM, which say how a traveller checks the usage."""

    @_takes_args
    def __init__(self, message: str = "", *, status: int = 400, notes: tuple[str, ...] = (), **facts: Any) -> None:
        super().__init__(message, status=status, **facts)
        self.notes = notes


class AuthenticationError(APIStatusError):
    """401: the token is missing, wrong, or was rotated in the partner portal."""

    hint = ": check the token; it is the API key of the partner portal, and a new key there invalidates the old one"


class PermissionDeniedError(APIStatusError):
    """403: the token lacks permission, or a gateway refused the caller."""

    hint = ": either this is not enabled for your key, or a gateway refused the caller"


class NotFoundError(APIStatusError):
    """404: the object does not exist, or belongs to another partner."""


class PackageNotFoundError(NotFoundError):
    """There is no package with this id. Nothing was sent."""

    nearest: tuple[str, ...]
    """The most similar ids of the catalogue, if they could be determined."""

    @_takes_args
    def __init__(
        self, message: str = "", *, nearest: tuple[str, ...] = (), status: int = 404, sent: Sent = "no", **facts: Any
    ) -> None:
        super().__init__(message, status=status, sent=sent, **facts)
        self.nearest = nearest


class ConflictError(APIStatusError):
    """409: the request conflicts with the current state. The reference exists, or the balance is insufficient."""

    is_under_way: bool = False
    """Whether another call or process is making the purchase, so that the same call may succeed later."""


class UnprocessableError(APIStatusError):
    """422: the request is well-formed, but was refused."""


class RateLimitError(APIStatusError):
    """429: too many requests."""


class ServerError(APIStatusError):
    """5xx: the server or a gateway failed. The API also responds with 500 to an unknown package id."""


class DecodeError(RoamifyError):
    """A response is not as the API's documentation describes it."""

    body: str
    """The complete body, as text."""
    problems: tuple[str, ...]
    """A line for each problem, with its path: ``$.data.items[3].price: ...``."""
    ids: tuple[str, ...]
    """All ids and references in the response."""
    garbled: bool
    """Whether the body is not JSON, for example truncated, or the page of a gateway."""

    @_takes_args
    def __init__(
        self,
        message: str = "",
        *,
        body: str = "",
        problems: tuple[str, ...] = (),
        ids: tuple[str, ...] = (),
        garbled: bool = False,
        sent: Sent = "answered",
        **facts: Any,
    ) -> None:
        super().__init__(message, sent=sent, **facts)
        self.body = body
        self.problems = problems
        self.ids = ids
        self.garbled = garbled


class CatalogueChangedError(RoamifyError):
    """The catalogue changed again and again while it was read, so that packages may be missing. Read it again."""


class PurchaseInDoubtError(RoamifyError):
    """A purchase may have been sent, and it is not known whether it was booked once.

    Look it up by its reference before buying again: with ``orders.reconcile``, with ``vouchers.list``, or with
    ``insurance.get_order``. A call with the same reference looks it up too.
    """

    reference_id: str  # pyright: ignore[reportIncompatibleVariableOverride]
    """Reference of the purchase."""
    request: "CreateOrder | CreateTopUp | CreateVouchers | OrderInsurance | RepeatOrder | None"
    """The request, with its reference. ``None`` if the error comes from ``orders.reconcile``, or was created again from
    ``args`` or from a journal."""
    reason: RoamifyError | None
    """The failure that caused the doubt."""
    found: tuple[object, ...]
    """Orders under the reference that are not provably this purchase, or are more than one."""
    look_up_error: RoamifyError | None
    """The failure of the last look-up, if it failed."""

    @_takes_args
    def __init__(
        self,
        message: str = "",
        *,
        request: object = None,
        reason: RoamifyError | None = None,
        found: tuple[object, ...] = (),
        look_up_error: RoamifyError | None = None,
        sent: Sent = "maybe",
        **facts: Any,
    ) -> None:
        super().__init__(message, sent=sent, **facts)
        self.request = cast("CreateOrder | CreateTopUp | CreateVouchers | OrderInsurance | RepeatOrder | None", request)
        self.reason = reason
        self.found = found
        self.look_up_error = look_up_error


class PurchaseFailedError(RoamifyError):
    """A purchase was booked, and then cancelled or refunded, or it failed.

    Nothing more is sent under its reference. Use another reference to buy again.
    """

    reference_id: str  # pyright: ignore[reportIncompatibleVariableOverride]
    """Reference of the purchase."""
    order: "Order | InstantOrder | InsuranceOrder | VoucherBatch"
    """What was booked, as last read. An error that was created again from ``args`` does not have it."""

    @_takes_args
    def __init__(self, message: str = "", *, order: object = None, sent: Sent = "answered", **facts: Any) -> None:
        super().__init__(message, sent=sent, **facts)
        self.order = cast("Order | InstantOrder | InsuranceOrder | VoucherBatch", order)


class EsimsNotReadyError(RoamifyError):
    """A purchase is booked and paid, but some of its eSIMs cannot be installed yet."""

    reference_id: str  # pyright: ignore[reportIncompatibleVariableOverride]
    """Reference of the purchase."""
    order: "Order"
    """The order. An error that was created again from ``args`` does not have it."""
    esims: "tuple[ReadyEsim, ...]"
    """The eSIMs that can be installed."""
    failures: Mapping[str, RoamifyError]
    """The errors of the other eSIMs, by eSIM id."""

    @_takes_args
    def __init__(
        self,
        message: str = "",
        *,
        order: "Order | None" = None,
        esims: "tuple[ReadyEsim, ...]" = (),
        failures: Mapping[str, RoamifyError] | None = None,
        sent: Sent = "answered",
        **facts: Any,
    ) -> None:
        super().__init__(message, sent=sent, **facts)
        self.order = cast("Order", order)
        self.esims = esims
        self.failures = dict(failures or {})


class BudgetError(RoamifyError):
    """``max_spend`` or the balance would be exceeded. Nothing was sent."""


class JournalError(RoamifyError):
    """The journal belongs to other requests or another host, is in use, is damaged, or was removed."""


class LedgerError(RoamifyError):
    """The ledger cannot be reached, is of another version, or belongs to another host. Nothing was sent."""


class WebhookError(RoamifyError):
    """The signature of a webhook is wrong, or its event is invalid."""


ERRORS: Mapping[int, type[APIStatusError]] = MappingProxyType(
    {
        400: BadRequestError,
        401: AuthenticationError,
        403: PermissionDeniedError,
        404: NotFoundError,
        409: ConflictError,
        422: UnprocessableError,
        429: RateLimitError,
    }
)
"""The error class of each status that has one. All 5xx raise ``ServerError``."""


def error_class(status: int) -> type[APIStatusError]:
    """Return the error class of an HTTP status."""
    return ERRORS.get(status, ServerError if status >= 500 else APIStatusError)  # noqa: PLR2004
