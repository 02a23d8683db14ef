"""The endpoints of exchange rates; undocumented: their responses, which follow those of similar services."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zlib import crc32

from roamify_async.sandbox.context import Context, Request
from roamify_async.sandbox.data.currencies import CURRENCIES
from roamify_async.sandbox.data.encoding import Json
from roamify_async.sandbox.http.errors import error, invalid
from roamify_async.sandbox.http.responses import Response, bare, success
from roamify_async.sandbox.http.validation import EMPTY, Schema, enum, iso_datetime, text

_RATES = Schema(
    {
        "source": text,
        "target": text,
        "datetime": iso_datetime,
        "from": iso_datetime,
        "to": iso_datetime,
        "interval": enum("day", "hour", "minute"),
    }
)
_STEPS: Final = {"day": timedelta(days=1), "hour": timedelta(hours=1), "minute": timedelta(minutes=1)}
_MOST_RATES: Final = 20_000
_BASE: Final = "USD"


def currencies(context: Context, request: Request) -> Response:
    """Return the currencies that have rates."""
    EMPTY.parse(request.query)
    return _respond(context, [{"code": code, "name": name} for code, (name, _) in CURRENCIES.items()])


def rates(context: Context, request: Request) -> Response:
    """Return rates now, at one time, or over a period.

    Undocumented: the source is USD by default, and without a target all currencies are returned.
    """
    query = _RATES.parse(request.query)
    _check(context, query)
    sources = [query.get("source", _BASE)]
    targets = [query["target"]] if "target" in query else list(CURRENCIES)
    moments = _moments(context, query, len(targets))
    return _respond(context, [_rate(source, target, at) for at in moments for source in sources for target in targets])


def _check(context: Context, query: dict[str, Any]) -> None:
    for name in ("source", "target"):
        if name not in query and context.options.rates_need_pair:
            raise invalid(f'"{name}" is required')
        if query.get(name, _BASE) not in CURRENCIES:
            raise error(400, f"Unknown {name} currency")
    history = [name for name in ("from", "to", "interval") if name in query]
    if "datetime" in query and history:
        raise invalid(f'"datetime" conflict with forbidden peer "{history[0]}"')
    if history and len(history) < 3:  # noqa: PLR2004 - a history has these three
        raise invalid('"value" contains [from, to, interval] without all of its required peers')


def _moments(context: Context, query: dict[str, Any], pairs: int) -> list[datetime]:
    if "from" not in query:
        return [query.get("datetime") or datetime.fromtimestamp(int(context.now()), UTC)]
    start, end, step = query["from"], query["to"], _STEPS[query["interval"]]
    if end < start:
        raise invalid('"to" must be greater than or equal to "ref:from"')
    steps = (end - start) // step
    if (steps + 1) * pairs > _MOST_RATES:
        raise error(400, f"There would be more than {_MOST_RATES} rates, please ask for fewer")
    return [start + step * position for position in range(steps + 1)]


def _rate(source: str, target: str, at: datetime) -> Json:
    rate = _per_dollar(target, at) / _per_dollar(source, at)
    return {
        "rate": float(f"{rate:.6g}"),
        "source": source,
        "target": target,
        "time": at.isoformat().replace("+00:00", "Z"),
    }


def _per_dollar(code: str, at: datetime) -> float:
    """Return the units of a currency that a dollar buys: the average, varying by one percent over a month."""
    if code == _BASE:
        return 1.0
    days = (at - datetime(2020, 1, 1, tzinfo=UTC)) / timedelta(days=1)
    return CURRENCIES[code][1] * (1 + math.sin(days / 5 + crc32(code.encode())) / 100)


def _respond(context: Context, found: list[Json]) -> Response:
    return success(found) if context.options.rates_envelope else bare(found)
