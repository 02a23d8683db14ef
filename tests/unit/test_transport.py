"""The transport: what is sent, what is returned, and whether it is certain that nothing was sent."""

import asyncio
import gc
import gzip
import os
import ssl
import warnings
import zlib
from base64 import b64decode
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import trustme
from support.clients import QUICK
from support.servers import Clock, Raw, answer, answering, basic, nobody, proxying
from yarl import URL

from roamify_async import APIStatusError, AsyncRoamify, ConfigurationError, OrderItem, Settings, Timeouts
from roamify_async._http.credentials import Credentials
from roamify_async._http.messages import HttpRequest, HttpResponse, NoResponse
from roamify_async._http.proxies import proxy_of_environment
from roamify_async._http.transport import AGENT, Transport
from roamify_async.sandbox import Sandbox

TOKEN = "rk_live_0123456789abcdef"
HOST = "https://api.example.com"
GET = HttpRequest("GET", "/api/balance")
POST = HttpRequest("POST", "/api/esim/order", body=b'{"items": []}')
LOST = ("lost", "maybe")
UNSENT = ("connect", "no")


@asynccontextmanager
async def transport(url=HOST, settings=None, session=None):
    """Create a transport, and close it."""
    made = Transport(Credentials(url, TOKEN), settings or Settings(), session)
    try:
        yield made
    finally:
        await made.aclose()


async def send(made, request, *, agent=None, proxy=None, **timeouts: float):
    """Send with the transport, under the given timeouts only."""
    return await made.send(request, Timeouts(**timeouts), agent=agent, proxy=proxy)


async def outcome(url, request=POST, *, settings=None, session=None, proxy=None, **timeouts: float):
    """Send one request with a transport of its own."""
    async with transport(url, settings, session) as made:
        return await send(made, request, proxy=proxy, **timeouts)


def failure(result):
    """Return the kind of a failure and whether the body may have left; the reason never contains the token."""
    assert isinstance(result, NoResponse), result
    assert TOKEN not in result.reason
    assert result.reason
    return result.failure, result.sent


def only_call(mocked):
    """Return the keyword arguments of the only request."""
    ((call,),) = mocked.requests.values()
    return call.kwargs


# ---------------------------------------------------------------- calls of aiohttp


async def test_headers(mocked):
    """A request has the token, the content types and the name of the client."""
    mocked.post(f"{HOST}/api/esim/order", payload={})
    async with transport() as made:
        await send(made, POST)
    assert dict(only_call(mocked)["headers"]) == {
        "Authorization": f"Bearer {TOKEN}",
        "Accept": "application/json",
        "Content-Type": "application/json",
        "User-Agent": AGENT,
    }
    assert AGENT.startswith("roamify-async/")
    assert f"aiohttp/{aiohttp.__version__}" in AGENT


async def test_user_agent(mocked):
    """A ``User-Agent`` of the caller replaces the default."""
    mocked.get(f"{HOST}/api/balance", payload={})
    async with transport() as made:
        await send(made, GET, agent="shop/1.0")
    assert only_call(mocked)["headers"]["User-Agent"] == "shop/1.0"


async def test_body(mocked):
    """The body is sent as the bytes of the request; a request without a body has none."""
    mocked.post(f"{HOST}/api/esim/order", payload={})
    async with transport() as made:
        await send(made, POST)
        assert only_call(mocked)["data"].decode() == '{"items": []}'
        mocked.requests.clear()
        mocked.get(f"{HOST}/api/balance", payload={})
        await send(made, GET)
        assert only_call(mocked)["data"] is None


async def test_nothing_is_followed_or_raised(mocked):
    """Aiohttp follows no redirect, raises for no status, and gets the given proxy and SSL context."""
    mocked.get(f"{HOST}/api/balance", payload={})
    context = ssl.create_default_context()
    async with transport(settings=Settings(ssl=context)) as made:
        await send(made, GET, proxy="http://proxy.example.com:3128")
    asked = only_call(mocked)
    assert asked["allow_redirects"] is False
    assert asked["raise_for_status"] is False
    assert asked["proxy"] == "http://proxy.example.com:3128"
    assert asked["ssl"] is context


async def test_certificates_are_checked_by_default(mocked):
    """By default certificates are verified and no proxy is used."""
    mocked.get(f"{HOST}/api/balance", payload={})
    async with transport() as made:
        await send(made, GET)
    asked = only_call(mocked)
    assert asked["ssl"] is True
    assert asked["proxy"] is None


async def test_timeouts(mocked):
    """Timeouts are passed to aiohttp; infinite and missing ones are no limit."""
    mocked.get(f"{HOST}/api/balance", payload={}, repeat=True)
    async with transport() as made:
        await send(made, GET, connect=1, read=2, total=3)
        assert only_call(mocked)["timeout"] == aiohttp.ClientTimeout(total=3, sock_connect=1, sock_read=2)
        mocked.requests.clear()
        await send(made, GET, total=float("inf"))
        assert only_call(mocked)["timeout"] == aiohttp.ClientTimeout(total=None, sock_connect=None, sock_read=None)


async def test_response(mocked):
    """A response has its status, headers with lower-case names, and bytes."""
    mocked.get(f"{HOST}/api/balance", status=418, body=b"\xff\x00", headers={"CF-RAY": "abc", "X-Y": "Z"})
    async with transport() as made:
        came = await send(made, GET)
    assert isinstance(came, HttpResponse)
    assert (came.status, came.body) == (418, b"\xff\x00")
    assert came.headers["cf-ray"] == came.request_id == "abc"
    assert came.headers["x-y"] == "Z"
    assert all(name == name.lower() for name in came.headers)


KEY = SimpleNamespace(host="api.example.com", port=443, is_ssl=True, ssl=True)
INFO = aiohttp.RequestInfo(URL(HOST), "POST", {"Authorization": f"Bearer {TOKEN}"}, URL(HOST))  # type: ignore[arg-type]
FAILURES = {
    # name: the exception, what it means for a GET, and for a POST whose body had not left, and had
    "no connection": (aiohttp.ClientConnectorError(KEY, OSError(111, "refused")), UNSENT, UNSENT, None),  # type: ignore[arg-type]
    "proxy": (aiohttp.ClientHttpProxyError(INFO, (), status=407), UNSENT, UNSENT, None),
    "connecting": (aiohttp.ConnectionTimeoutError("slow"), ("timeout", "no"), ("timeout", "no"), None),
    "URL": (aiohttp.InvalidURL("::"), UNSENT, UNSENT, None),
    "hung up": (aiohttp.ServerDisconnectedError(), LOST, UNSENT, LOST),
    "cut off": (aiohttp.ClientPayloadError("cut off"), LOST, UNSENT, LOST),
    "socket": (aiohttp.ClientOSError(104, "reset"), LOST, UNSENT, LOST),
    "status line": (aiohttp.ClientResponseError(INFO, (), status=400, message="Bad"), LOST, UNSENT, LOST),
    "total": (TimeoutError(), ("timeout", "maybe"), ("timeout", "no"), ("timeout", "maybe")),
    "reading": (aiohttp.SocketTimeoutError("slow"), ("timeout", "maybe"), ("timeout", "no"), ("timeout", "maybe")),
    "runtime": (RuntimeError("odd"), LOST, UNSENT, LOST),
    "value": (ValueError("odd"), LOST, UNSENT, LOST),
    "with the token": (aiohttp.ClientError(f"Bearer {TOKEN}"), LOST, UNSENT, LOST),
}


@pytest.mark.parametrize(("error", "get", "unsent", "sent"), FAILURES.values(), ids=FAILURES)
async def test_exceptions_become_values(mocked, error, get, unsent, sent):
    """Every exception is returned as a failure that says whether the body had left."""

    async def break_before(url, **_: Any):
        raise error

    async def break_after(url, *, data, **_: Any):
        await data.write_with_length(Writer(), None)
        raise error

    async with transport() as made:
        mocked.get(f"{HOST}/api/balance", callback=break_before)
        assert failure(await send(made, GET)) == get
        mocked.post(f"{HOST}/api/esim/order", callback=break_before)
        assert failure(await send(made, POST)) == unsent
        if sent is not None:
            mocked.clear()
            mocked.post(f"{HOST}/api/esim/order", callback=break_after)
            assert failure(await send(made, POST)) == sent


class Writer:
    """Collects what would be written to a socket."""

    def __init__(self) -> None:
        """Start empty."""
        self.written = b""

    async def write(self, chunk: bytes) -> None:
        """Note it."""
        self.written += chunk


@pytest.mark.parametrize("method", ["write", "write_with_length"])
async def test_payload_marks_and_writes(mocked, method):
    """Both methods that aiohttp uses mark the body as sent before they write it."""
    writer = Writer()

    async def writing(url, *, data, **_: Any):
        assert not data.was_sent
        await (data.write(writer) if method == "write" else data.write_with_length(writer, len(POST.body)))
        assert data.was_sent

    mocked.post(f"{HOST}/api/esim/order", callback=writing)
    async with transport() as made:
        assert isinstance(await send(made, POST), HttpResponse)
    assert writer.written == POST.body


async def test_cancellation_passes(mocked):
    """Cancellation propagates."""

    async def cancelled(url, **_: Any):
        raise asyncio.CancelledError

    mocked.get(f"{HOST}/api/balance", callback=cancelled)
    async with transport() as made:
        with pytest.raises(asyncio.CancelledError):
            await send(made, GET)


# ---------------------------------------------------------------- what goes over the wire


EMPTY_PAGE = '{"status": "success", "data": {"packages": []}}'


async def test_url():
    """The path of the base URL is kept, and arguments are percent-encoded once."""
    async with Raw(answering(answer(EMPTY_PAGE))) as server:
        async with AsyncRoamify(TOKEN, base_url=f"{server.url}/proxy/a%20b/") as client:
            await client.packages.page(country="Côte d'Ivoire & Co+100%/?#", page=2)
        _, request = server.requests  # The first one reads the names of countries.
    path, _, query = request.line.split(" ")[1].partition("?")
    assert path == "/proxy/a%20b/api/esim/packages"
    assert "country=C%C3%B4te%20d%27Ivoire%20%26%20Co%2B100%25%2F%3F%23" in query.split("&")
    assert "page=2" in query.split("&")


async def test_base_path_outside_ascii():
    """A base path with non-ASCII letters is percent-encoded."""
    async with Raw(answering(answer(EMPTY_PAGE))) as server:
        async with AsyncRoamify(TOKEN, base_url=f"{server.url}/pfäd") as client:
            await client.packages.page()
        assert server.requests[0].line.startswith("GET /pf%C3%A4d/api/esim/packages?")


async def test_request():
    """Each header is sent once, and the body whole and with its length."""
    async with Raw(answering(answer())) as server:
        await outcome(server.url)
        await outcome(server.url, GET)
        post, get = server.requests
    assert post.line == "POST /api/esim/order HTTP/1.1"
    assert post.body == POST.body
    assert post.get("Content-Length") == str(len(POST.body))
    assert get.line == "GET /api/balance HTTP/1.1"
    assert get.body == b""
    for request in post, get:
        assert request.get("Host") == server.url.removeprefix("http://")
        assert request.get("Authorization") == f"Bearer {TOKEN}"
        assert request.get("Content-Type") == "application/json"
        assert request.get("Accept") == "application/json"
        assert request.get("User-Agent") == AGENT
        assert request.get("Transfer-Encoding") is None
        assert "gzip" in request.get("Accept-Encoding")


async def test_user_agent_of_the_settings():
    """``Settings(user_agent=)`` is sent."""
    async with Raw(answering(answer(EMPTY_PAGE))) as server:
        async with AsyncRoamify(TOKEN, base_url=server.url, settings=Settings(user_agent="shop/1.0")) as client:
            await client.packages.page()
        assert server.requests[0].get("User-Agent") == "shop/1.0"


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_compressed_responses(coding, pack):
    """Compressed responses are decompressed."""
    async with Raw(answering(answer(pack(b'{"a": 1}'), Content_Encoding=coding))) as server:
        assert (await outcome(server.url)).body == b'{"a": 1}'


async def test_chunked_response():
    """A chunked response is reassembled."""
    chunks = b'5\r\n{"a":\r\n2\r\n1}\r\n0\r\n\r\n'
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with Raw(answering(head + chunks)) as server:
        assert (await outcome(server.url)).body == b'{"a":1}'


async def test_connection_is_kept():
    """Consecutive calls use one connection."""
    async with Raw(answering(answer())) as server:
        async with transport(server.url) as made:
            for _ in range(5):
                await send(made, GET)
                await send(made, POST)
        assert (server.connections, len(server.requests)) == (1, 10)


async def test_cookies_are_not_sent_back():
    """Cookies are not stored."""
    async with Raw(answering(answer(Set_Cookie="session=1; Path=/"))) as server:
        async with transport(server.url) as made:
            first = await send(made, GET)
            await send(made, POST)
        assert first.headers["set-cookie"].startswith("session=1")
        assert [request.get("Cookie") for request in server.requests] == [None, None]


@pytest.mark.parametrize("request_", [GET, POST], ids=["GET", "POST"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_responses(status, request_):
    """A redirect is returned as it is and not followed."""
    async with Raw(answering(answer())) as elsewhere:
        redirect = answer(b"", status, Location=f"{elsewhere.url}/api/balance")
        async with Raw(answering(redirect)) as server:
            came = await outcome(server.url, request_)
            assert (came.status, came.headers["location"]) == (status, f"{elsewhere.url}/api/balance")
            assert len(server.requests) == 1
        assert elsewhere.connections == 0


async def test_token_is_redacted_in_responses():
    """A token that the server repeats is redacted."""

    async def echo(connection):
        request = await connection.request()
        await connection.write(answer(f'{{"message": "bad {request.get("Authorization")}!"}}', 401))

    async with Raw(echo) as server:
        assert (await outcome(server.url)).body == b'{"message": "bad Bearer ***!"}'


# ---------------------------------------------------------------- whether the body may have left


async def hang_up(connection):
    """Close the connection after a request."""
    await connection.request()


async def reset(connection):
    """Abort the connection after a request."""
    await connection.request()
    connection.abort()


def breaking_off(text):
    """Send this much of a response, then close the connection."""

    async def play(connection):
        await connection.request()
        await connection.write(text)

    return play


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
BREAKS = {
    "closes after reading": hang_up,
    "resets after reading": reset,
    "in the status line": breaking_off(b"HTTP/1.1 20"),
    "in the headers": breaking_off(HEAD),
    "in the body": breaking_off(HEAD + b'Content-Length: 100\r\n\r\n{"data": '),
    "before the body": breaking_off(HEAD + b"Content-Length: 100\r\n\r\n"),
    "in a chunk": breaking_off(HEAD + b'Transfer-Encoding: chunked\r\n\r\n40\r\n{"data": '),
    "between chunks": breaking_off(HEAD + b'Transfer-Encoding: chunked\r\n\r\n2\r\n{"\r\n'),
    "in packed data": breaking_off(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\n\x1f\x8b\x08\x00\x00"),
    "no packed data": breaking_off(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain"),
    "no HTTP": breaking_off(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    "no header": breaking_off(b"HTTP/1.1 200 OK\r\nBearer \x00\r\n\r\n"),
    "long headers": breaking_off(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"),
}


@pytest.mark.parametrize("play", BREAKS.values(), ids=BREAKS)
async def test_lost_responses(play):
    """A POST without a complete response may have been sent, and is sent once."""
    async with Raw(play) as server:
        assert failure(await outcome(server.url)) == LOST
        assert [request.body for request in server.requests] == [POST.body]


@pytest.mark.parametrize("play", BREAKS.values(), ids=BREAKS)
async def test_lost_reads(play):
    """A GET without a complete response may have been sent, although it has no body."""
    async with Raw(play) as server:
        assert failure(await outcome(server.url, GET)) == LOST
        assert server.requests


async def test_closed_before_it_is_read():
    """A server that closes without reading may have received the body all the same."""
    left = asyncio.Event()

    async def chunk_sent(*_: object) -> None:
        left.set()

    async def deaf(connection):
        await left.wait()
        connection.abort()

    trace = aiohttp.TraceConfig()
    trace.on_request_chunk_sent.append(chunk_sent)
    async with Raw(deaf) as server:
        assert failure(await outcome(server.url, settings=Settings(trace_configs=[trace]))) == LOST
        assert (server.connections, server.requests) == (1, [])


async def silence(connection):
    """Read a request and never respond."""
    await connection.request()
    await asyncio.Event().wait()


@pytest.mark.parametrize("limit", ["read", "total"])
@pytest.mark.parametrize("begins", [b"", HEAD + b"Content-Length: 100\r\n\r\n{"], ids=["nothing", "half"])
async def test_no_complete_response_in_time(monkeypatch, begins, limit):
    """A POST without a complete response in time may have been sent, whichever timeout ends it."""
    clock = Clock(monkeypatch)

    async def stall(connection):
        await connection.request()
        await connection.write(begins)
        while True:  # each piece of the answer starts the limit between two pieces anew
            await clock.sleep(31)

    async with Raw(stall) as server:
        assert failure(await outcome(server.url, **{limit: 30})) == ("timeout", "maybe")
        assert len(server.requests) == 1


@pytest.mark.parametrize("request_", [GET, POST], ids=["GET", "POST"])
async def test_refused_connection(request_):
    """If the connection is refused, nothing was sent."""
    with nobody() as url:
        assert failure(await outcome(url, request_)) == UNSENT


@pytest.mark.parametrize("request_", [GET, POST], ids=["GET", "POST"])
async def test_unknown_host(request_):
    """If the host does not exist, nothing was sent."""
    assert failure(await outcome("https://api.invalid", request_)) == UNSENT


async def deaf(connection):
    """Accept a connection and never read from it."""
    await asyncio.Event().wait()


@pytest.mark.parametrize("request_", [GET, POST], ids=["GET", "POST"])
async def test_connecting_takes_too_long(request_):
    """If the TLS handshake does not end in time, nothing was sent."""
    async with Raw(deaf) as server:
        url = server.url.replace("http:", "https:")
        assert failure(await outcome(url, request_, connect=0.1)) == ("timeout", "no")
        assert server.connections == 1


async def test_total_timeout_while_connecting():
    """If the total timeout ends a connection attempt, nothing was sent."""
    async with Raw(deaf) as server:
        assert failure(await outcome(server.url.replace("http:", "https:"), total=0.1)) == ("timeout", "no")


async def test_waiting_in_a_callers_pool():
    """A POST that times out in the queue of the caller's connection pool was not sent."""
    async with Raw(silence) as server, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        taken = asyncio.ensure_future(session.get(f"{server.url}/theirs"))
        await server.came.wait()
        assert failure(await outcome(server.url, session=session, total=0.1)) == ("timeout", "no")
        assert [request.line.split()[0] for request in server.requests] == ["GET"]
        taken.cancel()
        await asyncio.gather(taken, return_exceptions=True)


class Flaky:
    """Responds to one request on each connection, and closes it at the second."""

    def __init__(self) -> None:
        """Start with the first connection."""
        self.per_connection: list[int] = []

    async def play(self, connection):
        """Count, answer, count, hang up."""
        self.per_connection.append(0)
        place = len(self.per_connection) - 1
        while await connection.request():
            self.per_connection[place] += 1
            if self.per_connection[place] == 2:
                return
            await connection.write(answer())


@pytest.mark.parametrize("request_", [GET, POST], ids=["GET", "POST"])
async def test_dead_connection(request_):
    """A request on a dead kept-alive connection may have been sent, and aiohttp does not send it again."""
    flaky = Flaky()
    async with Raw(flaky.play) as server, transport(server.url) as made:
        await send(made, request_)
        assert failure(await send(made, request_)) == LOST
        assert flaky.per_connection == [2]
        assert (await send(made, request_)).status == 200
    assert flaky.per_connection == [2, 1]


async def test_lost_and_gone():
    """A GET whose connection was lost may have been sent, even if no further connection is possible."""

    async def play(connection):
        await connection.request()
        connection.server.refuse()
        connection.abort()

    async with Raw(play) as server:
        assert failure(await outcome(server.url, GET))[1] == "maybe"
        assert len(server.requests) == 1


async def test_closing_in_flight():
    """Closing the transport ends requests in flight with that reason."""
    async with Raw(silence) as server, transport(server.url) as made:
        call = asyncio.ensure_future(send(made, POST))
        await server.came.wait()
        await made.aclose()
        result = await call
        assert failure(result) == LOST
        assert result.reason == "the client was closed"


# ---------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def authority():
    """Create a certificate authority."""
    return trustme.CA()


@pytest.fixture(scope="module")
def certified(authority):
    """Create the server's SSL context with a certificate of that authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
async def secure(certified):
    """Run a TLS server."""
    async with Raw(answering(answer()), ssl=certified) as server:
        yield server


@pytest.mark.parametrize("request_", [GET, POST], ids=["GET", "POST"])
async def test_unknown_authority(secure, request_):
    """A certificate of an unknown authority is refused before anything is sent."""
    result = await outcome(secure.url, request_)
    assert failure(result) == UNSENT
    assert "certificate verify failed" in result.reason
    assert secure.requests == []


@pytest.mark.parametrize("given", ["path", "text", "context"])
async def test_own_authority(secure, authority, tmp_path, given):
    """``Settings(ssl=)`` takes the path of a CA bundle, or a context."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    context = ssl.create_default_context(cafile=path)
    settings = Settings(ssl={"path": path, "text": str(path), "context": context}[given])
    assert (await outcome(secure.url, settings=settings)).status == 200
    assert len(secure.requests) == 1


async def test_other_authority(secure, tmp_path):
    """A CA bundle without the server's authority is refused."""
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    assert failure(await outcome(secure.url, settings=Settings(ssl=path))) == UNSENT
    assert secure.requests == []


async def test_other_host(authority, tmp_path):
    """A certificate for another host is refused, whoever signed it."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("api.example.com").configure_cert(context)
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    async with Raw(answering(answer()), ssl=context) as server:
        assert failure(await outcome(server.url, settings=Settings(ssl=path))) == UNSENT
        assert server.requests == []


async def greet(connection):
    """Speak first, and not TLS."""
    await connection.write(b"220 mail.example.com ESMTP\r\n")
    await connection.reader.read(1)


@pytest.mark.parametrize("request_", [GET, POST], ids=["GET", "POST"])
async def test_plain_server_behind_https(request_):
    """If the server does not speak TLS, nothing was sent."""
    async with Raw(greet) as server:
        assert failure(await outcome(server.url.replace("http:", "https:"), request_)) == UNSENT


async def test_authority_of_a_callers_session(secure, authority, tmp_path):
    """The certificates that the caller's session trusts are trusted."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=path))
    async with aiohttp.ClientSession(connector=connector) as session:
        assert (await outcome(secure.url, session=session)).status == 200


# ---------------------------------------------------------------- proxies


PASSWORD = "pr0xy-s3cret"


def with_password(url):
    """Add a user and a password to the URL of a proxy."""
    return url.replace("//", f"//user:{PASSWORD}@")


async def test_proxy_of_the_settings():
    """``Settings(proxy=)`` is used, with its password."""
    async with Raw(answering(answer(EMPTY_PAGE))) as server, Raw(proxying()) as proxy:
        settings = Settings(proxy=with_password(proxy.url))
        async with AsyncRoamify(TOKEN, base_url=server.url, settings=settings) as client:
            await client.packages.page()
        (asked,), (came,) = proxy.requests, server.requests
    assert asked.line.startswith(f"GET {server.url}/api/esim/packages")
    assert asked.get("Proxy-Authorization") == basic("user", PASSWORD)
    assert came.get("Authorization") == f"Bearer {TOKEN}"


async def test_proxy_of_a_view():
    """The proxy of a view is used by that view only."""
    async with Raw(answering(answer(EMPTY_PAGE))) as server, Raw(proxying()) as proxy:
        async with AsyncRoamify(TOKEN, base_url=server.url) as client:
            await client.with_settings(proxy=proxy.url).packages.page()
            await client.packages.page()
        assert (len(proxy.requests), len(server.requests)) == (1, 2)


async def test_proxy_tunnels_tls(secure, authority, tmp_path):
    """For HTTPS the proxy sees the host and never the token."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    async with Raw(proxying()) as proxy:
        result = await outcome(secure.url, settings=Settings(ssl=path), proxy=with_password(proxy.url))
        assert result.status == 200
        (asked,) = proxy.requests
    assert asked.line == f"CONNECT {secure.url.removeprefix('https://')} HTTP/1.1"
    assert asked.get("Proxy-Authorization") == basic("user", PASSWORD)
    assert TOKEN not in str(asked)
    assert secure.requests[0].body == POST.body


@pytest.fixture
def no_proxy_settings(monkeypatch):
    """Remove every proxy from the environment."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


async def test_proxy_of_the_environment(monkeypatch, no_proxy_settings):
    """The proxy of the environment is used only with ``trust_env``."""
    async with Raw(answering(answer())) as server, Raw(proxying()) as proxy:
        monkeypatch.setenv("HTTP_PROXY", with_password(proxy.url))
        monkeypatch.setenv("http_proxy", with_password(proxy.url))
        await outcome(server.url)
        assert (len(proxy.requests), len(server.requests)) == (0, 1)
        await outcome(server.url, settings=Settings(trust_env=True))
        assert (len(proxy.requests), len(server.requests)) == (1, 2)
        assert proxy.requests[0].get("Proxy-Authorization") == basic("user", PASSWORD)


async def test_netrc_is_ignored(monkeypatch, tmp_path, no_proxy_settings):
    """``trust_env`` does not read passwords from a netrc file."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with Raw(answering(answer())) as server:
        result = await outcome(server.url, settings=Settings(trust_env=True))
        assert isinstance(result, HttpResponse), result
        assert server.requests[0].get("Authorization") == f"Bearer {TOKEN}"


@pytest.mark.parametrize("request_", [GET, POST], ids=["GET", "POST"])
@pytest.mark.parametrize("status", [403, 407, 502])
async def test_proxy_refuses(request_, status):
    """If the proxy refuses the tunnel, nothing was sent; its password is not shown."""
    async with Raw(proxying(answer(b"no", status))) as proxy:
        result = await outcome("https://api.invalid", request_, proxy=with_password(proxy.url))
        assert failure(result) == UNSENT
        assert str(status) in result.reason
        assert PASSWORD not in result.reason


async def test_proxy_hangs_up():
    """If the proxy closes the connection, nothing was sent; its password is not shown."""
    async with Raw(hang_up) as proxy:
        result = await outcome("https://api.invalid", proxy=with_password(proxy.url))
        assert failure(result) == UNSENT
        assert PASSWORD not in result.reason


async def test_proxy_is_not_there():
    """If the proxy refuses connections, nothing was sent; its password is not shown."""
    with nobody() as url:
        for base in "https://api.invalid", "http://api.invalid":
            result = await outcome(base, proxy=with_password(url))
            assert failure(result) == UNSENT
            assert PASSWORD not in result.reason


@pytest.mark.parametrize(
    "proxy",
    [
        f"http://user:{PASSWORD}/x@127.0.0.1:1",
        f"http://user:x/{PASSWORD}@127.0.0.1:1",
        f"http://user:x@{PASSWORD}@127.0.0.1:99999",
        f"user:{PASSWORD}@127.0.0.1:1",
        f"http://user:{PASSWORD}@127.0.0.1:port",
    ],
)
async def test_bad_proxy_urls(proxy):
    """An invalid proxy URL does not show its password in the error."""
    with pytest.raises(ValueError, match="proxy") as caught:
        Settings(proxy=proxy)
    assert PASSWORD not in str(caught.value)
    async with AsyncRoamify(TOKEN) as client:
        with pytest.raises(ValueError, match="proxy") as caught:
            client.with_settings(proxy=proxy)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("path", ["settings", "environment"])
@pytest.mark.parametrize(
    ("proxy", "problem"),
    [
        ("socks5://127.0.0.1:1080", "SOCKS"),
        ("socks5h://user:x@127.0.0.1:1080", "SOCKS"),
        ("http://", "name a host"),
        ("http://:3128", "name a host"),
        ("ftp://127.0.0.1:21", "begin with http://"),
        ("http://127.0.0.1:port", "cannot be parsed"),
        ("http://127.0.0.1:99999", "cannot be parsed"),
        ("http://127.0.0.1:3128/path", "end after the port"),
    ],
)
async def test_unusable_proxies(monkeypatch, no_proxy_settings, proxy, problem, path):
    """A proxy that cannot be used is refused, and no request bypasses it."""
    async with Raw(answering(answer())) as server:
        if path == "settings":
            with pytest.raises(ValueError, match=problem):
                Settings(proxy=proxy)
            return
        monkeypatch.setenv("http_proxy", proxy)
        with pytest.raises(ConfigurationError, match=f"HTTP_PROXY .*{problem}"):
            await outcome(server.url, settings=Settings(trust_env=True))
        assert server.connections == 0


def test_proxy_without_a_scheme():
    """A proxy of the settings needs a scheme."""
    with pytest.raises(ValueError, match=r"begin with http:// and name a host, like http://127\.0\.0\.1:3128"):
        Settings(proxy="127.0.0.1:3128")


async def test_proxy_of_the_environment_without_a_scheme(monkeypatch, no_proxy_settings):
    """A proxy of the environment needs none, as in curl."""
    async with Raw(answering(answer())) as server, Raw(proxying()) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removeprefix("http://"))
        await outcome(server.url, settings=Settings(trust_env=True))
        assert (len(proxy.requests), len(server.requests)) == (1, 1)


@pytest.mark.parametrize("password", ["p@ss", "p:ss", "p#ss", "p/ss", "p%40ss", "päss?"])
async def test_proxy_passwords(password):
    """A percent-encoded password reaches the proxy decoded."""
    async with Raw(answering(answer())) as server, Raw(proxying()) as proxy:
        url = proxy.url.replace("//", f"//user:{quote(password, safe='')}@")
        assert isinstance(await outcome(server.url, proxy=Settings(proxy=url).proxy), HttpResponse)
        (asked,) = proxy.requests
    given = asked.get("Proxy-Authorization").removeprefix("Basic ")
    assert b64decode(given) in {f"user:{password}".encode(), f"user:{password}".encode("latin-1")}


async def test_proxy_that_wants_a_password():
    """A purchase that a proxy answers with 407 is refused, and not in doubt; it is sent once."""
    async with Raw(answering(answer())) as server, Raw(proxying(answer(b"who are you?", 407))) as proxy:
        settings = QUICK.changed(proxy=proxy.url, check_packages=False)
        async with AsyncRoamify(TOKEN, base_url=server.url, settings=settings) as client:
            with pytest.raises(APIStatusError, match="who are you") as caught:
                await client.orders.create([OrderItem("p1")])
        assert [request.line.split()[0] for request in proxy.requests] == ["POST"]
        assert server.connections == 0
    assert (type(caught.value), caught.value.status) == (APIStatusError, 407)


@pytest.mark.parametrize(
    ("url", "no_proxy", "bypassed"),
    [
        ("http://127.0.0.1", "127.0.0.0/8", True),
        ("http://127.0.0.1", "10.0.0.0/8", False),
        ("http://127.0.0.1", "127.0.0.1", True),
        ("http://127.0.0.1:8080", "127.0.0.1:8080", True),
        ("http://127.0.0.1:8080", "127.0.0.1:80", False),
        ("http://127.0.0.1", "127.0.0.1:80", True),
        ("https://[::1]", "::1", True),
        ("https://[::1]", "[::1]:443", True),
        ("https://[fd00::5]", "fd00::/8", True),
        ("https://[fd00::5]", "10.0.0.0/8", False),
        ("https://api.example.com", "*", True),
        ("https://api.example.com", "a.org, *", True),
        ("https://api.example.com", ".example.com", True),
        ("https://api.example.com", "example.com", True),
        ("https://example.com", ".example.com", True),
        ("https://api.example.com", "*.example.com", True),
        ("https://api.example.com", "a.org b.org API.Example.COM", True),
        ("https://api.example.com:8443", "example.com:8443", True),
        ("https://api.example.com", "example.com:8443", False),
        ("https://api.example.com", "example.com:443", True),
        ("https://badexample.com", "example.com", False),
        ("https://api.example.com", "xapi.example.com", False),
        ("https://api.example.com", "127.0.0.0/8", False),
        ("https://api.example.com", ",. ,", False),
        ("https://api.example.com", "", False),
    ],
)
def test_no_proxy(monkeypatch, no_proxy_settings, url, no_proxy, bypassed):
    """``NO_PROXY`` is read as curl and requests read it."""
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://proxy.invalid:3128")
    monkeypatch.setenv("no_proxy", no_proxy)
    assert proxy_of_environment(url) == (None if bypassed else "http://proxy.invalid:3128")


async def test_no_proxy_of_the_environment(monkeypatch, no_proxy_settings):
    """A host that ``NO_PROXY`` names is called without the proxy."""
    async with Raw(answering(answer())) as server, Raw(proxying()) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "127.0.0.0/8")
        await outcome(server.url, settings=Settings(trust_env=True))
        assert (len(proxy.requests), len(server.requests)) == (0, 1)


# ---------------------------------------------------------------- the caller's session


async def test_callers_session():
    """Only connections and headers of the caller's session are used; it stays open and unchanged."""
    async with Raw(answering(answer(Set_Cookie="ours=1"))) as server, Raw(answering(answer())) as theirs:
        jar = aiohttp.CookieJar(unsafe=True)
        session = aiohttp.ClientSession(
            theirs.url,
            cookies={"mine": "1"},
            cookie_jar=jar,
            raise_for_status=True,
            headers={
                "X-Shop": "1",
                "authorization": basic("mallory", "x"),
                "ACCEPT": "text/html",
                "user-agent": "shop/1.0",
            },
        )
        async with session:
            async with transport(server.url, session=session) as made:
                assert (await send(made, POST)).status == 200
                assert (await send(made, GET)).status == 200
            post, get = server.requests
            for request in post, get:
                assert request.get("Authorization") == f"Bearer {TOKEN}"
                assert request.get("Accept") == "application/json"
                assert request.get("User-Agent") == AGENT
                assert request.get("X-Shop") == "1"
                assert request.get("Cookie") is None
            assert (server.connections, theirs.connections) == (1, 0)
            assert not session.closed
            assert [cookie.key for cookie in jar] == ["mine"]
            async with session.get("/still/usable") as response:
                assert response.status == 200
            assert theirs.requests[0].line == "GET /still/usable HTTP/1.1"
            assert theirs.requests[0].get("Cookie") == "mine=1"
            async with session.get(f"{server.url}/same/connection") as response:
                assert response.status == 200
            assert server.connections == 1


async def test_callers_session_with_auth():
    """The credentials of the caller's session do not replace the token."""
    async with Raw(answering(answer())) as server:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            session = aiohttp.ClientSession(auth=aiohttp.BasicAuth("mallory", "x"))
        async with session:
            assert (await outcome(server.url, session=session)).status == 200
        assert server.requests[0].get("Authorization") == f"Bearer {TOKEN}"


async def test_callers_session_that_raises():
    """An error status is a response even if the caller's session raises for it."""
    async with Raw(answering(answer(b"{}", 503))) as server, aiohttp.ClientSession(raise_for_status=True) as session:
        assert (await outcome(server.url, session=session)).status == 503


async def test_callers_traces():
    """The traces of the caller's session see the requests."""
    seen: list[str] = []

    async def start(session, context, params: aiohttp.TraceRequestStartParams) -> None:
        seen.append(f"{params.method} {params.url.path}")

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(start)
    async with Raw(answering(answer())) as server, aiohttp.ClientSession(trace_configs=[trace]) as session:
        await outcome(server.url, session=session)
    assert seen == ["POST /api/esim/order"]


async def test_callers_session_closed():
    """A caller's session that was closed is named in the error."""
    async with Raw(answering(answer())) as server:
        session = aiohttp.ClientSession()
        async with transport(server.url, session=session) as made:
            await send(made, GET)
            await session.close()
            with pytest.raises(ConfigurationError, match="session given to the client was closed"):
                await send(made, GET)
        with pytest.raises(ConfigurationError, match="session given to the client was closed"):
            await outcome(server.url, session=session)
        assert len(server.requests) == 1


async def test_invalid_session():
    """Other objects than sessions are refused when the client is created."""
    with pytest.raises(TypeError, match=r"aiohttp\.ClientSession, not str"):
        AsyncRoamify(TOKEN, session="session")  # type: ignore[arg-type]


# ---------------------------------------------------------------- lifetime


async def test_after_close():
    """A closed client raises ``ConfigurationError``, and closing twice does nothing."""
    async with Raw(answering(answer())) as server:
        client = AsyncRoamify(TOKEN, base_url=server.url)
        await client.service.health()
        assert repr(client).endswith(" open>")
        await client.aclose()
        await client.aclose()
        assert repr(client).endswith(" closed>")
        with pytest.raises(ConfigurationError, match="is closed"):
            await client.service.health()
        with pytest.raises(ConfigurationError, match="is closed"):
            await client.__aenter__()
        assert len(server.requests) == 1


async def test_closed_before_use():
    """A client that was closed before it was used raises too."""
    client = AsyncRoamify(TOKEN)
    assert repr(client).endswith(" new>")
    await client.aclose()
    with pytest.raises(ConfigurationError, match="is closed"):
        await client.service.health()


def test_second_loop():
    """A client that was used in one event loop raises in another, and stays usable in the first."""
    with Sandbox(packages=100) as sandbox:
        client = AsyncRoamify(sandbox.token, base_url=sandbox.url)

        async def second() -> None:
            with pytest.raises(ConfigurationError, match="belongs to another event loop"):
                await client.account.balance()

        async def first() -> None:
            await client.account.balance()
            await asyncio.to_thread(asyncio.run, second())
            await client.account.balance()
            await client.aclose()

        asyncio.run(first())
        assert sandbox.state()["requests"] == {"GET /api/balance": 2}


def test_loop_after_loop():
    """A client whose loop has ended raises in the next loop, and can be closed there."""
    client = AsyncRoamify(TOKEN, base_url="http://127.0.0.1:1")

    async def opening() -> None:
        await client.__aenter__()

    async def using() -> None:
        with pytest.raises(ConfigurationError, match="belongs to another event loop"):
            await client.account.balance()
        await client.aclose()

    asyncio.run(opening())
    asyncio.run(using())


def in_child(run):
    """Run a function in a forked process; return its result or error as text."""
    readable, writable = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # later Pythons warn of forks among threads
        child = os.fork()
    if child == 0:
        try:
            said = str(run())
        except BaseException as error:  # noqa: BLE001 -- the child must not return into pytest
            said = repr(error)
        os.write(writable, said.encode())
        os._exit(0)
    os.close(writable)
    with os.fdopen(readable) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
async def test_fork_in_use():
    """A child that closes and collects the client does not close the connection of its parent."""
    async with Raw(answering(answer())) as server, AsyncRoamify(TOKEN, base_url=server.url) as client:
        await client.service.health()

        async def call():
            state = client._engine.transport.state
            await client.aclose()
            client._engine.transport.__del__()
            return state

        assert in_child(lambda: asyncio.run(call())) == "new"
        await client.service.health()
        assert (server.connections, len(server.requests)) == (1, 2)


def warned(caught):
    """Return category and text of warnings."""
    return [(warning.category, str(warning.message)) for warning in caught]


async def test_dropped_open():
    """A client that is dropped open warns once, and its connection is closed."""
    gone = asyncio.Event()

    async def play(connection):
        while await connection.request():
            await connection.write(answer())
        gone.set()

    async with Raw(play) as server:
        client = AsyncRoamify(TOKEN, base_url=server.url)
        await client.service.health()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del client
            gc.collect()
            await gone.wait()
            gc.collect()
    ((category, text),) = warned(caught)
    assert category is ResourceWarning
    assert "AsyncRoamify was dropped unclosed" in text


def test_dropped_after_its_loop():
    """A client that is dropped after its loop has ended warns; aiohttp does not."""
    with Sandbox(packages=100) as sandbox:

        async def use():
            client = AsyncRoamify(sandbox.token, base_url=sandbox.url)
            await client.account.balance()
            return client

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            asyncio.run(use())
            gc.collect()
    assert [text for _, text in warned(caught) if "aiohttp" in text or "Unclosed" in text] == []
    assert [text for _, text in warned(caught) if "AsyncRoamify was dropped unclosed" in text]


async def test_dropped_unused():
    """A client that was never used or was closed does not warn."""
    async with Raw(answering(answer())) as server:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            unused = AsyncRoamify(TOKEN, base_url=server.url)
            closed = AsyncRoamify(TOKEN, base_url=server.url)
            await closed.service.health()
            await closed.aclose()
            del unused, closed
            gc.collect()
    assert warned(caught) == []


async def test_dropped_with_a_callers_session():
    """Dropping a client leaves the caller's session open."""
    async with Raw(answering(answer())) as server, aiohttp.ClientSession() as session:
        client = AsyncRoamify(TOKEN, base_url=server.url, session=session)
        await client.service.health()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del client
            gc.collect()
        assert [category for category, _ in warned(caught)] == [ResourceWarning]
        async with session.get(server.url) as response:
            assert response.status == 200
        assert server.connections == 1


def test_without_an_event_loop():
    """A call outside asyncio, as under trio, raises ``ConfigurationError``, which says what works there."""
    client = AsyncRoamify(TOKEN)
    for call in (client.account.balance, client.orders.list, client.__aenter__):
        coroutine = call()
        with pytest.raises(ConfigurationError, match="use Roamify in a thread"):
            coroutine.send(None)


async def test_aiohttp_that_resends(monkeypatch):
    """A version of aiohttp that sends again by itself, and cannot be told not to, is refused before it sends."""

    def old(**arguments: Any) -> aiohttp.ClientSession:
        made = session(**arguments)
        del made._retry_connection
        return made

    session = aiohttp.ClientSession
    monkeypatch.setattr("roamify_async._http.transport.aiohttp.ClientSession", old)
    async with Raw(answering(answer())) as server:
        with pytest.raises(ConfigurationError, match=r"aiohttp .* sends requests again by itself"):
            await outcome(server.url)
        assert server.connections == 0
