"""Deduplication: the library's store, the one of the documentation page, and ``once``."""

import asyncio

import pytest
from support.deliveries import EVENT
from support.receivers import run_blocks

from roamify_async import webhooks
from roamify_async.webhooks import MemoryStore, once


@pytest.fixture(params=["memory", "table"])
def store(request, monkeypatch, tmp_path) -> webhooks.Store:
    """Return the library's store, then that of the documentation page."""
    monkeypatch.chdir(tmp_path)
    return MemoryStore() if request.param == "memory" else run_blocks("class TableStore")["store"]


def test_stores_claim(store):
    """A key can be claimed once, again after a release, and never after it is finished."""
    assert [store.claim("a"), store.claim("a"), store.claim("b")] == ["new", "busy", "new"]
    store.release("a")
    assert store.claim("a") == "new"
    store.finish("a")
    assert [store.claim("a"), store.claim("b")] == ["done", "busy"]


async def test_stores_claim_atomically(store):
    """One of many threads that claim a key obtains it."""
    claims = await asyncio.gather(*(asyncio.to_thread(store.claim, "key") for _ in range(16)))
    assert sorted(claims) == ["busy"] * 15 + ["new"]


def test_leases_expire(monkeypatch, tmp_path):
    """An expired claim can be claimed again; a finished key cannot."""
    monkeypatch.chdir(tmp_path)
    scope = run_blocks("class TableStore")
    scope["LEASE"] = -1
    stores: list[webhooks.Store] = [MemoryStore(lease=-1), scope["store"]]
    for store in stores:
        store.claim("done")
        store.finish("done")
        assert [store.claim("lost"), store.claim("lost"), store.claim("done")] == ["new", "new", "done"]


def test_memory_is_bounded():
    """The memory store forgets the oldest finished keys."""
    store = MemoryStore(size=3)
    for key in "abcd":
        store.claim(key)
        store.finish(key)
    assert repr(store) == "MemoryStore(3 of 3)"
    assert [store.claim(key) for key in "bcda"] == ["done", "done", "done", "new"]


def test_once_marks_after_success():
    """``once`` finishes a claim when its block ends and releases it when the block raises."""
    store = MemoryStore()
    with pytest.raises(KeyboardInterrupt), once(EVENT, store):
        raise KeyboardInterrupt
    with once(EVENT, store) as claim:
        assert claim == "new"
        with once(EVENT, store) as other:
            assert other == "busy"
    with once(EVENT, store) as claim:
        assert claim == "done"


def test_block_without_the_claim_does_not_release_it():
    """An exception in a block that did not obtain the claim leaves the claim alone."""
    store = MemoryStore()
    with once(EVENT, store):
        with pytest.raises(LookupError), once(EVENT, store):
            raise LookupError
        assert store.claim(EVENT.key) == "busy"
    assert store.claim(EVENT.key) == "done"
