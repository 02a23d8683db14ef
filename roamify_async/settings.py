"""Every default that is not a fact of one endpoint, on one screen."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from ssl import SSLContext, create_default_context
from typing import Any, Final, Literal, get_args

import attrs

PRODUCTION: Final = "https://api.getroamify.com"
"""Where real money is spent."""
DEVELOPMENT: Final = "https://api-dev.getroamify.com"
"""Roamify's own test environment."""

MOST_A_SECOND: Final = 1_000_000
"""The highest rate; beyond it a limit is none."""
Seconds = float | timedelta
"""A time: seconds as a number, or a ``timedelta``."""
OnDoubt = Literal["raise", "look_up", "look_up_then_resend"]
"""What is done about a purchase of which it is not known whether it was booked."""


def seconds(value: Seconds) -> float:
    """Give a time in seconds; what is none is left to the validator, which knows the field's name."""
    return value.total_seconds() if isinstance(value, timedelta) else value


def _seconds_or_none(value: Seconds | None) -> float | None:
    return None if value is None else seconds(value)


def _number(field: "attrs.Attribute[Any]", value: object) -> float:
    timed = field.name != "rate"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{field.name} must be a number{' of seconds, or a timedelta' * timed}, not {value!r}")
    return value


def positive(_: object, field: "attrs.Attribute[Any]", value: float | None) -> None:
    """Refuse what is no number above 0, but let ``None`` pass."""
    if value is not None and not _number(field, value) > 0:
        raise ValueError(f"{field.name} must be more than 0, not {value!r}")


def _rate(instance: object, field: "attrs.Attribute[Any]", value: float | None) -> None:
    positive(instance, field, value)
    if value is not None and value > MOST_A_SECOND:
        raise ValueError(f"{field.name} must be at most {MOST_A_SECOND:,} a second, not {value!r}; None is no limit")


def _not_negative(_: object, field: "attrs.Attribute[Any]", value: float) -> None:
    if not _number(field, value) >= 0:
        raise ValueError(f"{field.name} must not be negative, as {value!r} is")


def _kind(kind: type, what: str) -> Callable[[Any, "attrs.Attribute[Any]", Any], None]:
    """Make a validator: a value of this kind, or ``None`` where that is the default. It does not show the value."""

    def check(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
        if not isinstance(value, kind) and not (value is None and field.default is None):
            raise TypeError(f"{field.name} must be {what}, not of type {type(value).__name__}")

    return check


def whole(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    """Refuse what is no whole number from 1 up."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{field.name} must be a whole number, not {value!r}")
    if value < 1:
        raise ValueError(f"{field.name} must be at least 1, not {value!r}")


@attrs.frozen(kw_only=True)
class Timeouts:
    """How long one try may take, in seconds; what is ``None`` is left to the endpoint or the default.

    ``float("inf")`` waits for ever.
    """

    connect: float | None = attrs.field(default=None, converter=_seconds_or_none, validator=positive)
    """To make a connection; 10 s by default."""
    read: float | None = attrs.field(default=None, converter=_seconds_or_none, validator=positive)
    """Between two pieces of the answer; no limit of its own by default."""
    total: float | None = attrs.field(default=None, converter=_seconds_or_none, validator=positive)
    """For the whole try, from the moment it leaves the queue; 30 s by default, more for slow endpoints."""

    def over(self, fallback: "Timeouts") -> "Timeouts":
        """Give these limits, and those of *fallback* where these are open."""
        return Timeouts(
            connect=fallback.connect if self.connect is None else self.connect,
            read=fallback.read if self.read is None else self.read,
            total=fallback.total if self.total is None else self.total,
        )


DEFAULT_TIMEOUTS: Final = Timeouts(connect=10, total=30)
"""What holds where neither the caller nor the endpoint says otherwise."""


@attrs.frozen(kw_only=True)
class Retries:
    """How often and for how long a call is tried. What may be tried again at all is the endpoint's business."""

    tries: int = attrs.field(default=5, validator=whole)
    """How often a request is sent at the most; 1 never sends again."""
    wait: float = attrs.field(default=0.5, converter=seconds, validator=_not_negative)
    """Seconds before the second try; doubled for each further one, then cut by up to a half at random."""
    longest_wait: float = attrs.field(default=10, converter=seconds, validator=_not_negative)
    """The longest such wait in seconds. A server's own ``Retry-After`` is honoured beyond it."""
    deadline: float | None = attrs.field(default=None, converter=_seconds_or_none, validator=positive)
    """Seconds that all tries may take together, waits included; by default 120, or one whole try if that is longer.

    Waiting for a free place in the queue before the first try does not count.
    """


def _ca(value: SSLContext | str | Path | None) -> SSLContext | None:
    """Make a context of the path of a CA bundle."""
    if not isinstance(value, str | Path):
        return value
    try:
        return create_default_context(cafile=value)
    except OSError as error:
        raise ValueError(f"ssl: no CA bundle can be read at {str(value)!r}: {error}") from None


def _policy(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    if value not in get_args(OnDoubt):
        raise ValueError(f"{field.name} must be one of {', '.join(get_args(OnDoubt))}, not {value!r}")


def _printable(_: object, field: "attrs.Attribute[Any]", value: str | None) -> None:
    if value is not None and not (value.isascii() and value.isprintable()):
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
    """How a client behaves; times are seconds, as numbers or ``timedelta``."""

    timeouts: Timeouts = attrs.field(factory=Timeouts, validator=_kind(Timeouts, "Timeouts"))
    """Limits for one try; they beat an endpoint's own, which beat the default."""
    retries: Retries = attrs.field(factory=Retries, validator=_kind(Retries, "Retries"))
    """How often a call is tried."""
    concurrency: int = attrs.field(default=16, validator=whole)
    """Requests in flight at once; more wait in the client's queue, before their clock starts."""
    rate: float | None = attrs.field(default=None, validator=_rate)
    """Requests a second at the most; ``None``: as many as come."""
    settle_window: float = attrs.field(default=30, converter=seconds, validator=_not_negative)
    """Seconds for which a purchase in doubt is looked for."""
    on_doubt: OnDoubt = attrs.field(default="look_up", validator=_policy)
    """What is done about a purchase in doubt."""
    proxy: str | None = attrs.field(default=None, repr=False, validator=_kind(str, "text"))
    """URL of an HTTP proxy; it may hold a password, so it is not shown."""
    ssl: SSLContext | None = attrs.field(
        default=None, converter=_ca, validator=_kind(SSLContext, "an SSLContext or a path")
    )
    """A context, or the path of a CA bundle, that the server's certificate is checked against."""
    trust_env: bool = attrs.field(default=False, validator=_kind(bool, "True or False"))
    """Take the proxy from ``HTTPS_PROXY`` and its kin."""
    allow_http: bool = attrs.field(default=False, validator=_kind(bool, "True or False"))
    """Let the token travel in clear text to hosts other than this machine."""
    trace_configs: tuple[object, ...] = attrs.field(default=(), converter=_traces)
    """``aiohttp.TraceConfig`` objects."""
    user_agent: str | None = attrs.field(default=None, validator=[_kind(str, "text"), _printable])
    """What the client calls itself; by default its own name and version."""

    def changed(self, **changes: Any) -> "Settings":
        """Give these settings with some changed; a name that is none is a ``TypeError``."""
        return attrs.evolve(self, **changes)
