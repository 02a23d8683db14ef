"""The control plane: what a test asks the sandbox itself, beside the API."""

import json
from collections.abc import Callable
from typing import Any, Final, cast

from roamify_async.sandbox import lifecycle as life
from roamify_async.sandbox.context import World
from roamify_async.sandbox.data.catalogue import Wanted
from roamify_async.sandbox.data.packages import Json
from roamify_async.sandbox.handlers import refunds, vouchers
from roamify_async.sandbox.http.responses import Answer, Refusal, bare, failed
from roamify_async.sandbox.routes import turn
from roamify_async.sandbox.state.records import Esim
from roamify_async.sandbox.state.store import STATUSES

from . import steering
from .given import near, only, texts
from .snapshot import state

PREFIX: Final = "/_sandbox/"

_MOST_DATA: Final = 10**12


def control(world: World, method: str, path: str, peer: str | None, body: bytes) -> Answer:
    """Serve one request of the control plane; ValueError of a handler becomes its 400."""
    if not near(peer):
        return failed(403, "The control plane serves loopback peers only")
    serve = _ROUTES.get((method, path.removeprefix(PREFIX)))
    if serve is None:
        allowed = ", ".join(f"{method} {PREFIX}{name}" for method, name in _ROUTES)
        return failed(404, f"No such control: there are {allowed}")
    try:
        with turn(world):
            return bare(serve(world, _object(body)))
    except Refusal as refusal:
        return refusal.answer
    except (ValueError, RecursionError) as error:
        return failed(400, str(error))


def _state(world: World, _given: Json) -> Json:
    return state(world)


def _script(world: World, given: Json) -> Json:
    world.faults.add(given)
    return _faults(world, given)


def _faults(world: World, _given: Json) -> Json:
    return {"faults": world.faults.pending()}


def _clear(world: World, given: Json) -> Json:
    world.faults.clear()
    return _faults(world, given)


def _reset(world: World, _given: Json) -> Json:
    world.reset()
    return state(world)


def _move(world: World, given: Json) -> Json:
    only(given, "esimId", "iccid", "status", "usedData")
    esim = _found(world, given)
    megabytes = given.get("usedData", 0)
    if isinstance(megabytes, bool) or not isinstance(megabytes, int) or not 0 <= megabytes < _MOST_DATA:
        raise ValueError(f"usedData must be whole megabytes, 0 or more, not {megabytes!r}")
    # An eSIM that uses data sits in a phone.
    status = given.get("status", "INSTALLED" if megabytes and esim.status == "READY" else esim.status)
    if status not in STATUSES:
        raise ValueError(f"status must be one of {', '.join(STATUSES)}, not {status!r}")
    world.webhooks.send(*life.move(world, esim, status, megabytes))
    return next(shown for shown in state(world)["esims"] if shown["id"] == esim.id)


def _sell(world: World, given: Json) -> Json:
    only(given, "remove", "add", "reprice")
    prices: object = given.get("reprice", {})
    if not isinstance(prices, dict):
        raise ValueError(f"reprice must be prices by packageId, not {prices!r}")  # noqa: TRY004 - becomes a 400
    reprice = cast("dict[str, Any]", prices)
    world.change_catalogue(texts(given, "remove"), texts(given, "add"), reprice)
    return {"packages": len(world.catalogue.select(Wanted()).packages)}


def _redeem(world: World, given: Json) -> Json:
    only(given, "code")
    return vouchers.redeem(world, vouchers.by_code(world, str(given.get("code"))))


def _found(world: World, given: Json) -> Esim:
    id, iccid = given.get("esimId"), given.get("iccid")
    if (id is None) == (iccid is None):
        raise ValueError("exactly one of esimId, iccid must be given")
    esim = world.store.esim(id=str(id) if id is not None else None, iccid=str(iccid), hidden=True)
    if esim is None:
        raise ValueError("no such eSIM")
    if not esim.iccid:
        raise ValueError("the eSIM is not applied yet")
    return esim


def _object(body: bytes) -> Json:
    given: object = json.loads(body) if body else {}
    if not isinstance(given, dict):
        raise ValueError("the body must be a JSON object")  # noqa: TRY004 - becomes a 400 like the others
    return cast("Json", given)


_ROUTES: Final[dict[tuple[str, str], Callable[[World, Json], Any]]] = {
    ("GET", "state"): _state,
    ("GET", "faults"): _faults,
    ("POST", "faults"): _script,
    ("DELETE", "faults"): _clear,
    ("POST", "reset"): _reset,
    ("POST", "esims"): _move,
    ("POST", "catalogue"): _sell,
    ("GET", "clock"): steering.clock,
    ("POST", "clock"): steering.move_clock,
    ("POST", "balance"): steering.fund,
    ("GET", "webhooks"): steering.webhooks,
    ("POST", "webhooks"): steering.register,
    ("DELETE", "webhooks"): steering.unregister,
    ("POST", "webhooks/send"): steering.send,
    ("POST", "affiliate"): steering.affiliate,
    ("POST", "refunds"): refunds.request,
    ("POST", "refunds/decide"): refunds.decide,
    ("POST", "vouchers/redeem"): _redeem,
}
