"""Who calls, and where: the token and the base URL, checked before anything is sent."""

import ipaddress
import os
import re
from typing import Final
from urllib.parse import quote, urlsplit

import attrs

from roamify_async.errors import ConfigurationError
from roamify_async.settings import PRODUCTION

SHORTEST_SECRET: Final = 6
"""Tokens that are shorter stand in too many words to be looked for; no real one is."""
PATH_SAFE: Final = "/%:@!$&'()*+,;=~"
"""What stands in a path as it is; a percent sign is taken for one that encodes already."""


@attrs.frozen
class Access:
    """A token and the place where it is valid."""

    base_url: str
    token: str = attrs.field(repr=False)

    @property
    def host(self) -> str:
        """Host, and the port where it is not the usual one."""
        return urlsplit(self.base_url).netloc

    def redact(self, text: str) -> str:
        """Take the token, and passwords in URLs, out of a text of somebody else's making."""
        if len(self.token) >= SHORTEST_SECRET:
            text = text.replace(self.token, "***")
        return re.sub(r"//[^/@\s]+@", "//***@", text) if "@" in text else text


def access(secret: "Secret", base_url: str | None, *, allow_http: bool) -> Access:
    """Make an ``Access`` of what the caller gave, or of ``ROAMIFY_TOKEN`` and ``ROAMIFY_BASE_URL``.

    Raises ``ConfigurationError``, in whose traceback no token stands.
    """
    problem = secret.problem()
    if problem:
        raise ConfigurationError(problem)
    if base_url is None:
        base_url = os.environ.get("ROAMIFY_BASE_URL") or PRODUCTION
    return Access(_checked_url(base_url, allow_http), secret.value)


class Secret:
    """A token on its way in, given or from ``ROAMIFY_TOKEN``; tracebacks that print local variables do not show it."""

    def __init__(self, given: object) -> None:
        value = os.environ.get("ROAMIFY_TOKEN") if given is None else given
        self.value = value.strip() if isinstance(value, str) else ""
        self._is_text = isinstance(value, str) or value is None

    def problem(self) -> str | None:
        """Say what is wrong with it, without showing it."""
        if not self._is_text:
            return "the token must be text"
        if not self.value:
            return "no token: pass one, or set ROAMIFY_TOKEN. Tokens are the API keys of the partner portal"
        if not self.value.isascii() or not self.value.isprintable() or " " in self.value:
            return "the token holds control characters, spaces or letters of other alphabets: copy it again"
        return None


def _checked_url(url: str, allow_http: bool) -> str:  # noqa: FBT001
    problem = _problem_with(url, allow_http)
    if problem:
        raise ConfigurationError(f"the base URL {problem}")
    parts = urlsplit(url.strip())
    return f"{url.strip().split(':')[0]}://{parts.netloc}{quote(parts.path, safe=PATH_SAFE).rstrip('/')}"


def _problem_with(url: object, allow_http: bool) -> str | None:  # noqa: FBT001, PLR0911
    """Say what is wrong with a base URL. It is not shown: what stands before an @ may be a password."""
    if not isinstance(url, str):
        return "must be text"
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "cannot be read: it looks like https://api.getroamify.com"
    if "@" in parts.netloc:
        return "must not hold a user or password"
    if parts.scheme not in {"http", "https"} or not host:
        return "must begin with https:// and name a host, like https://api.getroamify.com"
    if parts.query or parts.fragment or "?" in url or "#" in url:
        return "must have no query and no fragment"
    if any(character.isspace() or not character.isprintable() for character in url.strip()):
        return "must hold no white space or control characters"
    if parts.scheme == "http" and not allow_http and not _is_loopback(host):
        return (
            "is plain http, which would show the token to everybody on the way: use https, or Settings(allow_http=True)"
        )
    return None


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
