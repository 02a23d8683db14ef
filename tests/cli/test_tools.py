"""Webhooks, QR codes, any path of the API, completion, and the programs under the same roof."""

import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.clients import HANG
from support.commands import PROGRAM, Run
from support.purchases import ORDER, PLAIN, came

from roamify_async.cli.webhooks import EVENTS, deliver
from roamify_async.sandbox import Sandbox
from roamify_async.webhooks import WebhookEvent, parse, sign

SECRET = "whsec_of_the_test"


def stdin(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Put text into the standard input."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(
        read=lambda: text, buffer=io.BytesIO(text.encode()), isatty=lambda: False
    ))  # fmt: skip


@pytest.mark.parametrize("event", EVENTS)
def test_triggered_events(event: str):
    """The examples of events are those that the library decodes."""
    from roamify_async.cli import webhooks

    sent: list[WebhookEvent] = []

    def receive(_: str, body: bytes, signature: str) -> tuple[int, bytes]:
        sent.append(parse(body, signature, SECRET))
        return 200, b""

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROAMIFY_WEBHOOK_SECRET", SECRET)
        patch.setattr(webhooks, "deliver", receive)
        from roamify_async.cli import main

        assert main(["webhooks", "trigger", event, "-q"]) == 0
    assert f"{sent[0].category}.{sent[0].type}" == event
    assert type(sent[0]) is not WebhookEvent


@pytest.mark.long
def test_listen(program, run: Run, shop: Sandbox, monkeypatch):
    """A delivery is checked, printed and passed on; one with a wrong signature is refused."""
    monkeypatch.setenv("ROAMIFY_WEBHOOK_SECRET", SECRET)
    environment = {**program, "ROAMIFY_WEBHOOK_SECRET": SECRET}
    listen = (*PROGRAM, "webhooks", "listen", "--port", "0", "--jsonl")
    with subprocess.Popen(
        [*listen, "--count", "1"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as receiver:
        url = receiver.stderr.readline().split()[-1]
        with subprocess.Popen(
            [*listen, "--count", "2", "--forward-to", f"{url}/hook?x=1"], env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as proxy:  # fmt: skip
            public = proxy.stderr.readline().split()[-1]
            ran = run("webhooks", "trigger", "esim.usage", "--to", public, "--json")
            assert (ran.code, ran.json["status"]) == (0, 200)
            refused = deliver(public, b"{}", sign(b"{}", "another"))
            first, _ = proxy.communicate(timeout=HANG)
        second, _ = receiver.communicate(timeout=HANG)
    assert refused[0] == 401
    assert first == second
    assert json.loads(first)["event_type"] == "usage"
    assert run("webhooks", "trigger", "esim.usage", "--to", public).code == 5
    assert run("webhooks", "trigger", "esim.none").code == 2


def test_verify(run: Run, monkeypatch, tmp_path: Path):
    """A delivery in a file, or on the standard input, is checked."""
    body = json.dumps({"event_category": "partner", "event_type": "top_up", "data": {"balance": 1, "currency": "USD"}})
    assert run("webhooks", "verify", tmp_path / "none", "--signature", "x").code == 3
    monkeypatch.setenv("ROAMIFY_WEBHOOK_SECRET", SECRET)
    (tmp_path / "body").write_text(body)
    signature = sign(body.encode(), SECRET)
    ran = run("webhooks", "verify", tmp_path / "body", "--signature", signature, "--json")
    assert (ran.code, ran.json["event_type"]) == (0, "top_up")
    assert run("webhooks", "verify", tmp_path / "body", "--signature", "0" * 64).code == 1
    stdin(monkeypatch, body)
    assert run("webhooks", "verify", "-", "--signature", signature).code == 0


def test_api(run: Run, shop: Sandbox, monkeypatch):
    """Any path is requested, with fields in the query or in the body, or a file as the body."""
    run("buy", PLAIN, "--yes", "--ref", "r")
    iccid = run("esims", "--columns", "iccid").out.strip()
    assert run("api", "GET", "/api/esims", "-F", "limit=1", "-f", "referenceId=r", "--json").json["data"]
    assert run("api", "POST", "/api/esim/sms", "-f", f"iccid={iccid}", "-f", "message=hi", "--json").code == 0
    stdin(monkeypatch, json.dumps({"iccid": iccid, "message": "more"}))
    assert run("api", "POST", "/api/esim/sms", "--input", "-", "--json").code == 0
    assert [message["message"] for message in shop.state()["messages"]] == ["hi", "more"]
    for wrong in (("-f", "limit"), ("-F", "limit=x"), ("--input", "x"), ("--input", "-", "-f", "a=b")):
        assert run("api", "GET", "/api/esims", *wrong).code == 2
    assert run("api", "GET", "/api/none").code == 1


@pytest.mark.parametrize("path", ["/API/esim/Order", "/api/esim/orde%72", f"{ORDER}?a=b"])
def test_api_does_not_buy_unasked_by_another_spelling(run: Run, shop: Sandbox, path: str):
    """Nor does it where the server would understand the path all the same."""
    assert run("api", "POST", path, "-F", f'items=[{{"packageId": "{PLAIN}", "quantity": 1}}]').code == 2
    assert shop.state()["orders"] == []


def test_api_does_not_buy_unasked(run: Run, shop: Sandbox):
    """A path that spends money needs ``--yes``, and the hint names the command that buys once."""
    body = ("-F", json.dumps([{"packageId": PLAIN, "quantity": 1}]).join(("items=", "")))
    ran = run("api", "post", f"{ORDER}/", *body)
    assert ran.code == 2
    assert "use roamify buy" in ran.err
    assert came(shop, f"POST {ORDER}") == 0
    assert run("api", "POST", ORDER, *body, "--yes").code == 0
    assert came(shop, f"POST {ORDER}") == 1


def test_bulk_from_standard_input(run: Run, shop: Sandbox, monkeypatch, tmp_path: Path):
    """Orders are read from a pipe, if a journal is named."""
    stdin(monkeypatch, f"package_id\n{PLAIN}\n")
    assert run("bulk", "-", "--yes").code == 2
    assert run("bulk", "-", "--yes", "--journal", tmp_path / "journal").code == 0


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_qr(run: Run, shop: Sandbox, tmp_path: Path, suffix: str):
    """The QR code of an eSIM is written to a file that only its owner may read, or drawn."""
    run("buy", PLAIN, "--yes")
    iccid = run("esims", "--columns", "iccid").out.strip()
    path = tmp_path / f"code.{suffix}"
    assert run("qr", iccid, "-o", path).code == 0
    assert path.stat().st_mode & 0o077 == 0
    assert path.read_bytes()[:4] in {b"<svg", b"\x89PNG"}
    assert "█" in run("qr", iccid).out
    assert run("qr", iccid, "-o", tmp_path / "none" / "code.png").code == 1


def test_unwritable_pictures(run: Run, shop: Sandbox, tmp_path: Path):
    """A folder for QR codes that cannot be made is refused before anything is bought."""
    (tmp_path / "file").touch()
    assert run("buy", PLAIN, "--yes", "--qr-dir", tmp_path / "file" / "codes").code == 2
    assert shop.orders == ()


def test_profiles_of_orders(run: Run, shop: Sandbox):
    """``apply`` generates the profiles of an order, or of one eSIM."""
    order = run("api", "POST", ORDER, "-F", f'items=[{{"packageId": "{PLAIN}", "quantity": 2}}]', "-f",
                "referenceId=r", "--yes", "--json").json["data"]  # fmt: skip
    first, _ = (item["esimId"] for item in order["items"])
    assert run("apply", first, "--json").json["esim"]["lpaCode"]
    assert len(run("apply", "--ref", "r").out.splitlines()) == 2


def test_usage(run: Run, shop: Sandbox, monkeypatch):
    """Usage is shown for one eSIM or several, by day, and again and again until Ctrl-C."""
    run("buy", PLAIN, "-n", 2, "--yes")
    iccids = run("esims", "--columns", "iccid").out.split()
    bought = shop.now.date()
    shop.advance("30h")
    assert len(run("usage", *iccids).out.splitlines()) == 2
    days = [line.split("\t") for line in run("usage", iccids[0], "--daily").out.splitlines()]
    assert {len(columns) for columns in days} == {3}
    assert [days[0][0], days[-1][0]] == [bought.isoformat(), shop.now.date().isoformat()]
    assert run("usage", *iccids, "--daily").code == 2

    def sleep(seconds: float) -> None:
        assert seconds == 30
        raise KeyboardInterrupt

    from roamify_async.cli import usage

    monkeypatch.setattr(usage.time, "sleep", sleep)
    ran = run("usage", iccids[0], "--watch", 30, "--json")
    assert (ran.code, ran.json["iccid"]) == (130, iccids[0])


def test_policy(run: Run, shop: Sandbox, monkeypatch, tmp_path: Path):
    """A policy is ordered, and issued with the traveller's data of a file, which do not show."""
    package = "insurance-saudi-arabia-individual-7days"
    assert run("insurance", "buy", package, "--yes", "--ref", "i").code == 0
    (policy,) = run("insurance", "policies", "--columns", "policyId").out.split()
    traveller = {"firstName": "Maryam", "lastName": "Secret", "nationality": "Saudi Arabia", "idNumber": "1234567890",
                 "dateOfBirth": "01/07/1990"}  # fmt: skip
    body = {"startDate": "01/07/2030", "endDate": "05/07/2030", "mobile": "966501234567", "email": "a@b.example",
            "insurer": traveller}  # fmt: skip
    path = tmp_path / "traveller.json"
    path.write_text(json.dumps({**body, "mobile": "+1"}))
    ran = run("insurance", "apply", policy, "--input", path)
    assert ran.code == 2
    assert "Secret" not in ran.err
    path.write_text(json.dumps(body))
    ran = run("insurance", "apply", policy, "--input", path, "--json")
    assert (ran.code, ran.json["status"] if ran.code == 0 else ran.err) == (0, "ISSUED")


@pytest.mark.long
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(run: Run, shell: str):
    """Completion scripts know all commands."""
    ran = run("completion", shell)
    assert (ran.code, ran.err) == (0, "")
    assert "roamify" in ran.out


def test_programs(run: Run, shop: Sandbox, capsys, tmp_path: Path):
    """Programs under ``python -m`` get their own arguments, and the account of the options before their name."""
    assert run("ledger", "migrate", "--ledger", tmp_path / "ledger.db").code == 0
    assert "ordered" not in run("ledger", "status", "--ledger", tmp_path / "ledger.db").err
    assert run("tour", "--packages", 3).code == 2
    for name in ("tour", "ledger"):
        ran = run(name, "--help")
        assert (ran.code, ran.out[:6]) == (0, "usage:")
    assert run("--profile", "none", "ledger", "status").code == 3


def test_missing_program(run: Run, monkeypatch):
    """A program whose module or package is missing says what is missing."""
    monkeypatch.setitem(sys.modules, "roamify_async.durable", None)
    monkeypatch.delitem(sys.modules, "roamify_async.durable.__main__", raising=False)
    ran = run("worker", "status")
    assert ran.code == 2
    assert "roamify worker needs roamify_async.durable" in ran.err


def test_listening_port_in_use(run: Run, monkeypatch):
    """A port that is in use is refused in a line."""
    import socket

    monkeypatch.setenv("ROAMIFY_WEBHOOK_SECRET", SECRET)
    with socket.create_server(("127.0.0.1", 0)) as server:
        ran = run("webhooks", "listen", "--port", server.getsockname()[1])
    assert ran.code == 1
    assert ran.err.count("\n") == 1
