"""Which handler serves which endpoint."""

from typing import Final

from . import esims, orders, reading
from .answers import Answer, Refusal, refused
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
    handler = ROUTES.get((method, path))
    try:
        if handler is None:
            raise refused(404, f"Cannot {method} {path}")
        with world.lock:
            return handler(world, call)
    except Refusal as refusal:
        return refusal.answer
