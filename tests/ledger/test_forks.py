"""A ledger in a process that forks: each process opens its own."""

import asyncio
import os
import warnings

import pytest
from support.ledgers import wanted

from roamify_async import LedgerError
from roamify_async.ledger import LeaseLostError, Outcome, Start, Verdict

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")


def in_child(check, meanwhile=lambda: None) -> None:
    """Run a coroutine function in a forked process, and fail if it fails there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of forks beside threads: that is the case.
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            asyncio.run(check())
            code = 0
        finally:
            os._exit(code)
    meanwhile()
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_fork_while_it_is_open(open_ledger):
    """A child has handles of its own, and can neither send nor settle what its parent claimed; the parent goes on."""
    ledger = open_ledger()
    lease = asyncio.run(ledger.claim(wanted())).lease
    asyncio.run(ledger.start(lease, wanted(), Start()))

    async def child() -> None:
        with pytest.raises(LeaseLostError, match="before a fork"):
            lease.check()
        assert not await ledger.settle(lease, Outcome(status="refused"))
        assert (await ledger.claim(wanted())).verdict is Verdict.WAIT
        own = (await ledger.claim(wanted("child"))).lease
        await ledger.start(own, wanted("child"), Start())
        await ledger.settle(own, Outcome(status="ordered", order_id="o1"))
        ledger.close()

    in_child(child)
    lease.check()
    assert asyncio.run(ledger.settle(lease, Outcome(status="ordered", order_id="o2")))
    assert ledger.counts() == {"ordered": 2}


def test_fork_without_hooks(open_ledger, monkeypatch):
    """An open ledger is refused in a process that was forked without Python's hooks, which share its connections."""
    ledger = open_ledger()
    asyncio.run(ledger.claim(wanted()))
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(LedgerError, match="in each process; nothing was sent"):
            asyncio.run(ledger.claim(wanted("child")))
    assert ledger.get("child") is None


def test_fork_before_it_is_open(open_ledger):
    """A ledger that was not used before the fork is opened by each process."""
    ledger = open_ledger()

    async def child() -> None:
        assert (await ledger.claim(wanted("child"))).verdict is Verdict.FREE
        ledger.close()

    in_child(child)
    in_child(lambda: _check_row(ledger))
    assert asyncio.run(ledger.claim(wanted())).verdict is Verdict.FREE


async def _check_row(ledger) -> None:
    assert ledger.get("child") is not None


def test_child_outlives_its_parent(open_ledger):
    """What a child records is seen by others, although its parent, which used the ledger before the fork, closed it."""
    ledger = open_ledger()
    asyncio.run(ledger.claim(wanted()))
    ready, parent_closed, verdicts = os.pipe(), os.pipe(), []

    async def child() -> None:
        await ledger.claim(wanted("before"))
        os.write(ready[1], b".")
        os.read(parent_closed[0], 1)
        await ledger.claim(wanted("after"))
        os.write(ready[1], b".")
        os.read(parent_closed[0], 1)

    def go_on() -> None:
        os.read(ready[0], 1)
        ledger.close()
        os.write(parent_closed[1], b".")
        os.read(ready[0], 1)
        verdicts.append(asyncio.run(open_ledger().claim(wanted("after"))).verdict)
        os.write(parent_closed[1], b".")

    in_child(child, meanwhile=go_on)
    assert verdicts == [Verdict.WAIT]
