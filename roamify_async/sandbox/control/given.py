"""What the body of a request to the control plane may hold; a ValueError becomes a 400."""

from ipaddress import ip_address
from typing import cast

from roamify_async.sandbox.data.packages import Json


def only(given: Json, *allowed: str) -> None:
    """Insist that nothing else is given."""
    unknown = given.keys() - set(allowed)
    if unknown:
        raise ValueError(f"unknown {', '.join(sorted(map(repr, unknown)))}: give {', '.join(allowed) or 'nothing'}")


def texts(given: Json, name: str) -> list[str]:
    """Understand a list of packageIds."""
    found: object = given.get(name, [])
    if isinstance(found, list) and all(isinstance(text, str) for text in cast("list[object]", found)):
        return cast("list[str]", found)
    raise ValueError(f"{name} must be a list of packageIds, not {found!r}")


def near(peer: str | None) -> bool:
    """Whether a peer is on this machine."""
    try:
        return peer is not None and ip_address(peer).is_loopback
    except ValueError:
        return False
