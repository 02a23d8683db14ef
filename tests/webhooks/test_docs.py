"""The documentation page: its blocks run, its table is right, and its examples do what it says."""

import re

import pytest
from support.deliveries import EVENT, EVENTS, SECRET, body_of, parsed
from support.receivers import BLOCKS, PAGE, Scope, run_blocks, set_up_django

from roamify_async import webhooks

HANDLER = BLOCKS[0]


@pytest.fixture(autouse=True)
def _environment(monkeypatch, tmp_path):
    """Set the secret, and run the page's code in a temporary directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROAMIFY_WEBHOOK_SECRET", SECRET)


def test_blocks_run():
    """Each block runs after the one with the handler."""
    set_up_django()
    for block in BLOCKS:
        scope: Scope = {"__name__": "webhooks_page"}
        exec(compile(HANDLER, PAGE.name, "exec"), scope)
        exec(compile(block, PAGE.name, "exec"), scope)


def test_links_have_targets():
    """Each link within the page has its heading."""
    text = PAGE.read_text("utf-8")
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^## (.*)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= headings


def test_table_of_events():
    """The page's table has the class, category, types and attributes of every event."""
    rows = re.findall(r"^\| `(\w+Event)` \| `?(.*?)`? \| (.*?) \| (.*?) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    documented = {name: (category, set(re.findall(r"`(\w+)`", types))) for name, category, types, _ in rows}
    actual: dict[str, tuple[str, set[str]]] = {}
    for event in map(parsed, EVENTS.values()):
        actual.setdefault(type(event).__name__, (event.category, set()))[1].add(event.type)
    assert documented == {**actual, "WebhookEvent": ("any other", set())}
    for name, _, _, fields in rows[:-1]:
        kind = getattr(webhooks, name)
        assert all(hasattr(kind, field) for field in re.findall(r"`(\w+)`", fields)), name


async def test_handler(capsys):
    """The page's handler distinguishes the events."""
    scope = run_blocks("async def handle")
    for event in EVENTS.values():
        await scope["handle"](parsed(event))
    assert capsys.readouterr().out.splitlines() == [
        f"ignored: esim status {parsed(EVENTS['status']).data}",
        "8991000000000000001: 512.5 of 1024 MB left",
        "only 20.1 USD left",
        "only 20.1 USD left",
        f"ignored: partner top_up {parsed(EVENTS['top_up']).data}",
        "order o-1: commission of 0.1 USD",
        f"ignored: refund refunded {parsed(EVENTS['refunded']).data}",
        "refund r-1 was rejected: used",
    ]


def test_once(capsys):
    """The page's example of ``once`` handles an event once."""
    handle_once = run_blocks("def handle_once")["handle_once"]
    assert [handle_once(EVENT) for _ in range(2)] == [200, 200]
    assert capsys.readouterr().out.count("handling") == 1


def test_parse(capsys):
    """The page's example of ``parse`` accepts both secrets and prints why it rejects others."""
    receive = run_blocks("def receive(")["receive"]
    body = body_of(EVENTS["status"])
    for secret, status in (("the-new-secret", 200), ("the-old-secret", 200), ("another-secret", 401)):
        assert receive(body, webhooks.sign(body, secret)) == status
    assert "the secret belongs to this webhook" in capsys.readouterr().out


def test_is_recent():
    """The page's check of an event's age rejects an old event and accepts one without a time."""
    is_recent = run_blocks("def is_recent")["is_recent"]
    assert not is_recent(parsed(EVENTS["status"]))
    assert is_recent(parsed({"event_category": "voucher", "event_type": "redeemed"}))
