"""The exit codes, one by one, with the sandbox's faults; and what is said about each error."""

import json
import os
import re
import shlex
import signal
import threading

import pytest
from support.commands import Run
from support.purchases import APPLY, ORDER, PLAIN, came, under

import roamify_async
from roamify_async.cli import app, context, main
from roamify_async.sandbox import Sandbox

BUY = ("buy", PLAIN, "--ref", "r", "--yes")
IN_DOUBT = ("--window", "0.05")


def test_done(run: Run, shop: Sandbox):
    """0: it is done. Nothing but data is on the standard output, and nothing on the other."""
    ran = run(*BUY)
    assert (ran.code, ran.err) == (0, "")
    assert len(under(shop)) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("order", "get", "none"), "Order not found [404, GET /api/esim/order, request id "),
        (("packages", "show", PLAIN[:-1]), f"hint: did you mean {PLAIN}"),
        (("buy", PLAIN, "--yes", "--max-spend", "1.54"), "it costs 1.55, and --max-spend is 1.54\nhint: raise"),
        (("buy", PLAIN, "-n", 1000, "--yes"), "it costs 1550.00, and the balance is 1000"),
        (("logout",), "there is no profile 'default'"),
    ],
)
def test_refused(run: Run, shop: Sandbox, arguments: tuple[str, ...], message: str):
    """1: it was refused, or there is no such thing. The error is one line, with the request id."""
    ran = run(*arguments)
    assert (ran.code, ran.out) == (1, "")
    assert message in ran.err
    assert ran.err.count("error: ") == 1
    assert shop.orders == ()


@pytest.mark.parametrize(
    "arguments",
    [
        ("balanc",), ("balance", "--x"), ("orders", "--limit", "x"), ("esim",), ("order", "get"), ("usage",),
        ("buy", PLAIN, "--yes", "--start", "1.7.2027"), ("buy", PLAIN, "--yes", "--max-spend", "1,5"),
        ("buy", PLAIN), ("balance", "--base-url", "ftp://x"), ("balance", "--dev", "--sandbox"),
        ("buy", PLAIN, "--yes", "--ref", " r"), ("apply",), ("qr", "1", "-o", "x.gif"),
    ],
)  # fmt: skip
def test_usage(run: Run, shop: Sandbox, arguments: tuple[str, ...]):
    """2: the arguments are wrong, or a question cannot be asked. Nothing is sent."""
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ")
    assert shop.orders == ()


def test_nobody_to_ask(run: Run, shop: Sandbox):
    """Without a terminal a purchase needs ``--yes``, and the hint says so."""
    assert "hint: pass --yes" in run("buy", PLAIN).err
    assert "POST /api/esim/order" not in shop.state()["requests"]


def test_no_token(run: Run, shop: Sandbox, monkeypatch):
    """3: there is no token, or the API refuses it."""
    monkeypatch.setenv("ROAMIFY_TOKEN", "not-the-right-token")
    ran = run("balance")
    assert (ran.code, ran.out) == (3, "")
    assert "hint: set ROAMIFY_TOKEN" in ran.err
    monkeypatch.setenv("ROAMIFY_TOKEN", "not-the-right-token x")
    assert run("balance").code == 3
    monkeypatch.delenv("ROAMIFY_TOKEN")
    ran = run("balance")
    assert ran.code == 3
    assert "roamify login" in ran.err


def test_in_doubt(run: Run, shop: Sandbox):
    """4: money may have moved. The command that looks again stands in the error, and finds the order."""
    shop.fail("POST", ORDER, "book_but_hide", seconds=3600)
    ran = run(*BUY, *IN_DOUBT)
    assert (ran.code, ran.out) == (4, "")
    assert "hint: money may have moved; look again with: roamify reconcile r" in ran.err
    shop.advance(3601)
    found = run("reconcile", "r", "--json")
    assert (found.code, found.json["referenceId"]) == (0, "r")
    assert run(*BUY).code == 0
    assert came(shop, f"POST {ORDER}") == 1


def test_in_doubt_as_json(run: Run, shop: Sandbox):
    """With ``--json`` the error is an object in the last line of the standard error."""
    shop.fail("POST", ORDER, "book_but_hide", seconds=3600)
    ran = run("buy", PLAIN, "--yes", "--json", *IN_DOUBT)
    reference = ran.err.splitlines()[0].removeprefix("reference ")
    assert (ran.code, ran.out) == (4, "")
    assert ran.error["type"] == "PurchaseInDoubtError"
    assert ran.error["lookAgain"] == f"roamify reconcile {reference}"
    assert (ran.error["referenceId"], ran.error["exitCode"], ran.error["sent"]) == (reference, 4, "maybe")
    assert len(under(shop, reference)) == 1


@pytest.mark.parametrize(
    ("command", "path", "look"),
    [
        (("vouchers", "create", PLAIN), "/api/esim/vouchers", "roamify vouchers list --ref r"),
        (
            ("insurance", "buy", "insurance-saudi-arabia-individual-7days"),
            "/api/insurance/order",
            "roamify insurance order --ref r",
        ),
    ],
)
def test_other_purchases_in_doubt(run: Run, shop: Sandbox, command, path, look):
    """Vouchers and insurance have look-ups of their own; a repetition with the reference buys nothing again."""
    shop.fail("POST", path, "drop", when="after")
    shop.fail("GET", path, "503", times=None)
    ran = run(*command, "--ref", "r", "--yes", *IN_DOUBT)
    assert ran.code == 1  # The reference could not be looked up, so nothing was sent.
    shop.reset()
    assert run(*command, "--ref", "r", "--yes", "--json").code == 0
    assert run(*command, "--ref", "r", "--json").code == 0
    assert came(shop, f"POST {path}") == 1
    context = app.Context()
    error = roamify_async.PurchaseInDoubtError("?", reference_id="r", request=_request(command))
    assert app.failures.look_again(context, error) == look


def _request(command: tuple[str, ...]) -> object:
    if command[0] == "vouchers":
        return roamify_async.CreateVouchers(command[2])
    return roamify_async.OrderInsurance([roamify_async.OrderItem(command[2])])


def test_message_in_doubt(run: Run, shop: Sandbox):
    """An action whose response is lost may have been carried out: 4, although no money is at stake."""
    assert run(*BUY).code == 0
    iccid = run("esims", "--columns", "iccid").out.strip()
    shop.fail("POST", "/api/esim/sms", "drop", when="after")
    ran = run("sms", iccid, "hello")
    assert ran.code == 4
    assert "may have been carried out" in ran.err


def test_network(run: Run, shop: Sandbox, free_port: int):
    """5: the network failed, and nothing was sent, also for a purchase."""
    address = f"http://127.0.0.1:{free_port}"
    for arguments in (("balance",), BUY):
        ran = run(*arguments, "--base-url", address)
        assert (ran.code, ran.out) == (5, "")
        assert "nothing was bought" in ran.err


@pytest.fixture
def free_port() -> int:
    """Return a port at which nothing listens, since it was just closed."""
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_partly(run: Run, shop: Sandbox):
    """6: the order is paid, but an eSIM is not ready. The others are shown; a repetition completes it."""
    shop.fail("POST", APPLY, "400", times=1)
    ran = run("buy", PLAIN, "-n", 2, "--ref", "r", "--yes")
    assert ran.code == 6
    assert len(ran.out.splitlines()) == 1
    assert "repeat the command with --ref r" in ran.err
    again = run("buy", PLAIN, "-n", 2, "--ref", "r")
    assert (again.code, len(again.out.splitlines())) == (0, 2)
    assert "reference r is known: nothing is bought again" in again.err
    assert came(shop, f"POST {ORDER}") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(run: Run, shop: Sandbox, number: int):
    """130: Ctrl-C, or a termination, in the middle of a purchase. It tells how to continue without buying twice."""
    shop.fail("POST", ORDER, "hang", when="after")

    def interrupt() -> None:
        shop.wait_for(f"POST {ORDER}", timeout=60)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    ran = run("buy", PLAIN, "--yes", *IN_DOUBT)
    thread.join()
    assert (ran.code, ran.out) == (130, "")
    reference = ran.err.splitlines()[0].removeprefix("reference ")
    assert f"to continue, without buying anything twice: roamify buy {PLAIN} -n 1 --ref {reference} --yes" in ran.err
    again = run("buy", PLAIN, "-n", 1, "--ref", reference, "--yes", "--json")
    assert (again.code, len(again.json)) == (0, 1)
    assert came(shop, f"POST {ORDER}") == 1


def test_control_another_reference_buys_again(run: Run, shop: Sandbox):
    """Without its reference, the same command is another purchase."""
    for _ in range(2):
        assert run("buy", PLAIN, "--yes").code == 0
    assert came(shop, f"POST {ORDER}") == 2


def test_internal_error(run: Run, shop: Sandbox, monkeypatch):
    """An error of the program itself, once a purchase may have been sent, is a doubt with its reference."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("bug")

    monkeypatch.setattr(roamify_async.api.esims, "buy_esims", fail)
    ran = run("buy", PLAIN, "--yes", "--ref", "r")
    assert ran.code == 4
    assert "reference r" in ran.err
    assert "roamify reconcile r" in ran.err


def test_full_disk(shop: Sandbox, run: Run, monkeypatch, capsys):
    """Where the output cannot be written, the purchase is told by its reference."""
    import sys

    class Full:
        encoding = "utf-8"

        def isatty(self) -> bool:
            return False

        def write(self, _: str) -> int:
            raise OSError(28, "No space left on device")

        def flush(self) -> None:
            """Have nothing to flush."""

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Full())
        code = main(["buy", PLAIN, "--yes"])
    assert code == 6
    err = capsys.readouterr().err
    assert err.startswith("reference ")
    assert "it is paid, but was not shown: [Errno 28] No space left on device" in err
    shown = re.search(r"without buying anything twice: roamify (.*)", err)
    assert shown is not None
    again = run(*shlex.split(shown[1]))
    assert (again.code, came(shop, f"POST {ORDER}")) == (0, 1)
    assert again.out


@pytest.mark.parametrize("has_ledger", [True, False])
def test_repeated_while_the_booking_is_not_shown(run: Run, shop: Sandbox, monkeypatch, *, has_ledger: bool):
    """A purchase in doubt is not sent again by a later command, which finds it in the ledger. Control: without one."""
    if not has_ledger:
        monkeypatch.setattr(context, "ledger_file", lambda _: None)
    shop.fail("POST", ORDER, "book_but_hide", seconds=3600)
    assert run("buy", PLAIN, "--ref", "r", "--yes", "--window", 0.1).code == 4
    assert run("buy", PLAIN, "--ref", "r", "--yes", "--window", 0.1).code == (4 if has_ledger else 0)
    assert came(shop, f"POST {ORDER}") == (1 if has_ledger else 2)


def test_errors_are_json(run: Run, shop: Sandbox):
    """With ``--json`` all errors are JSON, also those of usage."""
    for arguments in (("balanc",), ("orders", "--limit", "x"), ("order", "get", "none")):
        error = run("--json", *arguments).error
        assert {"type", "message", "exitCode"} <= error.keys()
    assert json.dumps(run("order", "get", "none", "--json").error["requestId"])
