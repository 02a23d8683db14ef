"""The page on processes: its code runs in real servers and workers, and as functions are called."""

import asyncio
import os
import re
import subprocess
import sys
import textwrap
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.programs import ROOT, environment, run_program

from roamify_async import Roamify
from roamify_async.sandbox import Sandbox

PAGE = ROOT / "docs" / "howto" / "processes.md"
BLOCKS: list[str] = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
PACKAGE = "esim-greece-30days-1gb-all"

forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sandbox]:
    """Configure clients without a token and a base URL to use a sandbox, in a temporary folder."""
    with Sandbox(packages=300) as sandbox:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("ROAMIFY_TOKEN", sandbox.token)
        monkeypatch.setenv("ROAMIFY_BASE_URL", sandbox.url)
        yield sandbox


def block(text: str) -> str:
    """Return the page's block that contains a text."""
    (found,) = (each for each in BLOCKS if text in each)
    return found


def scope_of(text: str) -> dict[str, Any]:
    """Run a block, and return its names."""
    scope: dict[str, Any] = {"__name__": "page"}
    exec(compile(block(text), PAGE.name, "exec"), scope)
    return scope


@contextmanager
def worker(served: Sandbox, *arguments: str, ready: str, **variables: str) -> Iterator[str]:
    """Run a server until the end of the block; yield the line in which it says that it is ready."""
    with subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(served) | variables,
    ) as process:
        assert process.stdout is not None
        lines: list[str] = []
        try:
            for line in process.stdout:
                lines.append(line)
                if ready in line:
                    break
            assert ready in lines[-1], "".join(lines)
            yield lines[-1]
        finally:
            process.terminate()
            rest = process.stdout.read()
    assert process.returncode == 0, "".join(lines) + rest
    assert "SIG" not in rest.replace("SIGTERM", "")


def gunicorn(served: Sandbox, *options: str) -> Any:
    """Serve the page's app with preloading, in two workers."""
    Path("shop.py").write_text(block("flask") + "\nroamify.account.balance()  # opens before the fork\n")
    arguments = ("--preload", "-w", "2", "-b", "127.0.0.1:0", "--no-control-socket", "shop:app", *options)
    return worker(served, "gunicorn", *arguments, ready="Listening at")


def balances(line: str, count: int) -> set[bytes]:
    """Ask a server for the balance."""
    (url,) = re.findall(r"http://[\d.:]+", line)
    answers: set[bytes] = set()
    for _ in range(count):
        with urllib.request.urlopen(f"{url}/balance", timeout=30) as response:
            answers.add(response.read().strip())
    return answers


@pytest.mark.long
@forking
def test_gunicorn(served):
    """A client that was open before gunicorn forked works in its workers."""
    pytest.importorskip("gunicorn")
    with gunicorn(served) as line:
        assert balances(line, 6) == {b'{"balance":"1000"}'}


@forking
@pytest.mark.long
def test_gunicorn_with_gevent(served):
    """It works in gevent's workers too, if gevent patches before the app is imported."""
    pytest.importorskip("gunicorn")
    pytest.importorskip("gevent")
    Path("gunicorn.conf.py").write_text(block("monkey"))
    with gunicorn(served, "-k", "gevent") as line:
        assert balances(line, 6) == {b'{"balance":"1000"}'}


CELERY = """
app.conf.update(
    broker_url="filesystem://",
    broker_transport_options={"data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "control"},
    result_backend="file://" + __import__("os").path.abspath("results"),
    worker_hijack_root_logger=False,
)
"""
ORDERS = """
import shop
results = [shop.deliver.delay(f"order-{number % 3}", "esim-greece-30days-1gb-all") for number in range(6)]
print(*sorted({code for result in results for code in result.get(timeout=60)}), sep="\\n")
"""


@forking
@pytest.mark.long
@pytest.mark.timeout(180)
def test_celery(served):
    """A client that was open before Celery forked buys in its workers; a task that is sent again buys nothing more."""
    pytest.importorskip("celery")
    for folder in ("queue", "control", "results"):
        Path(folder).mkdir()
    Path("shop.py").write_text(block("celery") + CELERY + "\nroamify.account.balance()  # opens before the fork\n")
    options = ("-c", "1", "-l", "INFO", "--without-gossip", "--without-mingle", "--without-heartbeat")
    with worker(served, "celery", "-A", "shop", "worker", *options, ready=" ready."):
        ended = run_program(ORDERS, served, timeout=120)
    assert len(ended.lines) == 3, ended
    assert all(line.startswith("LPA:1$") for line in ended.lines)
    assert len(served.state()["orders"]) == 3


RESULTS = """
app.conf.update(
    task_serializer="json",
    result_serializer={serializer!r},
    accept_content=["json"],
    result_accept_content=[{serializer!r}],
)

@app.task
def order(reference, package_id):
    return roamify.orders.create([OrderItem(package_id)], reference_id=reference).to_dict()
"""
OUTCOMES = """
import json, shop
from roamify_async import Order, RoamifyError
for reference, package_id in (("lost", PACKAGE), ("good", PACKAGE), ("typo", PACKAGE + "x")):
    value = shop.order.delay(reference, package_id).get(timeout=60, propagate=False)
    if isinstance(value, RoamifyError):
        has = PACKAGE in getattr(value, "nearest", ()), reference in str(value)
        print(type(value).__name__, value.sent, value.reference_id, *value.package_ids, *has)
    else:
        order = Order.from_dict(value)
        print(order.reference_id, order.items[0].package_id, type(order.total).__name__, order.to_dict() == value)
"""


@forking
@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_results_of_celery(served, serializer):
    """Orders and errors come home from a worker through either serializer, with what identifies the purchase."""
    pytest.importorskip("celery")
    for folder in ("queue", "control", "results"):
        Path(folder).mkdir()
    served.fail("POST", "/api/esim/order", "drop")
    settings = "import roamify_async\nroamify = Roamify(settings=roamify_async.Settings(reconcile_window=0.2))\n"
    results = RESULTS.format(serializer=serializer)
    Path("shop.py").write_text(block("celery") + CELERY + settings + results)
    options = ("-c", "1", "-l", "INFO", "--without-gossip", "--without-mingle", "--without-heartbeat")
    with worker(served, "celery", "-A", "shop", "worker", *options, ready=" ready.", C_FORCE_ROOT="1"):
        ended = run_program(f"PACKAGE = {PACKAGE!r}{OUTCOMES}", served, timeout=120)
    assert ended.lines == [
        f"PurchaseInDoubtError maybe lost {PACKAGE} False True",
        f"good {PACKAGE} Decimal True",
        f"PackageNotFoundError no typo {PACKAGE}x True True",
    ], ended
    assert [order["referenceId"] for order in served.state()["orders"]] == ["good"]


def esim_of(served: Sandbox) -> str:
    """Buy an eSIM, and return its ICCID."""
    with Roamify() as roamify:
        return roamify.esims.buy(PACKAGE)[0].iccid


@pytest.mark.long
@pytest.mark.parametrize("text", ["roamify = Roamify()\n\n\ndef handler", "asyncio.run(handle"])
def test_functions(text, served):
    """A warm function is called again and again."""
    scope = scope_of(text)
    event = {"iccid": esim_of(served)}
    for _ in range(3):
        assert scope["handler"](event, None)["left"] == "1024 of 1024 MB"
    if "roamify" in scope:
        scope["roamify"].close()


@pytest.mark.long
def test_function_with_one_async_client(served):
    """With one asynchronous client for all calls, the second one raises an error that names the client to use."""
    ended = run_program(
        """
        import asyncio
        from roamify_async import AsyncRoamify, ConfigurationError
        roamify = AsyncRoamify()
        async def handle():
            return (await roamify.account.balance()).balance
        print(asyncio.run(handle()))
        try:
            asyncio.run(handle())
        except ConfigurationError as error:
            print(error)
        """,
        served,
    )
    message = "this AsyncRoamify belongs to another event loop: make one in each loop (each asyncio.run), or use one"
    assert ended.lines == ["1000", f"{message} Roamify, which blocks and works in all of them"]


@pytest.mark.long
def test_streamlit(served, monkeypatch):
    """The script of the page runs again and again, in threads that come and go, with one client."""
    streamlit: Any = ModuleType("streamlit")
    shown: list[tuple[str, str]] = []
    resources: dict[str, Roamify] = {}

    def cache_resource(function: Callable[[], Roamify]) -> Callable[[], Roamify]:
        return lambda: resources.get(function.__name__) or resources.setdefault(function.__name__, function())

    streamlit.cache_resource = cache_resource
    streamlit.metric = lambda label, value: shown.append((label, value))
    monkeypatch.setitem(sys.modules, "streamlit", streamlit)
    for _ in range(5):
        thread = threading.Thread(target=scope_of, args=("streamlit",))
        thread.start()
        thread.join()
    assert shown == [("Balance", "1000 USD")] * 5
    resources["client"].close()


@pytest.mark.long
@pytest.mark.parametrize("uvloop", [False, True])
def test_nest_asyncio(uvloop, served):
    """Both clients work where nest_asyncio lets event loops run within each other."""
    pytest.importorskip("nest_asyncio")
    if uvloop:
        pytest.importorskip("uvloop")
    body = """
        import asyncio, nest_asyncio
        from roamify_async import AsyncRoamify, Roamify
        nest_asyncio.apply()
        async def nested():
            async with AsyncRoamify() as roamify:
                return (await roamify.account.balance()).balance
        async def main():
            with Roamify() as roamify:
                return asyncio.run(nested()), roamify.account.balance().balance, len(roamify.packages.list())
        print(*asyncio.run(main()))
    """
    head = "" if uvloop else "import sys; sys.modules['uvloop'] = None\n"
    ended = run_program(head + textwrap.dedent(body), served, "-W", "ignore")
    assert (ended.code, ended.lines, ended.err) == (0, ["1000 1000 300"], "")


@pytest.mark.long
def test_no_warning_in_ipython(served, monkeypatch):
    """In IPython and notebooks, whose cells run in an event loop, blocking calls do not warn."""

    async def cell() -> str:
        with Roamify() as roamify:
            return str(roamify.account.balance().balance)

    with pytest.warns(RuntimeWarning, match="blocks it until the call ends"):
        asyncio.run(cell())
    ipython: Any = ModuleType("IPython")
    ipython.get_ipython = object
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert asyncio.run(cell()) == "1000"
