"""The command ``api``, for what has no command of its own."""

import json
import sys
from decimal import Decimal
from typing import Annotated, Any, Final
from urllib.parse import unquote

from cyclopts import Parameter

from .context import current
from .exits import REFUSED, USAGE, CommandError
from .output import View, show
from .parameters import Flag

MONEY: Final = {
    "/api/esim/order": "buy",
    "/api/esim/order/instant": "buy",
    "/api/esim/order/topup": "topup",
    "/api/esim/vouchers": "vouchers create",
    "/api/insurance/order": "insurance buy",
}
"""Paths that spend money, and the commands that buy there exactly once."""


def api(
    method: Annotated[str, Parameter(name="METHOD")],
    path: Annotated[str, Parameter(name="PATH")],
    /,
    *,
    raw_field: Annotated[list[str] | None, Parameter(name=("--raw-field", "-f"), negative="")] = None,
    field: Annotated[list[str] | None, Parameter(name=("--field", "-F"), negative="")] = None,
    input: Annotated[str | None, Parameter(name="--input", allow_leading_hyphen=True)] = None,
    yes: Flag = False,
) -> None:
    """Send a request to any path of the API, and print the response.

    For example, `roamify api GET /api/esims -f limit=2`. Purchases have commands of their own, which never buy twice.

    Args:
        method: HTTP method.
        path: Path below the base URL, such as `/api/balance`.
        raw_field: `name=text`; a parameter of the query, or with other methods than GET a field of the JSON body. It
            can be repeated.
        field: `name=value`, where the value is JSON, such as `3`, `true` or `[]`. It can be repeated.
        input: File with the JSON body; `-` is the standard input.
        yes: Send a purchase without a question.
    """
    from .purchases import read_json

    context = current()
    is_read = method.upper() in {"GET", "HEAD"}
    fields: dict[str, Any] = {**_split(raw_field), **_typed(_split(field))}
    if input is not None and (is_read or fields):
        raise ValueError("--input is the whole body: it takes no fields, and no GET")
    body = None if is_read else read_json(input) if input is not None else fields
    if not is_read and _endpoint(path) in MONEY and not yes:
        _ask(method, path)
    with context.client() as client:
        params = fields if is_read else None
        show(context, client.request(method, path, params=params, json=body, response_type=object), View())


def _split(fields: list[str] | None) -> dict[str, str]:
    parts = [text.partition("=") for text in fields or ()]
    for name, equals, value in parts:
        if not equals or not name:
            raise ValueError(f"a field must be name=value, not {name + value!r}")
    return {name: value for name, _, value in parts}


def _typed(fields: dict[str, str]) -> dict[str, Any]:
    try:
        return {name: json.loads(text, parse_float=Decimal) for name, text in fields.items()}
    except ValueError:
        raise ValueError(f"--field needs JSON values, not {', '.join(fields.values())}: use -f for text") from None


def _endpoint(path: str) -> str:
    """Return the path as the server may understand it: decoded, in any case, and without a slash at the end."""
    return unquote(path.partition("?")[0]).rstrip("/").lower()


def _ask(method: str, path: str) -> None:
    """Ask whether to send a request that spends money, and that nothing keeps from being made twice."""
    context, command = current(), MONEY[_endpoint(path)]
    if not context.can_ask:
        hint = f"use roamify {command}, or pass --yes"
        raise CommandError(f"{method} {path} spends money, and a repetition spends it again", USAGE, hint)
    sys.stderr.write(f"{method} {path} spends money; roamify {command} would not buy twice. Send it? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise CommandError("nothing was sent", REFUSED)
