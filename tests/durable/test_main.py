"""The command that works on batches and looks after them."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from support.clients import HANG, QUICK
from support.programs import ROOT, environment
from support.purchases import ORDER, PLAIN, came

from roamify_async import CreateOrder, OrderItem, Roamify
from roamify_async.durable import BlockingOrders, DurableOrders
from roamify_async.durable.__main__ import main
from roamify_async.durable.monitor import _escaped

SENT = f"POST {ORDER}"


@pytest.fixture
def database(tmp_path, monkeypatch) -> str:
    """Name the database in the environment."""
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'purchases.db'}")
    return str(tmp_path / "purchases.db")


@pytest.fixture
def desk(database, blocking_sandbox) -> Iterator[BlockingOrders]:
    """Open a desk."""
    sandbox = blocking_sandbox
    with (
        Roamify(sandbox.token, base_url=sandbox.url, settings=QUICK, ledger=database) as roamify,
        DurableOrders.blocking(roamify) as opened,
    ):
        yield opened


@pytest.fixture
def blocking_sandbox() -> Iterator[Any]:
    """Run a sandbox in a thread."""
    from roamify_async.sandbox import Sandbox

    with Sandbox(packages=300) as sandbox:
        yield sandbox


def lines(count: int, package: str = PLAIN) -> list[CreateOrder]:
    """Ask for one eSIM in each of so many lines."""
    return [CreateOrder([OrderItem(package)]) for _ in range(count)]


@contextmanager
def worker(sandbox: Any, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run a worker in a process of its own."""
    command = [sys.executable, "-m", "roamify_async.durable", "work", "--port", "0", *options]
    with subprocess.Popen(
        command, env=environment(sandbox), cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def get(process: "subprocess.Popen[str]") -> Any:
    """Return a function that reads from the port that the worker prints."""
    assert process.stdout is not None
    place = json.loads(process.stdout.readline())

    def read(path: str) -> str:
        url = f"http://{place['host']}:{place['port']}{path}"
        with urllib.request.urlopen(url, timeout=HANG) as response:
            return str(response.read().decode())

    return read


def test_looking_after_a_batch(desk, blocking_sandbox, capsys):
    """``status``, ``lines``, ``cancel`` and ``retry`` do what the calls of a batch do, without a token."""
    assert main(["migrate"]) == 0
    batch = desk.submit("night", [*lines(2), *lines(1, "esim-nowhere")])
    assert main(["status"]) == 0
    assert "night: open, 0 workers; 0 of 3 lines" in capsys.readouterr().out
    assert main(["cancel", "night"]) == 0
    assert main(["status", "night"]) == 0
    assert "night: cancelled, 0 workers; 3 of 3 lines: 3 not sent" in capsys.readouterr().out
    assert main(["retry", "night", "--status", "in_doubt"]) == 0
    assert main(["retry", "night", "--status", "not_sent"]) == 0
    out = capsys.readouterr().out
    assert "0 lines are tried again" in out
    assert "3 lines are tried again" in out
    desk.work(until_done=True)
    assert main(["lines", "night"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["status"] for line in found] == ["ordered", "ordered", "refused"]
    assert found[0]["order"] in {order["id"] for order in blocking_sandbox.state()["orders"]}
    assert "PackageNotFoundError" in found[2]["error"]
    assert main(["lines", "night", "--status", "refused"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert batch.progress().done == 3
    assert main(["status"]) == 0
    assert "night: done, 0 workers" in capsys.readouterr().out


def test_doubts(desk, blocking_sandbox, capsys):
    """With lines in doubt the exit code of ``status`` is 1."""
    blocking_sandbox.fail("POST", ORDER, "drop", when="before")
    desk.submit("night", lines(1))
    desk.work(until_done=True)
    assert main(["status"]) == 1
    assert "1 in doubt" in capsys.readouterr().out


def test_wrong_use(database, monkeypatch, capsys):
    """A batch that does not exist, and a missing database, are errors without a traceback."""
    for command in ("status", "lines", "cancel", "retry"):
        assert main([command, "night"]) == 1
        assert "no batch 'night'" in capsys.readouterr().err
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.delenv("ROAMIFY_LEDGER", raising=False)
    assert main(["status"]) == 1
    assert "set DATABASE_URL" in capsys.readouterr().err
    assert main(["status", "--database", "mysql://x"]) == 1
    assert "not mysql://" in capsys.readouterr().err
    monkeypatch.delenv("ROAMIFY_TOKEN", raising=False)
    assert main(["work", "--database", database, "--port", "0"]) == 1
    assert "ROAMIFY_TOKEN" in capsys.readouterr().err


def test_until_done(desk, blocking_sandbox):
    """A worker with ``--until-done`` ends when nothing is left."""
    batch = desk.submit("night", lines(3))
    with worker(blocking_sandbox, "--until-done", "--concurrency", "2", "--shared-rate", "50") as process:
        assert process.wait(HANG) == 0
    assert batch.progress().counts["ordered"] == len(blocking_sandbox.state()["orders"]) == 3


@pytest.mark.long
def test_refused_token(desk, blocking_sandbox, monkeypatch):
    """A worker whose token is refused ends with an error, and takes no line."""
    desk.submit("night", lines(1))
    blocking_sandbox.fail("GET", "/api/balance", "401")
    with worker(blocking_sandbox) as process:
        _, err = process.communicate(timeout=HANG)
    assert (process.returncode, "error: " in err) == (1, True)
    assert desk.get("night").progress().done == 0


@pytest.mark.long
def test_port(desk, blocking_sandbox):
    """A worker serves its health and its metrics, and nothing else."""
    desk.submit('the "night"', lines(3))
    with worker(blocking_sandbox) as process:
        read = get(process)
        desk.get('the "night"').report(wait=True).close()
        assert json.loads(read("/healthz")) == {"status": "working"}
        metrics = read("/metrics").splitlines()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            read("/orders")
    assert 'roamify_worker_lines_total{batch="the \\"night\\"",status="ordered"} 3' in metrics
    assert 'roamify_worker_spent_usd_total{batch="the \\"night\\""} 4.65' in metrics
    assert "roamify_worker_healthy 1" in metrics
    assert 'roamify_batch_lines_left{batch="the \\"night\\""} 0' in metrics
    for line in metrics:
        assert line.startswith(("# HELP roamify_", "# TYPE roamify_", "roamify_")), line
    assert _escaped('a"\\\n') == 'a\\"\\\\\\n'


@pytest.mark.long
def test_port_in_use(database, blocking_sandbox):
    """A port that is in use is an error without a traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with worker(blocking_sandbox, "--port", str(taken.getsockname()[1])) as process:
            _, err = process.communicate(timeout=HANG)
    assert (process.returncode, "address already in use" in err, "Traceback" in err) == (1, True, False)


@pytest.mark.long
def test_odd_requests(desk, blocking_sandbox):
    """What is not a request, or comes in parts, or is too long, does not disturb the worker."""
    with worker(blocking_sandbox) as process:
        assert process.stdout is not None
        place = json.loads(process.stdout.readline())
        for data in (b"", b"\r\n\r\n", b"GET", b"\xff" * 20_000, b"POST /healthz HTTP/1.1\r\n\r\n"):
            with socket.create_connection((place["host"], place["port"]), HANG) as connection, suppress(OSError):
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1024):
                    pass
        with urllib.request.urlopen(f"http://{place['host']}:{place['port']}/healthz", timeout=HANG) as response:
            assert response.status == 200


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM")
def test_second_sigterm(desk, blocking_sandbox):
    """At a second SIGTERM a worker ends soon, what it sent is looked up later, and nothing is bought twice."""
    blocking_sandbox.fail("POST", ORDER, "hang", when="after")
    batch = desk.submit("night", lines(3))
    with worker(blocking_sandbox, "--concurrency", "3") as process:
        read = get(process)
        blocking_sandbox.wait_for(SENT, 3)
        process.send_signal(signal.SIGTERM)
        while json.loads(read("/healthz")) != {"status": "stopping"}:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(HANG) == 1
    desk.work(until_done=True)
    batch.retry()
    desk.work(until_done=True)
    assert (batch.progress().counts["ordered"], len(blocking_sandbox.state()["orders"])) == (3, 3)


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM")
def test_sigterm(desk, blocking_sandbox):
    """At SIGTERM a worker finishes the lines in progress, takes no others, and leaves the rest to other workers."""
    blocking_sandbox.fail("POST", ORDER, "slow", when="before", seconds=0.5, times=None)
    batch = desk.submit("night", lines(40))
    with worker(blocking_sandbox, "--concurrency", "2") as process:
        read = get(process)
        blocking_sandbox.wait_for(SENT, 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(HANG) == 0
        with pytest.raises(OSError, match=r"refused|reset"):
            read("/healthz")
    sent = came(blocking_sandbox, SENT)
    progress = batch.progress()
    assert progress.counts["ordered"] == progress.done == sent == len(blocking_sandbox.state()["orders"])
    assert 2 <= sent < 40
    with worker(blocking_sandbox, "--until-done") as process:
        assert process.wait(HANG) == 0
    assert (batch.progress().counts["ordered"], came(blocking_sandbox, SENT)) == (40, 40)
