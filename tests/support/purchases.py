"""Every way to buy, as one coroutine function each, and what the sandbox's books say of it."""

from collections.abc import Awaitable
from typing import Any, Protocol

from roamify_async import CreateOrder, OrderItem, PurchaseInDoubtError
from roamify_async.sandbox import Sandbox

PLAIN = "esim-greece-30days-1gb-all"
OTHER = "esim-germany-30days-1gb-all"
ORDER = "/api/esim/order"
INSTANT = "/api/esim/order/instant"
TOP_UP = "/api/esim/order/topup"
APPLY = "/api/esim/apply"
MINT = "/api/esim/vouchers"
INSURE = "/api/insurance/order"
INSURANCE = "insurance-saudi-arabia-individual-7days"
LISTED = "GET /api/esim/orders"


def under(sandbox: Sandbox, reference: str = "r") -> list[Any]:
    """Return the orders and vouchers under a reference in the server's books, hidden ones included."""
    state = sandbox.state()
    books = (*state["orders"], *state["insuranceOrders"], *state["vouchers"])
    return [entry for entry in books if entry["referenceId"] == reference]


def came(sandbox: Sandbox, what: str) -> int:
    """Count the requests of a kind."""
    return int(sandbox.state()["requests"].get(what, 0))


async def create(client: Any, _: str, reference: str = "r") -> str:
    """Order."""
    order = await client.orders.create([OrderItem(PLAIN)], reference_id=reference)
    assert len(order.items) == 1
    return str(order.reference_id)


async def create_instant(client: Any, _: str, reference: str = "r") -> str:
    """Order with eSIMs."""
    order = await client.orders.create_instant([OrderItem(PLAIN)], reference_id=reference)
    assert [esim.is_installable for esim in order.esims] == [True]
    return str(order.reference_id)


async def refill(client: Any, iccid: str) -> str:
    """Return a package that fits the eSIM and is not the one it was bought with."""
    offered = [package.package_id for package in await client.topups.packages(iccid)]
    return next(package_id for package_id in offered if package_id != PLAIN)


async def top_up(client: Any, iccid: str, reference: str = "r") -> str:
    """Top an eSIM up."""
    package = await refill(client, iccid)
    order = await client.topups.create(iccid, package, reference_id=reference)
    assert [line.package_id for line in order.items] == [package]
    return str(order.reference_id)


async def buy(client: Any, _: str, reference: str = "r") -> str:
    """Order and apply."""
    (esim,) = await client.esims.buy(PLAIN, reference_id=reference)
    assert esim.is_installable
    (order,) = await client.orders.list(reference_id=reference)
    assert order.items[0].esim_id == esim.id
    return str(order.reference_id)


async def bulk(client: Any, _: str, reference: str = "r") -> str:
    """Order a line, whose status says what its error does."""
    report = await client.orders.bulk([CreateOrder([OrderItem(PLAIN)], reference_id=reference)])
    (line,) = report.lines
    if line.error is not None:
        assert line.status == ("in_doubt" if isinstance(line.error, PurchaseInDoubtError) else "refused")
        raise line.error
    assert line.status == "ordered"
    return str(line.order.reference_id)


async def mint(client: Any, _: str, reference: str = "r") -> str:
    """Mint a voucher."""
    batch = await client.vouchers.create(PLAIN, reference_id=reference)
    assert [voucher.package_id for voucher in batch.vouchers] == [PLAIN]
    assert batch.missing == 0
    return str(batch.reference_id)


async def insure(client: Any, _: str, reference: str = "r") -> str:
    """Order a policy."""
    order = await client.insurance.order([OrderItem(INSURANCE)], reference_id=reference)
    assert [line.package_id for line in order.items] == [INSURANCE]
    return str(order.reference_id)


class Mode(Protocol):
    """A way to buy, under a reference."""

    __name__: str

    def __call__(self, client: Any, iccid: str, /, reference: str = "r") -> Awaitable[str]:
        """Buy, and give the reference of what was bought."""
        ...


WAYS: dict[Mode, str] = {
    create: ORDER,
    create_instant: INSTANT,
    top_up: TOP_UP,
    buy: ORDER,
    bulk: ORDER,
    mint: MINT,
    insure: INSURE,
}
