"""Events of an eSIM, with and without an envelope, from the paths of both documentations."""

import json

import pytest
from support.servers import Raw, answer, answering

from roamify_async import (
    AsyncRoamify,
    AuthenticationError,
    EsimEvent,
    EventStatus,
    NotFoundError,
    OrderItem,
    ServerError,
)
from roamify_async.sandbox import Sandbox

PACKAGE = "esim-greece-30days-1gb-all"
ICCID = "8985100000000001234"
EVENTS = {
    "iccid": ICCID,
    "esimId": "e",
    "referenceId": "r",
    "events": [{"iccid": ICCID, "status": "PAUSED", "timeStamp": 1756528208, "dateTime": "2025-08-30 04:30:08"}, {}],
    "locations": [{"name": "Greece", "km": 1.5}, "Crete"],
}
NO_ROUTE = answer("<pre>Cannot GET /api/esim/event</pre>", 404, Content_Type="text/html")
NO_ESIM = answer('{"message": "eSIM not found", "status": "failed"}', 404)


@pytest.mark.parametrize("body", [EVENTS, {"status": "success", "data": EVENTS}, {"data": EVENTS}])
async def test_envelope(opened, body):
    """The events are read with or without an envelope."""
    async with Raw(answering(answer(json.dumps(body)))) as server:
        client = await opened(server.url)
        events = await client.esims.events(iccid=ICCID)
    assert (events.iccid, events.esim_id, events.reference_id) == (ICCID, "e", "r")
    assert str(events.events[0].status) == "PAUSED"
    assert events.events[0].time_stamp == events.events[0].date_time
    assert events.events[1] == EsimEvent(status=EventStatus.UNKNOWN)
    assert [str(place) for place in events.locations] == ["{'name': 'Greece', 'km': Decimal('1.5')}", "Crete"]


@pytest.mark.parametrize("wrap", [lambda parts: parts, lambda parts: {"status": "success", "data": parts}])
async def test_events_of_several_esims(opened, wrap):
    """An array with the events of several eSIMs of an order is joined; each event has its ICCID."""
    parts = [
        {"iccid": f"89{n}", "esimId": f"e-{n}", "referenceId": "r", "events": [{"status": "NEW"}], "locations": [n]}
        for n in range(2)
    ]
    async with Raw(answering(answer(json.dumps(wrap(parts))))) as server:
        events = await (await opened(server.url)).esims.events(reference_id="r")
    assert (events.iccid, events.esim_id, events.reference_id) == (None, None, "r")
    assert [event.iccid for event in events.events] == ["890", "891"]
    assert events.locations == (0, 1)


@pytest.mark.parametrize("arguments", [{"iccid": ICCID}, {"esim_id": "e"}, {"reference_id": "r"}])
async def test_other_path(opened, arguments):
    """If the server does not know the path, the older path is requested with the same query."""
    async with Raw(answering(NO_ROUTE, answer(json.dumps(EVENTS)))) as server:
        client = await opened(server.url)
        assert (await client.esims.events(**arguments)).iccid == ICCID
    first, second = (request.line.split(" ")[1].partition("?") for request in server.requests)
    assert (first[0], second[0], first[2]) == ("/api/esim/event", "/api/esim/events", second[2])


@pytest.mark.parametrize("body", ['{"message": "eSIM not found"}', '{"error": "eSIM not found"}'])
async def test_missing_esim(opened, body):
    """A 404 of the API itself is about the eSIM, and raised at once."""
    async with Raw(answering(answer(body, 404))) as server:
        client = await opened(server.url)
        with pytest.raises(NotFoundError, match=r"eSIM not found \[404, GET /api/esim/event\]"):
            await client.esims.events(esim_id="e")
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("second", "kind", "path"),
    [
        (NO_ROUTE, NotFoundError, "/api/esim/event"),
        (NO_ESIM, NotFoundError, "/api/esim/events"),
        (answer("{}", 401), AuthenticationError, "/api/esim/events"),
    ],
)
async def test_neither_path(second, kind, path):
    """If the server knows neither path, the error is that of the documented one; otherwise that of the known one."""
    async with Raw(answering(NO_ROUTE, second)) as server, AsyncRoamify("secret-token", base_url=server.url) as client:
        with pytest.raises(kind) as caught:
            await client.esims.events(iccid=ICCID)
        assert (caught.value.path, len(server.requests)) == (path, 2)


async def test_other_failures(client, sandbox):
    """Every other failure is raised as it is."""
    sandbox.fail("GET", "/api/esim/event", "500", times=5)
    with pytest.raises(ServerError) as caught:
        await client.esims.events(iccid=ICCID)
    assert caught.value.path == "/api/esim/event"


@pytest.mark.parametrize("arguments", [{}, {"iccid": ICCID, "esim_id": "e"}, {"reference_id": ""}])
async def test_exactly_one_id(arguments):
    """Exactly one id must be given."""
    async with AsyncRoamify("secret-token") as client:
        with pytest.raises(ValueError, match=r"exactly one of iccid, esim_id, reference_id|must not be empty"):
            await client.esims.events(**arguments)


@pytest.mark.parametrize("options", [{}, {"event_path": "events"}, {"event_envelope": True}])
async def test_life(opened, options):
    """The events of an eSIM are returned for each of its ids, from either path."""
    async with Sandbox(packages=300, **options) as sandbox:
        client = await opened(sandbox.url, sandbox.token)
        (bought,) = (await client.orders.create([OrderItem(PACKAGE)], reference_id="r")).items
        esim = await client.esims.apply(bought.esim_id)
        await client.request("POST", "/_sandbox/esims", json={"esimId": esim.id, "status": "INSTALLED"})
        life = await client.esims.events(iccid=esim.iccid)
        assert (life.iccid, life.esim_id, life.reference_id) == (esim.iccid, esim.id, "r")
        assert life.events[-1].status == EventStatus.INSTALLED
        assert life.events[-1].eid
        assert all(event.time_stamp == event.date_time for event in life.events)
        assert await client.esims.events(esim_id=esim.id) == life
        assert await client.esims.events(reference_id="r") == life
        with pytest.raises(NotFoundError):
            await client.esims.events(iccid="8900")
