"""The affiliate catalogue, and path parameters."""

from support.partner import partner_of

FIELDS = {
    "id", "name", "price", "validity", "plan", "dataAmount", "dataUnit", "data", "isUnlimited", "isActivated",
    "withKyc", "withTopUp", "withSMS", "withCall", "withHotspot", "smsUnit", "callUnit", "smsLabel", "callLabel",
    "smsAmount", "callAmount", "coverages", "networks", "signals", "link",
}  # fmt: skip


async def test_everything_that_is_sold_is_listed_in_other_words(partner):
    """The packages are those of the catalogue, with a referral link, and region holds the geography."""
    groups = (await partner.get("/api/esim/sandbox/packages"))["data"]["packages"]
    assert groups[0].keys() == {"id", "countryName", "countryCode", "region", "packages"}
    assert {group["region"] for group in groups} == {"local", "regional", "global"}
    packages = [package for group in groups for package in group["packages"]]
    assert len(packages) == len({package["id"] for package in packages}) == 300
    assert all(package.keys() == FIELDS and "sandbox" in package["link"] for package in packages)
    greece = next(group for group in groups if group["countryName"] == "Greece")
    first = greece["packages"][0]
    assert (first["name"], first["validity"], first["data"]) == ("1 GB - 30 Days", 30, "1 GB")
    assert first["price"] == partner.sandbox.price("esim-greece-30days-1gb-all")
    assert next(package["data"] for package in packages if package["isUnlimited"]) == "Unlimited"


async def test_the_name_is_the_affiliates_own():
    """Any other name is a 404."""
    async with partner_of(affiliate="me-2") as partner:
        assert (await partner.get("/api/esim/me-2/packages"))["status"] == "success"
        for name in ("sandbox", "me", "%25", "a b", "é"):
            assert (await partner.get(f"/api/esim/{name}/packages", status=404))["status"] == "failed"


async def test_paths_without_names_come_first():
    """An affiliate of an unlucky name does not shadow the top-up packages."""
    async with partner_of(affiliate="topup") as partner:
        answer = await partner.get("/api/esim/topup/packages", status=400)
        assert answer == {"error": '"iccid" is required'}


INVALID_PATHS = ["/api/esim//packages", "/api/esim/a/b/packages", "/api/esim/voucher//revoke"]


async def test_a_name_is_one_part_of_a_path(partner):
    """An empty part and two parts are no name."""
    for path in INVALID_PATHS:
        assert "Cannot GET" in await partner.get(path, status=404)
