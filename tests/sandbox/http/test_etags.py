"""Weak ETags and conditional requests, as Express answers them."""

import pytest
from support.partner import partner_of

PACKAGES = "/api/esim/packages"


async def ask(session, path, **headers: str):
    """Send a GET; return status, ETag and body."""
    async with session.get(path, headers=headers) as response:
        return response.status, response.headers.get("ETag"), await response.read()


async def test_an_unchanged_response_is_a_304_without_a_body(sandbox, session):
    """The ETag is weak, and holds until the response changes."""
    status, etag, body = await ask(session, PACKAGES)
    assert (status, etag[:4]) == (200, f'W/"{len(body):x}'[:4])
    for header in (etag, etag.removeprefix("W/"), f'"other", {etag}', "*"):
        assert await ask(session, PACKAGES, **{"If-None-Match": header}) == (304, etag, b"")
    sandbox.set_price(sandbox.catalogue[0]["packages"][0]["packageId"], "77.70")
    status, newer, body = await ask(session, PACKAGES, **{"If-None-Match": etag})
    assert (status, newer == etag, b"77.7" in body) == (200, False, True)


async def test_other_versions_get_the_whole_response(session):
    """So do clients that want no cached one, and errors have ETags but are never a 304."""
    _, etag, body = await ask(session, PACKAGES)
    assert await ask(session, PACKAGES, **{"If-None-Match": 'W/"other"'}) == (200, etag, body)
    fresh = {"If-None-Match": etag, "Cache-Control": "no-cache"}
    assert await ask(session, PACKAGES, **fresh) == (200, etag, body)
    status, etag, _ = await ask(session, "/api/esim?esimId=nobody")
    assert status == 404
    assert (await ask(session, "/api/esim?esimId=nobody", **{"If-None-Match": etag}))[0] == 404


@pytest.mark.parametrize("path", ["/_sandbox/state", "/openapi.json"])
async def test_only_the_api_has_them(session, path):
    """The sandbox's own pages have none."""
    assert (await ask(session, path))[1] is None


async def test_they_can_be_turned_off():
    """Then each response is whole."""
    async with partner_of(etags=False) as partner:
        for _ in range(2):
            status, etag, body = await ask(partner.session, PACKAGES, **{"If-None-Match": "*"})
            assert (status, etag, len(body) > 0) == (200, None, True)
