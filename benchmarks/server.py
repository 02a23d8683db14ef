"""A server process for measurements: it gives out bytes that were made beforehand.

    python -m benchmarks.server --packages 28000

The path says what is served: under ``/280000/20`` lies a catalogue of 280,000 packages, each answer 20 ms late. More
packages than were rendered are the same ones again under other ids. No page says how many there are. Pages have ETags,
and a client that has a page gets a 304.
"""

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs

ROOT: Final = Path(__file__).parents[1]
PACKAGES: Final = 28_000
"""Rendered packages, unless it is said otherwise."""
SIZE: Final = 50
"""Packages a page."""
SEED: Final = 7
PRICE: Final = 1.18
HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
PAGE_HEAD: Final = HEAD.removesuffix(b"\r\n") + b'ETag: W/"1"\r\n\r\n'
UNCHANGED: Final = b'HTTP/1.1 304 Not Modified\r\nETag: W/"1"\r\n\r\n'
NOW: Final = 4_000_000_000
"""When all orders were made, as the server says."""


def page_bodies(packages: int) -> list[bytes]:
    """Render the sandbox's catalogue as pages."""
    from roamify_async.sandbox.data.generator import generate
    from roamify_async.sandbox.data.packages import group_by_destination

    every = [package for destination in generate(SEED, packages) for package in destination.packages]
    starts = range(0, packages, SIZE)
    return [enveloped(f'{{"packages":{group_by_destination(every[start : start + SIZE])}}}') for start in starts]


def enveloped(text: str) -> bytes:
    """Put JSON into the envelope of an answer."""
    return f'{{"status":"success","data":{text}}}'.encode()


def framed(body: bytes, head: bytes = HEAD) -> bytes:
    """Put an answer's head before its body."""
    return head % len(body) + body


class Shelf:
    """The pages of catalogues of any size, as whole answers."""

    def __init__(self, packages: int) -> None:
        """Render so many packages."""
        self._pages = [framed(body, PAGE_HEAD) for body in page_bodies(packages)]
        self._empty = framed(enveloped('{"packages":[]}'))

    def page(self, number: int, packages: int, *, is_known: bool) -> bytes:
        """Return a page of the catalogue that has so many packages."""
        if number * SIZE > packages:
            return self._empty
        if is_known:
            return UNCHANGED
        copy, index = divmod(number - 1, len(self._pages))
        # Ids of the same length, so that the head still holds.
        return self._pages[index].replace(b'"esim-', b'"e%03d-' % copy) if copy else self._pages[index]


class Stub(asyncio.Protocol):
    """Just enough HTTP for clients that send one request after another on each connection."""

    def __init__(self, shelf: Shelf) -> None:
        """Take what is served."""
        self._shelf = shelf
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
            at = -1 if head.startswith(b"GET ") else head.lower().find(b"content-length:")
            size = int(head[at + 15 : head.index(b"\r\n", at)]) if at >= 0 else 0
            if len(self._data) < end + size:
                return
            body, self._data = self._data[end : end + size], self._data[end + size :]
            method, target, _ = head.split(b" ", 2)
            _, packages, late, path = target.split(b"/", 3)
            is_known = b"If-None-Match" in head
            whole = self._whole(method, path.decode(), body, int(packages), is_known=is_known)
            if late == b"0":
                self._answer(whole)
            else:
                asyncio.get_running_loop().call_later(int(late) / 1000, self._answer, whole)

    def _whole(self, method: bytes, target: str, body: bytes, packages: int, *, is_known: bool) -> bytes:
        path, _, query = target.partition("?")
        wanted = dict(pair.split("=") for pair in query.split("&")) if query else {}
        if "page" in wanted and "packageId" not in wanted:
            return self._shelf.page(int(wanted["page"]), packages, is_known=is_known)
        return framed(enveloped(json.dumps(answer(method, path, wanted, body))))

    def _answer(self, whole: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(whole)


def answer(method: bytes, path: str, query: dict[str, str], body: bytes) -> dict[str, Any]:
    """Make the data of an answer that is no page."""
    if method == b"POST":
        return bought(json.loads(body))
    if path == "api/balance":
        return {"balance": 10**9, "currency": "USD"}
    if path == "api/esim/packages":
        package = {"packageId": query["packageId"], "package": "1 GB - 30 Days", "day": 30, "price": PRICE}
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


async def serve(packages: int) -> None:
    """Serve on a free port, which is printed, until killed."""
    shelf = Shelf(packages)
    server = await asyncio.get_running_loop().create_server(lambda: Stub(shelf), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@attrs.frozen
class Serving:
    """A server that runs."""

    root: str

    def url(self, packages: int = 0, latency: int = 0) -> str:
        """Return the base URL of a catalogue of so many packages, with so many milliseconds before each answer."""
        return f"{self.root}/{packages}/{latency}"


@contextmanager
def serving(packages: int = PACKAGES) -> Generator[Serving, None, None]:
    """Run the server in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.server", "--packages", str(packages)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield Serving(f"http://127.0.0.1:{process.stdout.readline().strip()}")
        finally:
            process.kill()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--packages", type=int, default=PACKAGES, metavar="N", help="packages to render (28000)")
    asyncio.run(serve(parser.parse_args(arguments).packages))
    return 0


if __name__ == "__main__":
    sys.exit(main())
