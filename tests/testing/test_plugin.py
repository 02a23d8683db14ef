"""The pytest plugin in runs of pytest: fixtures, the marker, real hosts, reports, and what it imports."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SYNC = """
import os
import pytest
from roamify_async import OrderItem, Roamify

PACKAGE = "esim-greece-30days-1gb-all"

def test_client(roamify, roamify_sandbox):
    order = roamify.orders.create([OrderItem(PACKAGE)], reference_id="order-1")
    (booked,) = roamify_sandbox.orders
    assert (booked.id, booked.total, booked.reference_id) == (order.id, order.total, "order-1")
    assert len(roamify_sandbox.requests("POST", "/api/esim/order")) == 1

def test_each_test_has_a_new_account(roamify_sandbox):
    assert roamify_sandbox.orders == roamify_sandbox.requests() == ()
    with Roamify() as roamify:
        assert roamify.account.balance().balance == roamify_sandbox.balance == 1000
    roamify_sandbox.balance = "0.50"

def test_the_environment(roamify_sandbox):
    names = ("ROAMIFY_TOKEN", "ROAMIFY_BASE_URL", "ROAMIFY_WEBHOOK_SECRET")
    expected = [roamify_sandbox.token, roamify_sandbox.url, roamify_sandbox.webhook_secret]
    assert [os.environ[name] for name in names] == expected
    assert roamify_sandbox.balance == 1000

def test_the_environment_is_restored():
    assert {name for name in os.environ if name.startswith("ROAMIFY")} <= {"ROAMIFY_LEDGER"}

@pytest.fixture
def shop():
    with Roamify() as roamify:
        yield roamify

@pytest.mark.roamify(balance="0.50", packages=200, totals=True, token="another-token")
class TestMarker:
    def test_options_hold_before_other_fixtures(self, shop):
        assert str(shop.account.balance().balance) == "0.5"
        assert shop.packages.page().total == 200

    @pytest.mark.roamify(balance=7, faults=[{"method": "GET", "path": "/api/balance", "fault": "503"}])
    def test_the_closest_marker_takes_precedence(self, shop, roamify_sandbox):
        assert shop.account.balance().balance == 7
        assert (roamify_sandbox.token, len(roamify_sandbox.requests("GET", "/api/balance"))) == ("another-token", 2)

def test_options_end_with_the_test(roamify_sandbox):
    assert (roamify_sandbox.balance, roamify_sandbox.token) == (1000, "roamify_sandbox_not_a_real_token")

@pytest.mark.parametrize("balance", [1, pytest.param(2, marks=pytest.mark.roamify(balance=2))])
@pytest.mark.roamify(balance=1)
def test_parameters(balance):
    with Roamify() as roamify:
        assert roamify.account.balance().balance == balance

def test_replaced_call(roamify, monkeypatch):
    monkeypatch.setattr(roamify.account, "balance", lambda: 42)
    assert roamify.account.balance() == 42

def test_a_client_that_was_closed(roamify):
    roamify.close()

def test_settings(roamify):
    assert roamify.settings.reconcile_window < 1
"""


def test_fixtures(run, monkeypatch, tmp_path):
    """Each test has an account of its own, which clients without arguments use; the marker sets its options.

    A ledger of the environment, which may be a real one, is left alone.
    """
    monkeypatch.setenv("ROAMIFY_LEDGER", str(tmp_path / "no" / "such" / "folder" / "ledger.db"))
    run(SYNC).assert_outcomes(passed=12)


@pytest.mark.long
def test_xdist(run):
    """The plugin works in several processes, each with a server of its own."""
    result = run(SYNC, "-p", "xdist.plugin", "-p", "xdist.looponfail", "-n", "2")
    result.assert_outcomes(passed=12)


ASYNC = """
import asyncio
import gc
import pytest
from roamify_async import AsyncRoamify, Roamify

{marks}

{mark}
async def test_with_block(async_roamify):
    async with async_roamify as client:
        assert (await client.account.balance()).balance == 1000

{mark}
async def test_first_use(async_roamify, roamify_sandbox):
    roamify_sandbox.balance = 1
    assert (await async_roamify.account.balance()).balance == 1

{mark}
async def test_a_blocking_client_beside_it(async_roamify, roamify):
    assert (await asyncio.to_thread(roamify.account.balance)).balance == 1000
    await async_roamify.account.balance()

{mark}
async def test_a_blocking_client_warns(roamify):
    with pytest.warns(RuntimeWarning, match="running event loop"):
        roamify.account.balance()

{fixture}
async def shop(async_roamify):
    await async_roamify.account.balance()
    yield async_roamify
    await async_roamify.account.balance()

{mark}
async def test_in_an_asynchronous_fixture(shop):
    await shop.account.balance()

def test_unused(async_roamify):
    assert repr(async_roamify).endswith("new>")

def test_in_a_loop_of_the_test(async_roamify):
    async def main():
        await async_roamify.account.balance()
    asyncio.run(main())
    gc.collect()
    assert repr(async_roamify).endswith("closed>")
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("plugins", "marks", "mark", "fixture"),
    [
        (["pytest_asyncio.plugin", "-oasyncio_mode=auto"], "", "", "@pytest.fixture"),
        (
            ["pytest_asyncio.plugin", "-oasyncio_mode=strict"],
            "import pytest_asyncio",
            "@pytest.mark.asyncio",
            "@pytest_asyncio.fixture",
        ),
        (
            ["pytest_asyncio.plugin", "-oasyncio_mode=auto", "-oasyncio_default_test_loop_scope=session"],
            "",
            "",
            "@pytest.fixture(loop_scope='session')",
        ),
        (
            ["anyio.pytest_plugin"],
            "@pytest.fixture\ndef anyio_backend(): return 'asyncio'",
            "@pytest.mark.anyio",
            "@pytest.fixture",
        ),
    ],
    ids=["auto", "strict", "one loop", "anyio"],
)
def test_asynchronous_clients(run, plugins, marks, mark, fixture):
    """An asynchronous client works with each plugin that runs loops, and leaves nothing open."""
    if "loop_scope" in fixture:
        marks, fixture = "import pytest_asyncio", fixture.replace("pytest.fixture", "pytest_asyncio.fixture")
    source = ASYNC.format(marks=marks, mark=mark, fixture=fixture)
    run(source, "-p", *plugins).assert_outcomes(passed=7)


@pytest.mark.long
def test_an_unclosed_client_is_a_warning(run):
    """The control of the test above: a client that nothing closes makes such a run fail."""
    source = """
import asyncio
import gc
from roamify_async import AsyncRoamify

def test_left_open(roamify_sandbox):
    async def main():
        await AsyncRoamify().account.balance()
    asyncio.run(main())
    gc.collect()
"""
    result = run(source)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*ResourceWarning: this AsyncRoamify was dropped unclosed*"])


@pytest.mark.long
def test_real_hosts(run):
    """A call to a real host fails at once, and fails the test also if the error is caught; other hosts do not."""
    source = """
import pytest
from roamify_async import CreateOrder, OrderItem, Roamify, RoamifyError

def test_read():
    with Roamify("secret-token") as roamify:
        roamify.account.balance()

def test_caught():
    with Roamify("secret-token") as roamify, pytest.raises(RoamifyError, match="real host") as caught:
        roamify.orders.create([OrderItem("p-1")], reference_id="r-1")
    assert caught.value.sent == "no"

def test_an_order_without_a_reference():
    with Roamify("secret-token") as roamify, pytest.raises(RoamifyError, match="real host") as caught:
        roamify.orders.create([OrderItem("p-1")])
    assert caught.value.sent == "no"

def test_bulk():
    with Roamify("secret-token", base_url="https://api-dev.getroamify.com") as roamify:
        roamify.orders.bulk([CreateOrder([OrderItem("p-1")])])

@pytest.fixture
def shop():
    with Roamify("secret-token") as roamify:
        with pytest.raises(RoamifyError):
            roamify.account.balance()
        yield

def test_in_a_fixture(shop):
    pass

def test_no_call():
    with Roamify("secret-token"):
        pass

def test_this_machine(roamify_sandbox, roamify_settings):
    url = roamify_sandbox.url.replace("127.0.0.1", "localhost")
    with Roamify(roamify_sandbox.token, base_url=url, settings=roamify_settings) as roamify:
        roamify.account.balance()
"""
    result = run(source, "--durations=1", "--durations-min=5")
    result.assert_outcomes(passed=2, failed=5)
    result.stdout.fnmatch_lines(["E *ConfigurationError: *real host api.getroamify.com: use the fixture*"])
    result.stdout.fnmatch_lines(["a test called the real host api-dev.getroamify.com*roamify_allow_hosts*"])
    assert "s call" not in result.stdout.str()  # no test waited for retries or look-ups
    assert "secret-token" not in result.stdout.str().replace('Roamify("secret-token', "")


@pytest.mark.long
def test_allowed_hosts(run):
    """A host can be allowed, here one that does not exist."""
    source = """
import pytest
from roamify_async import ConnectError, Roamify

def test_read(roamify_settings):
    with Roamify("secret-token", base_url="https://roamify.invalid", settings=roamify_settings) as roamify:
        with pytest.raises(ConnectError):
            roamify.account.balance()
"""
    run(source, "-oroamify_allow_hosts=Roamify.invalid").assert_outcomes(passed=1)


@pytest.mark.long
def test_failures(run):
    """A fault that hits nothing fails a test that passed; the report of a failure has the last requests."""
    source = """
import pytest
from roamify_async import Roamify

FAULT = {"method": "GET", "path": "/api/balance", "fault": "503"}

@pytest.mark.roamify(faults=[FAULT])
def test_unused():
    pass

def test_unused_later(roamify_sandbox, roamify):
    roamify_sandbox.fail("GET", "/api/esim/countries", "drop")
    roamify.account.balance()

@pytest.mark.roamify(faults=[FAULT])
def test_report(roamify):
    roamify.account.balance()
    raise KeyError("shown")

@pytest.mark.roamify(faults=[FAULT])
def test_skipped():
    pytest.skip("later")

@pytest.fixture
def breaks_at_the_end(roamify):
    yield
    roamify.service.health()
    raise KeyError("at the end")

def test_end(breaks_at_the_end):
    pass

def test_no_sandbox():
    raise KeyError("no section")
"""
    result = run(source)
    result.assert_outcomes(passed=1, failed=4, skipped=1, errors=1)
    lines = [line for line in result.outlines if not line.startswith("test_shop.py")]
    requests = "*- roamify_sandbox: last requests -*"
    result.stdout.fnmatch_lines(
        [
            "*at the end*",
            requests,
            "GET /api/health -> 200",
            "these faults hit no request: 503 of GET /api/balance",
            requests,
            "none",
            "these faults hit no request: drop of GET /api/esim/countries",
            requests,
            "GET /api/balance -> 200",
            "E *KeyError: 'shown'",
            requests,
            "GET /api/balance -> 503 (503)",
            "GET /api/balance -> 200",
        ]
    )
    assert sum("roamify_sandbox: last" in line for line in lines) == 4


@pytest.mark.long
def test_what_cannot_be_meant(run):
    """An unknown option, fault or path is a ``ValueError`` with the most similar one."""
    source = """
import pytest

@pytest.mark.roamify(balanc="0.50")
def test_option(): pass

@pytest.mark.roamify(port=80)
def test_fixed_option(): pass

@pytest.mark.roamify(faults=[{"fault": "dorp"}])
def test_fault(): pass

@pytest.mark.roamify(faults=[{"fault": "drop", "path": "/api/esim/ordr"}])
def test_path(): pass

@pytest.mark.roamify(balance="0.505")
def test_value(): pass

@pytest.mark.roamify("0.50")
def test_positional(): pass
"""
    result = run(source)
    result.assert_outcomes(errors=6)
    result.stdout.fnmatch_lines(
        [
            "E *ValueError: @pytest.mark.roamify has no option 'balanc': did you mean 'balance'?",
            "E *ValueError: @pytest.mark.roamify has no option 'port'*",
            "E *ValueError: faults: fault must be one of *, not 'dorp': did you mean 'drop'?",
            "E *ValueError: the API has no endpoint '/api/esim/ordr': did you mean '/api/esim/order'?",
            "E *ValueError: balance must be *",
            "E *ValueError: @pytest.mark.roamify takes keyword arguments such as *",
        ]
    )


@pytest.mark.long
def test_webhooks_and_the_clock(run):
    """Events arrive as values and as signed deliveries; waiting for too many of them is an error that lists them."""
    source = """
import asyncio
import pytest
from roamify_async import webhooks

def sell(roamify, clock):
    roamify.esims.buy("esim-greece-30days-1gb-all")
    before = clock.now
    clock.advance("2d")
    assert (clock.now - before).days == 2

def test_wait(roamify, roamify_clock, roamify_webhooks, roamify_sandbox):
    assert roamify_webhooks.events == ()
    sell(roamify, roamify_clock)
    events = roamify_webhooks.wait(kind=webhooks.EsimUsageEvent)
    assert {type(event) for event in events} == {webhooks.EsimUsageEvent}
    assert len(roamify_webhooks.events) == len(roamify_sandbox.deliveries()) > len(events) > 1
    delivery = roamify_webhooks.deliveries[0]
    signature = delivery.headers[webhooks.SIGNATURE_HEADER]
    assert webhooks.parse(delivery.body, signature, roamify_sandbox.webhook_secret) == delivery.event
    with pytest.raises(TimeoutError, match=r"received 0 of 1 events RefundEvent after 0\\.01 s; all events: esim\\.st"):
        roamify_webhooks.wait(kind=webhooks.RefundEvent, timeout=0.01)

def test_arrived(roamify, roamify_clock, roamify_webhooks, roamify_sandbox):
    sell(roamify, roamify_clock)
    async def main():
        assert len(await roamify_webhooks.arrived()) == len(roamify_sandbox.deliveries()) > 2
        with pytest.raises(TimeoutError, match="received 0 of 1 events RefundEvent"):
            await roamify_webhooks.arrived(kind=webhooks.RefundEvent, timeout=0.01)
        with pytest.raises(RuntimeError, match="await arrived"):
            roamify_webhooks.wait()
    asyncio.run(main())

def test_wrong_signature(roamify_webhooks):
    assert (roamify_webhooks.receive(b"{}", "wrong"), roamify_webhooks.events) == (401, ())

def test_without_a_receiver(roamify, roamify_clock, roamify_sandbox):
    sell(roamify, roamify_clock)
    assert (roamify_sandbox.webhook_url, roamify_sandbox.deliveries()) == (None, [])
"""
    run(source).assert_outcomes(passed=4)


@pytest.mark.long
def test_other_kinds_of_tests(run):
    """The marker serves the methods of a ``unittest.TestCase`` too; doctests are left alone."""
    source = '''
"""
>>> 1 + 1
2
"""
import unittest
import pytest
from roamify_async import Roamify

@pytest.mark.roamify(balance="0.50")
class TestShop(unittest.TestCase):
    def test_balance(self):
        with Roamify() as roamify:
            self.assertEqual(str(roamify.account.balance().balance), "0.5")
'''
    run(source, "--doctest-modules").assert_outcomes(passed=2)


@pytest.mark.long
def test_nothing_is_imported_at_the_start(run, pytester):
    """Pytest starts and collects without aiohttp, the client and the sandbox; a test that uses them imports them."""
    source = """
import sys
import pytest

HEAVY = {"aiohttp", "anyio", "attrs", "cattrs", "msgspec", "roamify_async.client", "roamify_async.sandbox"}

def test_start():
    assert not HEAVY & sys.modules.keys()

@pytest.mark.roamify(balance=1)
def test_use(roamify):
    assert HEAVY <= sys.modules.keys()
"""
    run(source).assert_outcomes(passed=2)


@pytest.mark.long
def test_entry_point(pytester, monkeypatch):
    """Pytest loads the plugin by the entry point of the package, and ``-p no:roamify`` turns it off."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    folder = pytester.mkdir("shop-1.dist-info")
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1\n", "utf-8")
    ((name, module),) = project["entry-points"]["pytest11"].items()
    (folder / "entry_points.txt").write_text(f"[pytest11]\n{name} = {module}\n", "utf-8")
    pytester.makepyfile(test_shop="def test_balance(roamify): assert roamify.account.balance().balance == 1000")
    others = ("-p", "no:schemathesis", "-p", "no:anyio", "-oasyncio_default_fixture_loop_scope=function")
    pytester.runpytest_subprocess(*others).assert_outcomes(passed=1)
    result = pytester.runpytest_subprocess(*others, "-p", "no:roamify")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'roamify' not found*"])
