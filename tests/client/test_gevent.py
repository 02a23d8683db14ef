"""The synchronous client in green threads: gevent replaces threads, sockets and locks by its own."""

import textwrap
from collections.abc import Iterator

import pytest
from support.programs import run_program

from roamify_async.sandbox import Sandbox

pytest.importorskip("gevent")

HEAD = """
import sys
if "without uvloop":
    sys.modules["uvloop"] = None
from gevent import monkey
monkey.patch_all()
import gevent, os, threading
from roamify_async import *

def at_once(function, count):
    jobs = [gevent.spawn(function, number) for number in range(count)]
    gevent.joinall(jobs, raise_error=True)
    return {job.value for job in jobs}
"""


@pytest.fixture
def served() -> Iterator[Sandbox]:
    """Run a sandbox in a thread of its own."""
    with Sandbox(packages=100) as sandbox:
        yield sandbox


@pytest.fixture(params=["asyncio", "uvloop"])
def head(request: pytest.FixtureRequest) -> str:
    """Return the beginning of a program with or without uvloop."""
    if request.param == "asyncio":
        return HEAD
    pytest.importorskip("uvloop")
    return HEAD.replace('"without uvloop"', "False")


@pytest.mark.long
def test_green_threads(head, served):
    """Many green threads share a client, make their own ones, and go on while another one waits."""
    body = """
        roamify, ticks = Roamify(), []
        def tick():
            while True:
                ticks.append(1)
                gevent.sleep(0.01)
        gevent.spawn(tick)
        print(at_once(lambda _: len(roamify.devices.list()) > 0, 1), len(ticks) > 3)
        print(at_once(lambda _: str(roamify.account.balance().balance), 20))
        def own(number):
            with Roamify() as mine:
                return len(mine.packages.list(page_size=20)), len(list(mine.packages.iter()))
        print(at_once(own, 5))
        requests = [CreateOrder([OrderItem("esim-greece-30days-1gb-all")], reference_id=f"r{n}") for n in range(9)]
        print(roamify.orders.bulk(requests, on_progress=lambda _: None).counts["ordered"])
        roamify.close()
        print([thread.name for thread in threading.enumerate() if thread.name == "roamify_async"])
    """
    served.fail("GET", "/api/compatible-devices", "slow", seconds=0.3)
    ended = run_program(head + textwrap.dedent(body), served, "-W", "always::ResourceWarning")
    assert (ended.code, ended.lines) == (0, ["{True} True", "{'1000'}", "{(100, 100)}", "9", "[]"]), ended.err
    assert "ResourceWarning" not in ended.err
    assert len(served.state()["orders"]) == 9


@pytest.mark.long
def test_fork_of_green_threads(head, served):
    """A client opens anew in a fork, as in gunicorn's gevent workers."""
    body = """
        roamify = Roamify()
        print(roamify.account.balance().balance, flush=True)
        child = os.fork()
        if child:
            print(os.waitpid(child, 0)[1], flush=True)
        print(at_once(lambda _: roamify.account.balance().balance == 1000, 5), flush=True)
        if not child:
            os._exit(0)
    """
    ended = run_program(head + textwrap.dedent(body), served)
    assert (ended.code, ended.lines, ended.err) == (0, ["1000", "{True}", "0", "{True}"], "")


@pytest.mark.long
def test_patched_too_late(served):
    """If gevent patches threads after the import, the first call says so instead of hanging."""
    body = """
        from roamify_async import *
        import roamify_async.client
        from gevent import monkey
        monkey.patch_all()
        roamify = Roamify()
        try:
            roamify.account.balance()
        except ConfigurationError as error:
            print(error)
    """
    ended = run_program(body, served, "-W", "ignore")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("threads were patched (by gevent?) after roamify_async was imported")
