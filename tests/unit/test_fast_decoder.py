"""The fast way of answers gives what the codec gives, or leaves them to it."""

import json
from collections.abc import Iterator
from copy import deepcopy
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, strategies as st

from roamify_async import AsyncRoamify, DecodeError
from roamify_async._core.endpoint import Endpoint, Resource, endpoints
from roamify_async._http.messages import HttpResponse
from roamify_async._serde import converter, envelope
from roamify_async._serde.fast_decoder import fast_decoder
from roamify_async.api.packages import Packages
from roamify_async.models._fields import SAME, json_name

SAMPLES = Path(__file__).parents[1] / "samples"
ROWS: dict[str, Endpoint[..., Any]] = {
    f"{room}.{call}": row
    for room, resource in vars(AsyncRoamify("token")).items()
    if isinstance(resource, Resource)
    for call, row in endpoints(type(resource)).items()
}
DIRECT = {name: row for name, row in ROWS.items() if row.read is None and fast_decoder(row.response, row.answer)}
LOOSE = {"affiliates.packages"}
"""Samples with numbers in quotes, which the codec takes."""
JUNK = (
    None, True, False, 0, 1, -1, 2**53 - 1, 2**70, 1.5, 30.0, -1.0, 1e308, "", "x", "1.50", "ACTIVE", "2025-08-30",
    [], ["x"], [None], {}, {"a": 1}
)  # fmt: skip
"""What may stand where something else is expected; of numbers in quotes, the fast way takes some more forms."""


def sample(name: str) -> Any:
    """Give the documented answer of a row."""
    return json.loads((SAMPLES / f"{name}.json").read_text("utf-8"))["answer"]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the way to each value inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*path, key)
        yield from places(item, (*path, key))


def by_codec(row: Endpoint[..., Any], body: bytes) -> Any:
    """Read a body the slow way."""
    return converter.read(envelope._unwrap(converter.parse(body), row.answer), row.response)


def test_the_big_answers_are_read_so():
    """The catalogue goes the fast way, and so do orders and eSIMs; a sample of each is as it stands in the docs."""
    assert {"packages.page", "orders.create", "orders.list", "esims.list", "topups.packages"} <= set(DIRECT)


@pytest.mark.parametrize("name", sorted(DIRECT.keys() - LOOSE))
def test_same_as_the_codec(name):
    """A documented answer gives the same by both ways, down to the classes of its values."""
    row, body = DIRECT[name], json.dumps(sample(name)).encode()
    fast, slow = fast_decoder(row.response, row.answer)(body), by_codec(row, body)  # type: ignore[misc]
    assert fast == slow
    assert repr(fast) == repr(slow)


@given(st.data())
def test_spoiled_answers(data):
    """Whatever one value of an answer becomes: what the fast way gives, the codec would have given as well."""
    name = data.draw(st.sampled_from(sorted(DIRECT)))
    row, answer = DIRECT[name], deepcopy(sample(name))
    *way, last = data.draw(st.sampled_from(list(places(answer))))
    holder = answer
    for key in way:
        holder = holder[key]
    if data.draw(st.booleans()):
        holder[last] = data.draw(st.sampled_from(JUNK))
    else:
        del holder[last]
    body = json.dumps(answer).encode()
    try:
        fast = fast_decoder(row.response, row.answer)(body)  # type: ignore[misc]
    except Exception:  # noqa: BLE001 -- it is left to the codec
        return
    assert repr(fast) == repr(by_codec(row, body))


@pytest.mark.parametrize("price", ["1.10", "1.1", "1", "0.1", "123456789.123456789123456789", "1E+2", "1e-7", "-0.5"])
def test_exact_money(price):
    """A price is the very number that stands in the body."""
    body = b'{"data": {"packages": [{"packages": [{"packageId": "p", "price": %s}]}]}}' % price.encode()
    (package,) = envelope.decode(Packages.page, HttpResponse(200, {}, body))
    assert package.price == Decimal(price)
    assert package.price.as_tuple() == Decimal(price).as_tuple()


@pytest.mark.parametrize("price", ['"NaN"', '"Infinity"', "NaN", "null", "true", "[]", '""'])
def test_what_is_no_price(price):
    """What is no number is no price by either way, and the error says where it stands."""
    body = b'{"data": {"packages": [{"packages": [{"packageId": "p", "price": %s}]}]}}' % price.encode()
    with pytest.raises(DecodeError):
        envelope.decode(Packages.page, HttpResponse(200, {}, body))


def test_the_rest_is_left_to_the_codec():
    """Classes that a plain move cannot fill are not read so."""

    @attrs.frozen
    class Frozen:
        a: str

    @attrs.define
    class Checked:
        a: str = attrs.field(validator=attrs.validators.min_len(1))

    @attrs.define
    class Anything:
        a: Any

    for kind in (Frozen, Checked, Anything, dict, dict[str, str], list[str], object):
        assert fast_decoder(kind, "data") is None


def test_own_first_moments():
    """Defaults are made anew for each object, the class's own first step is taken, and objects may share a record."""

    @attrs.define
    class Inner:
        a: str = "?"

    @attrs.define
    class Outer:
        inner: Inner = attrs.field(metadata=json_name(SAME))
        notes: tuple[str, ...] = ()
        more: Inner = attrs.field(factory=Inner)
        kept: list[str] = attrs.field(factory=list, metadata=json_name(None))

        def __attrs_post_init__(self) -> None:
            self.kept.append(self.inner.a)

    read = fast_decoder(tuple[Outer, ...], "")
    assert read is not None
    one, other = read(b'[{"a": "x", "notes": ["n"]}, {}]')
    assert (one.inner.a, one.notes, one.kept, one.more) == ("x", ("n",), ["x"], Inner())
    assert (other.inner.a, other.kept) == ("?", ["?"])
    assert one.more is not other.more
