"""The control plane: what a test asks the sandbox itself, beside the API."""

import json
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, Final, cast

from . import refunds, vouchers
from .answers import Answer, Refusal, bare, failed
from .catalogue import Wanted
from .packages import Json
from .records import Esim
from .routes import turn
from .state import state
from .store import STATUSES
from .world import World

PREFIX: Final = "/_sandbox/"

_MOST_DATA: Final = 10**12


def control(world: World, method: str, path: str, peer: str | None, body: bytes) -> Answer:
    """Serve one request of the control plane; ValueError of a handler becomes its 400."""
    if not _near(peer):
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
    _only(given, "esimId", "iccid", "status", "usedData")
    esim = _found(world, given)
    megabytes = given.get("usedData", 0)
    if isinstance(megabytes, bool) or not isinstance(megabytes, int) or not 0 <= megabytes < _MOST_DATA:
        raise ValueError(f"usedData must be whole megabytes, 0 or more, not {megabytes!r}")
    # An eSIM that uses data sits in a phone.
    status = given.get("status", "INSTALLED" if megabytes and esim.status == "READY" else esim.status)
    if status not in STATUSES:
        raise ValueError(f"status must be one of {', '.join(STATUSES)}, not {status!r}")
    world.store.move(esim, status, megabytes)
    return next(shown for shown in state(world)["esims"] if shown["id"] == esim.id)


def _sell(world: World, given: Json) -> Json:
    _only(given, "remove", "add", "reprice")
    prices: object = given.get("reprice", {})
    if not isinstance(prices, dict):
        raise ValueError(f"reprice must be prices by packageId, not {prices!r}")  # noqa: TRY004 - becomes a 400
    reprice = cast("dict[str, Any]", prices)
    world.change_catalogue(_texts(given, "remove"), _texts(given, "add"), reprice)
    return {"packages": len(world.catalogue.select(Wanted()).packages)}


def _redeem(world: World, given: Json) -> Json:
    _only(given, "code")
    return vouchers.redeem(world, vouchers.by_code(world, str(given.get("code"))))


def _texts(given: Json, name: str) -> list[str]:
    texts: object = given.get(name, [])
    if isinstance(texts, list) and all(isinstance(text, str) for text in cast("list[object]", texts)):
        return cast("list[str]", texts)
    raise ValueError(f"{name} must be a list of packageIds, not {texts!r}")


def _only(given: Json, *allowed: str) -> None:
    unknown = given.keys() - set(allowed)
    if unknown:
        raise ValueError(f"unknown {', '.join(sorted(map(repr, unknown)))}: give {', '.join(allowed)}")


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


def _near(peer: str | None) -> bool:
    try:
        return peer is not None and ip_address(peer).is_loopback
    except ValueError:
        return False


_ROUTES: Final[dict[tuple[str, str], Callable[[World, Json], Any]]] = {
    ("GET", "state"): _state,
    ("GET", "faults"): _faults,
    ("POST", "faults"): _script,
    ("DELETE", "faults"): _clear,
    ("POST", "reset"): _reset,
    ("POST", "esims"): _move,
    ("POST", "catalogue"): _sell,
    ("POST", "refunds"): refunds.request,
    ("POST", "refunds/decide"): refunds.decide,
    ("POST", "vouchers/redeem"): _redeem,
}
