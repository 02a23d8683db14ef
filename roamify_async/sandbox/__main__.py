"""Run a sandbox from the command line until it is told to stop."""

import argparse
import asyncio
import json
import signal
import sqlite3
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

from .data.generator import LARGEST, SMALLEST
from .faults.rules import FAULTS
from .sandbox import Sandbox


def _parser() -> argparse.ArgumentParser:
    faults = "\n".join(f"  {name:<13} {text}" for name, text in FAULTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m roamify_async.sandbox",
        description="A stand-in for Roamify's partner API on this machine. Prints one line of JSON with its url,"
        " token and webhookSecret, then serves until it is interrupted or terminated.",
        epilog=textwrap.dedent("""\
            control plane (no token): GET /_sandbox/state, GET|POST|DELETE /_sandbox/faults, POST /_sandbox/reset,
            POST /_sandbox/esims, POST /_sandbox/catalogue, POST /_sandbox/refunds, POST /_sandbox/refunds/decide,
            POST /_sandbox/vouchers/redeem, GET|POST /_sandbox/clock, POST /_sandbox/balance, GET|POST|DELETE
            /_sandbox/webhooks, POST /_sandbox/webhooks/send, POST /_sandbox/affiliate; and a page for a browser at /.
            Refunds are asked for and decided, and vouchers redeemed, with
              {"esimId": id, "reason": text}, {"refundId": id, "status": "REFUNDED", "reason": text}, {"code": code}
            Time is moved forward, and the balance added to, with
              {"advance": "4h"}, {"add": "100.00"}
            Webhooks go to a URL of this machine, are sent again or made up, and an affiliate is told of an order, with
              {"url": URL}, {"id": number}, {"event": {...}}, {"orderId": id, "status": "completed"}
            The catalogue is changed with
              {"remove": [packageId, ...], "add": [packageId, ...], "reprice": {packageId: "1.23", ...}}
            and a fault is scripted with
              {"method": "POST", "path": "/api/esim/order", "query": {}, "fault": "drop", "when": "after",
               "times": 1, "probability": 1.0, "seconds": 0}
            for the next so many requests of that method and path whose query has all these pairs; `*` is any method
            or path, and null times is for ever. Before it strikes, the request is carried out (after) or not (before).

            faults:
            """)
        + faults,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--host", help="loopback address to listen on (127.0.0.1)")
    add("--port", type=int, help="port to listen on; 0 is any free one (8787)", default=8787)
    add("--db", metavar="FILE", help="SQLite file that keeps balance, orders, eSIMs and the rest over a restart")
    add("--packages", type=int, metavar="N", help=f"size of the catalogue, {SMALLEST} to {LARGEST} (28000)")
    add("--seed", type=int, metavar="N", help="another seed makes another catalogue (0)")
    add("--balance", metavar="X", help="the partner's balance in dollars (1000.00)")
    add("--token", help="the token to accept (a fixed, obviously fake one)")
    add("--webhook-secret", metavar="SECRET", help="the secret to sign webhooks with (a fixed, fake one)")
    add("--latency", type=float, metavar="S", help="seconds before each answer of the API (0)")
    add("--page-counts", choices=("packages", "destinations"), help="what pageSize counts (packages)")
    add("--totals", nargs="?", const=True, type=int, metavar="N", help="send totals with each page; N claims N")
    add("--past-end", choices=("empty", "last", "not_found"), help="the page after the last one (empty)")
    add("--duplicate-reference", choices=("accept", "conflict"), help="a referenceId used twice (accept)")
    add("--instant-order-shows", choices=("items", "esims"), help="what an instant order holds when read (items)")
    add("--apply-needs-esim-id", action="store_true", help="refuse to apply by referenceId alone")
    add("--low-balance", metavar="X", help="dollars from which on the partner is warned; 0 never warns (100.00)")
    add("--webhook-url", metavar="URL", help="a receiver on this machine to send signed events to (none)")
    add("--webhook-timeout", type=float, metavar="S", help="seconds in which a receiver acknowledges (3)")
    add("--webhook-retry-after", type=_waits, metavar="S,S", help="seconds before each further try (1,5)")
    add("--webhook-types", choices=("plain", "prefixed"), help="event types such as usage, or esim_usage (plain)")
    add("--webhook-usage-list", choices=("data", "usage_data"), help="where usage_list stands in an event (data)")
    add("--event-path", choices=("event", "events"), help="the path of eSIM events that is served (event)")
    add("--event-envelope", action="store_true", help="put eSIM events under data")
    add("--usage-dates", choices=("YYYYMMDD", "YYYY-MM-DD"), help="how the days of usage are written (YYYYMMDD)")
    add("--usage-units", choices=("MB", "KB"), help="data in MB and calls in minutes, or KB and seconds (MB)")
    add("--sms-answer", choices=("data", "message"), help="what answers a sent message (data)")
    add("--link-again", choices=("same", "new"), help="the second link of an eSIM (same)")
    add("--refund-key", choices=("refundId", "id"), help="what a refund request calls its id (refundId)")
    add("--rates-bare", dest="rates_envelope", action="store_false", help="currencies and rates without data around")
    add("--rates-need-pair", action="store_true", help="refuse rates without source and target")
    add("--no-vouchers", dest="vouchers", action="store_false", help="the token may not use vouchers")
    add("--voucher-package", dest="voucher_packages", metavar="ID", action="append", help="allow it; repeatable (all)")
    add("--voucher-mint-limit", type=int, metavar="N", help="the most vouchers that are made of one batch (10)")
    add("--policy-takes", type=float, metavar="S", help="seconds until an applied policy is issued (0)")
    add("--affiliate", metavar="NAME", help="the name of the affiliate catalogue (sandbox)")
    add("--fault", dest="faults", metavar="JSON", action="append", type=_json, help="start with a fault; repeatable")
    add("--no-compress", dest="compress", action="store_false", help="never gzip an answer")
    return parser


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON: {error}") from None


def _waits(text: str) -> list[float]:
    try:
        return [float(seconds) for seconds in text.split(",") if seconds]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of seconds such as '1,5'") from None


async def _serve(sandbox: Sandbox) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with sandbox:
        about = {"url": sandbox.url, "token": sandbox.token, "webhookSecret": sandbox.webhook_secret}
        print(json.dumps(about), flush=True)
        await stop.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sandbox; give the exit code."""
    parser = _parser()
    chosen: dict[str, Any] = vars(parser.parse_args(arguments))
    try:
        asyncio.run(_serve(Sandbox(**chosen)))
    except (ValueError, OSError, sqlite3.Error) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
