"""The command ``doctor``, which examines what a call needs, from the inside out."""

import os
import platform
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from roamify_async.errors import RoamifyError
from roamify_async.settings import PRODUCTION

from .accounts import Account, config_file, resolve
from .context import Context, current
from .exits import NO_TOKEN, NOT_SENT, CommandError
from .output import View, show

CHECKS: Final = View.of("check ok found")
PACKAGES: Final = ("roamify-async", "aiohttp", "cyclopts")
PROXIES: Final = ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy", "NO_PROXY", "no_proxy")
MAX_SKEW: Final = 60.0
"""Seconds by which the clock may differ from the server's."""
TIMEOUT: Final = 10.0
"""Seconds for a connection."""


@attrs.frozen(kw_only=True)
class Check:
    """One thing that was examined."""

    check: str
    ok: bool
    found: str


def doctor() -> int:
    """Examine versions, profiles, key, proxy, name resolution, TLS, the API, the clock, and the balance.

    The exit code is 0 if all is well, 3 if there is no key or it is refused, and else 5.
    """
    context = current()
    checks = list(_sandboxed(context) if context.choice.sandbox else _checks(context))
    show(context, checks, CHECKS)
    failed = [check.check for check in checks if not check.ok]
    if not failed:
        return 0
    context.say(f"look at: {', '.join(failed)}", always=True)
    return NO_TOKEN if failed == ["key"] else NOT_SENT


def _sandboxed(context: Context) -> Iterator[Check]:
    yield _versions()
    with context.account() as account:
        yield from _api(account)


def _checks(context: Context) -> Iterator[Check]:
    yield _versions()
    yield Check(check="profiles", ok=True, found=f"{config_file()}{'' if config_file().exists() else ' (none)'}")
    yield _proxy()
    account = Account(token="", base_url=context.choice.base_url, source="nowhere")
    try:
        account = resolve(context.choice)
        yield Check(check="source", ok=True, found=f"the key is from {account.source}")
    except CommandError as error:
        yield Check(check="key", ok=False, found=str(error))
    url = account.base_url or os.environ.get("ROAMIFY_BASE_URL") or PRODUCTION
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    yield _tried("DNS", lambda: _addresses(parts.hostname or "", port))
    if parts.scheme == "https":
        yield _tried("TLS", lambda: _certificate(parts.hostname or "", port))
    yield from _api(attrs.evolve(account, base_url=url))


def _versions() -> Check:
    found = [f"Python {platform.python_version()}", platform.system()]
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} ?")
    return Check(check="versions", ok=sys.version_info >= (3, 11), found=", ".join(found))


def _proxy() -> Check:
    """Report proxies of the environment, without their passwords."""
    found = [name for name in PROXIES if os.environ.get(name)]
    text = f"{', '.join(found)} set; the client uses no proxy of the environment" if found else "none"
    return Check(check="proxy", ok=True, found=text)


def _tried(name: str, examine: Callable[[], str]) -> Check:
    try:
        return Check(check=name, ok=True, found=examine())
    except OSError as error:
        return Check(check=name, ok=False, found=f"{type(error).__name__}: {error}")


def _addresses(host: str, port: int) -> str:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return f"{host}: {', '.join(sorted({str(address[4][0]) for address in found}))}"


def _certificate(host: str, port: int) -> str:
    context = ssl.create_default_context()
    with (
        socket.create_connection((host, port), TIMEOUT) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        certificate: dict[str, Any] = secure.getpeercert() or {}
        return f"{secure.version()}, certificate valid until {certificate.get('notAfter', '?')}"


def _api(account: Account) -> Iterator[Check]:
    """Call the API, and if there is a key the account, and compare the clocks."""
    from roamify_async import Retries, Roamify, Settings, capture_responses

    settings = Settings(retries=Retries(tries=1))
    with (
        Roamify(account.token or "no-token", base_url=account.base_url, settings=settings) as client,
        capture_responses() as responses,
    ):
        for name, call in (("API", client.service.health), ("key", client.account.balance)):
            if name == "key" and not account.token:
                continue
            try:
                found = call()
                yield Check(check=name, ok=True, found=account.base_url or "" if name == "API" else str(found))
            except RoamifyError as error:
                yield Check(check=name, ok=False, found=str(error))
    dates = [response.headers["date"] for response in responses if "date" in response.headers]
    if dates:
        skew = (datetime.now(UTC) - parsedate_to_datetime(dates[-1])).total_seconds()
        yield Check(check="clock", ok=abs(skew) <= MAX_SKEW, found=f"{skew:+.0f} s from the server's")
