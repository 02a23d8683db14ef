"""HTTP messages as values."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import attrs
import pytest
from hypothesis import example, given, strategies as st

from roamify_async._http.messages import HttpRequest, HttpResponse, NoResponse

NOW = datetime(2027, 7, 1, 12, 0, 0, tzinfo=UTC)


def throttled(value: str) -> HttpResponse:
    """Return a 429 with a ``Retry-After``."""
    return HttpResponse(429, {"retry-after": value}, b"")


def test_no_retry_after():
    """Without the header there is no time to wait."""
    assert HttpResponse(429, {}, b"").retry_after() is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0.0), ("1", 1.0), ("120", 120.0), (" 7 ", 7.0), ("1.5", 1.5), ("007", 7.0), ("999999999", 999999999.0)],
)
def test_retry_after_in_seconds(text, seconds):
    """Seconds are read as they are."""
    assert throttled(text).retry_after(NOW) == seconds
    assert throttled(text).retry_after() == seconds


@given(st.integers(0, 10**9 - 1))
def test_retry_after_in_any_seconds(seconds):
    """Up to nine digits are a number of seconds."""
    assert throttled(str(seconds)).retry_after(NOW) == seconds


@given(st.integers(-(10**6), 10**6))
def test_retry_after_as_a_date(seconds):
    """A date gives the seconds until then, and 0 if it has passed."""
    text = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert throttled(text).retry_after(NOW) == max(0, seconds)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Thu, 01 Jul 2027 12:00:30 GMT", 30),
        ("Thu, 01 Jul 2027 12:00:30 -0000", 30),
        ("Thu, 01 Jul 2027 14:00:30 +0200", 30),
        ("Thursday, 01-Jul-27 12:00:30 GMT", 30),
        ("Thu Jul  1 12:00:30 2027", 30),
    ],
)
def test_retry_after_date_formats(text, seconds):
    """Dates in all three forms of HTTP are read, in any time zone; without one they are UTC."""
    assert throttled(text).retry_after(NOW) == seconds


def test_retry_after_date_and_the_clock():
    """Without an argument a date is compared with the current time."""
    assert throttled("Thu, 01 Jul 2027 12:00:30 GMT").retry_after() >= 0
    assert throttled("Thu, 01 Jan 1970 00:00:30 GMT").retry_after() == 0
    far = throttled("Fri, 01 Jul 9999 12:00:30 GMT").retry_after()
    assert far == pytest.approx((datetime(9999, 7, 1, tzinfo=UTC) - datetime.now(UTC)).total_seconds(), abs=10**5)


@pytest.mark.parametrize("text", ["", " ", "soon", "-5", "1e5", "inf", "nan", "0x10", "1,5", "9" * 40, "1 2 3", "."])
def test_invalid_retry_after(text):
    """A value that is neither seconds nor a date counts as absent."""
    assert throttled(text).retry_after(NOW) is None


DATES = st.from_regex(
    r"(Mon, )?[0-9]{1,12} (Jan|Xyz) -?[0-9]{1,25} [0-9]{1,3}:[0-9]{1,3}(:[0-9]{1,25})? ?(GMT|[+-][0-9]{1,20})?",
    fullmatch=True,
)


@given(st.text() | DATES)
@example("Mon, 01 Jan 99999999999999999999 00:00:00 GMT")
@example("Mon, 01 Jan 2027 00:00:00 +99999999999999")
@example("Mon, 01 Jan 0001 00:00:00 +2359")
def test_retry_after_never_fails(text):
    """Any value gives ``None``, or a finite number from 0."""
    seconds = throttled(text).retry_after(NOW)
    assert seconds is None or 0 <= seconds < float("inf")


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({}, None),
        ({"x-request-id": "one"}, "one"),
        ({"cf-ray": "two"}, "two"),
        ({"x-request-id": "one", "cf-ray": "two"}, "one"),
        ({"x-request-id": "", "cf-ray": "two"}, "two"),
    ],
)
def test_request_id(headers, name):
    """The request id is that of the server, or of its gateway."""
    assert HttpResponse(200, headers, b"").request_id == name


@given(st.binary())
def test_text(body):
    """Every body has a text; bytes that are not UTF-8 are replaced."""
    assert HttpResponse(200, {}, body).text == body.decode(errors="replace")


def test_text_that_is_not_utf8():
    """Only the bytes that are not UTF-8 are replaced."""
    assert HttpResponse(200, {}, b"a\xffb").text == "a\ufffdb"
    assert HttpResponse(200, {}, "Åland".encode()).text == "Åland"


def test_bodies_and_headers_are_not_shown():
    """The ``repr`` of a message has neither body nor headers, which may hold secrets."""
    request = HttpRequest("POST", "/api/esim/order", "a=1", b"secret")
    assert repr(request) == "HttpRequest(method='POST', path='/api/esim/order', query='a=1')"
    assert repr(HttpResponse(200, {"set-cookie": "secret"}, b"secret")) == "HttpResponse(status=200)"


def test_defaults_of_a_request():
    """By default a request has neither a query nor a body."""
    assert HttpRequest("GET", "/api/balance") == HttpRequest("GET", "/api/balance", "", None)


@pytest.mark.parametrize(
    "value", [HttpRequest("GET", "/"), HttpResponse(200, {}, b""), NoResponse("lost", "maybe", "reset")]
)
def test_frozen(value):
    """Messages are immutable."""
    for field in attrs.fields(type(value)):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(value, field.name, None)
