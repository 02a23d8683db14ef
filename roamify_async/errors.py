"""Errors are values: they hold no live response, and all can be pickled.

    RoamifyError
    ├── ConfigurationError            no token, bad base URL, closed, another event loop, after a fork
    ├── TransportError
    │   ├── ConnectError              never sent
    │   ├── ConnectionLostError       no complete response was received
    │   └── RequestTimeoutError       no complete response in time; also a TimeoutError
    ├── APIStatusError                any other status: 3xx, 402, 405, 408, ...
    │   ├── BadRequestError           400
    │   ├── AuthenticationError       401
    │   ├── PermissionDeniedError     403
    │   ├── NotFoundError             404
    │   │   └── PackageNotFoundError  there is no such package; nothing was sent
    │   ├── ConflictError             409
    │   ├── UnprocessableError        422
    │   ├── RateLimitError            429
    │   └── ServerError               5xx
    ├── DecodeError                   the response is not what the API describes
    ├── PurchaseInDoubtError          money may have moved
    ├── PurchaseFailedError           booked and not kept: cancelled, refunded or failed
    ├── EsimsNotReadyError            bought and paid, but not all eSIMs can be installed yet
    ├── BudgetError                   max_spend or the balance would be exceeded; nothing was sent
    ├── JournalError                  the journal belongs to other requests, is in use, or is damaged
    └── WebhookError                  bad signature, or unreadable event

Wrong arguments raise ``TypeError`` or ``ValueError`` before anything is sent.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self

Sent = Literal["no", "maybe", "answered"]
"""How far a request got: no byte of its body left, it may have left, or a complete response came."""


class RoamifyError(Exception):
    """Any failure of a call."""

    sent: Sent
    """``"no"``: not one byte of the request's body had left. ``"maybe"``: it may have left, and no complete response
    came. ``"answered"``: status, headers and body came. After several attempts, the strongest of them."""
    method: str | None
    """HTTP method of the request."""
    path: str | None
    """Path of the request, without the query."""
    page: int | None
    """Number of the page, for calls that read pages."""
    reference_id: str | None
    """Reference of the purchase."""
    package_ids: tuple[str, ...]
    """Packages of the purchase."""
    request_id: str | None
    """Identifier that the server gave the request, for its support."""

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

    def __str__(self) -> str:
        """Return the message, followed by the facts of the request."""
        message = str(self.args[0]) if self.args else ""
        facts = ", ".join(self._facts())
        text = f"{message} [{facts}]" if facts else message
        # JSON may contain lone surrogates, which cannot be printed.
        return text.encode("utf-8", "backslashreplace").decode()

    def __repr__(self) -> str:
        """Show the class and the message."""
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by class, message and attributes: ``__init__`` takes keywords, which pickle cannot give it."""
        return _rebuild, (type(self), self.args, dict(self.__dict__))

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
        """Set attributes, and return the error."""
        for name, value in facts.items():
            setattr(self, name, value)
        return self


def _rebuild(kind: type[RoamifyError], args: tuple[Any, ...], state: dict[str, Any]) -> RoamifyError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigurationError(RoamifyError):
    """The client cannot make this call: no token, bad base URL, closed, another event loop, after a fork."""


class TransportError(RoamifyError):
    """No complete response was received."""

    last_try: Sent
    """How far the last of several attempts got."""

    def __init__(self, message: str = "", *, sent: Sent = "no", **facts: Any) -> None:
        super().__init__(message, sent=sent, **facts)
        self.last_try = sent


class ConnectError(TransportError):
    """No connection was made (name resolution, address, proxy, TLS). Nothing was sent."""


class ConnectionLostError(TransportError):
    """The connection was closed before a complete response was received."""


class RequestTimeoutError(TransportError, TimeoutError):
    """No complete response was received in time."""


class APIStatusError(RoamifyError):
    """The server responded with an error status; statuses without a class of their own are raised as this one."""

    hint: ClassVar[str] = ""
    """Advice that is added to the message."""
    status: int
    """HTTP status."""
    message: str
    """The server's own message."""
    code: str | None
    """The server's error code, if it gives one."""
    body: str
    """The complete body, as text."""
    retry_after: float | None
    """Seconds to wait before another attempt, if the server says so."""

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
        """Return the message, the facts of the request, and advice."""
        return f"{super().__str__()}{self.hint}"


class BadRequestError(APIStatusError):
    """400: the request is malformed or incomplete."""


class AuthenticationError(APIStatusError):
    """401: the token is missing, wrong, or was rotated in the partner portal."""

    hint = ": check the token; it is the API key of the partner portal, and a new key there invalidates the old one"


class PermissionDeniedError(APIStatusError):
    """403: the token lacks permission, or a gateway refused the caller."""

    hint = ": either this is not enabled for your key, or a gateway refused the caller"


class NotFoundError(APIStatusError):
    """404: it does not exist, or belongs to another partner."""


class PackageNotFoundError(NotFoundError):
    """There is no package with this id; nothing was sent."""

    nearest: tuple[str, ...]
    """The most similar ids of the catalogue, if it could be searched."""

    def __init__(
        self, message: str = "", *, nearest: tuple[str, ...] = (), status: int = 404, sent: Sent = "no", **facts: Any
    ) -> None:
        super().__init__(message, status=status, sent=sent, **facts)
        self.nearest = nearest


class ConflictError(APIStatusError):
    """409: the request conflicts with the current state: a reference that is taken, an insufficient balance."""


class UnprocessableError(APIStatusError):
    """422: the request was understood and refused."""


class RateLimitError(APIStatusError):
    """429: too many requests."""


class ServerError(APIStatusError):
    """5xx: the server or a gateway failed. The API also responds with 500 to an unknown package id."""


class DecodeError(RoamifyError):
    """A response came that is not what the API describes."""

    body: str
    """The complete body, as text."""
    problems: tuple[str, ...]
    """One line per problem, with its path: ``$.data.items[3].price: ...``."""
    ids: tuple[str, ...]
    """Every id found in the response."""
    garbled: bool
    """Whether the body is not JSON: truncated, or a gateway's page."""

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


class PurchaseInDoubtError(RoamifyError):
    """Money may have moved: the purchase was sent, and it is not known whether it was booked.

    Look it up by its reference before buying again; the reference stays valid.
    """

    request: object
    """The request, with its reference."""
    reason: RoamifyError | None
    """The error that caused the doubt."""
    found: tuple[object, ...]
    """Orders under the reference that are not provably this purchase."""
    look_up_error: RoamifyError | None
    """Why the last look-up failed, if it did."""

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
        self.request = request
        self.reason = reason
        self.found = found
        self.look_up_error = look_up_error


class PurchaseFailedError(RoamifyError):
    """A purchase was booked and not kept: it was cancelled, refunded, or failed.

    Nothing more happens under its reference; buy again under another one.
    """

    order: object
    """The order, as last seen."""

    def __init__(self, message: str = "", *, order: object = None, sent: Sent = "answered", **facts: Any) -> None:
        super().__init__(message, sent=sent, **facts)
        self.order = order


class EsimsNotReadyError(RoamifyError):
    """A purchase was booked and paid, but some of its eSIMs cannot be installed yet."""

    order: object
    """The order."""
    esims: tuple[object, ...]
    """The eSIMs that are ready."""
    failures: Mapping[str, RoamifyError]
    """The error of each of the others, by eSIM id."""

    def __init__(
        self,
        message: str = "",
        *,
        order: object = None,
        esims: tuple[object, ...] = (),
        failures: Mapping[str, RoamifyError] | None = None,
        sent: Sent = "answered",
        **facts: Any,
    ) -> None:
        super().__init__(message, sent=sent, **facts)
        self.order = order
        self.esims = esims
        self.failures = dict(failures or {})


class BudgetError(RoamifyError):
    """``max_spend`` or the balance would be exceeded; nothing was sent."""


class JournalError(RoamifyError):
    """The journal belongs to other requests, is in use, or is damaged."""


class WebhookError(RoamifyError):
    """A webhook's signature is wrong, or its event cannot be read."""


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
"""The error class of each status that has its own; all 5xx are ``ServerError``."""


def error_class(status: int) -> type[APIStatusError]:
    """Return the error class of an HTTP status."""
    return ERRORS.get(status, ServerError if status >= 500 else APIStatusError)  # noqa: PLR2004
