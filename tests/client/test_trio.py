"""Programs whose event loop is trio's: the asynchronous client refuses it, and the blocking one works in threads."""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from support.clients import QUICK

from roamify_async import AsyncRoamify, ConfigurationError, CreateOrder, OrderItem, Roamify
from roamify_async.sandbox import Sandbox

PACKAGE = "esim-greece-30days-1gb-all"


@pytest.fixture
def served() -> Iterator[Sandbox]:
    """Run a sandbox in a thread of its own."""
    with Sandbox(packages=300) as sandbox:
        yield sandbox


async def _enter(client: AsyncRoamify) -> None:
    async with client:
        pass


async def _iterate(client: AsyncRoamify) -> None:
    async for _ in client.packages.iter():
        pass


CALLS: dict[str, Callable[[AsyncRoamify], Awaitable[Any]]] = {
    "read": lambda client: client.account.balance(),
    "enter": _enter,
    "list": lambda client: client.packages.list(),
    "iterate": _iterate,
    "order": lambda client: client.orders.create([OrderItem(PACKAGE)]),
    "reference": lambda client: client.orders.create([OrderItem(PACKAGE)], reference_id="r"),
    "buy": lambda client: client.esims.buy(PACKAGE),
    "bulk": lambda client: client.orders.bulk([CreateOrder([OrderItem(PACKAGE)])]),
    "request": lambda client: client.request("GET", "/api/balance"),
    "reconcile": lambda client: client.orders.reconcile("r"),
}


@pytest.mark.parametrize("ledger", [False, True], ids=["", "ledger"])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("runner", ["trio", "anyio"])
def test_async_client(runner, call, ledger, served, tmp_path: Path):
    """Every call of an asynchronous client raises an error that says what works, and sends nothing."""
    trio = pytest.importorskip("trio")
    options = {"ledger": tmp_path / "purchases.db"} if ledger else {}

    async def main() -> None:
        client = AsyncRoamify(served.token, base_url=served.url, settings=QUICK, **options)
        with pytest.raises(ConfigurationError, match=r"Under trio, use Roamify in a thread") as caught:
            await CALLS[call](client)
        assert caught.value.sent == "no"

    if runner == "trio":
        trio.run(main)
    else:
        anyio.run(main, backend="trio")
    assert served.state()["requests"] == {}


def test_blocking_client_in_a_thread(served):
    """What the error says works: the blocking client in trio's threads, which buys, lists and iterates."""
    trio = pytest.importorskip("trio")

    async def main() -> None:
        with Roamify(served.token, base_url=served.url, settings=QUICK) as roamify:
            balances: list[Any] = []

            async def ask() -> None:
                balances.append(await trio.to_thread.run_sync(roamify.account.balance))

            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(ask)
            assert [each.balance for each in balances] == [1000] * 5
            (esim,) = await trio.to_thread.run_sync(lambda: roamify.esims.buy(PACKAGE, reference_id="r"))
            assert esim.iccid
            assert len(await trio.to_thread.run_sync(lambda: [*roamify.packages.iter()])) == 300

    trio.run(main)
    assert len(served.state()["orders"]) == 1
