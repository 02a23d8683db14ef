"""Every default that does not belong to a single endpoint."""

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
    rate,
    seconds,
    whole_number,
)

PRODUCTION: Final = "https://api.getroamify.com"
"""Base URL of the production environment, where orders spend real money."""
DEVELOPMENT: Final = "https://api-dev.getroamify.com"
"""Base URL of Roamify's test environment."""

OnDoubt = Literal["raise", "look_up", "look_up_then_resend"]
"""What to do about a purchase of which it is not known whether it was booked."""


@attrs.frozen(kw_only=True)
class Timeouts:
    """How long one attempt may take, in seconds. ``None`` leaves it to the endpoint, or the default.

    ``float("inf")`` means no limit.
    """

    connect: float | None = attrs.field(default=None, converter=optional_seconds, validator=optional(positive))
    """For connecting; 10 s by default."""
    read: float | None = attrs.field(default=None, converter=optional_seconds, validator=optional(positive))
    """Between two pieces of the response; no limit by default."""
    total: float | None = attrs.field(default=None, converter=optional_seconds, validator=optional(positive))
    """For the whole attempt, once it has left the client's limiter; 30 s by default, more for slow endpoints."""

    def over(self, fallback: "Timeouts") -> "Timeouts":
        """Return these limits, with those of *fallback* for fields that are ``None``."""
        return Timeouts(
            connect=fallback.connect if self.connect is None else self.connect,
            read=fallback.read if self.read is None else self.read,
            total=fallback.total if self.total is None else self.total,
        )


DEFAULT_TIMEOUTS: Final = Timeouts(connect=10, total=30)
"""Limits that apply unless the caller or the endpoint sets others."""


@attrs.frozen(kw_only=True)
class Retries:
    """How often and for how long a call is tried. Whether it may be tried again depends on the endpoint."""

    tries: int = attrs.field(default=5, validator=whole_number)
    """Maximum number of attempts; 1 never sends again."""
    wait: float = attrs.field(default=0.5, converter=seconds, validator=not_negative)
    """Seconds before the second attempt; doubled for each further one, then reduced by up to a half at random."""
    longest_wait: float = attrs.field(default=10, converter=seconds, validator=not_negative)
    """Longest such wait in seconds. A server's ``Retry-After`` may be longer."""
    deadline: float | None = attrs.field(default=None, converter=optional_seconds, validator=optional(positive))
    """Seconds for all attempts together, waits included; by default 120, or one whole attempt if that is longer.

    Time in the client's limiter before the first attempt does not count.
    """


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
    """How a client behaves. Times are seconds, as numbers or ``timedelta``."""

    timeouts: Timeouts = attrs.field(factory=Timeouts, validator=instance(Timeouts, "Timeouts"))
    """Limits of one attempt. They take precedence over an endpoint's own, which take precedence over the defaults."""
    retries: Retries = attrs.field(factory=Retries, validator=instance(Retries, "Retries"))
    """How often a call is tried, and with which waits."""
    concurrency: int = attrs.field(default=16, validator=whole_number)
    """Maximum number of requests in flight. Others wait in the client's limiter, before their clock starts."""
    rate: float | None = attrs.field(default=None, validator=optional(rate))
    """Maximum number of requests started per second; ``None`` means no limit."""
    reconcile_window: float = attrs.field(default=30, converter=seconds, validator=not_negative)
    """Seconds for which a purchase in doubt is looked up."""
    look_first: bool = attrs.field(default=True, validator=flag)
    """Look up a reference of the caller's before anything is sent under it; an order that exists is returned."""
    check_packages: bool = attrs.field(default=True, validator=flag)
    """Check that packages exist before they are bought. Turn it off for packages that no catalogue lists."""
    on_doubt: OnDoubt = attrs.field(default="look_up", validator=one_of(*get_args(OnDoubt)))
    """What to do about a purchase in doubt: raise, look it up, or look it up and send it again if it is absent."""
    proxy: str | None = attrs.field(default=None, repr=False, validator=optional(instance(str, "text")))
    """URL of an HTTP proxy. It may contain a password, and is left out of the ``repr``."""
    ssl: SSLContext | None = attrs.field(
        default=None, converter=_ca, validator=optional(instance(SSLContext, "an SSLContext or a path"))
    )
    """An SSL context, or the path of a CA bundle, to verify the server's certificate with."""
    trust_env: bool = attrs.field(default=False, validator=flag)
    """Take the proxy from the environment: ``HTTPS_PROXY``, ``NO_PROXY`` and so on."""
    allow_http: bool = attrs.field(default=False, validator=flag)
    """Allow plain http to other hosts than this machine, which exposes the token in transit."""
    trace_configs: tuple[object, ...] = attrs.field(default=(), converter=_traces)
    """``aiohttp.TraceConfig`` objects."""
    user_agent: str | None = attrs.field(default=None, validator=optional(_user_agent))
    """The ``User-Agent`` header; by default the library's name and version."""

    def changed(self, **changes: Any) -> "Settings":
        """Return a copy with some settings changed. An unknown name is a ``TypeError``."""
        return attrs.evolve(self, **changes)
