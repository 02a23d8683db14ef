"""Which handler serves which endpoint, and how a request is dispatched."""

import json
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, Final

from attrs import evolve

from .context import Context, Handler, Request
from .faults.rules import FaultRule
from .handlers import (
    account,
    affiliates,
    countries,
    devices,
    esims,
    insurance,
    messaging,
    orders,
    packages,
    rates,
    refunds,
    service,
    topups,
    vouchers,
)
from .http.errors import INSUFFICIENT_BALANCE, ApiError, failed, unknown_route
from .http.responses import Response, success
from .http.validation import validating
from .notifications import balance_alerts
from .state.request_log import METHODS
from .state.store import InsufficientBalanceError
from .validators import nearest

ROUTES: Final[dict[tuple[str, str], Handler]] = {
    ("GET", "/api/health"): service.health,
    ("GET", "/api/balance"): account.balance,
    ("GET", "/api/compatible-devices"): devices.list_all,
    ("GET", "/api/esim/countries"): countries.list_all,
    ("GET", "/api/esim/packages"): packages.page,
    ("POST", "/api/esim/order"): orders.create,
    ("POST", "/api/esim/order/instant"): orders.create_instant,
    ("POST", "/api/esim/order/topup"): topups.create,
    ("GET", "/api/esim/order"): orders.get,
    ("GET", "/api/esim/orders"): orders.list_all,
    ("POST", "/api/esim/apply"): esims.apply,
    ("GET", "/api/esim"): esims.get,
    ("GET", "/api/esims"): esims.list_all,
    ("GET", "/api/esim/usage"): esims.usage,
    ("GET", "/api/esim/usage/details"): esims.usage_details,
    ("GET", "/api/esim/history"): esims.history,
    ("GET", "/api/esim/event"): esims.event,
    ("GET", "/api/esim/events"): esims.events,
    ("POST", "/api/esim/sms"): messaging.send_sms,
    ("POST", "/api/esim/link"): messaging.link,
    ("GET", "/api/esim/topup/packages"): topups.packages,
    ("GET", "/api/esim/{uniqueName}/packages"): affiliates.packages,
    ("POST", "/api/esim/vouchers"): vouchers.create,
    ("GET", "/api/esim/vouchers"): vouchers.list_all,
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
    ("GET", "/api/insurance/orders"): insurance.list_all,
    ("POST", "/api/insurance/apply"): insurance.apply,
    ("GET", "/api/insurance/policy"): insurance.policy,
    ("GET", "/api/insurance/policies"): insurance.policies,
}
"""Every endpoint, by method and path; names in braces are path parameters."""

PUBLIC: Final = frozenset({"/api/health"})
"""The paths that require no token."""

_PATTERNS: Final = {
    (method, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))): handler
    for (method, path), handler in ROUTES.items()
    if "{" in path
}
_LITERAL: Final = frozenset(path for _, path in ROUTES if "{" not in path)
_TEMPLATES: Final = {
    path: re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path), re.IGNORECASE) for _, path in ROUTES if "{" in path
}


def canonical_path(path: str) -> str:
    """Return the path of the endpoint that Express takes this one for: in any case, and with a slash at the end."""
    plain = path.removesuffix("/")
    if plain.lower() in _LITERAL:
        return plain.lower()
    for template, pattern in _TEMPLATES.items():
        if found := pattern.fullmatch(plain):
            return template.format_map(found.groupdict())
    return path


def serve(context: Context, method: str, path: str, request: Request) -> Response:
    """Return the response to one request; requests are served one at a time."""
    modifiers = request.modifiers
    with exclusive(context):
        if modifiers.delayed_by:
            context.store.delay(json.dumps([method, path, request.query, request.body]), modifiers.delayed_by)
            return success({})
        with context.dry_run() if modifiers.dry_run else nullcontext(), context.store.lagging(modifiers.lag):
            return _dispatch(context, method, path, request)


def find_handler(method: str, path: str) -> tuple[Handler, dict[str, object]]:
    """Return the handler of an endpoint and the path parameters; a literal path takes precedence over a pattern.

    Raises the 404 for an unknown endpoint.
    """
    handler = ROUTES.get((method, path))
    if handler and "{" not in path:
        return handler, {}
    for (served, pattern), handler in _PATTERNS.items():
        if served == method and (found := pattern.fullmatch(path)):
            return handler, {**found.groupdict()}
    raise unknown_route(method, path)


def check_fault(given: Mapping[str, Any]) -> None:
    """Raise ValueError for a fault that could never strike, or has a value that is not allowed."""
    rule = FaultRule.from_json(given)
    check_endpoint(rule.method, rule.path)


def check_endpoint(method: str, path: str) -> None:
    """Raise ValueError, with the most similar endpoint, unless the API has this one; `*` is any."""
    if path == "*" or any(_is_served(served, path) for served in (METHODS if method == "*" else (method.upper(),))):
        return
    if "{" in path:
        raise ValueError(f"path must have a value in place of each name in braces: {path!r}")
    name = path if method == "*" else f"{method} {path}"
    known = [path if method == "*" else f"{served} {path}" for served, path in ROUTES]
    raise ValueError(f"the API has no endpoint {name!r}{nearest(name, known)}")


def _is_served(method: str, path: str) -> bool:
    if "{" in path:
        return False
    return (method, path) in ROUTES or any(
        served == method and pattern.fullmatch(path) is not None for served, pattern in _PATTERNS
    )


@contextmanager
def exclusive(context: Context) -> Generator[None, None, None]:
    """Hold the lock of the sandbox; delayed requests that are due are carried out first."""
    with context.lock:
        carry_out_due(context)
        yield


def carry_out_due(context: Context) -> None:
    """Carry out the delayed requests that are due."""
    while delayed := context.store.due():
        with context.store.carry_out(delayed):
            method, path, query, body = json.loads(delayed.request)
            _dispatch(context, method, path, Request(query, body))


def _dispatch(context: Context, method: str, path: str, request: Request) -> Response:
    try:
        handler, parameters = find_handler(method, path)
        with validating(strict=context.options.strict), balance_alerts(context):
            return handler(context, evolve(request, path=parameters))
    except InsufficientBalanceError:
        return failed(409, INSUFFICIENT_BALANCE)
    except ApiError as raised:
        return raised.response
