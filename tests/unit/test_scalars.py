"""Scalars are read exactly; sentinels and mixed-up types are understood, and everything else is refused."""

import json
import math
import pickle
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, localcontext

import pytest
from hypothesis import given, strategies as st

from roamify_async import EsimStatus, OrderStatus
from roamify_async._serde.converter import parse, structure, unstructure
from roamify_async._serde.scalars import SCALARS, read_decimal, refuse

DIGITS = st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,40})?", fullmatch=True)
NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,60})(\.[0-9]{1,60})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
OPTIONAL = [str | None, int | None, Decimal | None, datetime | None]


def read_as(kind: object, value: object) -> object:
    """Read a parsed JSON value as a scalar type."""
    return SCALARS[kind](value, kind)


# ---------------------------------------------------------------- numbers


@given(NUMBERS)
def test_numbers_are_exact(text):
    """Any JSON number is read with the exact value of its digits."""
    value = structure(parse(text.encode()), Decimal)
    assert type(value) is Decimal
    assert value == Decimal(text)


@given(NUMBERS)
def test_decimal_context_has_no_effect(text):
    """The caller's decimal context does not round what is read."""
    with localcontext(prec=2):
        value = structure(parse(text.encode()), Decimal)
    assert value == Decimal(text)


@given(DIGITS)
def test_numbers_as_text(text):
    """A number in text is read as that number."""
    assert structure(text, Decimal) == Decimal(text)
    assert structure(text, Decimal | None) in (Decimal(text), None)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"1.18", "1.18"),
        (b"0.1", "0.1"),
        (b"3723.35", "3723.35"),
        (b"5", "5"),
        (b"5.00", "5.00"),
        (b"1E+2", "100"),
        (b"12345678901234567890.123456789012345678901234567890", "12345678901234567890.123456789012345678901234567890"),
    ],
)
def test_money(body, value):
    """Prices keep their digits, zeros included."""
    assert str(structure(parse(body), Decimal)) == str(Decimal(body.decode()))
    assert structure(parse(body), Decimal) == Decimal(value)


NOT_NUMBERS = (
    True, False, "x", "1,5", "1e5", "+1", " 1", "1 ", "1\n", ".5", "1.", "0x1", "1_000", "NaN", "inf", "٣", "-",
    [], [1], {}, {"a": 1}, 1.5, "1" * 1001, "1." + "1" * 10_000,
)  # fmt: skip


@pytest.mark.parametrize("kind", [Decimal, Decimal | None, int, int | None])
def test_not_numbers(kind):
    """Values that JSON would not write as a number are refused; so are Python's own forms."""
    for value in NOT_NUMBERS:
        with pytest.raises(ValueError, match="a number expected, not "):
            read_as(kind, value)


@pytest.mark.parametrize("kind", [Decimal, int, str, bool, datetime | None])
def test_not_scalars(kind):
    """Arrays and objects are refused; so is null for a required value."""
    for value in ([], {}, [None], {"a": None}):
        with pytest.raises(ValueError, match=" expected, not "):
            read_as(kind, value)
    if kind in (Decimal, int, str, bool):
        with pytest.raises(ValueError, match="expected, not null"):
            read_as(kind, None)


@pytest.mark.parametrize(
    "text", ["1e1000", "-1e999999999", "1e-1000", "-1e-999999999", "0e-999999999", "NaN", "-Infinity"]
)
def test_numbers_without_end(text):
    """Numbers whose digits would fill the memory are refused by both decoders; so is what is no number."""
    with pytest.raises(ValueError, match="a number expected, not "):
        structure(Decimal(text), Decimal)
    with pytest.raises(ValueError, match="a number expected, not "):
        read_decimal(Decimal(text))


@pytest.mark.parametrize("text", ["1e-999", "-9.9e999", "0e999999999"])
def test_largest_and_smallest_numbers(text):
    """Numbers of a thousand digits are read, and written in digits again."""
    assert structure(Decimal(text), Decimal) == Decimal(text)
    assert len(unstructure(Decimal(text))) < 1100


@pytest.mark.parametrize("text", ["1" * 40 + "." + "2" * 40, "-" + "9" * 1000, "0." + "0" * 998 + "1"])
def test_longest_numbers_as_text(text):
    """Text that was written for a number of a thousand digits is read again."""
    assert structure(text, Decimal) == Decimal(text)


@given(st.integers())
def test_integers(number):
    """An integer of any size is read exactly."""
    assert structure(number, int) == number


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("7", 7),
        ("-7", -7),
        ("007", 7),
        ("7.0", 7),
        (Decimal("7.000"), 7),
        (Decimal("1e3"), 1000),
        (Decimal("1e19"), 10**19),
        (Decimal("9.9e19"), 99 * 10**18),
        (Decimal("-0.0"), 0),
    ],
)
def test_integers_in_other_forms(value, number):
    """An integer may come as text, with a point or with an exponent."""
    assert structure(value, int) == number
    assert type(structure(value, int)) is int


@pytest.mark.parametrize(
    "value",
    [
        Decimal("1.5"),
        "1.5",
        Decimal("1e20"),
        Decimal("1e999999999"),
        Decimal("1e-999999999"),
        Decimal("-1e999999999"),
        Decimal("1.00000000000000000000000000000000000000000000001"),
    ],
)
def test_not_integers(value):
    """Fractions are refused, and so are numbers whose digits would fill the memory."""
    for kind in (int, int | None):
        with pytest.raises(ValueError, match="number expected"):
            read_as(kind, value)


# ---------------------------------------------------------------- sentinels


SENTINELS = (None, "", -1, "-1", Decimal("-1.0"), 2**53 - 1, "9007199254740991", Decimal("9007199254740991.0"))


@pytest.mark.parametrize("kind", [int | None, Decimal | None])
def test_optional_numbers(kind):
    """Null, "", -1 and 2^53-1 are ``None`` where that is allowed; every other number is itself."""
    for value in SENTINELS:
        assert read_as(kind, value) is None, value
    for value in (0, 1, -2, 2**53 - 2, 2**53, -(2**53 - 1), "0"):
        assert read_as(kind, value) == int(value), value
        assert type(read_as(kind, value)) is (int if kind == int | None else Decimal)


@pytest.mark.parametrize("kind", [int, Decimal])
def test_required_numbers(kind):
    """Where a number is required, sentinels are numbers."""
    for value in (-1, 2**53 - 1):
        assert read_as(kind, value) == value


@pytest.mark.parametrize("kind", [int, Decimal])
def test_empty_text_is_no_number(kind):
    """An empty text is refused where a number is required."""
    with pytest.raises(ValueError, match='a number expected, not ""'):
        read_as(kind, "")


@pytest.mark.parametrize(("value", "text"), [(None, None), ("", None), ("a", "a"), (" ", " "), (0, "0"), (-1, "-1")])
def test_optional_text(value, text):
    """Null and "" are ``None``; everything else is text."""
    assert read_as(str | None, value) == text


# ---------------------------------------------------------------- text and flags


@given(st.text())
def test_text(text):
    """Text is kept as it is, "" included."""
    assert structure(text, str) == text


@pytest.mark.parametrize("number", [0, 5, -5, 89910000000000000001, 10**100])
def test_numbers_for_text(number):
    """Digits that come as a number are text, as in ICCIDs and access codes."""
    assert structure(number, str) == str(number)
    assert structure(number, str | None) == str(number)


@pytest.mark.parametrize("value", [True, False, Decimal("1.5"), Decimal(5), [], {}])
def test_not_text(value):
    """Booleans, fractions, arrays and objects are refused."""
    for kind in (str, str | None):
        with pytest.raises(ValueError, match="text expected"):
            read_as(kind, value)


def test_flags():
    """True and false are read as such."""
    assert read_as(bool, True) is True
    assert read_as(bool, False) is False


@pytest.mark.parametrize("value", [0, 1, "true", "false", "", "yes", Decimal(1), [], {}])
def test_not_flags(value):
    """Nothing else is a boolean."""
    with pytest.raises(ValueError, match="true or false expected"):
        read_as(bool, value)


# ---------------------------------------------------------------- times


@given(st.integers(1, 253402300799))
def test_times_are_exact(seconds):
    """Unix seconds, as a number or text, are a time in UTC, exact up to the year 9999."""
    moment = structure(seconds, datetime | None)
    assert moment.tzinfo is UTC
    assert moment == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    assert structure(str(seconds), datetime | None) == moment


@given(st.datetimes(min_value=datetime(1970, 1, 1, 0, 0, 1)))  # noqa: DTZ001
def test_times_with_a_fraction(naive):
    """Fractions of a second are exact to the microsecond."""
    moment = naive.replace(tzinfo=UTC)
    microseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert structure(Decimal(microseconds) / 1_000_000, datetime | None) == moment
    assert structure(f"{microseconds // 10**6}.{microseconds % 10**6:06}", datetime | None) == moment


@given(
    st.datetimes(min_value=datetime(1000, 1, 3), max_value=datetime(9999, 12, 29)),  # noqa: DTZ001
    st.integers(-23 * 60, 23 * 60),
)
def test_times_as_iso_text(naive, minutes):
    """ISO text in any time zone is a time in UTC; without one it is UTC already."""
    aware = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    moment = structure(aware.isoformat(), datetime | None)
    assert moment == aware
    assert moment.tzinfo is UTC
    bare = structure(naive.isoformat(" "), datetime | None)
    assert bare == naive.replace(tzinfo=UTC)
    assert bare.tzinfo is UTC


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (1731837535, datetime(2024, 11, 17, 9, 58, 55, tzinfo=UTC)),
        ("2024-11-17 09:58:55", datetime(2024, 11, 17, 9, 58, 55, tzinfo=UTC)),
        ("2024-11-17T09:58:55Z", datetime(2024, 11, 17, 9, 58, 55, tzinfo=UTC)),
        ("2024-11-17T11:58:55+02:00", datetime(2024, 11, 17, 9, 58, 55, tzinfo=UTC)),
        ("2024-11-17", datetime(2024, 11, 17, tzinfo=UTC)),
        (1, datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
        (Decimal("0.5"), datetime(1970, 1, 1, 0, 0, 0, 500000, tzinfo=UTC)),
        (Decimal("1731837535.0"), datetime(2024, 11, 17, 9, 58, 55, tzinfo=UTC)),
        (253402300799, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_times(value, moment):
    """All the API's forms of a time are read."""
    assert read_as(datetime | None, value) == moment


@pytest.fixture
def _far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put this machine into a time zone far from UTC."""
    monkeypatch.setenv("TZ", "XXX-9")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_far_from_utc")
@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the time zone of a process cannot be set on Windows")
def test_times_do_not_depend_on_this_machine():
    """A time without a time zone is UTC wherever the client runs."""
    for value in ("2024-11-17 09:58:55", "2024-11-17T09:58:55", 1731837535, "1731837535"):
        moment = read_as(datetime | None, value)
        assert moment.isoformat() == "2024-11-17T09:58:55+00:00"


@pytest.mark.parametrize("value", [None, 0, -1, "", Decimal("0.0"), Decimal("-1.0"), "0", "-1", 2**53 - 1])
def test_no_time(value):
    """Null, 0, -1, "" and 2^53-1 mean that there is no time."""
    assert read_as(datetime | None, value) is None


@pytest.mark.parametrize("value", [1731837535250, "1731837535250", Decimal(1731837535250)])
def test_milliseconds(value):
    """A time that would be in the year 33658 or later is in milliseconds."""
    expected = datetime(2024, 11, 17, 9, 58, 55, 250_000, tzinfo=UTC)
    assert read_as(datetime | None, value) == expected


@pytest.mark.parametrize(
    "value",
    [
        True,
        False,
        "soon",
        "2024-13-01",
        "17/11/2024",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        253402300800,
        10**15,
        10**4000,
        Decimal("1e999999999"),
        Decimal("-1e999999999"),
        -(10**11),
        [],
        {},
        "9" * 100,
    ],
)
def test_not_times(value):
    """Values that are no time, or beyond datetime's range, are refused."""
    with pytest.raises(ValueError, match="a time in Unix seconds expected"):
        read_as(datetime | None, value)


def test_tiny_fraction_of_a_second():
    """A fraction with a huge negative exponent is rounded to 0 without delay."""
    assert structure(Decimal("1e-999999999"), datetime | None) == datetime(1970, 1, 1, tzinfo=UTC)


# ---------------------------------------------------------------- states


@pytest.mark.parametrize("kind", [EsimStatus, OrderStatus])
def test_known_states(kind):
    """A known state is a member of its enumeration."""
    for member in kind:
        assert structure(member.value, kind) is member


@given(st.text().filter(lambda text: text not in EsimStatus.__members__))
def test_unknown_states(text):
    """An unknown state keeps its text and behaves like it."""
    state = structure(text, EsimStatus)
    assert isinstance(state, EsimStatus)
    assert str(state) == state.value == state.name == f"{state}" == text
    assert state == text
    assert hash(state) == hash(text)
    assert {state: 1}[text] == 1
    assert state == EsimStatus(text)
    assert json.dumps(state) == json.dumps(text)
    assert str(pickle.loads(pickle.dumps(state))) == text


def test_unknown_states_are_no_members():
    """An unknown state does not become a member of its enumeration."""
    before = list(EsimStatus)
    EsimStatus("SUSPENDED")
    assert list(EsimStatus) == before
    assert EsimStatus("SUSPENDED") not in before
    assert not hasattr(EsimStatus, "SUSPENDED")


def test_unequal_states():
    """Unknown states are equal to their own text only."""
    assert EsimStatus("PAUSED") != EsimStatus("SUSPENDED")
    assert EsimStatus("new") != EsimStatus.NEW


@pytest.mark.parametrize("value", [None, True, Decimal("1.5"), [], {}])
def test_not_states(value):
    """A state must be text."""
    with pytest.raises(ValueError, match="text expected"):
        structure(value, EsimStatus)
    with pytest.raises(ValueError, match="is not a valid"):
        EsimStatus(value)


# ---------------------------------------------------------------- refusals


@given(st.sampled_from(list(SCALARS)), ANYTHING)
def test_any_json(kind, value):
    """Any JSON is read as a value of the type, or refused with what was expected."""
    try:
        result, refusal = read_as(kind, value), None
    except ValueError as error:
        result, refusal = None, str(error)
    if refusal is None:
        assert isinstance(result, kind)
        assert not isinstance(result, bool) or kind is bool
        assert not isinstance(result, Decimal) or math.isfinite(result)
    else:
        assert " expected, not " in refusal


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("x", '"x"'),
        (None, "null"),
        (True, "true"),
        ([1, "a"], '[1, "a"]'),
        (Decimal("1.5"), '"1.5"'),
        ("é", '"\\u00e9"'),
    ],
)
def test_refusals_show_the_value(value, shown):
    """A refusal shows the value as ASCII JSON."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        refuse(value, "a number")
    assert str(caught.value) == f"a number expected, not {shown}"


def test_refusals_are_short():
    """A refusal shows at most 60 characters of the value."""
    for length, shown in ((58, '"' + "x" * 58 + '"'), (59, '"' + "x" * 56 + "...")):
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            refuse("x" * length, "a number")
        assert str(caught.value) == f"a number expected, not {shown}"
