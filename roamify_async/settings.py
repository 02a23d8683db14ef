"""Settings of a client, and their defaults."""

from collections.abc import Iterable
from pathlib import Path
from ssl import SSLContext, create_default_context
from typing import Any, Final, Literal, get_args

import attrs

from ._validation import (
    flag,
    instance,
    not_negative,
    one_of,
    optional,
    optional_seconds,
    positive,
    proxy,
    rate,
    seconds,
    whole_number,
)

PRODUCTION: Final = "https://api.getroamify.com"
"""Base URL of the production environment, in which orders spend real money."""
DEVELOPMENT: Final = "https://api-dev.getroamify.com"
"""Base URL of Roamify's development environment. Whether it needs a separate token is not documented."""

MAX_RESPONSE_SIZE: Final = 64 * 2**20
"""Default of ``Settings.max_response_size``."""

OnDoubt = Literal["raise", "look_up", "look_up_then_resend"]
"""What to do if it is not known whether a purchase was booked; see ``Settings.on_doubt``."""


@attrs.frozen(kw_only=True)
class Timeouts:
    """Timeouts of one attempt, in seconds as numbers or ``timedelta``.

    ``None`` means the timeout of the endpoint, or the default. ``float("inf")`` means no timeout.

    Args:
        connect: For connecting, including TLS; 10 s by default.
        read: Until the first part of a response, and between two parts; aiohttp's ``sock_read``. None by default.
        total: For the whole attempt, once it has left the client's limiter; 30 s by default. Slow endpoints have longer
            ones, such as 100 s for ``esims.apply``.

    For example, ``Timeouts(connect=5, total=timedelta(minutes=2))``.
    """

    connect: float | None = attrs.field(default=None, converter=optional_seconds, validator=optional(positive))
    """Seconds for connecting; 10 by default."""
    read: float | None = attrs.field(default=None, converter=optional_seconds, validator=optional(positive))
    """Seconds between two parts of a response; no limit by default."""
    total: float | None = attrs.field(default=None, converter=optional_seconds, validator=optional(positive))
    """Seconds for the whole attempt; 30 by default, and more for slow endpoints."""

    def over(self, fallback: "Timeouts") -> "Timeouts":
        """Return these limits, with those of *fallback* for fields that are ``None``."""
        return Timeouts(
            connect=fallback.connect if self.connect is None else self.connect,
            read=fallback.read if self.read is None else self.read,
            total=fallback.total if self.total is None else self.total,
        )


DEFAULT_TIMEOUTS: Final = Timeouts(connect=10, total=30)
"""Timeouts that apply unless the caller or the endpoint sets others."""


@attrs.frozen(kw_only=True)
class Retries:
    """Number and timing of the attempts of a call.

    Only reads are retried after any transient failure. Actions are sent again only if they were provably not sent, or
    refused with a 429. Purchases are looked up before they are sent again.

    Args:
        tries: Maximum number of attempts; ``1`` turns retries off.
        wait: Seconds before the second attempt. Further attempts are delayed by exponential backoff with jitter: the
            delay doubles each time, and is reduced by up to a half at random.
        longest_wait: Maximum of such a wait in seconds. A ``Retry-After`` of the server may be longer.
        deadline: Seconds for all attempts together, including waits; by default 120, or the timeout of one attempt if
            that is longer. The time in the client's limiter before the first attempt does not count.

    For example, ``Retries(tries=3, deadline=60)``.
    """

    tries: int = attrs.field(default=5, validator=whole_number)
    """Maximum number of attempts."""
    wait: float = attrs.field(default=0.5, converter=seconds, validator=not_negative)
    """Seconds before the second attempt, doubled for each further one."""
    longest_wait: float = attrs.field(default=10, converter=seconds, validator=not_negative)
    """Maximum wait in seconds, unless the server sends ``Retry-After``."""
    deadline: float | None = attrs.field(default=None, converter=optional_seconds, validator=optional(positive))
    """Seconds for all attempts together; ``None`` means 120, or the timeout of one attempt if that is longer."""


def _ca(value: SSLContext | str | Path | None) -> SSLContext | None:
    """Convert the path of a CA bundle to an SSL context."""
    if not isinstance(value, str | Path):
        return value
    try:
        return create_default_context(cafile=value)
    except OSError as error:
        raise ValueError(f"ssl: cannot read a CA bundle at {str(value)!r}: {error}") from None


def _user_agent(_: object, field: "attrs.Attribute[Any]", value: str) -> None:
    instance(str, "text")(_, field, value)
    if not (value.isascii() and value.isprintable()):
        raise ValueError(f"{field.name} must be printable ASCII, not {value!r}")


def _traces(value: Iterable[object]) -> tuple[object, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"trace_configs must be a list of aiohttp.TraceConfig, not {value!r}")
    traces = tuple(value)
    if not all(callable(getattr(trace, "freeze", None)) for trace in traces):
        raise TypeError(f"trace_configs must hold aiohttp.TraceConfig objects, not {traces!r}")
    return traces


@attrs.frozen(kw_only=True)
class Settings:
    """Settings of a client. They are immutable; ``client.with_settings`` returns a client with some of them changed.

    Args:
        timeouts: Timeouts of one attempt. They take precedence over those of an endpoint.
        retries: Number and timing of attempts.
        concurrency: Maximum number of requests in flight. Others wait before their timeouts start.
        rate: Maximum number of requests started per second, such as ``20`` or ``0.5``; ``None`` means no limit.
        reconcile_window: Seconds, as a number or ``timedelta``, for which a purchase in doubt is looked up. It should
            exceed the time after which the server shows an order.
        look_first: Look up a reference that the caller passes before anything is sent. An order that exists is returned
            instead of being made again. ``False`` saves a request per purchase; a repeated call is then sent again,
            unless the same client made the purchase before.
        check_packages: Check that packages exist before they are bought. Turn it off for packages that no catalogue
            lists.
        max_response_size: Maximum size of a response in bytes, counted after decompression. Reading stops there, and
            ``ResponseTooLargeError`` is raised; a purchase is then looked up.
        on_doubt: What to do if it is not known whether a purchase was booked. ``"raise"`` raises
            ``PurchaseInDoubtError``. ``"look_up"`` looks it up for ``reconcile_window`` seconds, and then raises it if
            the order is not found. ``"look_up_then_resend"`` sends it again in that case, which is safe only if
            ``reconcile_window`` exceeds the time after which the server shows an order.
        proxy: URL of an HTTP proxy, such as ``http://127.0.0.1:3128``. It may contain a password, with special
            characters percent-encoded, and is not part of the ``repr``.
        ssl: An ``ssl.SSLContext``, or the path of a CA bundle, with which the server's certificate is verified.
        trust_env: Use the proxy of the environment variables ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY``.
        allow_http: Allow plain HTTP to other hosts than this machine, which exposes the token.
        trace_configs: ``aiohttp.TraceConfig`` objects.
        user_agent: Value of the ``User-Agent`` header; by default the name and version of this library.

    For example, ``Settings(concurrency=8, rate=20, timeouts=Timeouts(connect=5))``.
    """

    timeouts: Timeouts = attrs.field(factory=Timeouts, validator=instance(Timeouts, "Timeouts"))
    """Timeouts of one attempt. They take precedence over those of an endpoint."""
    retries: Retries = attrs.field(factory=Retries, validator=instance(Retries, "Retries"))
    """Number and timing of attempts."""
    concurrency: int = attrs.field(default=16, validator=whole_number)
    """Maximum number of requests in flight. Others wait before their timeouts start."""
    rate: float | None = attrs.field(default=None, validator=optional(rate))
    """Maximum number of requests started per second; ``None`` means no limit."""
    reconcile_window: float = attrs.field(default=30, converter=seconds, validator=not_negative)
    """Seconds for which a purchase in doubt is looked up."""
    look_first: bool = attrs.field(default=True, validator=flag)
    """Whether a reference that the caller passes is looked up before anything is sent."""
    check_packages: bool = attrs.field(default=True, validator=flag)
    """Whether packages are checked before they are bought."""
    max_response_size: int = attrs.field(default=MAX_RESPONSE_SIZE, validator=whole_number)
    """Maximum size of a response in bytes, counted after decompression."""
    on_doubt: OnDoubt = attrs.field(default="look_up", validator=one_of(*get_args(OnDoubt)))
    """What to do about a purchase in doubt: raise, look it up, or look it up and send it again if it is not found."""
    proxy: str | None = attrs.field(default=None, repr=False, validator=optional(proxy))
    """URL of an HTTP proxy."""
    ssl: SSLContext | None = attrs.field(
        default=None, converter=_ca, validator=optional(instance(SSLContext, "an SSLContext or a path"))
    )
    """Context with which the server's certificate is verified."""
    trust_env: bool = attrs.field(default=False, validator=flag)
    """Whether the proxy of the environment is used."""
    allow_http: bool = attrs.field(default=False, validator=flag)
    """Whether plain HTTP to other hosts than this machine is allowed."""
    trace_configs: tuple[object, ...] = attrs.field(default=(), converter=_traces)
    """``aiohttp.TraceConfig`` objects."""
    user_agent: str | None = attrs.field(default=None, validator=optional(_user_agent))
    """Value of the ``User-Agent`` header."""

    def changed(self, **changes: Any) -> "Settings":
        """Return a copy with some settings changed. Raises ``TypeError`` for an unknown name."""
        return attrs.evolve(self, **changes)
