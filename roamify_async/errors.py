"""Everything that can go wrong, as values: no error holds a live response, and all can be pickled.

    RoamifyError
    ├── ConfigurationError            no token, a bad base URL, closed, another event loop, after a fork
    ├── TransportError
    │   ├── ConnectError              never sent
    │   ├── ConnectionLostError       no whole answer came
    │   └── RequestTimeoutError       no answer in time; also a TimeoutError
    ├── APIStatusError                any other refusal: 3xx, 402, 405, 408, ...
    │   ├── BadRequestError           400
    │   ├── AuthenticationError       401
    │   ├── PermissionDeniedError     403
    │   ├── NotFoundError             404
    │   ├── ConflictError             409
    │   ├── UnprocessableError        422
    │   ├── RateLimitError            429
    │   └── ServerError               5xx
    ├── DecodeError                   the answer is not what the API describes
    ├── PurchaseInDoubtError          money may have moved
    ├── EsimsNotReadyError            bought and paid, and not all eSIMs can be installed yet
    ├── BudgetError                   the money set aside does not suffice; nothing was sent
    ├── JournalError                  the journal belongs to other requests, is in use, or is damaged
    └── WebhookError                  a bad signature, or an event that cannot be read

Wrong arguments are plain ``TypeError`` and ``ValueError``, raised before anything is sent.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self

Sent = Literal["no", "maybe", "answered"]
"""How far a request got: no byte of its body left, it may have left, or a whole answer came."""


class RoamifyError(Exception):
    """Any failure of a call."""

    sent: Sent
    """``"no"``: not one byte of the request's body had left; ``"maybe"``: it may have left and no complete
    answer came; ``"answered"``: status, headers and body came. Of several tries the strongest counts."""
    method: str | None
    """HTTP method of the request."""
    path: str | None
    """Path of the request, without the query."""
    page: int | None
    """The page that was asked for, where pages are read."""
    reference_id: str | None
    """Reference of the purchase."""
    package_ids: tuple[str, ...]
    """Packages that the purchase names."""
    request_id: str | None
    """The server's own name for the request, for its support."""

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
        """Say what happened, then to which request."""
        message = str(self.args[0]) if self.args else ""
        facts = ", ".join(self._facts())
        text = f"{message} [{facts}]" if facts else message
        # JSON may hold halves of characters, which could not be printed.
        return text.encode("utf-8", "backslashreplace").decode()

    def __repr__(self) -> str:
        """Show the class and what ``str`` says."""
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

    def about(self, **facts: Any) -> Self:
        """Set what is known of the request besides."""
        for name, value in facts.items():
            setattr(self, name, value)
        return self


def _rebuild(kind: type[RoamifyError], args: tuple[Any, ...], state: dict[str, Any]) -> RoamifyError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigurationError(RoamifyError):
    """The client is not set up for this call: no token, a bad base URL, closed, another loop, after a fork."""


class TransportError(RoamifyError):
    """No whole answer came."""

    last_try: Sent
    """How far the last of several tries got."""

    def __init__(self, message: str = "", *, sent: Sent = "no", **facts: Any) -> None:
        super().__init__(message, sent=sent, **facts)
        self.last_try = sent


class ConnectError(TransportError):
    """No connection could be made: name, address, proxy, TLS. Nothing was sent."""


class ConnectionLostError(TransportError):
    """The connection broke before a whole answer had come."""


class RequestTimeoutError(TransportError, TimeoutError):
    """No whole answer came in time."""


class APIStatusError(RoamifyError):
    """The server refused, with a status that has no class of its own (3xx, 402, 405, 408, ...)."""

    hint: ClassVar[str] = ""
    """What to do about it, where that can be said."""
    status: int
    """HTTP status."""
    message: str
    """What the server says went wrong, in its own words."""
    code: str | None
    """The server's code for it, where it gives one."""
    body: str
    """The whole answer, as text."""
    retry_after: float | None
    """Seconds after which the server wants to be asked again, where it says so."""

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
        """Say what happened, to which request, and what to do."""
        return f"{super().__str__()}{self.hint}"


class BadRequestError(APIStatusError):
    """400: the request is not what the API takes."""


class AuthenticationError(APIStatusError):
    """401: the token is missing, wrong, or was replaced in the partner portal."""

    hint = ": check the token; it is the API key of the partner portal, and a new key there ends the old one"


class PermissionDeniedError(APIStatusError):
    """403: this token may not do that, or a gateway refused the caller."""

    hint = ": either this is not enabled for your key, or a gateway refused the caller"


class NotFoundError(APIStatusError):
    """404: there is no such thing, or it is another partner's."""


class ConflictError(APIStatusError):
    """409: it contradicts what is there: a reference that is taken, a balance that is too low."""


class UnprocessableError(APIStatusError):
    """422: understood and refused."""


class RateLimitError(APIStatusError):
    """429: too many requests."""


class ServerError(APIStatusError):
    """5xx: the server or a gateway failed; also what it answers to a package id that does not exist."""


class DecodeError(RoamifyError):
    """The answer came, and is not what the API describes."""

    body: str
    """The whole answer, as text."""
    problems: tuple[str, ...]
    """What is wrong and where, as paths: ``$.data.items[3].price: ...``."""
    ids: tuple[str, ...]
    """Every id found in the answer."""
    garbled: bool
    """Whether it is no JSON at all: cut off, or somebody else's page."""

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
    """Money may have moved: the purchase was sent and it is not known whether it was booked.

    Look it up by its reference before buying again; the reference stays valid.
    """

    request: object
    """The request, with its reference."""
    reason: RoamifyError | None
    """The error that caused the doubt."""
    found: tuple[object, ...]
    """Orders seen under the reference that are not provably this purchase."""

    def __init__(
        self,
        message: str = "",
        *,
        request: object = None,
        reason: RoamifyError | None = None,
        found: tuple[object, ...] = (),
        sent: Sent = "maybe",
        **facts: Any,
    ) -> None:
        super().__init__(message, sent=sent, **facts)
        self.request = request
        self.reason = reason
        self.found = found


class EsimsNotReadyError(RoamifyError):
    """A purchase was booked and paid, and some of its eSIMs cannot be installed yet."""

    order: object
    """The order."""
    esims: tuple[object, ...]
    """The eSIMs that are ready."""
    failures: Mapping[str, RoamifyError]
    """What went wrong with each of the others, by the eSIM's id."""

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
    """The money set aside, or the balance, would be passed; nothing was sent."""


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
"""The class of each status that has one; 5xx are all ``ServerError``."""


def error_class(status: int) -> type[APIStatusError]:
    """Give the class of the error for an HTTP status."""
    return ERRORS.get(status, ServerError if status >= 500 else APIStatusError)  # noqa: PLR2004
