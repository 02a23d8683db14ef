"""What a worker reports over HTTP: ``/healthz`` for probes, and ``/metrics`` as Prometheus reads them."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final

from roamify_async.errors import LedgerError

from .worker import Worker

TIMEOUT: Final = 5.0
"""Seconds in which a request must have come."""
MAX_HEAD: Final = 8192
"""Maximum size of a request in bytes."""
_PAIRS: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n"}


@asynccontextmanager
async def serve(worker: Worker, host: str, port: int) -> AsyncGenerator[int, None]:
    """Serve what is known of a worker, and yield the port. Port 0 means one that is free."""
    server = await asyncio.start_server(partial(_respond, worker), host, port, limit=MAX_HEAD)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _respond(worker: Worker, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(TIMEOUT):
            head = await reader.readuntil(b"\r\n\r\n")
            status, kind, body = await _answer(worker, head.split(b" ", 2)[:2])
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                "Connection: close\r\n\r\n".encode()
                + body
            )
            await writer.drain()
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, OSError):
        pass  # Not a request.
    finally:
        with suppress(OSError):
            writer.close()


async def _answer(worker: Worker, request: list[bytes]) -> tuple[str, str, bytes]:
    """Return the status, the content type and the body of a response."""
    if request == [b"GET", b"/healthz"]:
        state = "stopping" if worker.is_stopping else "working" if worker.is_healthy else "without its ledger"
        status = "200 OK" if worker.is_healthy else "503 Service Unavailable"
        return status, "application/json", json.dumps({"status": state}).encode()
    if request == [b"GET", b"/metrics"]:
        return "200 OK", "text/plain; version=0.0.4; charset=utf-8", (await metrics(worker)).encode()
    return "404 Not Found", "text/plain", b"/healthz or /metrics\n"


async def metrics(worker: Worker) -> str:
    """Return the metrics of a worker in the text format of Prometheus."""
    left: Mapping[str, int] = {}
    with suppress(LedgerError):
        left = await worker.left()
    lines = {(("batch", batch), ("status", status)): count for (batch, status), count in worker.counts().items()}
    spent = {(("batch", batch),): amount for batch, amount in worker.spent().items()}
    families = (
        _family("worker_lines_total", "counter", "Lines that this worker has finished.", lines.items()),
        _family("worker_spent_usd_total", "counter", "Cost of the lines that it has ordered.", spent.items()),
        _family("worker_lines_in_progress", "gauge", "Lines on which it works.", [((), worker.in_progress)]),
        _family("worker_healthy", "gauge", "Whether the ledger answers.", [((), int(worker.is_healthy))]),
        _family(
            "batch_lines_left", "gauge", "Lines of open batches without an outcome, with whatever worker they are.",
            [((("batch", batch),), count) for batch, count in left.items()],
        ),
    )  # fmt: skip
    return "".join(families)


def _family(name: str, kind: str, text: str, values: Iterable[tuple[tuple[tuple[str, str], ...], object]]) -> str:
    lines = [f"# HELP roamify_{name} {text}", f"# TYPE roamify_{name} {kind}"]
    for labels, value in values:
        pairs = ",".join(f'{label}="{_escaped(word)}"' for label, word in labels)
        lines.append(f"roamify_{name}{f'{{{pairs}}}' * bool(pairs)} {value}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return "".join(_PAIRS.get(character, character) for character in text)
