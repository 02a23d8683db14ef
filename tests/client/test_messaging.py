"""Links and text messages: created once, and read from any response."""

import json

import pytest
from support.servers import Raw, answer, answering

from roamify_async import (
    AsyncRoamify,
    BadRequestError,
    ConnectionLostError,
    DecodeError,
    EsimLink,
    NotFoundError,
    ServerError,
    SmsReceipt,
)
from roamify_async.sandbox import Sandbox

ICCID = "8985100000000001234"


@pytest.mark.parametrize(
    ("body", "receipt"),
    [
        ('{"status": "success"}', SmsReceipt(status="success", raw={"status": "success"})),
        ('{"message": "queued"}', SmsReceipt(message="queued", raw={"message": "queued"})),
        ('{"status": {"a": 1}}', SmsReceipt(raw={"status": {"a": 1}})),
        ("[1]", SmsReceipt(raw=[1])),
        ("null", SmsReceipt()),
        ("sent", SmsReceipt(raw="sent")),
        ("", SmsReceipt(raw="")),
        ('{"status": "suc', SmsReceipt(raw='{"status": "suc')),
    ],
)
async def test_any_receipt(opened, body, receipt):
    """A message that was accepted is never an error, whatever the response, and is sent once."""
    async with Raw(answering(answer(body))) as server:
        client = await opened(server.url)
        assert await client.esims.send_sms(ICCID, "Καλώς ήρθες") == receipt
        (request,) = server.requests
    assert (request.line, json.loads(request.body)) == (
        "POST /api/esim/sms HTTP/1.1",
        {"iccid": ICCID, "message": "Καλώς ήρθες"},
    )


async def hang_up(connection):
    """Close the connection after a request."""
    await connection.request()


@pytest.mark.parametrize("call", ["send_sms", "link"])
@pytest.mark.parametrize(
    ("play", "kind", "sent"),
    [
        (hang_up, ConnectionLostError, "maybe"),
        (answering(answer("{}", 500)), ServerError, "answered"),
        (answering(answer('{"error": "\\"iccid\\" is required"}', 400)), BadRequestError, "answered"),
    ],
)
async def test_sent_once(opened, call, play, kind, sent):
    """A message or link that may have been created is not requested again."""
    async with Raw(play) as server:
        client = await opened(server.url)
        with pytest.raises(kind) as caught:
            await (client.esims.send_sms(ICCID, "hi") if call == "send_sms" else client.esims.link(iccid=ICCID))
        assert (caught.value.sent, len(server.requests)) == (sent, 1)


@pytest.mark.parametrize("code", ["0412", "000000", 412])
async def test_access_code(opened, code):
    """The access code is text with its zeros, and stays out of the ``repr``."""
    data = {"link": "https://esims.link/x", "accessCode": code}
    async with Raw(answering(answer(json.dumps({"status": "success", "data": data})))) as server:
        client = await opened(server.url)
        link = await client.esims.link(esim_id="e")
    assert link == EsimLink(link="https://esims.link/x", access_code=str(code))
    assert str(code) not in repr(link)
    assert json.loads(server.requests[0].body) == {"esimId": "e"}


async def test_missing_link():
    """A response without a link is a ``DecodeError``."""
    async with (
        Raw(answering(answer('{"status": "success", "data": {"key": "K"}}'))) as server,
        AsyncRoamify("secret-token", base_url=server.url) as client,
    ):
        with pytest.raises(DecodeError) as caught:
            await client.esims.link(iccid=ICCID)
        assert caught.value.problems == ("$.data.link: missing",)


@pytest.mark.parametrize(("iccid", "message"), [("", "hi"), (ICCID, ""), (ICCID, "  ")])
async def test_required_arguments(iccid, message):
    """A message needs a receiver and a text, and a link exactly one id."""
    async with AsyncRoamify("secret-token") as client:
        with pytest.raises(ValueError, match="must not be empty"):
            await client.esims.send_sms(iccid, message)
        with pytest.raises(ValueError, match="exactly one of iccid, esim_id"):
            await client.esims.link()


@pytest.mark.parametrize("options", [{}, {"sms_answer": "message", "link_again": "new"}])
async def test_travellers(opened, options):
    """A message is delivered each time it is sent, and a link is created, for either reading of the contract."""
    async with Sandbox(packages=300, **options) as sandbox:
        client = await opened(sandbox.url, sandbox.token)
        (esim,) = await client.esims.buy("esim-greece-30days-1gb-all")
        for text in ("Γειά", "Γειά"):
            assert (await client.esims.send_sms(esim.iccid, text)).status == "success"
        assert [(sent["esimId"], sent["message"]) for sent in sandbox.state()["messages"]] == [(esim.id, "Γειά")] * 2
        link = await client.esims.link(iccid=esim.iccid)
        assert (link.iccid, link.esim_id, len(link.access_code)) == (esim.iccid, esim.id, 4)
        assert link.link.endswith(link.key)
        again = await client.esims.link(esim_id=esim.id)
        assert (again == link) == ("link_again" not in options)
        with pytest.raises(NotFoundError):
            await client.esims.send_sms("8900", "hi")
