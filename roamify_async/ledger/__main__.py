"""Look after a ledger: ``python -m roamify_async.ledger migrate|status|reconcile|purge``."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from typing import Final

from roamify_async.errors import ConfigurationError, RoamifyError

from . import open_ledger
from .rows import Row
from .store import SqlLedger

DAY: Final = 86_400.0
"""Seconds of a day."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m roamify_async.ledger", description="Look after a ledger.")
    commands = parser.add_subparsers(dest="command", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--ledger", help="path or URL of the ledger; by default the value of ROAMIFY_LEDGER")
    commands.add_parser("migrate", parents=[shared], help="create the tables, or bring them to this version")
    commands.add_parser("status", parents=[shared], help="show how many purchases are in which state, and the doubts")
    reconcile = commands.add_parser(
        "reconcile", parents=[shared], help="look up all purchases in doubt; needs ROAMIFY_TOKEN, and buys nothing"
    )
    reconcile.add_argument("--window", type=float, help="seconds for which each is looked up; 30 by default")
    purge = commands.add_parser("purge", parents=[shared], help="delete old purchases that are not in doubt")
    purge.add_argument("--days", type=float, required=True, help="delete what ended more than this number of days ago")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Run a command, and return the exit code: 1 if it failed, or if purchases are still in doubt."""
    options = _parser().parse_args(arguments)
    try:
        ledger = open_ledger(options.ledger)
        if not isinstance(ledger, SqlLedger):
            raise ConfigurationError("no ledger: pass --ledger, or set ROAMIFY_LEDGER")
        with ledger:
            return _run(options, ledger)
    except RoamifyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace, ledger: SqlLedger) -> int:
    if options.command == "migrate":
        ledger.migrate()
        print(f"{ledger!r} is ready")
        return 0
    if options.command == "purge":
        print(f"{ledger.purge(options.days * DAY)} purchases were deleted")
        return 0
    if options.command == "reconcile":
        return asyncio.run(_reconcile(ledger, options.window))
    for status, count in ledger.counts().items():
        print(f"{status.replace('_', ' ')}: {count}")
    for account, spent in ledger.spent().items():
        print(f"spent or reserved of account {account}: {spent}")
    doubts = ledger.doubts()
    for row in doubts:
        print(f"in doubt: {_text(row)}")
    return 1 if doubts else 0


async def _reconcile(ledger: SqlLedger, window: float | None) -> int:
    """Look up the purchases in doubt, one after the other."""
    from roamify_async.client import AsyncRoamify, reconcile_purchase
    from roamify_async.settings import Settings

    unresolved = 0
    settings = Settings() if window is None else Settings(reconcile_window=window)
    async with AsyncRoamify(ledger=ledger, settings=settings) as roamify:
        for row in await asyncio.to_thread(ledger.doubts):
            try:
                booked = await reconcile_purchase(roamify, row)
            except RoamifyError as error:
                unresolved += 1
                print(f"in doubt: {_text(row)}: {type(error).__name__}: {error}")
            else:
                print(f"found: {_text(row)}, booked as {booked.id}")
    return 1 if unresolved else 0


def _text(row: Row) -> str:
    ago = "" if row.sent_ago is None else f", sent {row.sent_ago:.0f} s ago"
    error = "" if row.error is None else f", {row.error}"
    packages = " ".join(f"{count}x {name}" for name, count in row.quantities().items())
    return f"{row.kind} {row.reference!r} ({packages}){ago}{error}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
