"""What a shared batch costs against a bulk order with a journal, which is of one process.

    python -m benchmarks.ledger

One process buys all lines, in a ledger in SQLite and, where it is installed, in PostgreSQL.
"""

import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from roamify_async.ledger import SqliteLedger
from tests.support.postgres import missing, new_cluster

from . import measuring
from .bulk import KINDS, LATENCY, PLACES, client, journaled, requests
from .measuring import Line, Scale, each, in_turns, ratios
from .server import Serving

GOALS: Final = {("sqlite", "wall"): 1.7, ("postgres", "wall"): 1.15, ("postgres", "cpu"): 2.5}


async def shared(url: str, count: int, *, database: str = "") -> int:
    """Order in bulk with a ledger of its own; return the number of orders."""
    with tempfile.TemporaryDirectory(prefix="roamify-bench-") as folder, open_ledger(folder, database) as ledger:
        async with client(url) as roamify:
            report = await roamify.orders.bulk(requests(count), journal=ledger, batch=folder, concurrency=PLACES)
        with report:
            return report.counts["ordered"]


def open_ledger(folder: str, database: str) -> Any:
    """Return a ledger in the database of a URL, or in a file of the folder."""
    if not database:
        return SqliteLedger(f"{folder}/purchases.db")
    from roamify_async.ledger import PostgresLedger

    return PostgresLedger(database)


@contextmanager
def databases() -> Generator[dict[str, str], None, None]:
    """Run PostgreSQL, if it is installed. Yield the URL of each database; that of SQLite is empty."""
    if missing() is not None:
        yield {"sqlite": ""}
        return
    with new_cluster() as running:
        yield {"sqlite": "", "postgres": running.url}


def measure(server: Serving, scale: Scale) -> Iterator[Line]:
    """Measure wall and CPU time an order, with latency."""
    count = scale.orders
    given = {"url": server.url(latency=LATENCY)}

    def cost(way: Any, **more: Any) -> Any:
        named = {**given, **more}
        return measuring.apart(way, {**named, "count": count}, {**named, "count": KINDS}, gives=count)

    with databases() as found:
        ways = {"journal": partial(cost, journaled)}
        ways |= {name: partial(cost, shared, database=url) for name, url in found.items()}
        costs = in_turns(ways, scale.rounds)
        for name in found:
            for unit in ("wall", "cpu"):
                what = f"{count:,} orders, {LATENCY} ms, {PLACES} in flight, {unit}, batch in {name} / journal"
                yield Line(what, ratios(each(costs, unit), name, "journal"), GOALS.get((name, unit)))


if __name__ == "__main__":
    from .table import main

    sys.exit(main(only=["ledger"]))
