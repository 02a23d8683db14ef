"""Whatever goes wrong on the way, the report of a bulk order agrees with the server's books."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any
from unittest import mock

import attrs
import pytest
from hypothesis import given, strategies as st
from support.clients import QUICK
from support.purchases import ORDER, OTHER, PLAIN

from roamify_async import AsyncRoamify, CreateOrder, OrderItem, PurchaseInDoubtError, Roamify
from roamify_async._core import concurrency
from roamify_async.purchasing import machine
from roamify_async.purchasing.report import BulkReport
from roamify_async.sandbox import Sandbox

LISTED = "/api/esim/orders"


@attrs.frozen
class Trouble:
    """What goes wrong for some requests."""

    path: str
    fault: str
    when: str
    times: int
    probability: float


def troubles(path: str, *faults: tuple[str, str]) -> st.SearchStrategy[Trouble]:
    """Draw what goes wrong at a path."""
    return st.builds(
        lambda fault, times, probability: Trouble(path, *fault, times, probability),
        st.sampled_from(faults), st.integers(1, 6), st.floats(0.1, 1),
    )  # fmt: skip


ORDERS = troubles(
    ORDER,
    ("drop", "before"), ("drop", "after"), ("reset", "after"), ("503", "before"), ("503", "after"), ("429", "before"),
    ("truncated", "before"), ("truncated", "after"), ("garbled", "before"), ("500", "after"), ("409", "before"),
    ("401", "before"), ("402", "before"), ("422", "before"),
)  # fmt: skip
LOOK_UPS = troubles(LISTED, ("drop", "before"), ("503", "before"), ("garbled", "before"), ("500", "before"))
PRICES = troubles("/api/esim/packages", ("503", "before"), ("drop", "before"), ("garbled", "before"))
LINES = st.builds(
    lambda package, quantity, reference: CreateOrder([OrderItem(package, quantity)], reference_id=reference),
    st.sampled_from([PLAIN, OTHER, "esim-nowhere"]), st.integers(1, 3), st.sampled_from([None, None, None, "a", "b"]),
)  # fmt: skip
Ordering = Callable[[Sandbox, Sequence[Any], dict[str, Any], str], BulkReport]


def awaiting(sandbox: Sandbox, requests: Sequence[Any], arguments: dict[str, Any], policy: str) -> BulkReport:
    """Order in bulk by the awaiting client."""

    async def order() -> BulkReport:
        settings = QUICK.changed(on_doubt=policy)
        async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=settings) as client:
            return await client.orders.bulk(requests, **arguments)

    return asyncio.run(order())


def blocking(sandbox: Sandbox, requests: Sequence[Any], arguments: dict[str, Any], policy: str) -> BulkReport:
    """Order in bulk by the blocking client."""
    with Roamify(sandbox.token, base_url=sandbox.url, settings=QUICK.changed(on_doubt=policy)) as client:
        return client.orders.bulk(requests, **arguments)


def check_books(report: BulkReport, sandbox: Sandbox) -> None:
    """Compare the lines, counts and money of a report with the orders and the balance at the server."""
    state = sandbox.state()
    totals = {order["id"]: Decimal(order["total"]) for order in state["orders"]}
    references = {order["id"]: order["referenceId"] for order in state["orders"]}
    lines = [*report.lines]
    assert report.counts == {**dict.fromkeys(report.counts, 0), **Counter(line.status for line in lines)}
    ordered = {line.order.id: line for line in report.ordered if line.order is not None}
    assert len(ordered) == report.counts["ordered"]
    assert all(references[order_id] == line.reference_id for order_id, line in ordered.items())
    assert report.spent == sum(totals[order_id] for order_id in ordered)
    unknown = {references[order_id] for order_id in totals.keys() - ordered.keys()}
    assert unknown <= {line.reference_id for line in report.in_doubt}
    assert all(isinstance(line.error, PurchaseInDoubtError) for line in report.in_doubt)
    assert max(Counter(references.values()).values(), default=1) == 1
    assert Decimal(state["balance"]) == 1000 - sum(totals.values())


@pytest.mark.timeout(180)
@pytest.mark.parametrize("ordering", [awaiting, blocking])
@given(
    requests=st.lists(LINES, min_size=1, max_size=12),
    trouble=st.lists(ORDERS | LOOK_UPS | PRICES, max_size=4),
    policy=st.sampled_from(["raise", "look_up", "look_up_then_resend"]),
    slots=st.sampled_from([1, 4]),
    limit=st.sampled_from([None, "6"]),
)
def test_report_agrees_with_the_server(ordering: Ordering, requests, trouble, policy, slots, limit):
    """Counts, money and references of a report are those of the server, under random faults, by both clients."""
    with (
        mock.patch.object(machine, "MIN_RATE_LIMIT_DELAY", 0.01),
        mock.patch.object(concurrency, "FIRST_PAUSE", 0.01),
        Sandbox(packages=300) as sandbox,
    ):
        for one in trouble:
            method = "POST" if one.path == ORDER else "GET"
            sandbox.fail(method, one.path, one.fault, when=one.when, times=one.times, probability=one.probability)
        with ordering(sandbox, iter(requests), {"concurrency": slots, "max_spend": limit}, policy) as report:
            check_books(report, sandbox)


def test_books_that_do_not_agree():
    """Control: an order that no line knows, and one that was booked twice, are told."""
    requests = [CreateOrder([OrderItem(PLAIN)], reference_id="a")]
    for reference in ("a", "other"):
        with Sandbox(packages=300) as sandbox, blocking(sandbox, requests, {}, "look_up") as report:
            check_books(report, sandbox)
            hasty = QUICK.changed(look_first=False)
            with Roamify(sandbox.token, base_url=sandbox.url, settings=hasty) as client:
                client.orders.create([OrderItem(PLAIN)], reference_id=reference)
            with pytest.raises(AssertionError):
                check_books(report, sandbox)
