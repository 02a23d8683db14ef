"""Vouchers are minted once, a batch that came short says so, and nothing wrong is sent."""

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from support.clients import QUICK, WrongCall, check_refused
from support.servers import Raw, answer, routed

from roamify_async import (
    AsyncRoamify,
    ConflictError,
    CreateVouchers,
    PurchaseInDoubtError,
    ServerError,
    Voucher,
    VoucherBatch,
)
from roamify_async._core import concurrency
from roamify_async._serde.envelope import encode
from roamify_async.purchasing import look_up
from roamify_async.purchasing.classify import CLOCK_SKEW, judge_found
from roamify_async.sandbox import Sandbox

PLAIN = "esim-greece-30days-1gb-all"
OTHER = "esim-germany-30days-1gb-all"
MINT = "POST /api/esim/vouchers"
LISTED = "GET /api/esim/vouchers"
BUSY = answer('{"message": "Vouchers cannot be issued now", "status": "failed"}', 503)
TAKEN = answer('{"message": "referenceId already used", "status": "failed"}', 409)
NOW = datetime(2027, 7, 1, 12, 0, 0, tzinfo=UTC)


# ---------------------------------------------------------------- what goes out


@pytest.mark.parametrize("quantity", [1, 10])
def test_quantity(quantity):
    """From 1 to 10 vouchers can be asked for; one where nothing is said, and that goes out as well."""
    assert CreateVouchers(PLAIN, quantity=quantity).packages() == {PLAIN: quantity}
    body = encode(CreateVouchers(PLAIN), "POST", "/api/esim/vouchers").body
    assert body is not None
    assert json.loads(body) == {"packageId": PLAIN, "quantity": 1}


WRONG: dict[str, WrongCall] = {
    "no vouchers": (lambda c: c.vouchers.create(PLAIN, quantity=0), ValueError, "quantity must be at least 1"),
    "too many": (lambda c: c.vouchers.create(PLAIN, quantity=11), ValueError, "at most 10, not 11.*several calls"),
    "half a voucher": (lambda c: c.vouchers.create(PLAIN, quantity=1.5), TypeError, "quantity must be a whole"),
    "a flag": (lambda c: c.vouchers.create(PLAIN, quantity=True), TypeError, "quantity must be a whole number"),
    "text": (lambda c: c.vouchers.create(PLAIN, quantity="2"), TypeError, "quantity must be a whole number"),
    "no package": (lambda c: c.vouchers.create(""), ValueError, "package_id must not be empty"),
    "an empty reference": (lambda c: c.vouchers.create(PLAIN, reference_id=" "), ValueError, "reference_id"),
    "notes that are none": (lambda c: c.vouchers.create(PLAIN, notes=["a"]), TypeError, "notes"),
    "a limit of nothing": (lambda c: c.vouchers.list(limit=0), ValueError, "limit must be at least 1"),
    "an empty status": (lambda c: c.vouchers.list(status=""), ValueError, "status must not be empty"),
    "no id": (lambda c: c.vouchers.get(""), ValueError, "voucher_id must not be empty"),
    "an id that leads up": (lambda c: c.vouchers.get(".."), ValueError, "voucher_id must be one segment"),
    "an id that leads nowhere": (lambda c: c.vouchers.revoke("."), ValueError, "voucher_id must be one segment"),
    "an id that is a path": (lambda c: c.vouchers.revoke("../order"), ValueError, "voucher_id must be one segment"),
    "a code that is a path": (lambda c: c.vouchers.get_by_code("A/B"), ValueError, "code must be one segment"),
    "a code that is a number": (lambda c: c.vouchers.get_by_code(12), TypeError, "code must be text"),
}


async def test_wrong_arguments(either, sandbox):
    """A wrong argument raises ``TypeError`` or ``ValueError`` that names it, and nothing is sent."""
    await check_refused(either, sandbox, WRONG)


# ---------------------------------------------------------------- what a batch is


def batch(*packages: str, asked: int = 2, created: datetime | None = NOW) -> VoucherBatch:
    """Make a batch of vouchers of some packages."""
    vouchers = tuple(Voucher(id=f"v-{n}", package_id=package, created_at=created) for n, package in enumerate(packages))
    return VoucherBatch(reference_id="r", requested_quantity=asked, quantity=len(vouchers), vouchers=vouchers)


@pytest.mark.parametrize(("minted", "missing"), [(0, 3), (1, 2), (3, 0), (4, 0)])
def test_missing(minted, missing):
    """A batch tells how many vouchers are missing, in its ``repr`` too."""
    short = batch(*[PLAIN] * minted, asked=3)
    assert short.missing == missing
    lacking = f", {missing} missing" if missing else ""
    assert repr(short).endswith(f"{minted} voucher{'' if minted == 1 else 's'}{lacking}>")


def test_when_a_batch_was_made():
    """A batch is as old as its first voucher; where one does not say, it is not known."""
    first, second = batch(PLAIN), batch(PLAIN, created=NOW + CLOCK_SKEW)
    both = VoucherBatch(requested_quantity=2, quantity=2, vouchers=second.vouchers + first.vouchers)
    assert both.created_at == NOW
    both.vouchers[0].created_at = None
    assert both.created_at is None
    assert batch().created_at is None


@pytest.mark.parametrize(
    ("packages", "ours"),
    [
        ((PLAIN,), True),
        ((PLAIN, PLAIN), True),
        ((), False),
        ((PLAIN, PLAIN, PLAIN), False),
        ((PLAIN, OTHER), False),
        ((OTHER,), False),
    ],
)
def test_whose_batch_it_is(packages, ours):
    """A batch is the purchase where it holds its package only, as often as asked for or less, and never more."""
    request = CreateVouchers(PLAIN, quantity=2, reference_id="r")
    assert bool(judge_found([batch(*packages)], request).ours) is ours


def test_older_batch_is_not_ours():
    """A batch that is older than a purchase which nobody looked up first is foreign, and so is one of unknown age."""
    request, limit = CreateVouchers(PLAIN, quantity=2, reference_id="r"), NOW - CLOCK_SKEW
    assert judge_found([batch(PLAIN, created=limit)], request, not_before=limit).ours
    for created in (NOW - 1.01 * CLOCK_SKEW, None):
        assert judge_found([batch(PLAIN, created=created)], request, not_before=limit).foreign
        assert judge_found([batch(PLAIN, created=created)], request).ours


# ---------------------------------------------------------------- settling, answer by answer


BLIND = QUICK.changed(check_packages=False, look_first=False)
"""Settings under which a purchase is sent at once."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch) -> None:
    """Look up again sooner than a real server should be asked."""
    monkeypatch.setattr(concurrency, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(look_up, "FIRST_PAUSE", 0.01)


def voucher(number: int, package_id: str = PLAIN, reference_id: str = "r", age: int = 0) -> dict[str, Any]:
    """Write a voucher as the server does."""
    made = int(time.time()) - age
    return {
        "id": f"v-{number}", "code": f"A1B2C3D4E5F{number}", "status": "ACTIVE", "referenceId": reference_id,
        "packageId": package_id, "price": 1.1, "currency": "USD", "notes": "", "createdAt": made, "updatedAt": made,
    }  # fmt: skip


def listed(*vouchers: dict[str, Any]) -> bytes:
    """Write a list of vouchers as the server does."""
    return answer(json.dumps({"status": "success", "data": {"referenceId": "r", "vouchers": vouchers}}))


def minted(asked: int, *vouchers: dict[str, Any]) -> bytes:
    """Write the answer to a purchase as the server does."""
    batch = {"referenceId": "r", "requestedQuantity": asked, "quantity": len(vouchers), "vouchers": vouchers}
    return answer(json.dumps({"status": "success", "data": batch}), 201)


def count(server: Raw, route: str) -> int:
    """Count the requests of a kind."""
    return sum(asked.line.startswith(f"{route} ") or asked.line.startswith(f"{route}?") for asked in server.requests)


Stage = Callable[..., AbstractAsyncContextManager[tuple[Raw, AsyncRoamify]]]


@pytest.fixture
def stage() -> Stage:
    """Have a server that answers purchases and look-ups as told, and a client of it."""

    @asynccontextmanager
    async def play(mints: list[bytes], looks: list[bytes]) -> AsyncIterator[tuple[Raw, AsyncRoamify]]:
        async with (
            Raw(routed({MINT: mints, LISTED: looks})) as server,
            AsyncRoamify("token", base_url=server.url, settings=BLIND) as client,
        ):
            yield server, client

    return play


async def test_short_batch(stage):
    """A batch that came short is given as it came: nothing is looked up, and nothing is minted again."""
    async with stage([minted(3, voucher(1), voucher(2))], []) as (server, client):
        short = await client.vouchers.create(PLAIN, quantity=3, reference_id="r")
    assert (short.requested_quantity, short.quantity, short.missing) == (3, 2, 1)
    assert [one.id for one in short.vouchers] == ["v-1", "v-2"]
    assert len(server.requests) == 1


@pytest.mark.parametrize("failure", [BUSY, TAKEN, b"", answer("{"), answer("", 500)], ids=range(5))
async def test_batch_is_looked_up(stage, failure):
    """Whatever hides the answer, our batch is looked up by its reference, and minted once."""
    async with stage([failure], [listed(voucher(2), voucher(1))]) as (server, client):
        found = await client.vouchers.create(PLAIN, quantity=2, reference_id="r")
    assert (found.requested_quantity, found.quantity, found.missing, found.reference_id) == (2, 2, 0, "r")
    assert [one.id for one in found.vouchers] == ["v-2", "v-1"]
    assert (count(server, MINT), count(server, LISTED)) == (1, 1)
    assert server.requests[1].line.startswith("GET /api/esim/vouchers?referenceId=r ")


async def test_batch_that_is_being_minted(stage):
    """A batch that is found short is looked at until it is whole: what is missing may be under way."""
    growing = [listed(voucher(1)), listed(voucher(1)), listed(voucher(2), voucher(1)), listed()]
    async with stage([BUSY], growing) as (server, client):
        found = await client.with_settings(reconcile_window=30).vouchers.create(PLAIN, quantity=2, reference_id="r")
    assert (found.quantity, found.missing) == (2, 0)
    assert (count(server, MINT), count(server, LISTED)) == (1, 3)


async def test_batch_that_stays_short(stage):
    """A batch that is found short and stays so until the window has passed is given, and says what is missing."""
    async with stage([BUSY], [listed(voucher(1))]) as (server, client):
        found = await client.vouchers.create(PLAIN, quantity=2, reference_id="r")
    assert (found.quantity, found.missing) == (1, 1)
    assert count(server, MINT) == 1


async def test_minted_twice(stage):
    """More vouchers than were asked for mean that they were minted twice: all are reported, and none given."""
    async with stage([BUSY], [listed(*(voucher(number) for number in range(4)))]) as (_, client):
        with pytest.raises(PurchaseInDoubtError, match="under its reference there are v-0 v-1 v-2 v-3") as caught:
            await client.vouchers.create(PLAIN, quantity=2, reference_id="r")
    assert [one.id for batch in caught.value.found for one in batch.vouchers] == ["v-0", "v-1", "v-2", "v-3"]


async def test_minted_twice_while_it_is_looked_at(stage):
    """A short batch that grows beyond what was asked for is reported."""
    growing = [listed(voucher(1)), listed(voucher(3), voucher(2), voucher(1))]
    async with stage([BUSY], growing) as (_, client):
        with pytest.raises(PurchaseInDoubtError, match="there are v-3 v-2 v-1") as caught:
            await client.with_settings(reconcile_window=30).vouchers.create(PLAIN, quantity=2, reference_id="r")
    assert [found.id for found in caught.value.found] == ["v-3 v-2 v-1"]


STRANGE = {
    "another package": voucher(7, OTHER),
    "another reference": voucher(7, reference_id="R"),
    "no reference": voucher(7, reference_id=""),
    "long ago": voucher(7, age=400),
}


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE)
async def test_another_batch_under_the_reference(stage, strange):
    """Vouchers that are not the purchase are named, and never given out for it; nothing is minted beside them."""
    async with stage([TAKEN, BUSY], [listed(strange)]) as (server, client):
        with pytest.raises(ConflictError, match="there are other orders under this reference: v-7"):
            await client.vouchers.create(PLAIN, quantity=2, reference_id="r")
        resending = client.with_settings(on_doubt="look_up_then_resend")
        with pytest.raises(PurchaseInDoubtError, match="under its reference there are v-7") as caught:
            await resending.vouchers.create(PLAIN, quantity=2, reference_id="r")
    assert [found.id for found in caught.value.found] == ["v-7"]
    assert count(server, MINT) == 2


async def test_nothing_under_the_reference(stage):
    """What is not there stays in doubt, and the error says how to look it up; the next call looks for it first."""
    async with stage([BUSY], [listed()]) as (server, client):
        for _ in range(2):
            with pytest.raises(PurchaseInDoubtError, match=r"vouchers\.list\(reference_id='r'\)") as caught:
                await client.vouchers.create(PLAIN, quantity=2, reference_id="r")
            assert (caught.value.reference_id, caught.value.package_ids) == ("r", (PLAIN,))
    assert count(server, MINT) == 1


async def test_sent_again_after_a_proven_absence(stage):
    """Where that is allowed, a batch that is not there is minted by a second call with the same reference."""
    answers = [BUSY, minted(2, voucher(2), voucher(1))]
    looks = [listed(), listed(voucher(2), voucher(1))]
    async with stage(answers, looks) as (server, client):
        allowed = client.with_settings(on_doubt="look_up_then_resend", reconcile_window=0)
        made = await allowed.vouchers.create(PLAIN, quantity=2, reference_id="r")
    assert made.quantity == 2
    sent = [asked.body for asked in server.requests if asked.line.startswith(MINT)]
    assert len(sent) == 2
    assert sent[0] == sent[1]


async def test_500_is_no_typo(stage):
    """A 500 leaves a doubt: the catalogue is not asked, for it does not say what may be minted."""
    async with stage([answer('{"message": "Unknown error", "status": "failed"}', 500)], [listed()]) as (server, client):
        with pytest.raises(PurchaseInDoubtError) as caught:
            await client.vouchers.create(PLAIN, reference_id="r")
    assert isinstance(caught.value.reason, ServerError)
    assert {asked.line.split("?")[0].split(" ")[1] for asked in server.requests} == {"/api/esim/vouchers"}


async def test_own_reference(stage):
    """Without a reference the client makes one, which is the same in the purchase and in its look-up."""
    async with stage([BUSY], [listed()]) as (server, client):
        with pytest.raises(PurchaseInDoubtError) as caught:
            await client.vouchers.create(PLAIN)
    assert json.loads(server.requests[0].body)["referenceId"] == caught.value.reference_id
    assert server.requests[1].line.startswith(f"{LISTED}?referenceId={caught.value.reference_id} ")


async def test_revoking_is_not_repeated(stage):
    """A revocation whose answer is lost is not sent again."""
    route = "PUT /api/esim/voucher/v-1/revoke"
    async with (
        Raw(routed({route: [BUSY]})) as server,
        AsyncRoamify("token", base_url=server.url, settings=BLIND) as client,
    ):
        with pytest.raises(ServerError):
            await client.vouchers.revoke("v-1")
    assert [asked.body for asked in server.requests] == [b"{}"]


# ---------------------------------------------------------------- against the sandbox


async def test_partial_mint_behind_a_dead_line(client):
    """A batch that came short and whose answer was lost is found, with what is missing; nothing more is minted."""
    async with Sandbox(packages=300, voucher_mint_limit=2) as sandbox:
        sandbox.fail("POST", "/api/esim/vouchers", "drop", when="after")
        async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=client.settings) as roamify:
            batch = await roamify.vouchers.create(PLAIN, quantity=3, reference_id="r")
        assert (batch.quantity, batch.missing) == (2, 1)
        assert {voucher.id for voucher in batch.vouchers} == {voucher["id"] for voucher in sandbox.state()["vouchers"]}
        assert sandbox.state()["requests"][MINT] == 1


async def test_life_of_a_voucher(either, sandbox):
    """A voucher is found by its id and its code, and revoked once, for good."""
    (voucher,) = (await either.vouchers.create(PLAIN, notes="lobby")).vouchers
    assert await either.vouchers.get(voucher.id) == voucher
    assert await either.vouchers.get_by_code(f" {voucher.code.lower()[:6]}-{voucher.code[6:]}") == voucher
    assert await either.vouchers.list(status="ACTIVE", limit=1) == (voucher,)
    assert str((await either.vouchers.revoke(voucher.id)).status) == "CANCELLED"
    with pytest.raises(ConflictError):
        await either.vouchers.revoke(voucher.id)
    assert [str(one.status) for one in await either.vouchers.list()] == ["CANCELLED"]


@pytest.mark.parametrize(("first", "second"), [(4, 2), (10, 3), (6, 2)])
async def test_reference_of_a_larger_batch(either, sandbox, first, second):
    """A reference that stands for more vouchers is refused, named, and leaves no doubt behind."""
    batch = await either.vouchers.create(PLAIN, quantity=first, reference_id="r")
    for package in (PLAIN, OTHER):
        with pytest.raises(ConflictError, match=batch.vouchers[0].id):
            await either.vouchers.create(package, quantity=second, reference_id="r")
    assert len(sandbox.state()["vouchers"]) == first
