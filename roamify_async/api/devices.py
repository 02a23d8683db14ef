"""Devices that support eSIMs."""

from typing import Final

from roamify_async._core.endpoint import Endpoint, Mode, Resource, resource
from roamify_async.models.devices import Device, ListDevices


@resource
class Devices(Resource[Mode]):
    """Devices that support eSIMs."""

    list: Final = Endpoint("GET", "/api/compatible-devices", ListDevices, tuple[Device, ...])
    """Return the devices that support eSIMs."""
