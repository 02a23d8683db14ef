"""How the server is started and stopped, and what a database file keeps."""

import json
import threading
import urllib.error
import urllib.request

import pytest

from roamify_async.sandbox import Sandbox

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
