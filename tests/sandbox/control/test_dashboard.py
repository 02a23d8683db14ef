"""The dashboard: what it shows, and that it runs, loads and changes nothing."""

import asyncio
import base64
import hashlib
import re
import subprocess
import sys
from html.parser import HTMLParser

import aiohttp
import pytest
from support.partner import partner_of
from support.servers import Raw, answer, answering

from roamify_async.sandbox.control.dashboard import _template

PLAIN = "esim-greece-30days-1gb-all"
VOID = {"meta", "link", "br", "img", "input", "hr"}
NASTY = """<script>alert("1")</script>'&amp;"""


class Document(HTMLParser):
    """An HTML document: its elements, and the text of each section's rows; fails where tags do not match."""

    def __init__(self, text) -> None:
        """Read all of it."""
        super().__init__()
        self.open, self.elements, self.rows, self.title = [], [], {}, ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        """Record an element."""
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "h2":
            self.title = ""
        if tag == "tr":
            self.rows.setdefault(self.title, []).append([])
        if tag in {"td", "th"}:
            self.rows[self.title][-1].append("")

    def handle_endtag(self, tag):
        """Assert that it closes the innermost open element."""
        assert self.open.pop() == tag

    def handle_data(self, data):
        """Record the text of a heading or a cell."""
        if self.open and self.open[-1] == "h2":
            self.title += data.strip()
        if {"td", "th"} & set(self.open):
            self.rows[self.title][-1][-1] += data

    def table(self, title):
        """Return the rows of a section, without the header."""
        return self.rows.get(title, [[]])[1:]

    def named(self, tag):
        """Return the attributes of each element of this name."""
        return [attributes for name, attributes in self.elements if name == tag]


async def read(partner, path="/"):
    """Read the page; return the response's headers, its text, and the document."""
    async with partner.session.get(path) as response:
        text = await response.text()
        assert (response.status, response.content_type, response.charset) == (200, "text/html", "utf-8")
        return response.headers, text, Document(text)


async def test_a_new_sandbox_shows_its_balance_and_nothing_else(partner):
    """The page needs no token, and is no request of the API."""
    async with aiohttp.ClientSession(partner.sandbox.url) as session, session.get("/") as response:
        text = await response.text()
    assert "$1000.00" in text
    assert text.count("None yet.") == 4
    assert partner.sandbox.state()["requests"] == {}
    assert Document(text).rows == {}


async def test_the_policy_allows_its_own_style_alone(partner):
    """No script, no form, no frame, nothing from elsewhere; the one style is named by its hash."""
    headers, text, document = await read(partner)
    [style] = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "style-src": f"'sha256-{digest}'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")
    assert not {tag for tag, _ in document.elements} & {"script", "link", "img", "iframe", "form", "object"}
    assert not [a for _, a in document.elements if {"style", "src"} & a.keys() or any(n.startswith("on") for n in a)]
    assert "url(" not in style
    assert "@import" not in style


async def test_it_refreshes_itself_unless_it_is_paused(partner):
    """Both without any script, and each way links to the other."""
    _, _, moving = await read(partner)
    _, _, still = await read(partner, "/?paused")
    assert [meta["content"] for meta in moving.named("meta") if meta.get("http-equiv") == "refresh"] == ["3"]
    assert not [meta for meta in still.named("meta") if "http-equiv" in meta]
    assert [link["href"] for page in (moving, still) for link in page.named("a")] == ["/?paused", "/"]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in moving.named("meta")


async def test_it_shows_orders_and_esims(partner):
    """The newest first, with the price, what was bought, the state, and the data that is used."""
    await partner.buy(PLAIN, quantity=2, referenceId="first")
    order = await partner.buy(partner.kind("unlimited"), path="/api/esim/order/instant", referenceId="second")
    applied = await partner.applied(PLAIN)
    await partner.post("/_sandbox/esims", {"esimId": applied["id"], "usedData": 256})
    cover = await partner.get("/api/insurance/packages")
    await partner.post("/api/esim/vouchers", {"packageId": PLAIN}, status=201)
    _, text, document = await read(partner)
    orders = [row[1:] for row in document.table("Orders")]
    price = f"${partner.sandbox.price(PLAIN)}"
    assert orders[0] == [price, "1 x 1 GB - 30 Days (voucher)", "-"]
    assert orders[1] == [price, "1 x 1 GB - 30 Days", "-"]
    assert orders[2][-1] == "second"
    assert orders[3] == [f"${2 * partner.sandbox.price(PLAIN)}", "2 x 1 GB - 30 Days", "first"]
    esims = document.table("eSIMs")
    assert [row[0] for row in esims] == ["NEW", "INSTALLED", "READY", "NEW", "NEW"]
    assert esims[1] == ["INSTALLED", applied["iccid"], "Greece, 1 GB - 30 Days", "256 of 1,024 MB"]
    assert esims[2][1:2] + esims[2][3:] == [order["data"]["esims"][0]["iccid"], "0 MB, unlimited"]
    assert {"max": "1024", "value": "256"} in document.named("progress")
    assert f"${partner.sandbox.state()['balance']}" in text
    assert cover["data"]


async def test_it_shows_insurance_orders():
    """Beside those of eSIMs, by the name of what they cover."""
    async with partner_of() as partner:
        products = (await partner.get("/api/insurance/packages"))["data"]
        groups = products["packages"] if isinstance(products, dict) else products
        cover = groups[0]["packages"][0]
        await partner.buy(PLAIN)
        await partner.buy(cover["packageId"], path="/api/insurance/order")
        _, _, document = await read(partner)
        names = {row[2] for row in document.table("Orders")}
        assert names == {"1 x 1 GB - 30 Days", f"1 x {cover['package']} (insurance)"}


async def test_it_shows_requests_and_the_faults_that_hit(partner):
    """Method, path and status of each; of one that was cut or is under way just that."""
    sandbox = partner.sandbox
    await partner.get("/api/balance")
    await partner.get("/api/esim", esimId="nowhere", status=404)
    sandbox.fail("GET", "/api/esims", "503_html")
    async with partner.session.get("/api/esims") as response:
        assert response.status == 503
    sandbox.fail("POST", "/api/esim/order", "drop")
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await partner.buy(PLAIN)
    sandbox.fail("POST", "/api/esim/apply", "hang")
    hanging = asyncio.create_task(partner.post("/api/esim/apply", {}))
    await sandbox.arrived("POST /api/esim/apply")
    _, _, document = await read(partner)
    requests = [row[1:] for row in document.table("Requests")]
    assert requests == [
        ["POST /api/esim/apply", "in progress"],
        ["POST /api/esim/order", "aborted"],
        ["GET /api/esims", "503"],
        ["GET /api/esim", "404"],
        ["GET /api/balance", "200"],
    ]
    assert [row[1:] for row in document.table("Injected faults")] == [
        ["POST /api/esim/apply", "in progress", "hang"],
        ["POST /api/esim/order", "aborted", "drop"],
        ["GET /api/esims", "503", "503_html"],
    ]
    hanging.cancel()
    while document.table("Requests")[0][2] != "aborted":
        _, _, document = await read(partner)
    sandbox.reset()
    assert (await read(partner))[2].rows == {}


async def test_everything_shown_is_escaped(partner):
    """Whatever a client sends is shown as text, and long paths are truncated."""
    await partner.buy(PLAIN, referenceId=NASTY)
    async with partner.session.get("/api/" + NASTY.replace("/", "") + "x" * 500) as response:
        assert response.status == 404
    _, text, document = await read(partner)
    assert "<script" not in text
    assert document.table("Orders")[0][-1] == NASTY
    path = document.table("Requests")[0][1]
    assert path.startswith('GET /api/<script>alert("1")<script>')
    assert (len(path), path[-1]) == (len("GET ") + 120, "…")


async def test_it_shows_no_more_than_the_newest(partner):
    """Twenty of each, however many there are."""
    for number in range(25):
        await partner.buy(PLAIN, referenceId=f"number {number}")
    _, _, document = await read(partner)
    for title in ("Orders", "eSIMs", "Requests"):
        assert len(document.table(title)) == 20
    assert [row[-1] for row in document.table("Orders")] == [f"number {n}" for n in range(24, 4, -1)]


async def test_it_shows_webhooks_and_the_time():
    """Where they go, what became of each, and how far the clock is ahead."""
    async with (
        Raw(answering(answer(status=500), answer())) as receiver,
        partner_of(webhook_url=receiver.url, webhook_retry_after=(0,)) as partner,
    ):
        partner.sandbox.add_balance(1)
        partner.sandbox.advance("49h")
        await partner.sandbox.delivered()
        _, text, document = await read(partner)
        rows = document.table("Webhooks")
        assert rows == [["1 partner.top_up", "acknowledged", "2", "200"]]
        assert "<dt>Ahead by</dt><dd>2 d 1:00 h</dd>" in text
        await partner.call("DELETE", "/_sandbox/webhooks")
        assert (await read(partner))[2].table("Webhooks") == rows


async def test_it_is_only_read(partner):
    """Any other method at its path is a request of the API, which has none there."""
    for method in ("POST", "PUT", "DELETE"):
        await partner.call(method, "/", status=404)


async def test_without_jinja_it_says_how_to_install_it(partner, monkeypatch):
    """The page is plain text, and everything else works."""
    _template.cache_clear()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "jinja2", None)
        async with partner.session.get("/") as response:
            assert (response.status, response.content_type) == (200, "text/plain")
            assert "pip install 'roamify-async[sandbox]'" in await response.text()
        assert (await partner.get("/_sandbox/state"))["balance"] == "1000.00"
    await read(partner)


def test_jinja_is_imported_with_the_first_page_only():
    """A sandbox runs without it."""
    program = "import sys, roamify_async.sandbox; sys.exit('jinja2' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
