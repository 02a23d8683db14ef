"""Responses with one corrupted field."""

import json

import aiohttp
import pytest

from roamify_async.sandbox import Sandbox

ORDER, PACKAGES = "/api/esim/order", "/api/esim/packages"
BODY = {"items": [{"packageId": "esim-greece-30days-1gb-all", "quantity": 1}]}
SPOILING = ["missing_field", "extra_field", "null_field", "wrong_type"]


async def read(session, path, **given: object):
    """Read one answer as JSON."""
    async with session.request("POST" if given else "GET", path, **given) as response:
        return json.loads(await response.text())


def kind(value):
    """Name the JSON type of a value."""
    return "number" if type(value) in {int, float} else type(value).__name__


def differences(right, wrong, at=()):
    """List what is different: the place, what happened there, and the value that is there now."""
    if isinstance(right, dict) and isinstance(wrong, dict):
        for name in [*right, *(wrong.keys() - right.keys())]:
            if name not in wrong:
                yield (*at, name), "missing_field", None
            elif name not in right:
                yield (*at, name), "extra_field", wrong[name]
            else:
                yield from differences(right[name], wrong[name], (*at, name))
    elif isinstance(right, list) and isinstance(wrong, list):
        assert len(right) == len(wrong) or wrong == []
        for position, (one, other) in enumerate(zip(right, wrong, strict=True)):
            yield from differences(one, other, (*at, position))
    elif kind(right) != kind(wrong):
        yield at, "null_field" if wrong is None else "wrong_type", wrong
    else:
        assert right == wrong


@pytest.mark.parametrize("fault", SPOILING)
async def test_one_field_is_corrupted_somewhere_in_the_data(sandbox, session, fault):
    """Each answer differs from the right one in one field, at many places and depths, and the envelope is whole."""
    path = f"{PACKAGES}?pageSize=3"
    right = await read(session, path)
    sandbox.fail("GET", PACKAGES, fault, times=None)
    places, values = set(), set()
    for _ in range(60):
        [(place, what, value)] = differences(right, await read(session, path))
        assert what == fault
        assert place[0] == "data"
        places.add(place)
        values.add(json.dumps(value))
    assert len(places) > 5
    assert len({len(place) for place in places}) >= 3
    assert len(values) == (5 if fault == "wrong_type" else 1)


async def test_corruption_is_seeded():
    """The same seed spoils the same fields in the same sequence; another seed others."""

    async def spoiled(seed):
        async with Sandbox(packages=100, seed=seed, faults=[{"fault": "missing_field", "times": 8}]) as sandbox:
            headers = {"Authorization": f"Bearer {sandbox.token}"}
            async with aiohttp.ClientSession(sandbox.url, headers=headers) as session:
                answers = [await read(session, "/api/esim/countries") for _ in range(9)]
        return [next(differences(answers[-1], answer))[0] for answer in answers[:-1]]

    first = await spoiled(1)
    assert first == await spoiled(1)
    assert first != await spoiled(2)


async def test_an_order_stays_only_after(sandbox, session):
    """The response is an order with one field corrupted; it is booked and paid only with when=after."""
    for when in ["before", "after"]:
        for fault in SPOILING:
            sandbox.reset()
            right = (await read(session, ORDER, json=BODY))["data"]
            sandbox.reset()
            sandbox.fail("POST", ORDER, fault, when=when)
            wrong = (await read(session, ORDER, json=BODY))["data"]
            assert {(at, kind(value)) for at, value in leaves(right)} != {
                (at, kind(value)) for at, value in leaves(wrong)
            }
            state = sandbox.state()
            assert (len(state["orders"]), len(state["esims"])) == (int(when == "after"),) * 2
            assert (state["balance"] == "1000.00") == (when == "before")


def leaves(value, at=()):
    """List every field and entry with its place."""
    yield at, value
    if isinstance(value, dict | list):
        for name, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(part, (*at, name))


async def test_a_response_without_data_is_corrupted_at_the_top(sandbox, session):
    """A refusal and a bare answer lose a field of their own; a list without objects loses nothing."""
    order = await read(session, ORDER, json=BODY)
    events = f"/api/esim/event?esimId={order['data']['items'][0]['esimId']}"
    nobody = "/api/esims?referenceId=unknown"
    right = await read(session, events)
    sandbox.fail("*", "*", "missing_field", times=3)
    assert await read(session, f"{PACKAGES}?page=x") == {}
    [(_, what, _)] = differences(right, await read(session, events))
    assert what == "missing_field"
    assert await read(session, nobody) == {"status": "success", "data": []}
    sandbox.fail("*", "*", "extra_field", times=3)
    assert await read(session, nobody) == {"status": "success", "data": []}
    health = await read(session, "/api/health")
    assert health["data"].pop("unknownField") == "unknown"
    assert health == await read(session, "/api/health") | {"data": health["data"]}
