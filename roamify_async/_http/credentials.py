"""The token and the base URL, which are checked before anything is sent."""

import ipaddress
import os
import re
from typing import Final
from urllib.parse import quote, urlsplit

import attrs

from roamify_async.errors import ConfigurationError
from roamify_async.settings import PRODUCTION

MIN_REDACTED: Final = 6
"""Minimum length of a token that is redacted. Shorter ones occur in ordinary text; real tokens are longer."""
PATH_SAFE: Final = "/%:@!$&'()*+,;=~"
"""Characters that are not percent-encoded in a path. A percent sign is taken as the start of an escape."""


class HiddenText(str):
    """Text with a blank ``repr``, for local variables in the frames of other libraries, which tracebacks may show."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return a placeholder."""
        return "'***'"


@attrs.frozen
class Credentials:
    """A token and its base URL."""

    base_url: str
    token: str = attrs.field(repr=False)

    @property
    def host(self) -> str:
        """Host, with the port if the base URL contains one."""
        return urlsplit(self.base_url).netloc

    def redact(self, text: str) -> str:
        """Return *text* with the token, and passwords in URLs, replaced."""
        if len(self.token) >= MIN_REDACTED:
            text = text.replace(self.token, "***")
        return re.sub(r"//[^/@\s]+@", "//***@", text) if "@" in text else text


class Token:
    """The token that the caller passed, or that of ``ROAMIFY_TOKEN``.

    It is wrapped in a class, so that tracebacks with local variables do not show it.
    """

    def __init__(self, given: object) -> None:
        value = os.environ.get("ROAMIFY_TOKEN") if given is None else given
        self.value = value.strip() if isinstance(value, str) else ""
        self._is_text = isinstance(value, str) or value is None

    def problem(self) -> str | None:
        """Return what is wrong with the token, without showing it, or ``None``."""
        if not self._is_text:
            return "the token must be text"
        if not self.value:
            return "no token: pass one, or set ROAMIFY_TOKEN. Tokens are the API keys of the partner portal"
        if not self.value.isascii() or not self.value.isprintable() or " " in self.value:
            return "the token contains whitespace, control or non-ASCII characters; copy it again"
        return None


def resolve_credentials(token: Token, base_url: str | None, *, allow_http: bool) -> Credentials:
    """Return the credentials of the caller's arguments and of the environment.

    Raises ``ConfigurationError`` for an invalid token or base URL. Its traceback does not contain the token.
    """
    problem = token.problem()
    if problem:
        raise ConfigurationError(problem)
    if base_url is None:
        base_url = os.environ.get("ROAMIFY_BASE_URL") or PRODUCTION
    return Credentials(_checked_url(base_url, allow_http), token.value)


def _checked_url(url: str, allow_http: bool) -> str:  # noqa: FBT001
    problem = _url_problem(url, allow_http)
    if problem:
        raise ConfigurationError(f"the base URL {problem}")
    parts = urlsplit(url.strip())
    return f"{url.strip().split(':')[0]}://{parts.netloc}{quote(parts.path, safe=PATH_SAFE).rstrip('/')}"


def _url_problem(url: object, allow_http: bool) -> str | None:  # noqa: FBT001, PLR0911
    """Return what is wrong with a base URL, without showing it, since it may contain a password; or ``None``."""
    if not isinstance(url, str):
        return "must be text"
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "cannot be parsed: it looks like https://api.getroamify.com"
    if "@" in parts.netloc:
        return "must not contain a user or password"
    if parts.scheme not in {"http", "https"} or not host:
        return "must begin with https:// and name a host, like https://api.getroamify.com"
    if parts.query or parts.fragment or "?" in url or "#" in url:
        return "must have no query and no fragment"
    if any(character.isspace() or not character.isprintable() for character in url.strip()):
        return "must not contain whitespace or control characters"
    if parts.scheme == "http" and not allow_http and not is_loopback(host):
        return "is plain http, which would expose the token in transit: use https, or Settings(allow_http=True)"
    return None


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
