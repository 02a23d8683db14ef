"""How the sandbox is started, stopped and restarted: in a loop, in a thread, from the command line."""

import json
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from functools import partial

import aiohttp
import pytest
from attrs import fields

from roamify_async.sandbox import Sandbox
from roamify_async.sandbox.__main__ import create_parser, main
from roamify_async.sandbox.faults.rules import FAULTS
from roamify_async.sandbox.options import Options

PLAIN = "esim-greece-30days-1gb-all"


def ask(url, token, path, body=None):
    """Send one request without any event loop."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url + path, data, headers), timeout=30) as response:
        return json.load(response)


def buy(url, token):
    """Order one eSIM and make its profile."""
    body = {"items": [{"packageId": PLAIN, "quantity": 1}], "referenceId": "kept"}
    order = ask(url, token, "/api/esim/order", body)["data"]
    return ask(url, token, "/api/esim/apply", {"esimId": order["items"][0]["esimId"]})["data"]


def test_the_thread_form_leaves_nothing_behind():
    """A `with` block serves from a thread of its own, which is gone afterwards."""

    def threads() -> list[threading.Thread]:  # without that of an optional resolver of aiohttp's
        return [thread for thread in threading.enumerate() if "_run_safe_shutdown_loop" not in thread.name]

    before = threads()
    with Sandbox(packages=100) as sandbox:
        assert len(threads()) == len(before) + 1
        buy(sandbox.url, sandbox.token)
        assert len(sandbox.state()["orders"]) == 1
        sandbox.reset()
        assert sandbox.state()["orders"] == []
    assert threads() == before
    with pytest.raises(RuntimeError, match="not running"):
        sandbox.state()


def test_a_sandbox_can_be_started_again_but_not_twice():
    """One object serves one block after another; a second start meanwhile is refused."""
    sandbox = Sandbox(packages=100)
    for _ in range(2):
        with sandbox:
            assert ask(sandbox.url, sandbox.token, "/api/balance")["data"]["balance"] == 1000
            with pytest.raises(RuntimeError, match="already"):
                sandbox.__enter__()


def test_state_is_safe_to_read_while_others_buy():
    """Each reading of the state is whole: the balance is what its orders leave."""
    with Sandbox(packages=100) as sandbox:
        price = sandbox.price(PLAIN)
        buyers = [threading.Thread(target=lambda: [buy(sandbox.url, sandbox.token) for _ in range(10)]) for _ in "ab"]
        for buyer in buyers:
            buyer.start()
        while any(buyer.is_alive() for buyer in buyers):
            state = sandbox.state()
            assert state["balance"] == str(1000 - price * len(state["orders"]))
        for buyer in buyers:
            buyer.join()
        assert len(sandbox.state()["orders"]) == 20


async def test_latency_comes_before_each_answer():
    """With a latency no answer of the API is faster."""
    async with Sandbox(packages=100, latency=0.05) as sandbox, aiohttp.ClientSession(sandbox.url) as session:
        with pytest.raises(TimeoutError):
            await session.get("/api/health", timeout=aiohttp.ClientTimeout(total=0.01))
        async with session.get("/api/health") as response:
            assert response.status == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"packages": 5}, {"packages": "300"}, {"seed": -1}, {"balance": "1.005"}, {"balance": "-1"}, {"balance": "x"},
        {"token": ""}, {"webhook_secret": "a b"}, {"host": "0.0.0.0"}, {"host": "example.com"}, {"port": 70_000},
        {"latency": -1}, {"page_counts": "pages"}, {"totals": -1}, {"totals": "yes"}, {"past_end": "first"},
        {"duplicate_reference": "refuse"}, {"instant_order_shows": "both"}, {"apply_needs_esim_id": 1},
        {"event_path": "both"}, {"event_envelope": 1}, {"usage_dates": "DD"}, {"usage_units": "GB"},
        {"sms_answer": ""}, {"link_again": True},
        {"refund_key": "key"}, {"rates_envelope": None}, {"rates_need_pair": 0}, {"vouchers": "no"},
        {"voucher_packages": "esim-greece-30days-1gb-all"}, {"voucher_packages": [1]}, {"voucher_mint_limit": 0},
        {"voucher_mint_limit": 11}, {"policy_takes": -1}, {"affiliate": "a b"}, {"affiliate": "a/b"},
        {"compress": "no"}, {"latency": "1"}, {"latency": {"GET": 1}}, {"latency": {"GET /api/balance": -1}},
        {"faults": "drop"}, {"faults": ["drop"]}, {"faults": {"fault": "drop"}}, {"faults": [{"fault": "explode"}]},
    ],
)  # fmt: skip
def test_a_wrong_option_is_a_value_error_that_names_it(wrong):
    """Each option refuses what it does not know, by its own name."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Sandbox(**wrong)


@pytest.mark.parametrize("ending", ["stop", "reset"])
def test_a_file_keeps_the_state(tmp_path, ending):
    """A second sandbox on the same file shows the same balance, orders and eSIMs; reset empties the file too."""
    options = {"packages": 100, "db": tmp_path / "sandbox.db"}
    with Sandbox(**options) as first:
        esim = buy(first.url, first.token)
        kept = first.state()
        if ending == "reset":
            first.reset()
    with Sandbox(**options, balance="5") as second:
        state = second.state()
        if ending == "reset":
            assert (state["balance"], state["orders"]) == ("1000.00", [])
        else:
            assert state == kept | {"requests": {}}
            assert ask(second.url, second.token, f"/api/esim?iccid={esim['iccid']}")["data"] == esim


def test_a_file_keeps_what_comes_after_a_refusal(tmp_path):
    """An order that is refused for its price leaves nothing open: the next one is kept, and the file is whole."""
    options = {"packages": 100, "db": tmp_path / "sandbox.db", "balance": "5"}
    with Sandbox(**options) as first:
        body = {"items": [{"packageId": PLAIN, "quantity": 100}]}
        with pytest.raises(urllib.error.HTTPError, match="409") as refusal:
            ask(first.url, first.token, "/api/esim/order", body)
        refusal.value.close()
        buy(first.url, first.token)
        kept = first.state()
        assert (tmp_path / "sandbox.db-wal").exists()
    assert not (tmp_path / "sandbox.db-wal").exists()
    with Sandbox(**options) as second:
        assert second.state() == kept | {"requests": {}}


def test_a_file_keeps_to_its_catalogue(tmp_path):
    """A file of one catalogue is refused by a sandbox with another."""
    with Sandbox(packages=100, db=tmp_path / "sandbox.db"):
        pass
    before = threading.enumerate()
    with pytest.raises(ValueError, match="seed=0 packages=100"):
        Sandbox(packages=100, seed=1, db=tmp_path / "sandbox.db").__enter__()
    assert threading.enumerate() == before


def test_a_taken_port_is_an_os_error():
    """Two sandboxes do not share a port."""
    with Sandbox(packages=20) as first, pytest.raises(OSError, match=r".+"):
        Sandbox(packages=20, port=int(first.url.rpartition(":")[2])).__enter__()


@contextmanager
def command_line(*arguments: str):
    """Run the sandbox as a program; give it and the line it printed."""
    program = [sys.executable, "-m", "roamify_async.sandbox", "--port", "0", "--packages", "100", *arguments]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_program_serves_until_it_is_told_to_stop(number):
    """It prints one line of JSON, serves, and ends with 0 and not a word more."""
    with command_line("--balance", "12.50") as (process, about):
        assert about.keys() == {"url", "token", "webhookSecret"}
        assert ask(about["url"], about["token"], "/api/balance")["data"]["balance"] == 12.5
        process.send_signal(number)
        assert process.communicate(timeout=30) == ("", "")
        assert process.returncode == 0


def test_a_killed_program_loses_nothing(tmp_path):
    """What was answered before SIGKILL is there after a restart on the same file."""
    file = str(tmp_path / "sandbox.db")
    with command_line("--db", file) as (process, about):
        esim = buy(about["url"], about["token"])
        kept = ask(about["url"], about["token"], "/_sandbox/state")
        process.kill()
        process.wait()
    with command_line("--db", file) as (_, about):
        assert ask(about["url"], about["token"], "/_sandbox/state") == kept | {"requests": {}}
        assert ask(about["url"], about["token"], f"/api/esim?esimId={esim['id']}")["data"] == esim


def test_a_killed_program_keeps_all_that_goes_with_orders(tmp_path):
    """Vouchers, policies, refunds, links and messages are there after SIGKILL and a restart; a reset forgets them."""
    file = str(tmp_path / "sandbox.db")
    with command_line("--db", file) as (process, about):
        api = partial(ask, about["url"], about["token"])
        esim = buy(about["url"], about["token"])
        api("/api/esim/vouchers", {"packageId": PLAIN, "quantity": 2, "referenceId": "batch"})
        week = {"packageId": "insurance-saudi-arabia-individual-7days", "quantity": 1}
        api("/api/insurance/order", {"items": [week]})
        refund = api("/_sandbox/refunds", {"esimId": esim["id"]})
        api("/_sandbox/refunds/decide", {"refundId": refund["refundId"], "status": "REFUNDED"})
        link = api("/api/esim/link", {"esimId": esim["id"]})
        api("/api/esim/sms", {"iccid": esim["iccid"], "message": "hello"})
        kept = api("/_sandbox/state")
        process.kill()
        process.wait()
    assert all(kept[name] for name in ("vouchers", "insuranceOrders", "policies", "refunds", "messages"))
    with command_line("--db", file) as (_, about):
        api = partial(ask, about["url"], about["token"])
        assert api("/_sandbox/state") == kept | {"requests": {}}
        assert api("/api/esim/link", {"esimId": esim["id"]}) == link
        forgotten = api("/_sandbox/reset", {})
        assert [name for name, value in forgotten.items() if value] == ["balance"]


def test_the_program_takes_every_option_of_the_sandbox():
    """What a Sandbox can be made with, the command line can say."""
    assert {action.dest for action in create_parser()._actions} - {"help"} == {
        option.name for option in fields(Options)
    }
    given = [
        "--no-vouchers",
        "--no-rates-envelope",
        "--voucher-package",
        "a",
        "--voucher-package",
        "b",
        "--policy-takes",
        "2",
    ]
    chosen = vars(create_parser().parse_args(given))
    assert (chosen["vouchers"], chosen["rates_envelope"], chosen["policy_takes"]) == (False, False, 2)
    assert chosen["voucher_packages"] == ["a", "b"]


def test_a_killed_program_books_late_all_the_same(tmp_path):
    """Of two orders that were to come late, the one that is due is there after SIGKILL and a restart, the other not."""
    file = str(tmp_path / "sandbox.db")
    scripted = [{"path": "/api/esim/order", "fault": "book_late", "seconds": seconds} for seconds in (0.2, 86_400)]
    late = [part for fault in scripted for part in ("--fault", json.dumps(fault))]
    with command_line("--db", file, *late) as (process, about):
        for reference in ("due", "later"):
            body = {"items": [{"packageId": PLAIN, "quantity": 1}], "referenceId": reference}
            with pytest.raises(ConnectionError):
                ask(about["url"], about["token"], "/api/esim/order", body)
        process.kill()
        process.wait()
    with command_line("--db", file) as (_, about):
        while not (state := ask(about["url"], about["token"], "/_sandbox/state"))["orders"]:
            pass
        assert [order["referenceId"] for order in state["orders"]] == ["due"]
        assert float(state["balance"]) == 1000 - float(state["orders"][0]["total"])


def test_the_program_explains_itself():
    """--help names each fault with what it does."""
    program = [sys.executable, "-m", "roamify_async.sandbox", "--help"]
    shown = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    lines = [line.split(maxsplit=1) for line in shown.partition("faults:\n")[2].splitlines()]
    assert lines == [[fault, text] for fault, text in FAULTS.items()]


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--packages", "1", "packages must be an integer from 20"),
        ("--fault", "{drop}", "argument --fault: '{drop}' is not JSON"),
        ("--fault", '{"fault": "explode"}', "faults: fault must be one of drop"),
        ("--fault", '"drop"', "faults must be a list of objects"),
    ],
)
def test_the_program_refuses_a_wrong_option(option, value, named, capsys):
    """It ends with 2 and a sentence."""
    with pytest.raises(SystemExit) as ending:
        main([option, value])
    assert ending.value.code == 2
    assert named in capsys.readouterr().err


async def test_pages_of_other_origins_control_nothing(partner):
    """A page from elsewhere in a browser on this machine is refused; the sandbox's own, and programs, are not."""
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        await partner.call("POST", "/_sandbox/reset", status=403, headers={"Origin": origin})
        await partner.call("GET", "/_sandbox/state", status=403, headers={"Origin": origin})
    for headers in ({"Origin": partner.sandbox.url}, {}):
        await partner.call("POST", "/_sandbox/reset", headers=headers)
