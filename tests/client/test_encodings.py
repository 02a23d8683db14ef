"""JSON is read in any encoding, whatever the headers say about it."""

import pytest
from support.clients import QUICK
from support.servers import Raw, answer, answering

from roamify_async import AsyncRoamify

TEXT = '{"status": "success", "data": {"countries": [{"code": "AX", "name": "Åland"}]}}'
TYPES = [
    "application/json",
    "text/html",
    "application/json; charset=latin-1",
    "application/json; charset=no-such-charset",
    "application/json; charset=utf-16",
    "",
]


@pytest.mark.parametrize("content_type", TYPES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
async def test_json(encoding, content_type):
    """The encoding is told by the first bytes, with a byte order mark or without; the headers have no say."""
    given = answer(TEXT.encode(encoding), Content_Type=content_type)
    async with Raw(answering(given)) as server, AsyncRoamify("secret-token", base_url=server.url) as client:
        (country,) = await client.countries.list()
        assert country.name == "Åland"
        assert (await client.request("GET", "/api/esim/countries"))["data"]["countries"][0]["name"] == "Åland"
        assert len(server.requests) == 2


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
async def test_message_of_an_error(encoding):
    """So is the message of an error."""
    given = answer('{"message": "kein Å"}'.encode(encoding), 403, Content_Type="text/html")
    async with (
        Raw(answering(given)) as server,
        AsyncRoamify("secret-token", base_url=server.url, settings=QUICK) as client,
    ):
        with pytest.raises(Exception, match="kein Å"):
            await client.account.balance()
