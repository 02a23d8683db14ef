"""The page on webhooks tells the truth: its code runs, and each framework takes Roamify's events and no others."""

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from support.deliveries import EVENTS, SECRET, body_of, headers_of, parsed
from support.receivers import BLOCKS, FRAMEWORKS, PAGE, Scope, prepare_django, receiving, run

from roamify_async import webhooks

HANDLER = BLOCKS[0]

Post = Callable[[bytes, dict[str, str]], Awaitable[tuple[int, bytes]]]


@pytest.fixture(autouse=True)
def _environment(monkeypatch, tmp_path):
    """Let the page's code find its secret, and write its files where they do no harm."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROAMIFY_WEBHOOK_SECRET", SECRET)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_blocks_run(block):
    """Each block runs as it stands, after the one with the handler."""
    prepare_django()
    scope: Scope = {"__name__": "page_on_webhooks"}
    exec(compile(HANDLER, PAGE.name, "exec"), scope)
    exec(compile(block, PAGE.name, "exec"), scope)


def test_links_lead_somewhere():
    """Each link within the page has its heading."""
    text = PAGE.read_text("utf-8")
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^## (.*)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= headings


def test_table_of_events_is_true():
    """The page's table names the class, category, type and fields of every event."""
    rows = re.findall(r"^\| `(\w+Event)` \| `?(.*?)`? \| (.*?) \| (.*?) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    told = {name: (category, set(re.findall(r"`(\w+)`", types))) for name, category, types, _ in rows}
    known: dict[str, tuple[str, set[str]]] = {}
    for event in map(parsed, EVENTS.values()):
        known.setdefault(type(event).__name__, (event.category, set()))[1].add(event.type)
    assert told == {**known, "WebhookEvent": ("any other", set())}
    for name, _, _, fields in rows[:-1]:
        kind = getattr(webhooks, name)
        assert all(hasattr(kind, field) for field in re.findall(r"`(\w+)`", fields)), name


async def test_handler_tells_events_apart(capsys):
    """The page's handler knows what each event means."""
    scope = run("async def handle")
    for event in EVENTS.values():
        await scope["handle"](parsed(event))
    assert capsys.readouterr().out.splitlines() == [
        f"not for us: esim status {parsed(EVENTS['status']).data}",
        "8991000000000000001 has 512.5 of 1024 MB left",
        "only 20.1 USD left",
        "only 20.1 USD left",
        f"not for us: partner top_up {parsed(EVENTS['top_up']).data}",
        "order o-1 earned 0.1 USD",
        f"not for us: refund refunded {parsed(EVENTS['refunded']).data}",
        "refund r-1 was rejected: used",
    ]


# ---------------------------------------------------------------- real frameworks


@pytest.fixture(params=FRAMEWORKS)
async def served(request) -> AsyncIterator[tuple[list[webhooks.WebhookEvent], Post]]:
    """Give the events that are handled, and a function that posts to the page's code in a framework."""
    seen: list[webhooks.WebhookEvent] = []
    receiver = webhooks.Receiver(seen.append, SECRET)
    async with receiving(request.param, receiver) as url, aiohttp.ClientSession() as session:

        async def post(body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
            async with session.post(url, data=io.BytesIO(body), headers=headers) as response:
                return response.status, await response.read()

        yield seen, post


async def test_frameworks_acknowledge_in_the_words_of_the_documentation(served):
    """The answer to an event is what Roamify's documentation suggests."""
    _, post = served
    body = body_of(EVENTS["refunded"])
    status, answer = await post(body, headers_of(body))
    assert (status, json.loads(answer)) == (200, {"code": 200, "status": "success"})


async def test_frameworks_refuse_what_is_forged(served):
    """Another body, no signature, and no body: 401, and nothing is handled."""
    seen, post = served
    body = body_of(EVENTS["top_up"])
    forgeries = [
        (body.replace(b"20.1", b"99.1"), headers_of(body)),
        (body, {"Content-Type": "application/json"}),
        (b"", headers_of(body)),
    ]
    for forged, headers in forgeries:
        assert (await post(forged, headers))[0] == 401
    assert not seen


async def test_frameworks_keep_the_raw_body(served):
    """Bytes that no JSON writer would write are verified as they came."""
    seen, post = served
    body = b' {"event_category":\t"voucher", "event_type":"\\u00e9", "data":{"a":1.10, "a":1.10}}\r\n'
    assert (await post(body, headers_of(body)))[0] == 200
    assert [event.type for event in seen] == ["é"]


async def test_frameworks_say_what_cannot_be_read(served):
    """What is signed and is no event is 400; what is too large is 413."""
    seen, post = served
    assert (await post(b"[]", headers_of(b"[]")))[0] == 400
    large = b" " * (2**20 + 1)
    assert (await post(large, headers_of(large)))[0] == 413
    assert not seen


# ---------------------------------------------------------------- de-duplication


@pytest.fixture(params=["memory", "table"])
def store(request) -> webhooks.Store:
    """Give the library's store, then the page's one."""
    return webhooks.MemoryStore() if request.param == "memory" else run("class TableStore")["store"]


def test_stores_agree(store):
    """A key is claimed by one, free again once released, and never after it is done."""
    assert [store.claim("a"), store.claim("a"), store.claim("b")] == ["new", "busy", "new"]
    store.release("a")
    assert store.claim("a") == "new"
    store.finish("a")
    assert [store.claim("a"), store.claim("b")] == ["done", "busy"]


async def test_stores_give_a_key_once(store):
    """Of many threads that claim one key, one has it."""
    claims = await asyncio.gather(*(asyncio.to_thread(store.claim, "key") for _ in range(16)))
    assert sorted(claims) == ["busy"] * 15 + ["new"]


@pytest.mark.parametrize("kind", ["memory", "table"])
def test_claims_lapse(kind):
    """A claim whose holder has died can be taken after a while, by one; what is done stays done."""
    scope = run("class TableStore")
    scope["LAPSE"] = -1
    store: webhooks.Store = webhooks.MemoryStore(lapse=-1) if kind == "memory" else scope["store"]
    store.claim("done")
    store.finish("done")
    assert [store.claim("lost"), store.claim("lost"), store.claim("done")] == ["new", "new", "done"]


def test_once_is_open_to_all(capsys):
    """The page's own use of ``once`` handles an event once."""
    take = run("def take_once")["take_once"]
    assert [take(parsed(EVENTS["status"])) for _ in range(2)] == [200, 200]
    assert capsys.readouterr().out.count("handling") == 1


def test_verifying_without_a_receiver(capsys):
    """The page's own use of ``parse`` takes both secrets, and says why it refuses."""
    take = run("def take(")["take"]
    body = body_of(EVENTS["status"])
    assert take(body, webhooks.sign(body, "the-old-secret")) == 200
    assert take(body, webhooks.sign(body, "no-secret")) == 401
    assert "is the one of this webhook" in capsys.readouterr().out


def test_old_events_are_known():
    """The page's test of an event's age refuses an old one, and lets pass what has no time."""
    is_recent = run("def is_recent")["is_recent"]
    assert not is_recent(parsed(EVENTS["status"]))
    assert is_recent(parsed({"event_category": "voucher", "event_type": "redeemed"}))
