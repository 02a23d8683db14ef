"""Whatever is sent is answered in a documented shape, and never with an internal error."""

import json
from io import BytesIO

import pytest
from support.partner import partner_of
from yarl import URL

from roamify_async.sandbox.routes import ROUTES

BODIES = (
    b"[", b"\xff\xfe", b"[" * 100_000, b"9" * 6000, b"null", b"[]", b'""', b"5", b"true", b"{}", b'{"items": NaN}',
    b'{"items": [{"packageId": "x", "quantity": 1e400}]}', b'{"items": [{"packageId": "x", "quantity": -Infinity}]}',
    b'{"items": [[]]}', b'{"items": {}}', b'{"\\ud800": "\\udfff"}', b'{"": 0}',
)  # fmt: skip
VALUES = (
    None, True, 0, -1, 1.5, 1e308, 10**30, "", "\0", "\ud800", "\u0663", "x" * 5000, [], {}, [[]],
    {"a": 1}, "31/12/9999",
)  # fmt: skip
NAMES = {
    "/api/esim/sms": ("iccid", "message"),
    "/api/esim/link": ("iccid", "esimId"),
    "/api/esim/apply": ("esimId", "referenceId", "startDate"),
    "/api/esim/vouchers": ("packageId", "quantity", "referenceId", "notes"),
    "/api/insurance/apply": ("policyId", "startDate", "endDate", "mobile", "email", "insurer"),
}
QUERIES = (
    "page=0", "page=-1", "page=1e9", "page=%D9%A3", "page=1&page=2", "limit=99999999999999999999", "limit=NaN",
    "limit=", "isUnlimited=true&isUnlimited=false", "isUnlimited=TRUE", "iccid=%00", "iccid=%ff", "iccid=%ED%A0%80",
    "iccid=1&iccid=2", "status=%00", "geography=LOCAL&geography=local", "datetime=0001-01-01T00:00:00%2B14:00",
    "from=&to=&interval=", "%00=%00", "=", "day=0&day=1", "policyId=1&policyId=2", "referenceId=%F0%9F%98%80",
    "constructor=1", "source=%ff&source=",
)  # fmt: skip
ERRORS = ({"error"}, {"message", "status"}, {"message", "status", "code"}, {"message", "status", "code", "refundId"})


async def answered(partner, method, url, **given: object):
    """Send an invalid request; assert that the response has a documented shape, and return its status."""
    async with partner.session.request(method, url, **given) as response:
        if response.content_type == "text/html":
            assert (response.status, "Cannot" in await response.text()) == (404, True)
            return response.status
        body = await response.json()
        assert response.status < 500 or body == {"message": "Unknown error", "status": "failed"}, body
        assert response.status < 400 or body.keys() in ERRORS, body
        return response.status


@pytest.fixture
async def partner():
    """Run the smallest sandbox."""
    async with partner_of(packages=20) as made:
        yield made


async def test_bodies(partner):
    """A body that is not JSON, or has a value of another type, is refused or harmless."""
    for method, path in [route for route in ROUTES if route[0] != "GET"]:
        headers = {"Content-Type": "application/json"}
        for body in BODIES:
            assert await answered(partner, method, path, data=body, headers=headers) in {400, 404}
        for kind in ("text/plain", "multipart/form-data; boundary=x", "application/xml", "x"):
            given = {"data": b'{"items": []}', "headers": {"Content-Type": kind}}
            assert await answered(partner, method, path, **given) in {400, 404}
        for name in NAMES.get(path, ("items", "referenceId", "packageId")):
            for value in VALUES:
                body = json.dumps(dict.fromkeys(NAMES.get(path, ()), "x") | {name: value})
                assert await answered(partner, method, path, data=body, headers=headers) >= 400


async def test_queries(partner):
    """Repeated keys, empty names, extreme numbers and invalid encodings are refused or harmless."""
    for path in [path for method, path in ROUTES if method == "GET"]:
        for query in QUERIES:
            await answered(partner, "GET", URL(f"{partner.sandbox.url}{path}?{query}", encoded=True))


PATH_SEGMENTS = ["%00", "%ff", "%ED%A0%80", "%2F", "..", "a" * 4000, "%F0%9F%98%80", "%"]


async def test_names_in_paths(partner):
    """Any text in a path is refused as an unknown voucher or affiliate."""
    for part in PATH_SEGMENTS:
        for method, path in [route for route in ROUTES if "{" in route[1]]:
            start, _, end = path.partition("{")
            url = URL(partner.sandbox.url + start + part + end.partition("}")[2], encoded=True)
            assert await answered(partner, method, url) in {400, 404}


async def test_a_huge_body_is_413(partner):
    """More than a megabyte is not read."""
    assert await answered(partner, "POST", "/api/esim/order", data=BytesIO(b"x" * 2_000_000)) == 413


async def test_a_token_that_is_no_text_is_401(partner):
    """A token with invalid bytes is an invalid token."""
    for token in ["Bearer \xff", "Bearer \udcff", "B\xe9arer", "Bearer", ""]:
        assert await answered(partner, "GET", "/api/balance", headers={"Authorization": token}) == 401
