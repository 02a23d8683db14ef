"""Which handler serves which endpoint."""

import json
import re
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from typing import Final

from attrs import evolve

from .balance_alerts import watched
from .context import Call, Handler, World
from .handlers import (
    affiliates as affiliate,
    esims,
    insurance,
    messaging as contacts,
    orders,
    packages as reading,
    policies,
    rates,
    refunds,
    vouchers,
)
from .http.responses import Answer, Refusal, failed, refused, success
from .state.store import TooPoorError

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
    ("GET", "/api/esim/events"): esims.events,
    ("POST", "/api/esim/sms"): contacts.sms,
    ("POST", "/api/esim/link"): contacts.link,
    ("GET", "/api/esim/topup/packages"): esims.top_up_packages,
    ("GET", "/api/esim/{uniqueName}/packages"): affiliate.packages,
    ("POST", "/api/esim/vouchers"): vouchers.create,
    ("GET", "/api/esim/vouchers"): vouchers.get_all,
    ("GET", "/api/esim/voucher/{voucherId}"): vouchers.get,
    ("GET", "/api/esim/voucher/code/{code}"): vouchers.get_by_code,
    ("PUT", "/api/esim/voucher/{voucherId}/revoke"): vouchers.revoke,
    ("GET", "/api/refund"): refunds.get,
    ("GET", "/api/currencies"): rates.currencies,
    ("GET", "/api/rates"): rates.rates,
    ("GET", "/api/insurance/countries"): insurance.countries,
    ("GET", "/api/insurance/packages"): insurance.packages,
    ("GET", "/api/insurance/package"): insurance.package,
    ("POST", "/api/insurance/order"): insurance.create,
    ("GET", "/api/insurance/order"): insurance.get,
    ("GET", "/api/insurance/orders"): insurance.get_all,
    ("POST", "/api/insurance/apply"): policies.apply,
    ("GET", "/api/insurance/policy"): policies.get,
    ("GET", "/api/insurance/policies"): policies.get_all,
}
"""Every endpoint of the sandbox, by method and path; a name in braces stands for one part of a path."""

_FORMS: Final = {
    (method, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))): handler
    for (method, path), handler in ROUTES.items()
    if "{" in path
}

PUBLIC: Final = frozenset({"/api/health"})
"""The paths that need no token."""


def serve(world: World, method: str, path: str, call: Call) -> Answer:
    """Answer one request of the API, whole: nothing else happens meanwhile."""
    fate = call.fate
    with turn(world):
        if fate.late_by:
            world.store.postpone(json.dumps([method, path, call.query, call.body]), fate.late_by)
            return success({})
        with world.rehearsal() if fate.rehearsed else nullcontext():
            return _answer(world, method, path, call)


def route(method: str, path: str) -> tuple[Handler, dict[str, object]]:
    """Find who serves a request, and what its path names; a path without names comes before one with them."""
    handler = ROUTES.get((method, path))
    if handler and "{" not in path:
        return handler, {}
    for (served, form), handler in _FORMS.items():
        if served == method and (found := form.fullmatch(path)):
            return handler, {**found.groupdict()}
    raise refused(404, f"Cannot {method} {path}")


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
    try:
        handler, parts = route(method, path)
        with watched(world):
            return handler(world, evolve(call, path=parts))
    except TooPoorError:
        return failed(409, "Insufficient partner balance, please make sure your have enough balance and try again")
    except Refusal as refusal:
        return refusal.answer
