"""The endpoints of top-ups."""

from support.partner import partner_of

PLAIN = "esim-greece-30days-1gb-all"


async def test_a_top_up_adds_data_and_history(partner):
    """A top-up is an order of one item on the same eSIM; allowance and history grow."""
    esim = await partner.applied("esim-greece-30days-1gb-all")
    body = {"iccid": esim["iccid"], "packageId": "esim-greece-7days-1gb-all", "referenceId": "more"}
    order = (await partner.post("/api/esim/order/topup", body))["data"]
    assert [item["esimId"] for item in order["items"]] == [esim["id"]]
    assert order["total"] == partner.sandbox.price("esim-greece-7days-1gb-all")
    assert (await partner.get("/api/esim/usage", iccid=esim["iccid"]))["data"]["allowedData"] == 2048
    history = (await partner.get("/api/esim/history", iccid=esim["iccid"]))["data"]
    assert [item["packageId"] for item in history] == ["esim-greece-30days-1gb-all", "esim-greece-7days-1gb-all"]
    assert history[1] == order["items"][0]
    assert (await partner.get("/api/esim/order", referenceId="more"))["data"] == order
    assert len(partner.sandbox.state()["esims"]) == 1


async def test_a_top_up_must_fit(partner):
    """Another destination, an eSIM that takes none, and unknown names are refused; nothing is debited."""
    esim = await partner.applied("esim-greece-30days-1gb-all")
    fixed = await partner.applied(partner.kind("no_top_up"))
    before = partner.sandbox.state()["balance"]
    body = {"iccid": esim["iccid"], "packageId": "esim-germany-30days-1gb-all"}
    assert (await partner.post("/api/esim/order/topup", body, status=400))["status"] == "failed"
    body = {"iccid": fixed["iccid"], "packageId": partner.kind("no_top_up")}
    assert (await partner.post("/api/esim/order/topup", body, status=400))["status"] == "failed"
    body = {"iccid": "8900", "packageId": "esim-greece-30days-1gb-all"}
    assert (await partner.post("/api/esim/order/topup", body, status=404))["status"] == "failed"
    body = {"iccid": esim["iccid"], "packageId": "nothing"}
    assert (await partner.post("/api/esim/order/topup", body, status=500))["message"] == "Unknown error"
    assert await partner.post("/api/esim/order/topup", {}, status=400) == {"error": '"iccid" is required'}
    assert partner.sandbox.state()["balance"] == before


async def test_top_up_packages_are_nested_and_of_the_same_destination(partner):
    """The list is bare, of data plans of the destination, each in the nested shape, and can be narrowed."""
    esim = await partner.applied("esim-greece-30days-1gb-all")
    offered = (await partner.get("/api/esim/topup/packages", iccid=esim["iccid"]))["data"]
    assert offered
    assert all(package["packageId"].startswith("esim-greece-") for package in offered)
    assert not any(package["call"]["withCall"] for package in offered)
    assert offered[0].keys() == {
        "packageId", "package", "plan", "activation", "day", "price", "withHotspot", "withDataRoaming",
        "withDestinationInstall", "withUsageCheck", "apn", "data", "call", "sms", "notes",
    }  # fmt: skip
    assert offered[0]["data"] == {"isUnlimited": False, "dataAmount": 1024, "dataUnit": "MB"}
    path = "/api/esim/topup/packages"
    week = (await partner.get(path, iccid=esim["iccid"], days="7", gbs="1"))["data"]
    assert [package["packageId"] for package in week] == ["esim-greece-7days-1gb-all"]
    unlimited = (await partner.get(path, iccid=esim["iccid"], isUnlimited="true", gbs="1"))["data"]
    assert {package["data"]["isUnlimited"] for package in unlimited} == {True}
    fixed = await partner.applied(partner.kind("no_top_up"))
    assert fixed["withTopUp"] is False
    assert (await partner.get(path, iccid=fixed["iccid"]))["data"] == []


async def test_offers_can_shrink_by_the_purchase():
    """A package that the eSIM was topped up with is neither offered nor sold to it again; its own package is."""
    async with partner_of(topup_offers="unused") as partner:
        esim, other = await partner.applied(PLAIN), await partner.applied(PLAIN)

        async def offers(esim):
            found = await partner.get("/api/esim/topup/packages", iccid=esim["iccid"])
            return [package["packageId"] for package in found["data"]]

        before = await offers(esim)
        body = {"iccid": esim["iccid"], "packageId": PLAIN}
        await partner.post("/api/esim/order/topup", body)
        assert await offers(esim) == [package_id for package_id in before if package_id != PLAIN] != before
        await partner.post("/api/esim/order/topup", body, status=400)
        assert await offers(other) == before
