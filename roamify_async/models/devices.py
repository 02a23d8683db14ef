"""Devices that support eSIMs."""

import attrs


@attrs.frozen
class ListDevices:
    """List the devices that can hold an eSIM; ``/compatible-devices``."""


@attrs.define(kw_only=True)
class Device:
    """A device, or several of one name."""

    model: str = ""
    """May name several, with " / " between them."""
    device_type: str | None = None
    os: str | None = None
    brand: str | None = None
    name: str | None = None
