"""Work on batches, and look after them: ``python -m roamify_async.durable migrate|work|status|lines|cancel|retry``.

The ledger is that of ``DATABASE_URL``, or else of ``ROAMIFY_LEDGER``. Only ``work`` needs ``ROAMIFY_TOKEN``.
"""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from roamify_async.client import AsyncRoamify
from roamify_async.errors import ConfigurationError, RoamifyError
from roamify_async.ledger import SharedLimits, open_ledger
from roamify_async.ledger.store import SqlLedger
from roamify_async.purchasing.report import OUTCOMES, BulkLine
from roamify_async.settings import Settings

from . import store
from .monitor import serve
from .orders import Batch, get_batch
from .worker import Worker

PORT: Final = 9110


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m roamify_async.durable", description="Work on batches of orders, and look after them."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--database", help="URL of the database, or path of a SQLite file; by default DATABASE_URL or ROAMIFY_LEDGER"
    )
    batch = argparse.ArgumentParser(add_help=False)
    batch.add_argument("batch", help="name of the batch")
    status = argparse.ArgumentParser(add_help=False)
    status.add_argument("--status", action="append", choices=OUTCOMES, default=[], help="can be given several times")

    commands.add_parser("migrate", parents=[shared], help="create the tables, or bring them to this version")
    work = commands.add_parser("work", parents=[shared], help="buy lines of all batches until SIGTERM")
    work.add_argument("--until-done", action="store_true", help="end when no batch has lines left")
    work.add_argument("--concurrency", type=int, help="maximum number of requests in flight; 16 by default")
    work.add_argument("--rate", type=float, help="maximum number of requests per second of this worker")
    work.add_argument("--shared-rate", type=float, help="maximum number of purchases per second of all workers")
    work.add_argument("--host", default="127.0.0.1", help="address of /healthz and /metrics; 0.0.0.0 in a container")
    work.add_argument("--port", type=int, default=PORT, help=f"port of /healthz and /metrics; {PORT} by default")
    shown = commands.add_parser("status", parents=[shared], help="show the progress of all batches, or of one")
    shown.add_argument("batch", nargs="?", help="name of the batch")
    commands.add_parser("lines", parents=[shared, batch, status], help="print lines as JSON")
    commands.add_parser("cancel", parents=[shared, batch], help="send no more lines of a batch")
    commands.add_parser("retry", parents=[shared, batch, status], help="give lines to the workers again")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Run a command, and return the exit code: 1 if it failed, or if ``status`` shows lines in doubt."""
    options = _parser().parse_args(arguments)
    try:
        with _open(options) as ledger:
            if options.command == "migrate":
                ledger.migrate()
                print(f"{ledger!r} is ready")
                return 0
            return asyncio.run(_work(options, ledger) if options.command == "work" else _look_after(options, ledger))
    except (RoamifyError, ValueError, OSError) as error:  # Such as a port that is in use.
        print(f"error: {error}", file=sys.stderr)
    except asyncio.CancelledError:
        print("error: stopped before all lines in progress were finished", file=sys.stderr)
    return 1


def _open(options: argparse.Namespace) -> SqlLedger:
    """Open the ledger. Tables in PostgreSQL are changed by ``migrate`` only, and not by each worker."""
    place = options.database or os.environ.get("DATABASE_URL") or os.environ.get("ROAMIFY_LEDGER")
    if not place:
        raise ConfigurationError("no database: set DATABASE_URL, or pass --database")
    rate = getattr(options, "shared_rate", None)
    limits = None if rate is None else SharedLimits(rate=rate)
    if place.startswith(("postgresql://", "postgres://")):
        from roamify_async.ledger import PostgresLedger

        return PostgresLedger(place, migrate=False, limits=limits)
    ledger = open_ledger(place)
    if not isinstance(ledger, SqlLedger):
        raise ConfigurationError("no database: set DATABASE_URL, or pass --database")
    ledger.limits = limits
    return ledger


# ---------------------------------------------------------------- working


async def _work(options: argparse.Namespace, ledger: SqlLedger) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    settings = Settings() if options.concurrency is None else Settings(concurrency=options.concurrency)
    async with AsyncRoamify(ledger=ledger, settings=settings) as roamify:
        await ledger.bind(roamify.orders.engine.transport.credentials.base_url)
        worker = Worker(roamify.orders.engine, concurrency=options.concurrency, rate=options.rate)
        _stop_on_signals(worker)
        async with serve(worker, options.host, options.port) as port:
            print(json.dumps({"host": options.host, "port": port}), flush=True)
            await worker.run(until_done=options.until_done)
    return 0


def _stop_on_signals(worker: Worker) -> None:
    """End the work at the first signal when lines in progress are finished, at the second one at once."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def stop() -> None:
        if worker.is_stopping and task is not None:
            task.cancel()
        worker.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError):  # On Windows.
            loop.add_signal_handler(number, stop)


# ---------------------------------------------------------------- looking after batches


async def _look_after(options: argparse.Namespace, ledger: SqlLedger) -> int:
    if options.command == "status":
        return await _status(options.batch, ledger)
    batch = await get_batch(ledger, options.batch)
    if options.command == "lines":
        return await _lines(batch, options.status)
    if options.command == "cancel":
        await batch.cancel()
        print(f"{batch.name} is cancelled")
    else:
        print(f"{await batch.retry(*options.status)} lines are tried again")
    return 0


async def _status(name: str | None, ledger: SqlLedger) -> int:
    if name is not None:
        await get_batch(ledger, name)
    doubts = 0
    for submitted in await ledger.run(store.find_all):
        if name in {None, submitted.name}:
            progress = await Batch(ledger, submitted).progress()
            workers = await ledger.run(partial(store.count_workers, batch=submitted.id))
            state = "done" if submitted.state == "open" and progress.done == progress.total else submitted.state
            reason = f" ({submitted.reason})" if submitted.reason else ""
            print(f"{submitted.name}: {state}{reason}, {workers} workers; {progress}")
            doubts += progress.counts["in_doubt"]
    return 1 if doubts else 0


async def _lines(batch: Batch, statuses: Sequence[str]) -> int:
    report = await batch.report()
    for line in report.lines:
        if not statuses or line.status in statuses or (line.status == "sending" and "in_doubt" in statuses):
            print(_json(line))
    return 0


def _json(line: BulkLine) -> str:
    facts = {
        "position": line.position,
        "reference": line.reference_id,
        "status": line.status,
        "order": None if line.order is None else line.order.id,
        "total": None if line.order is None else str(line.order.total),
        "esims": [] if line.order is None else [item.esim_id for item in line.order.items],
        "error": None if line.error is None else f"{type(line.error).__name__}: {line.error}",
    }
    return json.dumps(facts, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
