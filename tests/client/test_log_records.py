"""Log records carry facts as attributes, and no personal data."""

import logging

import pytest
from support.clients import QUICK
from support.servers import Raw, answer, answering
from support.shop import PACKAGE, Shop, booked, vain

from roamify_async import AsyncRoamify, NotFoundError, OrderItem, PurchaseInDoubtError

TOKEN = "secret-token"
BALANCE = b'{"status": "success", "data": {"balance": 1, "currency": "USD"}}'


def facts(caplog, part):
    """Return the facts of the only record with this text."""
    (record,) = (record for record in caplog.records if part in record.getMessage())
    assert record.name == "roamify_async"
    return {key: value for key, value in vars(record).items() if key.startswith("roamify_")}


@pytest.fixture(autouse=True)
def level(caplog):
    """Capture every record."""
    caplog.set_level(logging.DEBUG, "roamify_async")


async def test_retries(caplog):
    """Each attempt of a read has its number and outcome."""
    async with (
        Raw(answering(answer("{}", 503), answer(BALANCE))) as server,
        AsyncRoamify(TOKEN, base_url=server.url, settings=QUICK) as client,
    ):
        await client.account.balance()
    nothing = {"roamify_reference_id": None}
    assert facts(caplog, "503; again in") == nothing | {
        "roamify_tries": 1,
        "roamify_sent": "answered",
        "roamify_outcome": "503",
    }
    assert facts(caplog, ": 200")["roamify_tries"] == 2


@pytest.mark.parametrize(("status", "text"), [(404, "404, after 1 try"), (503, "503, after 5 tries")])
async def test_number_of_tries(caplog, status, text):
    """The number of attempts is told in good English."""
    async with (
        Raw(answering(answer("{}", status))) as server,
        AsyncRoamify(TOKEN, base_url=server.url, settings=QUICK) as client,
    ):
        with pytest.raises(Exception, match=str(status)):
            await client.account.balance()
    (record,) = (record for record in caplog.records if ", after" in record.getMessage())
    assert record.getMessage().endswith(text)


async def test_lost_and_found(caplog):
    """A purchase whose response was lost, and that was found, is told at INFO, with its reference."""
    async with Shop(faults=[booked()]) as shop, AsyncRoamify(TOKEN, base_url=shop.url, settings=QUICK) as client:
        await client.orders.create([OrderItem(PACKAGE)], reference_id="mine")
    (record,) = (record for record in caplog.records if "lost response" in record.getMessage())
    assert record.levelno == logging.INFO
    assert facts(caplog, "lost response") == {
        "roamify_reference_id": "mine",
        "roamify_tries": 1,
        "roamify_sent": "maybe",
        "roamify_outcome": "found",
    }


async def test_in_doubt(caplog):
    """The failed attempt of a purchase has its reference too."""
    async with Shop(faults=[vain()]) as shop, AsyncRoamify(TOKEN, base_url=shop.url, settings=QUICK) as client:
        with pytest.raises(PurchaseInDoubtError):
            await client.orders.create([OrderItem(PACKAGE)], reference_id="mine")
    told = facts(caplog, "POST /api/esim/order: lost")
    assert (told["roamify_reference_id"], told["roamify_sent"], told["roamify_outcome"]) == ("mine", "maybe", "lost")


async def test_no_personal_data(client, sandbox, caplog):
    """No record names an ICCID or an activation code."""
    (esim,) = await client.esims.buy(PACKAGE)
    await client.esims.usage(esim.iccid)
    with pytest.raises(NotFoundError):
        await client.esims.get(iccid="8900000000000000000")
    for record in caplog.records:
        text = repr(vars(record))
        assert esim.iccid not in text
        assert "8900000000000000000" not in text
        assert "LPA:" not in text
