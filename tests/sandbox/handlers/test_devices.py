"""The endpoint of compatible devices."""


async def test_devices_are_a_bare_list_of_texts(partner):
    """Each compatible device has the five texts."""
    devices = (await partner.get("/api/compatible-devices"))["data"]
    assert 50 <= len(devices) <= 90
    assert all(device.keys() == {"model", "deviceType", "os", "brand", "name"} for device in devices)
    assert all(isinstance(value, str) and value for device in devices for value in device.values())
