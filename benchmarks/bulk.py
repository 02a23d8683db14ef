"""What the journal of a bulk order costs: in throughput against a bare loop, and in memory as the lines grow.

    python -m benchmarks.bulk

Both ways send the same orders through the same client to a server process that keeps nothing. Rounds alternate, so that
what else the machine does hits both; the claims are ratios.
"""

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from roamify_async import AsyncRoamify, CreateOrder, OrderItem, Settings

ROOT: Final = Path(__file__).parents[1]
PLACES: Final = 64
"""Purchases in flight."""
KINDS: Final = 8
"""Packages that are bought."""
PRICE: Final = 1.18
HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
NOW: Final = 4_000_000_000
"""When all orders were made, as the server says."""


# ---------------------------------------------------------------- a server that keeps nothing


class Stub(asyncio.Protocol):
    """Just enough HTTP for one client that sends one request after another on each connection."""

    def __init__(self, latency: float) -> None:
        """Take the seconds before each answer."""
        self._latency = latency
        self._data = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: Any) -> None:
        """Remember where to answer."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is there in full."""
        self._data += data
        while (end := self._data.find(b"\r\n\r\n") + 4) > 3:  # noqa: PLR2004 -- found
            head = self._data[:end]
            at = head.lower().find(b"content-length:")
            size = int(head[at + 15 : head.index(b"\r\n", at)]) if at >= 0 else 0
            if len(self._data) < end + size:
                return
            body, self._data = self._data[end : end + size], self._data[end + size :]
            method, target, _ = head.split(b" ", 2)
            text = json.dumps({"status": "success", "data": answer(method, target, body)}).encode()
            whole = HEAD % len(text) + text
            if self._latency:
                asyncio.get_running_loop().call_later(self._latency, self._answer, whole)
            else:
                self._answer(whole)

    def _answer(self, whole: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(whole)


def answer(method: bytes, target: bytes, body: bytes) -> dict[str, Any]:
    """Make the data of an answer."""
    path, _, query = target.decode().partition("?")
    if method == b"POST":
        return bought(json.loads(body))
    if path == "/api/balance":
        return {"balance": 10**9, "currency": "USD"}
    if path == "/api/esim/packages":
        wanted = dict(pair.split("=") for pair in query.split("&"))["packageId"]
        package = {"packageId": wanted, "package": "1 GB - 30 Days", "day": 30, "price": PRICE}
        return {"packages": [{"id": "greece", "countryName": "Greece", "countryCode": "GR", "packages": [package]}]}
    return {"orders": []}


def bought(order: dict[str, Any]) -> dict[str, Any]:
    """Make an order of what was asked for."""
    items = [
        {
            "esimId": f"27d1aaaa-49ed-4ce4-a262-1f127b3b{number:04}",
            "packageId": item["packageId"],
            "package": "1 GB - 30 Days",
            "type": "esim",
            "price": PRICE,
            "currency": "USD",
            "createdAt": NOW,
            "updatedAt": NOW,
        }
        for item in order["items"]
        for number in range(item["quantity"])
    ]
    return {
        "id": f"order-{order['referenceId']}",
        "referenceId": order["referenceId"],
        "orderType": "api",
        "status": "COMPLETED",
        "total": round(PRICE * len(items), 2),
        "currency": "USD",
        "createdAt": NOW,
        "updatedAt": NOW,
        "items": items,
    }


async def serve(latency: float) -> None:
    """Serve on a free port, which is printed, until killed."""
    server = await asyncio.get_running_loop().create_server(lambda: Stub(latency), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def serving(latency: float) -> Generator[str, None, None]:
    """Run the server in a process of its own; gives its URL."""
    command = [sys.executable, "-m", "benchmarks.bulk", "--serve", str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


# ---------------------------------------------------------------- throughput


def requests(count: int, *, own: bool = False) -> Iterator[CreateOrder]:
    """Make so many requests, with references of the caller's own or without."""
    for number in range(count):
        reference = f"customer-{number:08}" if own else None
        yield CreateOrder([OrderItem(f"package-{number % KINDS}")], reference_id=reference)


def client(url: str) -> AsyncRoamify:
    """Make the client that both ways use."""
    return AsyncRoamify("token", base_url=url, settings=Settings(concurrency=PLACES))


async def bare(url: str, count: int) -> float:
    """Order in a plain loop with a semaphore; give the seconds."""
    semaphore = asyncio.Semaphore(PLACES)
    async with client(url) as roamify:
        await roamify.account.balance()

        async def one(request: CreateOrder) -> Any:
            async with semaphore:
                return await roamify.orders.create(request.items, reference_id=request.reference_id)

        begun = time.perf_counter()
        orders = await asyncio.gather(*map(one, requests(count)))
        seconds = time.perf_counter() - begun
    assert len(orders) == count
    return seconds


async def journaled(url: str, count: int) -> float:
    """Order in bulk with a journal; give the seconds, prices and balance included."""
    with tempfile.TemporaryDirectory(prefix="roamify-bench-") as folder:
        async with client(url) as roamify:
            await roamify.account.balance()
            begun = time.perf_counter()
            report = await roamify.orders.bulk(requests(count), journal=f"{folder}/orders.db", concurrency=PLACES)
            seconds = time.perf_counter() - begun
        with report:
            assert report.counts["ordered"] == count, report.counts
    return seconds


def throughput(count: int, rounds: int, latency: float) -> float:
    """Print and give the throughput in bulk as a share of that of the bare loop."""
    ways: list[Callable[[str, int], Any]] = [bare, journaled]
    shares: list[float] = []
    with serving(latency) as url:
        for way in ways:
            asyncio.run(way(url, PLACES))  # what is made at first use is made now
        for number in range(rounds):
            walls = {way: asyncio.run(way(url, count)) for way in (ways if number % 2 else ways[::-1])}
            shares.append(walls[bare] / walls[journaled])
            print(f"  round {number + 1}: bare {walls[bare]:.2f} s, in bulk {walls[journaled]:.2f} s", file=sys.stderr)
    share = statistics.median(shares)
    told = f"{count} orders, {latency * 1000:.0f} ms, {PLACES} in flight"
    print(f"throughput with the journal / bare loop ({told}): {share:.2f} ({min(shares):.2f} to {max(shares):.2f})")
    return share


# ---------------------------------------------------------------- memory


async def fill(url: str, count: int, *, own: bool) -> None:
    """Order in bulk from a generator, and print what this process took at its peak."""
    with tempfile.TemporaryDirectory(prefix="roamify-bench-") as folder:
        async with client(url) as roamify:
            lines = requests(count, own=own)
            report = await roamify.orders.bulk(lines, journal=f"{folder}/orders.db", concurrency=PLACES)
        with report:
            assert report.counts["ordered"] == count, report.counts
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def memory(few: int, many: int, *, own: bool) -> float:
    """Print and give how much more memory many lines take than few."""
    with serving(0) as url:

        def peak(count: int) -> int:
            command = [sys.executable, "-m", "benchmarks.bulk", "--fill", str(count), "--url", url, *["--own"] * own]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
            return int(done.stdout)

        ratio = peak(many) / peak(few)
    told = "with references of the caller's" if own else "without references"
    print(f"peak memory of {many} lines / {few} lines ({told}): {ratio:.2f}")
    return ratio


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and tell whether the promises hold; give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bulk", description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--orders", type=int, default=2000, metavar="N", help="orders of one round (2000)")
    add("--rounds", type=int, default=7, metavar="N", help="rounds of either way (7)")
    add("--latency", type=float, default=0.05, metavar="S", help="of the server (0.05)")
    add("--few", type=int, default=10_000, metavar="N", help="lines of the smaller run (10000)")
    add("--many", type=int, default=100_000, metavar="N", help="lines of the larger run (100000)")
    add("--only", choices=("throughput", "memory"), help="measure one of them")
    for name, kind in (("--serve", float), ("--fill", int), ("--url", str)):
        add(name, type=kind, help=argparse.SUPPRESS)
    add("--own", action="store_true", help=argparse.SUPPRESS)
    choice = parser.parse_args(arguments)
    if choice.serve is not None:
        asyncio.run(serve(choice.serve))
    elif choice.fill is not None:
        asyncio.run(fill(choice.url, choice.fill, own=choice.own))
    else:
        is_kept = [throughput(choice.orders, choice.rounds, choice.latency) >= 0.9] if choice.only != "memory" else []  # noqa: PLR2004
        if choice.only != "throughput":
            is_kept += [memory(choice.few, choice.many, own=own) <= 1.2 for own in (False, True)]  # noqa: PLR2004
        return 0 if all(is_kept) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
