"""The command line: options, output, signals, and restarts on the same file."""

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from functools import partial

import pytest
from attrs import fields
from support.clients import HANG

from roamify_async.sandbox.__main__ import create_parser, main
from roamify_async.sandbox.faults.rules import FAULTS
from roamify_async.sandbox.options import Options

PLAIN = "esim-greece-30days-1gb-all"


def ask(url, token, path, body=None):
    """Send one request without any event loop."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url + path, data, headers), timeout=HANG) as response:
        return json.load(response)


def buy(url, token):
    """Order one eSIM and make its profile."""
    body = {"items": [{"packageId": PLAIN, "quantity": 1}], "referenceId": "kept"}
    order = ask(url, token, "/api/esim/order", body)["data"]
    return ask(url, token, "/api/esim/apply", {"esimId": order["items"][0]["esimId"]})["data"]


@contextmanager
def command_line(*arguments: str):
    """Run the sandbox as a program; yield it and the line it printed."""
    program = [sys.executable, "-m", "roamify_async.sandbox", "--port", "0", "--packages", "100", *arguments]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_program_serves_until_it_is_signalled(number):
    """It prints one line of JSON, serves, and exits with 0 and no further output."""
    with command_line("--balance", "12.50") as (process, about):
        assert about.keys() == {"url", "token", "webhookSecret"}
        assert ask(about["url"], about["token"], "/api/balance")["data"]["balance"] == 12.5
        process.send_signal(number)
        assert process.communicate(timeout=HANG) == ("", "")
        assert process.returncode == 0


@pytest.mark.long
def test_a_killed_program_loses_nothing(tmp_path):
    """After SIGKILL, a restart on the same file has all records, and carries out the delayed orders that are due."""
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
        for reference, seconds in (("due", 0.2), ("later", 86_400)):
            api("/_sandbox/faults", {"path": "/api/esim/order", "fault": "book_late", "seconds": seconds})
            with pytest.raises(ConnectionError):
                api("/api/esim/order", {"items": [{"packageId": PLAIN, "quantity": 1}], "referenceId": reference})
        process.kill()
        process.wait()
    assert all(kept[name] for name in ("vouchers", "insuranceOrders", "policies", "refunds", "messages"))
    with command_line("--db", file) as (_, about):
        api = partial(ask, about["url"], about["token"])
        while len((state := api("/_sandbox/state"))["orders"]) == len(kept["orders"]):
            pass
        *orders, late = state["orders"]
        *esims, _ = state["esims"]
        assert late["referenceId"] == "due"
        assert float(state["balance"]) == float(kept["balance"]) - float(late["total"])
        rest = {"orders": orders, "esims": esims, "balance": kept["balance"], "requests": kept["requests"]}
        assert state | rest == kept
        assert api("/api/esim/link", {"esimId": esim["id"]}) == link
        reset = api("/_sandbox/reset", {})
        assert [name for name, value in reset.items() if value] == ["balance"]


def test_every_option_is_an_argument():
    """The arguments are those of Sandbox, and their values are passed on in its types."""
    parser = create_parser()
    assert {action.dest for action in parser._actions} - {"help"} == {option.name for option in fields(Options)}
    arguments = (
        "--no-vouchers --no-rates-envelope --policy-takes 2 --webhook-retry-after 1,2.5 --totals 7 --usage-units KB"
    )
    chosen = vars(parser.parse_args([*arguments.split(), "--voucher-package", "a", "--voucher-package", "b"]))
    assert chosen == {
        "vouchers": False, "rates_envelope": False, "policy_takes": 2, "webhook_retry_after": [1, 2.5], "totals": 7,
        "usage_units": "KB", "voucher_packages": ["a", "b"], "port": 8787,
    }  # fmt: skip


def test_latency_is_given_by_endpoint():
    """A bare number is for all endpoints; anything else is refused with an example."""
    parser = create_parser()
    arguments = ["--latency", "0.1", "--latency", "POST /api/esim/order=4"]
    assert dict(parser.parse_args(arguments).latency) == {"*": 0.1, "POST /api/esim/order": 4}
    with command_line(*arguments[:1], "0", "--latency", "GET /api/balance=0.2") as (_, about):
        began = time.perf_counter()
        assert ask(about["url"], about["token"], "/api/balance")
        assert time.perf_counter() - began >= 0.2


def test_the_help_documents_options_control_calls_and_faults():
    """Each option with its text and default, each control call, and each fault with what it does."""
    text = create_parser().format_help()
    flat = " ".join(text.split())
    for option in fields(Options):
        assert option.metadata["help"] in flat
    assert "(default: 28000)" in flat
    assert "POST /_sandbox/clock" in flat
    lines = [line.split(maxsplit=1) for line in text.partition("faults:\n")[2].splitlines()]
    assert lines == [[fault, description] for fault, description in FAULTS.items()]


INVALID_ARGUMENTS = [
    ("--packages", "1", "packages must be an integer from 20"),
    ("--fault", "{drop}", "argument --fault: '{drop}' is not JSON"),
    ("--fault", '{"fault": "explode"}', "faults: fault must be one of drop"),
    ("--latency", "fast", "'fast' is neither seconds nor such as 'POST /api/esim/order=4'"),
    ("--latency", "order=4", "latency: expected a method and a path"),
    ("--fault", '"drop"', "faults must be a list of objects"),
]


def test_the_program_refuses_a_wrong_option(capsys):
    """The exit code is 2, and the message says what is wrong."""
    for option, value, named in INVALID_ARGUMENTS:
        with pytest.raises(SystemExit) as ending:
            main([option, value])
        assert ending.value.code == 2
        assert named in capsys.readouterr().err
