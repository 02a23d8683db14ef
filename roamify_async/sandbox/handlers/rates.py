"""The endpoints of exchange rates; undocumented: their answers, so these follow what other rate services answer."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zlib import crc32

from roamify_async.sandbox.context import Call, World
from roamify_async.sandbox.data.currencies import CURRENCIES
from roamify_async.sandbox.data.packages import Json
from roamify_async.sandbox.http.responses import Answer, bare, invalid, refused, success
from roamify_async.sandbox.http.validation import Shape, enum, moment, text

_NOTHING = Shape({})
_RATES = Shape(
    {
        "source": text,
        "target": text,
        "datetime": moment,
        "from": moment,
        "to": moment,
        "interval": enum("day", "hour", "minute"),
    }
)
_STEPS: Final = {"day": timedelta(days=1), "hour": timedelta(hours=1), "minute": timedelta(minutes=1)}
_MOST: Final = 20_000
_BASE: Final = "USD"


def currencies(world: World, call: Call) -> Answer:
    """List the currencies there are rates for."""
    _NOTHING.read(call.query)
    return _answer(world, [{"code": code, "name": name} for code, (name, _) in CURRENCIES.items()])


def rates(world: World, call: Call) -> Answer:
    """Tell rates now, at one moment, or through a time; undocumented: no source is the dollar, no target every one."""
    query = _RATES.read(call.query)
    _check(world, query)
    sources = [query.get("source", _BASE)]
    targets = [query["target"]] if "target" in query else list(CURRENCIES)
    moments = _moments(world, query, len(targets))
    return _answer(world, [_rate(source, target, at) for at in moments for source in sources for target in targets])


def _check(world: World, query: dict[str, Any]) -> None:
    for name in ("source", "target"):
        if name not in query and world.options.rates_need_pair:
            raise invalid(f'"{name}" is required')
        if query.get(name, _BASE) not in CURRENCIES:
            raise refused(400, f"Unknown {name} currency")
    history = [name for name in ("from", "to", "interval") if name in query]
    if "datetime" in query and history:
        raise invalid(f'"datetime" conflict with forbidden peer "{history[0]}"')
    if history and len(history) < 3:  # noqa: PLR2004 - a history has these three
        raise invalid('"value" contains [from, to, interval] without all of its required peers')


def _moments(world: World, query: dict[str, Any], pairs: int) -> list[datetime]:
    if "from" not in query:
        return [query.get("datetime") or datetime.fromtimestamp(int(world.now()), UTC)]
    start, end, step = query["from"], query["to"], _STEPS[query["interval"]]
    if end < start:
        raise invalid('"to" must be greater than or equal to "ref:from"')
    steps = (end - start) // step
    if (steps + 1) * pairs > _MOST:
        raise refused(400, f"There would be more than {_MOST} rates, please ask for fewer")
    return [start + step * position for position in range(steps + 1)]


def _rate(source: str, target: str, at: datetime) -> Json:
    rate = _bought(target, at) / _bought(source, at)
    return {
        "rate": float(f"{rate:.6g}"),
        "source": source,
        "target": target,
        "time": at.isoformat().replace("+00:00", "Z"),
    }


def _bought(code: str, at: datetime) -> float:
    """Tell how much a dollar buys of a currency: about its average, up and down by a hundredth each month."""
    if code == _BASE:
        return 1.0
    days = (at - datetime(2020, 1, 1, tzinfo=UTC)) / timedelta(days=1)
    return CURRENCIES[code][1] * (1 + math.sin(days / 5 + crc32(code.encode())) / 100)


def _answer(world: World, found: list[Json]) -> Answer:
    return success(found) if world.options.rates_envelope else bare(found)
