"""Whatever an answer holds, and however it comes over the wire, a call ends soon: in a value or a ``RoamifyError``."""

import asyncio
import builtins
import gzip
import json
import re
from decimal import Decimal
from types import SimpleNamespace

import pytest
from hypothesis import given, strategies as st
from support.clients import HANG
from support.endpoints import decoded
from support.servers import Connection, Raw, answer, answering

from roamify_async import (
    APIStatusError,
    AsyncRoamify,
    ConnectionLostError,
    DecodeError,
    RequestTimeoutError,
    Retries,
    ServerError,
    Settings,
    Timeouts,
    TransportError,
)
from roamify_async._http.messages import HttpResponse
from roamify_async._serde.envelope import status_error
from tests.fuzz import hostile
from tests.fuzz.hostile import ANSWERS, PIECES, ROWS, Case, Violation, judged, made

# ---------------------------------------------------------------- spoiled answers


def test_spoiled_responses():
    """A documented response that is spoiled in any way is a value or an error that can be shown and pickled."""
    assert hostile.main(["--cases", "200", "--seed", "1"]) == 0


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(2, 6))
def test_many_spoiled_responses(seed):
    """The same, many times over."""
    assert hostile.main(["--cases", "5000", "--seed", str(seed)]) == 0


def test_same_seed_same_cases():
    """A case is made from the seed and its number alone, so that it can be made again."""
    cases = [made(7, number) for number in range(50)]
    assert [made(7, number) for number in range(50)] == cases
    assert [made(8, number) for number in range(50)] != cases


def test_violation_is_told(monkeypatch, capsys):
    """The run ends at the first case that breaks the promise, with exit code 1 and the way to run it again."""
    broken = next(number for number in range(1000) if made(1, number).row == "account.balance")
    monkeypatch.setattr(hostile, "outcome", lambda case: {}[case.row] if case.row == "account.balance" else None)
    assert hostile.main(["--cases", "1000", "--seed", "1"]) == 1
    shown = capsys.readouterr().out
    assert f"case {broken} breaks the promise: KeyError came out" in shown
    assert f"--seed 1 --first {broken} --cases 1" in shown


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (lambda _: SimpleNamespace(of=lambda: None), "cannot be used"),
        (lambda _: float("nan"), "not equal"),
        (lambda _: DecodeError("half a pair: \ud800", request_id="r\udcff"), None),
        (lambda _: sum(range(10**6)), "took"),
    ],
)
def test_what_a_violation_is(monkeypatch, outcome, told):
    """A value that cannot be pickled or is not equal to itself breaks the promise, and so does one that takes long."""
    monkeypatch.setattr(hostile, "outcome", outcome)
    monkeypatch.setattr(hostile, "LONGEST", 0.01 if told == "took" else 10)
    case = made(1, 1)
    if told is None:
        assert judged(case) == "DecodeError"
    else:
        with pytest.raises(Violation, match=told):
            judged(case)


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["\ud800", 10**400, -1, 2**53]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["data", "id", "items", "orders", "packages", "status"]) | st.text(), inner)
    ),
    max_leaves=20,
)


@given(value=ANY_JSON, status=st.sampled_from([200, 201, 404, 500]))
def test_any_json(value, status):
    """Any JSON as the body, and as the data of an envelope, is a value or an error, for every endpoint."""
    for row in ROWS:
        for body in (value, {"status": "success", "data": value}):
            judged(Case(row, status, {}, json.dumps(body).encode()))


@given(body=st.binary(max_size=200), at=st.integers(0, 10_000), status=st.sampled_from([200, 201, 404, 500]))
def test_any_bytes(body, at, status):
    """Any bytes as the body, and within the documented one, are a value or an error, for every endpoint."""
    for row in ROWS:
        whole = json.dumps(ANSWERS[row]).encode()
        start, end = whole[: at % len(whole)], whole[at % len(whole) :]
        for spoiled in (body, start + body, start + body + end):
            judged(Case(row, status, {}, spoiled))


@pytest.mark.parametrize(
    "wrap",
    [
        b'{"data":{"id":%s}}',
        *(
            pytest.param(wrap, marks=pytest.mark.long)
            for wrap in (b"%s", b'{"data":%s}', b'{"data":[{"id":"e","status":%s}]}')
        ),
    ],
)
def test_any_depth(wrap):
    """However deep a body is nested, the value or error can be shown, compared and pickled."""
    for row in ROWS:
        for depth in (10, 450, 550, 900, *range(968, 1000, 8), 100_000):
            judged(Case(row, 200, {}, wrap % (b"[" * depth + b"]" * depth)))
    judged(Case(row, 500, {}, wrap % (b"[" * 100_000)))


def test_repeated_pieces():
    """A body that is full of beginnings, of tags, ids or brackets, is read at once."""
    for piece in PIECES:
        for status, before in ((200, b'{"data": '), (500, b"")):
            judged(Case("orders.get", status, {}, before + piece * 100_000))


@pytest.mark.parametrize("message", ["\ud800", "x\udfff\ud800y"])
def test_half_characters_in_errors(message):
    """Half a character pair in what a server says, or in a header, breaks no log: the error can be printed."""
    body = json.dumps({"message": message, "code": "C\udc00"}).encode()
    error = status_error(HttpResponse(500, {"x-request-id": "r\udcff"}, body))
    assert isinstance(error, ServerError)
    assert error.message == message
    assert "[500" in str(error).encode().decode()
    with pytest.raises(DecodeError) as caught:
        decoded(ROWS["account.balance"], HttpResponse(200, {"x-request-id": "r\udcff"}, b"{}"))
    assert str(caught.value).encode()


def test_monstrous_retry_after():
    """What stands in ``Retry-After`` is a time of 0 s or more, or has no say."""
    for wait in hostile.WAITS:
        for value in (wait, wait[::-1], f" {wait} ", wait * 3):
            after = status_error(HttpResponse(503, {"retry-after": value}, b"")).retry_after
            assert after is None or 0 <= after < float("inf"), value


def test_readers_are_made_once(monkeypatch):
    """Once every row has been read, right and wrong, reading generates no more code, whatever row comes next."""
    answers = []
    for name, row in ROWS.items():
        text = json.dumps(ANSWERS[name])
        bodies = [text, re.sub(r'"(id|packageId|code|balance)": ("[^"]*"|[\d.]+)', r'"\1": []', text)]
        answers += [(row, HttpResponse(200, {}, body.encode())) for body in bodies]

    def read_all() -> None:
        for row, response in answers:
            try:
                decoded(row, response)
            except DecodeError as error:
                assert error.problems  # noqa: PT017

    read_all()
    compiled = []
    real = builtins.compile
    monkeypatch.setattr(builtins, "compile", lambda source, *a, **k: compiled.append(source) or real(source, *a, **k))
    read_all()
    assert len(compiled) == 0


# ---------------------------------------------------------------- hostile HTTP

GOOD = answer('{"status": "success", "data": {"balance": 5}}')
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
LOST, LATE, BAD = ConnectionLostError, RequestTimeoutError, DecodeError
LIMITS = Settings(retries=Retries(tries=1), timeouts=Timeouts(total=0.5))
PATIENT = LIMITS.changed(timeouts=Timeouts(total=HANG))


def saying(text: bytes):
    """Answer the first request with these bytes and hang up; later connections get a good answer."""

    async def play(connection: Connection) -> None:
        if connection.server.connections > 1:
            await answering(GOOD)(connection)
        elif await connection.request():
            await connection.write(text)

    return play


def endless(head: bytes, piece: bytes):
    """Answer the first request without end; later connections get a good answer."""

    async def play(connection: Connection) -> None:
        if connection.server.connections > 1:
            await answering(GOOD)(connection)
        elif await connection.request():
            await connection.write(head)
            while True:
                await connection.write(piece)
                await asyncio.sleep(0)  # the client has its turn, too

    return play


def with_body(body: bytes, **headers: str) -> bytes:
    """Write a response whose head says what it likes."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return OK + lines.encode("latin-1") + b"\r\n" + body


BALANCE = b'{"status": "success", "data": {"balance": 5}}'
BLANKS = gzip.compress(b" " * 3_000_000)
PLAYS = {
    "huge header": (saying(OK + b"X: " + b"a" * 1_000_000 + b"\r\n\r\n"), LOST),
    "huge reason": (saying(b"HTTP/1.1 200 " + b"a" * 1_000_000 + b"\r\n\r\n"), LOST),
    "100,000 headers": (saying(OK + b"X: a\r\n" * 100_000 + b"\r\n"), LOST),
    "headers without end": (endless(OK, b"X-More: a\r\n" * 100), (LOST, LATE)),
    "one header without end": (endless(OK + b"X: ", b"a" * 1000), (LOST, LATE)),
    "interim answers without end": (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), LATE),
    "early hints without end": (endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"), LATE),
    "nothing but an interim answer": (saying(b"HTTP/1.1 100 Continue\r\n\r\n"), LOST),
    "another protocol": (saying(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), (APIStatusError, LOST)),
    "header without a colon": (saying(OK + b"nonsense\r\n\r\n"), LOST),
    "header with a zero byte": (saying(OK + b"X: a\0b\r\n\r\n"), (LOST, BAD)),  # aiohttp 3.13.3 accepts it
    "no HTTP": (saying(b"SSH-2.0-OpenSSH_9.6\r\n"), LOST),
    "bytes": (saying(bytes(range(256)) * 10), LOST),
    "empty lines": (saying(b"\r\n" * 1000), LOST),
    "old HTTP": (saying(BALANCE), LOST),
    "status in words": (saying(b"HTTP/1.1 OK 200\r\n\r\n"), LOST),
    "status of five digits": (saying(b"HTTP/1.1 99999 Much\r\nContent-Length: 0\r\n\r\n"), (APIStatusError, LOST)),
    "status zero": (saying(b"HTTP/1.1 000 Nothing\r\nContent-Length: 0\r\n\r\n"), (APIStatusError, LOST)),
    "status and no more": (saying(OK), LOST),
    "chunk size in words": (saying(CHUNKED + b"many\r\n{}\r\n0\r\n\r\n"), LOST),
    "negative chunk size": (saying(CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n"), LOST),
    "monstrous chunk size": (saying(CHUNKED + b"F" * 100 + b"\r\n{}\r\n0\r\n\r\n"), LOST),
    "chunk size that is too long": (saying(CHUNKED + b"FFFFFF\r\n{}"), LOST),
    "chunk size that is too short": (saying(CHUNKED + b"1\r\n" + BALANCE + b"\r\n0\r\n\r\n"), LOST),
    "no last chunk": (saying(CHUNKED + b"2\r\n{}\r\n"), LOST),
    "chunks without end": (endless(CHUNKED, b"1\r\n \r\n"), LATE),
    "chunk size without end": (endless(CHUNKED, b"0" * 1000), (LOST, LATE)),
    "trailers without end": (endless(CHUNKED + b"2\r\n{}\r\n0\r\n", b"X: a\r\n" * 100), (LOST, LATE, BAD)),
    "body without end": (endless(OK + b"\r\n", b" " * 1000), LATE),
    "length that is too long": (saying(with_body(BALANCE, Content_Length="1000")), LOST),
    "monstrous length": (saying(with_body(BALANCE, Content_Length="9" * 30)), LOST),
    "length that is too short": (saying(with_body(BALANCE, Content_Length="9")), (BAD, LOST)),
    "negative length": (saying(with_body(BALANCE, Content_Length="-1")), LOST),
    "length in words": (saying(with_body(BALANCE, Content_Length="all")), LOST),
    "two lengths": (saying(OK + b"Content-Length: 2\r\nContent-Length: 45\r\n\r\n" + BALANCE), LOST),
    "length and chunks": (saying(OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}"), LOST),
    "packed garbage": (saying(answer(b"\x1f\x8b" + b"garbage" * 9, Content_Encoding="gzip")), LOST),
    "packed and cut off": (saying(answer(gzip.compress(BALANCE)[:-12], Content_Encoding="gzip")), (LOST, BAD)),
    "plain and called packed": (saying(answer(BALANCE, Content_Encoding="gzip")), LOST),
    "much white space, packed": (saying(answer(BLANKS, Content_Encoding="gzip")), (LOST, LATE, BAD)),
    "half a character pair in bytes": (saying(answer(b'{"data": "\xed\xa0\x80"}', X_Request_Id="r\xff")), BAD),
    "refusal that waits for ever": (saying(answer("{}", 503, Retry_After="9" * 5000)), ServerError),
    "empty": (saying(b""), LOST),
    "silence": (endless(b"", b""), LATE),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAYS)
async def test_hostile_http(name):
    """Whatever comes over the wire, the call ends in its time with the right error, and the next call works."""
    play, kinds = PLAYS[name]
    settings = LIMITS if issubclass(LATE, kinds) else PATIENT
    async with Raw(play) as server, AsyncRoamify("secret-token", base_url=server.url, settings=settings) as roamify:
        async with asyncio.timeout(HANG):
            with pytest.raises((TransportError, APIStatusError, DecodeError)) as caught:
                await roamify.account.balance()
            assert isinstance(caught.value, kinds), repr(caught.value)
            assert len(str(caught.value).encode()) < 2000
            again = roamify.with_settings(retries=Retries(tries=3, wait=0), timeouts=PATIENT.timeouts)
            assert (await again.account.balance()).balance == 5


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20 + GOOD,
        b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + GOOD,
        answer(BALANCE, Content_Type="text/html; charset=nonsense"),
        answer(BALANCE, Content_Type=""),
        answer(BALANCE, Set_Cookie="x=" + "y" * 7000, X_Odd="\xff\xfe"),
        answer(b"\xef\xbb\xbf" + BALANCE),
        with_body(BALANCE),
        b"HTTP/1.0 299 \r\n\r\n" + BALANCE,
        CHUNKED + b"2D;ext=1\r\n" + BALANCE + b"\r\n0\r\nTrailer: x\r\n\r\n",
    ],
)
async def test_odd_but_right(text):
    """An answer that is odd and still an answer is read."""
    async with Raw(saying(text)) as server, AsyncRoamify("t", base_url=server.url, settings=LIMITS) as roamify:
        assert (await roamify.account.balance()).balance == Decimal(5)


async def test_answers_nobody_asked_for():
    """What a server sends beyond its answer is never taken for the answer to the next call."""
    evil = answer('{"status": "success", "data": {"balance": 666}}')
    async with (
        Raw(answering(GOOD + evil)) as server,
        AsyncRoamify("t", base_url=server.url, settings=LIMITS) as roamify,
    ):
        for _ in range(3):
            assert (await roamify.account.balance()).balance == 5
