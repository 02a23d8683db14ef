"""The proxy for a URL, from the environment variables that curl and requests read. ``.netrc`` is not read."""

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from roamify_async._validation import proxy_problem
from roamify_async.errors import ConfigurationError

_PORTS: Final = {"http": 80, "https": 443}


def proxy_of_environment(url: str) -> str | None:
    """Return the proxy for *url*, or ``None`` if there is none, or ``NO_PROXY`` names the host.

    A proxy without a scheme, such as ``127.0.0.1:3128``, is an HTTP proxy. Raises ``ConfigurationError`` for a proxy
    that cannot be used, since a request that bypasses it may be unwanted.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    proxies = getproxies()
    proxy = proxies.get(parts.scheme)
    if not proxy or is_bypassed(host, port, proxies.get("no", "")) or proxy_bypass(host):
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    problem = proxy_problem(proxy)
    if problem:
        raise ConfigurationError(f"the proxy in {parts.scheme.upper()}_PROXY {problem}")
    return proxy


def is_bypassed(host: str, port: int, no_proxy: str) -> bool:
    """Return whether ``NO_PROXY`` names a host.

    Entries are separated by commas or spaces: a name, which includes its subdomains, with or without a leading dot or
    ``*.``; an address; a network such as ``10.0.0.0/8``; any of the first two with a port; or ``*`` for all hosts.
    """
    return any(_matches(host, port, entry) for entry in re.split(r"[,\s]+", no_proxy.lower()) if entry)


def _matches(host: str, port: int, entry: str) -> bool:
    if entry == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:  # One of them is a name, or has a port.
        pass
    with_port = re.fullmatch(r"(.*):(\d+)", entry)
    if with_port is not None and int(with_port[2]) != port:
        return False
    name = (with_port[1] if with_port else entry).strip("[]").removeprefix("*").strip(".")
    return bool(name) and (host == name or host.rstrip(".").endswith(f".{name}"))
