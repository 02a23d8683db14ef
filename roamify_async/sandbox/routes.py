"""Which handler serves which endpoint."""

import json
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from typing import Final

from . import esims, orders, reading
from .answers import Answer, Refusal, failed, refused, success
from .funds import watched
from .store import TooPoorError
from .world import Call, Handler, World

ROUTES: Final[dict[tuple[str, str], Handler]] = {
    ("GET", "/api/health"): reading.health,
    ("GET", "/api/balance"): reading.balance,
    ("GET", "/api/compatible-devices"): reading.devices,
    ("GET", "/api/esim/countries"): reading.countries,
    ("GET", "/api/esim/packages"): reading.packages,
    ("POST", "/api/esim/order"): orders.create,
    ("POST", "/api/esim/order/instant"): orders.create_instant,
    ("POST", "/api/esim/order/topup"): orders.top_up,
    ("GET", "/api/esim/order"): orders.get,
    ("GET", "/api/esim/orders"): orders.get_all,
    ("POST", "/api/esim/apply"): esims.apply,
    ("GET", "/api/esim"): esims.get,
    ("GET", "/api/esims"): esims.get_all,
    ("GET", "/api/esim/usage"): esims.usage,
    ("GET", "/api/esim/usage/details"): esims.usage_details,
    ("GET", "/api/esim/history"): esims.history,
    ("GET", "/api/esim/event"): esims.event,
    ("GET", "/api/esim/topup/packages"): esims.top_up_packages,
}
"""Every endpoint of the sandbox, by method and path."""

PUBLIC: Final = frozenset({"/api/health"})
"""The paths that need no token."""


def serve(world: World, method: str, path: str, call: Call) -> Answer:
    """Answer one request of the API, whole: nothing else happens meanwhile."""
    fate = call.fate
    with turn(world):
        if fate.late_by:
            world.store.postpone(json.dumps([method, path, call.query, call.body]), fate.late_by)
            return success({})
        with world.store.rehearsal() if fate.rehearsed else nullcontext():
            return _answer(world, method, path, call)


@contextmanager
def turn(world: World) -> Generator[None, None, None]:
    """Hold the world; what was to be done late and has come due is done before the block."""
    with world.lock:
        catch_up(world)
        yield


def catch_up(world: World) -> None:
    """Do what was to be done late and has come due."""
    while late := world.store.due():
        with world.store.doing(late):
            method, path, query, body = json.loads(late.request)
            _answer(world, method, path, Call(query, body))


def _answer(world: World, method: str, path: str, call: Call) -> Answer:
    handler = ROUTES.get((method, path))
    try:
        if handler is None:
            raise refused(404, f"Cannot {method} {path}")
        with nullcontext() if call.fate.rehearsed else watched(world):
            return handler(world, call)
    except TooPoorError:
        return failed(409, "Insufficient partner balance, please make sure your have enough balance and try again")
    except Refusal as refusal:
        return refusal.answer
