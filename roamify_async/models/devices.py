"""Devices that support eSIMs."""

import attrs

from ._value import Value


@attrs.frozen(eq=False, repr=False)
class ListDevices(Value):
    """Return the devices that support eSIMs.

    See: https://docs.getroamify.com/esims/compatible-devices/
    """


@attrs.define(kw_only=True, eq=False, repr=False)
class Device(Value):
    """A device, or several models with one name."""

    model: str = ""
    """Model; several models are separated by ``" / "``."""
    device_type: str | None = None
    """Such as ``"smartphone"``; the set of values is not documented."""
    os: str | None = None
    """Such as ``"android"``; the set of values is not documented."""
    brand: str | None = None
    name: str | None = None
