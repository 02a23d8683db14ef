"""The catalogue of an affiliate."""

import json
from decimal import Decimal

import pytest
from support.servers import Raw, answer, answering

from roamify_async import AsyncRoamify, DecodeError, NotFoundError
from roamify_async.sandbox import Sandbox

GROUP = {"id": "g", "countryCode": "GR", "region": "local", "packages": [{"id": "p", "price": 1.10, "withSMS": True}]}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("trips", "trips"),
        ("Åland trips", "%C3%85land%20trips"),
        ("a?b#c%2F", "a%3Fb%23c%252F"),
        ("...", "..."),
        ("a\\b", "a%5Cb"),
    ],
)
async def test_path(opened, name, path):
    """The name is quoted as one segment of the path."""
    async with Raw(answering(answer(json.dumps({"status": "success", "data": {"packages": [GROUP]}})))) as server:
        client = await opened(server.url)
        (destination,) = await client.affiliates.packages(name)
        (request,) = server.requests
    assert request.line == f"GET /api/esim/{path}/packages HTTP/1.1"
    (package,) = destination.packages
    assert (destination.region, package.price, package.with_sms) == ("local", Decimal("1.10"), True)


@pytest.mark.parametrize("name", ["", " ", ".", "..", "a/b", "/", "../order", 5, None])
async def test_invalid_name(name):
    """A name that would lead to another path is refused before anything is sent."""
    async with Raw(answering(answer())) as server, AsyncRoamify("secret-token", base_url=server.url) as client:
        with pytest.raises(TypeError if name in (5, None) else ValueError, match="unique_name must"):
            await client.affiliates.packages(name)
        assert server.connections == 0


async def test_invalid_price():
    """A price that is no number is named with its path."""
    body = json.dumps({"data": {"packages": [GROUP, {"packages": [{"id": "p", "price": "free"}]}]}})
    async with Raw(answering(answer(body))) as server, AsyncRoamify("secret-token", base_url=server.url) as client:
        with pytest.raises(DecodeError) as caught:
            await client.affiliates.packages("trips")
        assert caught.value.problems == ('$.data.packages[1].packages[0].price: a number expected, not "free"',)


async def test_catalogue(opened):
    """An affiliate's catalogue has the packages on sale, with links of its own; an unknown name is not found."""
    async with Sandbox(packages=300, affiliate="trips") as sandbox:
        client = await opened(sandbox.url, sandbox.token)
        destinations = await client.affiliates.packages("trips")
        sold = await client.packages.list()
        offered = [package for destination in destinations for package in destination.packages]
        assert sorted(package.price for package in offered) == sorted(package.price for package in sold)
        assert {destination.country_name for destination in destinations} == {
            destination.country_name for destination in sold.destinations
        }
        assert all(package.link.endswith("?ref=trips") for package in offered)
        with pytest.raises(NotFoundError):
            await client.affiliates.packages("others")
