"""The commands ``webhooks listen``, ``verify`` and ``trigger``."""

import http.client
import json
import os
import sys
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from cyclopts import Parameter

from roamify_async.errors import WebhookError
from roamify_async.webhooks import SIGNATURE_HEADER, parse, sign

from .context import Context, current
from .exits import NO_TOKEN, NOT_SENT, REFUSED, CommandError
from .output import View, show

SECRET: Final = "ROAMIFY_WEBHOOK_SECRET"  # noqa: S105 -- the name of a variable
TIMEOUT: Final = 3.0
"""Seconds that Roamify waits for a receiver."""
LIMIT: Final = 2**20
"""Maximum size of a delivery in bytes."""
NOW: Final = "$now"
EVENTS: Final[Mapping[str, Any]] = {
    "esim.status": {"iccid": "8900000000000000001", "esim_id": "esim-1", "reference_id": "order-4711",
                    "timestamp": NOW, "start": NOW, "end": NOW, "status": "INSTALLED"},
    "esim.usage": {"iccid": "8900000000000000001", "esim_id": "esim-1", "reference_id": "order-4711",
                   "timestamp": NOW, "start": NOW, "end": NOW, "status": "ACTIVATED",
                   "package_id": "esim-greece-7days-1gb-all", "package_name": "1 GB - 7 Days", "data_units": "MB",
                   "voice_units": "minutes", "sms_units": "sms",
                   "usage_data": {"isUnlimited": False, "allowed_data": 1024, "remaining_data": 512,
                                  "allowed_sms": 0, "remaining_sms": 0, "allowed_voice": 0, "remaining_voice": 0},
                   "usage_list": []},
    "partner.low_balance": {"timestamp": NOW, "balance": 24.5, "threshold": 50, "threshold_percentage": 50,
                            "currency": "USD"},
    "partner.top_up": {"timestamp": NOW, "balance": 500, "currency": "USD"},
    "refund.refunded": {"timestamp": NOW, "refund_id": "refund-1", "status": "REFUNDED", "product_type": "esim",
                        "esim_id": "esim-1", "iccid": "8900000000000000001"},
}  # fmt: skip
"""Examples of the data of events, as documented."""


def _secret() -> str:
    secret = os.environ.get(SECRET, "").strip()
    if not secret:
        raise CommandError("no webhook secret", NO_TOKEN, f"set {SECRET}")
    return secret


def listen(*, port: int = 8000, forward_to: str | None = None, count: int | None = None) -> None:
    """Receive webhooks on this machine, and print each event whose signature is right.

    The secret is the value of ROAMIFY_WEBHOOK_SECRET. Roamify calls only public HTTPS addresses, so that a tunnel is
    needed, or `roamify sandbox --webhook-url` as the sender. Ctrl-C ends it.

    Args:
        port: Port on 127.0.0.1; `0` is any free one.
        forward_to: URL of your receiver. Deliveries are passed on unchanged, and its answer is passed back.
        count: End after so many deliveries.
    """
    context, secret = current(), _secret()
    handler = type("Handler", (_Handler,), {"context": context, "secret": secret, "forward_to": forward_to})
    with HTTPServer(("127.0.0.1", port), handler) as server:
        context.say(f"listening at http://127.0.0.1:{server.server_address[1]}", always=True)
        received = 0
        while count is None or received < count:
            server.handle_request()
            received += 1


class _Handler(BaseHTTPRequestHandler):
    context: Context
    secret: str
    forward_to: str | None
    timeout = TIMEOUT

    def do_POST(self) -> None:
        """Check a delivery, print its event, and acknowledge it."""
        length = int(self.headers.get("Content-Length") or 0)
        if length > LIMIT:
            self._reply(413, b'{"code": 413}')
            return
        body, signature = self.rfile.read(length), self.headers.get(SIGNATURE_HEADER, "")
        try:
            event = parse(body, signature, self.secret)
        except WebhookError as error:
            self.context.say(f"refused: {error}")
            self._reply(401, b'{"code": 401}')
            return
        view = View(("event_category", "event_type", "data"))
        show(self.context, json.loads(body), view)
        sys.stdout.flush()
        self.context.debug(f"event {event.key}")
        if self.forward_to is None:
            self._reply(200, b'{"code": 200, "status": "success"}')
        else:
            self._reply(*deliver(self.forward_to, body, signature))

    def _reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Print requests with ``--verbose`` only."""
        self.context.debug(format % args)


def deliver(url: str, body: bytes, signature: str) -> tuple[int, bytes]:
    """Send a delivery, and return the status and the body of the response; 502 if there is none."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT)
    try:
        connection.request("POST", target, body, {"Content-Type": "application/json", SIGNATURE_HEADER: signature})
        response = connection.getresponse()
        return response.status, response.read(LIMIT)
    except (OSError, http.client.HTTPException) as error:
        return 502, json.dumps({"code": 502, "message": f"{type(error).__name__}: {error}"}).encode()
    finally:
        connection.close()


def verify(
    file: Annotated[str, Parameter(name="FILE", allow_leading_hyphen=True)],
    /,
    *,
    signature: str,
) -> None:
    """Check the signature of a delivery with ROAMIFY_WEBHOOK_SECRET, and print its event.

    Args:
        file: The raw body; `-` is the standard input.
        signature: The value of its header X-Roamify-Signature.
    """
    secret = _secret()
    try:
        body = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from None
    parse(body, signature, secret)
    show(current(), json.loads(body), View(("event_category", "event_type", "data")))


def trigger(
    event: Annotated[str, Parameter(name="EVENT")],
    /,
    *,
    to: Annotated[str, Parameter(name="--to")] = "http://127.0.0.1:8000",
) -> None:
    """Send a signed example of an event to a receiver, as Roamify would.

    The events are esim.status, esim.usage, partner.low_balance, partner.top_up and refund.refunded. The secret is the
    value of ROAMIFY_WEBHOOK_SECRET.

    Args:
        event: The event, such as `esim.usage`.
        to: URL of the receiver.
    """
    if event not in EVENTS:
        raise ValueError(f"there is no event {event!r}; there are {', '.join(EVENTS)}")
    if urlsplit(to).scheme not in {"http", "https"}:
        raise ValueError(f"--to must be a URL, not {to!r}")
    secret, context = _secret(), current()
    category, _, kind = event.partition(".")
    now = int(time.time())
    data = {name: now if value == NOW else value for name, value in EVENTS[event].items()}
    body: dict[str, Any] = {"event_category": category, "event_type": kind, "data": data}
    if category == "refund":
        body["event_id"] = f"rfd_{data['refund_id']}_{kind}"
    content = json.dumps(body).encode()
    status, answer = deliver(to, content, sign(content, secret))
    show(context, {"event": event, "status": status, "answer": answer.decode("utf-8", "replace")}, View())
    if status != http.client.OK:
        raise CommandError(
            f"the receiver answered {status}", NOT_SENT if status == http.client.BAD_GATEWAY else REFUSED
        )
