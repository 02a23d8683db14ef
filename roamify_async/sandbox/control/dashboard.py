"""The page at `/`: what a person wants to see of a running sandbox; it changes nothing and needs no script."""

import time
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from html import escape
from itertools import islice
from typing import Final, TypeVar

from roamify_async.sandbox.context import World
from roamify_async.sandbox.data.insurance import COVERS
from roamify_async.sandbox.data.money import decimal
from roamify_async.sandbox.data.plans import UNLIMITED
from roamify_async.sandbox.delivery import Delivery
from roamify_async.sandbox.http.responses import Answer, failed
from roamify_async.sandbox.state.records import Esim, Order
from roamify_async.sandbox.state.visits import UNDER_WAY, Visit

from .given import near
from .style import STYLE

_ROWS: Final = 20
_SHORT: Final = 24  # letters that need no line break
_KINDS: Final = {"INSTALLED": "good", "EXPIRED": "bad", "REVOKED": "bad", "acknowledged": "good", "given up": "bad"}
_EVERY: Final = 3  # seconds from one refresh to the next
_TYPE: Final = "text/html; charset=utf-8"
_STYLE_HASH: Final = b64encode(sha256(STYLE.encode()).digest()).decode()
_HEADERS: Final = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

Kept = TypeVar("Kept")
Cells = tuple[str, ...]  # HTML of one row


def page(world: World, peer: str | None, *, still: bool) -> Answer:
    """Show the sandbox to whoever sits at this machine; a still page does not refresh itself."""
    if not near(peer):
        return failed(403, "The page is for loopback peers only")
    with world.lock:
        return Answer(200, _document(world, still=still), _TYPE, dict(_HEADERS))


def _document(world: World, *, still: bool) -> str:
    refresh = "" if still else f'<meta http-equiv="refresh" content="{_EVERY}">'
    link = '<a href="/">refresh again</a>' if still else '<a href="/?still">hold still</a>'
    state = "This page holds still" if still else f"New every {_EVERY} seconds"
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">{refresh}'
        f"<title>Roamify sandbox</title><style>{STYLE}</style></head><body>"
        f"<header><h1>Roamify sandbox</h1><p>{state}: {link}</p></header>"
        f"<main>{_figures(world)}<div>{_orders(world)}{_esims(world)}</div>"
        f"<div>{_requests(world)}{_faults(world)}{_webhooks(world)}</div></main></body></html>"
    )


def _figures(world: World) -> str:
    ahead = int(world.store.ahead)
    shown = {
        "Balance": f"${decimal(world.store.balance())}",
        "Requests": str(sum(world.arrivals.counts.values())),
        "Time (UTC)": _moment(world.now()),
        **({"Ahead by": _span(ahead)} if ahead else {}),
    }
    return (
        "<dl>" + "".join(f"<div><dt>{name}</dt><dd>{escape(text)}</dd></div>" for name, text in shown.items()) + "</dl>"
    )


def _orders(world: World) -> str:
    both = [order for kind in (False, True) for order in world.store.orders(insurance=kind, limit=_ROWS, hidden=True)]
    newest = sorted(both, key=lambda order: order.created_at, reverse=True)[:_ROWS]
    return _table("Orders", ("When", "Total", "Bought", "Reference"), [_order(world, order) for order in newest])


def _esims(world: World) -> str:
    esims = islice(world.store.esims(hidden=True), _ROWS)
    return _table("eSIMs", ("Status", "ICCID", "Package", "Data"), [_esim(world, esim) for esim in esims])


def _requests(world: World) -> str:
    return _table("Requests", ("When", "Request", "Answer"), [_visit(visit) for visit in _last(world.visits.recent)])


def _faults(world: World) -> str:
    hits = [(*_visit(visit), escape(visit.fault)) for visit in _last(world.visits.hit)]
    return _table("Faults that hit", ("When", "Request", "Answer", "Fault"), hits)


def _webhooks(world: World) -> str:
    sent = [_delivery(delivery) for delivery in _last(world.webhooks.recent())]
    if world.webhooks.url is None and not sent:
        return ""
    note = f"to {world.webhooks.url}" if world.webhooks.url else "ended"
    return _table("Webhooks", ("Event", "State", "Tries", "Answer"), sent, note)


def _table(title: str, heads: Cells, rows: list[Cells], note: str = f"the newest {_ROWS}") -> str:
    if not rows:
        return f"<section><h2>{title}</h2><p>None yet.</p></section>"
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f"<section><h2>{title} <small>{escape(note)}</small></h2>"
        f'<div class="box" role="region" aria-label="{title}" tabindex="0">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></section>"
    )


def _order(world: World, order: Order) -> Cells:
    bought = [item.package_id for item in order.items]
    names = [f"{bought.count(id)} x {_named(world, id)}" for id in dict.fromkeys(bought)]
    kind = "" if order.kind == "order" else f" ({order.kind})"
    goods = escape(", ".join(names) + kind)
    return _when(order.created_at), f"${decimal(order.total)}", goods, _code(order.reference_id)


def _named(world: World, package_id: str) -> str:
    cover = COVERS.get(package_id)
    return cover.name if cover else world.catalogue.packages[package_id].plan.name


def _esim(world: World, esim: Esim) -> Cells:
    package = world.catalogue.packages[esim.package_id]
    allowed = min(UNLIMITED, sum(held.plan.megabytes for held in world.bought(esim, hidden=True)))
    used = sum(day.megabytes for day in world.store.usages(esim.id))
    if allowed == UNLIMITED:
        data = f"<span>{used:,} MB,</span> unlimited"
    else:
        data = f'<progress max="{allowed}" value="{used}"></progress><span>{used:,} of {allowed:,} MB</span>'
    place = f"{package.group.place.name}, {package.plan.name}"
    return _badge(esim.status, _KINDS.get(esim.status, "")), _code(esim.iccid), escape(place), data


def _visit(visit: Visit) -> Cells:
    answer = str(visit.status)
    kind = "good" if answer < "400" else "" if answer == UNDER_WAY else "bad"
    return _when(visit.at), _code(f"{visit.method} {visit.path}"), _badge(answer, kind)


def _delivery(delivery: Delivery) -> Cells:
    state = _badge(delivery.state, _KINDS.get(delivery.state, ""))
    tries = "1 try" if delivery.tries == 1 else f"{delivery.tries} tries"
    return _code(f"{delivery.id} {delivery.event}"), state, tries, str(delivery.status or "no answer")


def _last(kept: Iterable[Kept]) -> list[Kept]:
    return [*kept][: -_ROWS - 1 : -1]


def _badge(text: str, kind: str) -> str:
    return f'<span class="badge {kind}">{escape(text)}</span>'


def _code(text: str) -> str:
    kind = ' class="long"' if len(text) > _SHORT else ""
    return f"<code{kind}>{escape(text)}</code>" if text else "-"


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))


def _when(at: float) -> str:
    return " ".join(f"<span>{part}</span>" for part in _moment(at).split())


def _span(seconds: int) -> str:
    days, rest = divmod(seconds, 86_400)
    clock = f"{rest // 3_600}:{rest % 3_600 // 60:02} h" if rest else ""
    return f"{f'{days} d' if days else ''} {clock}".strip()
