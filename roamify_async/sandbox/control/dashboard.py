"""The dashboard at `/`: the state of the sandbox for people; it is read-only and needs no script."""

import time
from base64 import b64encode
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from roamify_async.sandbox.context import Context
from roamify_async.sandbox.data.currencies import to_decimal
from roamify_async.sandbox.data.encoding import Json
from roamify_async.sandbox.data.insurance import COVERS
from roamify_async.sandbox.data.plans import UNLIMITED
from roamify_async.sandbox.delivery import Delivery
from roamify_async.sandbox.http.responses import Response
from roamify_async.sandbox.state.records import Esim, Order
from roamify_async.sandbox.state.request_log import IN_PROGRESS, LoggedRequest

if TYPE_CHECKING:
    import jinja2

_FOLDER: Final = Path(__file__).parent
_ROWS: Final = 20
_REFRESH_INTERVAL: Final = 3  # seconds
_KINDS: Final = {"INSTALLED": "good", "EXPIRED": "bad", "REVOKED": "bad", "acknowledged": "good", "given up": "bad"}
_NO_JINJA: Final = (
    "The dashboard requires Jinja2: pip install 'roamify-async[sandbox]'\n"
    "Everything else works without it; GET /_sandbox/state returns the state as JSON.\n"
)
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

T = TypeVar("T")


def dashboard(context: Context, *, paused: bool) -> Response:
    """Return the page; a paused page does not refresh itself."""
    try:
        template = _template()
    except ImportError:
        return Response(200, _NO_JINJA, "text/plain; charset=utf-8", _HEADERS)
    with context.lock:
        page = template.render(_page(context), paused=paused, interval=_REFRESH_INTERVAL)
    style = b64encode(sha256(_style().encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Response(200, page, "text/html; charset=utf-8", {"Content-Security-Policy": policy, **_HEADERS})


@cache
def _style() -> str:
    return (_FOLDER / "dashboard.css").read_text("utf-8")


@cache
def _template() -> "jinja2.Template":
    """Return the compiled template; raises ImportError if Jinja2 is not installed."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Markup(_style())  # noqa: S704 - a file of this package
    return environment.get_template("dashboard.html", globals={"style": style})


def _page(context: Context) -> Json:
    ahead = int(context.store.ahead)
    webhooks = [_delivery(delivery) for delivery in _latest(context.webhooks.recent())]
    return {
        "latest": f"the latest {_ROWS}",
        "figures": {
            "Balance": f"${to_decimal(context.store.balance())}",
            "Requests": str(sum(context.requests.counts.values())),
            "Time (UTC)": _utc(context.now()),
            **({"Ahead by": _duration(ahead)} if ahead else {}),
        },
        "orders": _orders(context),
        "esims": [_esim(context, esim) for esim in islice(context.store.esims(hidden=True), _ROWS)],
        "requests": [_request(request) for request in _latest(context.requests.recent)],
        "faulty": [_request(request) for request in _latest(context.requests.faulty)],
        "webhooks": webhooks if context.webhooks.url or webhooks else None,
        "receiver": f"to {context.webhooks.url}" if context.webhooks.url else "stopped",
    }


def _orders(context: Context) -> list[Json]:
    both = [
        o for insurance in (False, True) for o in context.store.orders(insurance=insurance, limit=_ROWS, hidden=True)
    ]
    latest = sorted(both, key=lambda order: order.created_at, reverse=True)[:_ROWS]
    return [_order(context, order) for order in latest]


def _order(context: Context, order: Order) -> Json:
    packages = [item.package_id for item in order.items]
    names = [f"{packages.count(id)} x {_package_name(context, id)}" for id in dict.fromkeys(packages)]
    return {
        "at": _utc(order.created_at),
        "total": f"${to_decimal(order.total)}",
        "goods": ", ".join(names) + ("" if order.kind == "order" else f" ({order.kind})"),
        "reference": order.reference_id,
    }


def _package_name(context: Context, package_id: str) -> str:
    cover = COVERS.get(package_id)
    return cover.name if cover else context.catalogue.packages[package_id].plan.name


def _esim(context: Context, esim: Esim) -> Json:
    package = context.catalogue.packages[esim.package_id]
    allowed = sum(package.plan.megabytes for package in context.packages_of(esim, hidden=True))
    return {
        "status": esim.status,
        "kind": _KINDS.get(esim.status, ""),
        "iccid": esim.iccid,
        "package": f"{package.destination.place.name}, {package.plan.name}",
        "used": sum(day.megabytes for day in context.store.usages(esim.id)),
        "allowed": allowed if allowed < UNLIMITED else None,
    }


def _request(request: LoggedRequest) -> Json:
    status = str(request.status)
    return {
        "at": _utc(request.at),
        "line": f"{request.method} {request.path}",
        "status": status,
        "kind": "good" if status < "400" else "" if status == IN_PROGRESS else "bad",
        "fault": request.fault,
    }


def _delivery(delivery: Delivery) -> Json:
    return {
        "event": f"{delivery.id} {delivery.event}",
        "state": delivery.state,
        "kind": _KINDS.get(delivery.state, ""),
        "tries": str(delivery.tries),
        "status": str(delivery.status or "no response"),
    }


def _latest(entries: Iterable[T]) -> list[T]:
    return [*entries][: -_ROWS - 1 : -1]


def _utc(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))


def _duration(seconds: int) -> str:
    days, rest = divmod(seconds, 86_400)
    hours = f"{rest // 3_600}:{rest % 3_600 // 60:02} h" if rest else ""
    return f"{f'{days} d' if days else ''} {hours}".strip()
