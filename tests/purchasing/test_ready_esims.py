"""Purchases return eSIMs with their codes, or an error that has the paid order."""

import json
import pickle

import pytest
from support.servers import Raw, answer, routed

from roamify_async import (
    AsyncRoamify,
    CreateOrder,
    DecodeError,
    Esim,
    EsimsNotReadyError,
    EsimStatus,
    OrderItem,
    Profile,
    ReadyEsim,
    Settings,
)

BARE = {"id": "e1", "status": "NEW"}
READY = {"id": "e1", "iccid": "8900", "status": "READY", "esim": {"lpaCode": "LPA:1$h$c"}}
INSTANT = "/api/esim/order/instant"
QUICK = Settings(check_packages=False, look_first=False, reconcile_window=0.5)


def sent(*values: object):
    """Return responses with these data."""
    return [answer(json.dumps({"status": "success", "data": value})) for value in values]


def order(*esims: object):
    """Return an instant order as JSON."""
    return {"id": "o1", "total": 5, "status": "COMPLETED", "referenceId": "r", "esims": esims}


def asked(server, what):
    """Count the requests of a kind."""
    return sum(request.line.startswith(f"{what} ") or f"{what}?" in request.line for request in server.requests)


async def test_esims_are_ready(either):
    """Each way to buy gives eSIMs whose codes are there."""
    package = "esim-greece-30days-1gb-all"
    bought = await either.esims.buy(package, 2)
    instant = await either.orders.create_instant([OrderItem(package)])
    made = await either.orders.create([OrderItem(package)], reference_id="r")
    applied = await either.esims.apply_order("r")
    again = await either.esims.apply(made.items[0].esim_id)
    report = await either.orders.bulk([CreateOrder([OrderItem(package)])], apply=True)
    esims = [*bought, *instant.esims, *applied, again, *report.lines[0].esims]
    assert len(esims) == 6
    assert {type(esim) for esim in esims} == {ReadyEsim}
    assert all(esim.iccid.isdigit() and esim.esim.lpa_code.startswith("LPA:1$") for esim in esims)
    assert await either.esims.get(iccid=again.iccid) == again


async def test_instant_order_without_codes():
    """An instant order whose eSIM has no codes yet is read until it has, and is not sent again."""
    routes = {
        f"POST {INSTANT}": sent(order(BARE)),
        "GET /api/esim": sent(BARE, READY),
        "POST /api/esim/apply": sent(BARE),
    }
    async with Raw(routed(routes)) as server, AsyncRoamify("token-1", base_url=server.url, settings=QUICK) as client:
        [esim] = (await client.orders.create_instant([OrderItem("p1")], reference_id="r")).esims
        assert (esim.iccid, esim.esim.lpa_code) == ("8900", "LPA:1$h$c")
        assert (asked(server, f"POST {INSTANT}"), client.doubts()) == (1, ())


async def test_instant_order_that_never_gets_codes():
    """Its order is paid and in the error, no doubt is left, and the order is not sent again."""
    failure = answer('{"status": "failed", "message": "no"}', 400)
    routes = {
        f"POST {INSTANT}": sent(order({**READY, "id": "e2"}, BARE)),
        "GET /api/esim": sent({**READY, "id": "e2"}, BARE),
        "POST /api/esim/apply": [failure],
    }
    async with Raw(routed(routes)) as server, AsyncRoamify("token-1", base_url=server.url, settings=QUICK) as client:
        with pytest.raises(EsimsNotReadyError, match="1 of 2 eSIMs are ready; all are paid") as caught:
            await client.orders.create_instant([OrderItem("p1", 2)], reference_id="r")
        error = caught.value
        assert (error.order.id, error.order.total, len(error.esims), len(error.failures)) == ("o1", 5, 1, 1)
        assert error.reference_id == "r"
        assert (asked(server, f"POST {INSTANT}"), client.doubts()) == (1, ())
        assert pickle.loads(pickle.dumps(error)).esims == error.esims


async def test_apply_without_codes():
    """An eSIM whose profile was answered without its codes is read until it has them, and not applied again."""
    routes = {"POST /api/esim/apply": sent(BARE), "GET /api/esim": sent(BARE, READY)}
    async with Raw(routed(routes)) as server, AsyncRoamify("token-1", base_url=server.url) as client:
        assert (await client.esims.apply("e1")).iccid == "8900"
        assert asked(server, "POST /api/esim/apply") == 1


def test_a_ready_esim_is_a_value():
    """It equals an eSIM of the same data, becomes JSON and back, and cannot be without its codes."""
    esim = Esim(id="e1", iccid="8900", status=EsimStatus.READY, esim=Profile(lpa_code="LPA:1$h$c"))
    ready = ReadyEsim.from_json(esim.to_json())
    assert ready == esim
    assert esim == ready
    assert {esim, ready} == {esim}
    assert ready != Esim(id="e1")
    assert ReadyEsim.from_dict(ready.to_dict()) == Esim.from_dict(ready.to_dict())
    assert pickle.loads(pickle.dumps(ready)) == ready
    for bare in ({"id": "e1"}, {**READY, "iccid": ""}, {**READY, "esim": {"lpaCode": ""}}, {**READY, "esim": {}}):
        with pytest.raises(ValueError, match=r"missing|no ICCID yet|no activation code yet"):
            ReadyEsim.from_dict(bare)


async def test_apply_that_never_gets_codes():
    """It ends in an error that says what is missing."""
    routes = {"POST /api/esim/apply": sent(BARE), "GET /api/esim": [answer('{"message": "no"}', 404)]}
    async with Raw(routed(routes)) as server, AsyncRoamify("token-1", base_url=server.url) as client:
        with pytest.raises(DecodeError, match=r"\$\.data\.iccid: missing"):
            await client.esims.apply("e1")
        assert asked(server, "POST /api/esim/apply") == 1
