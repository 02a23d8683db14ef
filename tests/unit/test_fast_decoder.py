"""The fast decoder returns what the converter returns, or leaves the response to it."""

import json
from collections.abc import Iterator
from copy import deepcopy
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given, strategies as st
from support.endpoints import ENDPOINTS, decoded, sample

from roamify_async import DecodeError
from roamify_async._core.endpoint import Endpoint
from roamify_async._http.messages import HttpResponse
from roamify_async._serde import converter, envelope
from roamify_async._serde.fast_decoder import fast_decoder
from roamify_async._serde.fields import SAME_OBJECT, json_name
from roamify_async.api.packages import Packages

FAST = {
    name: endpoint
    for name, endpoint in ENDPOINTS.items()
    if endpoint.decode is None and fast_decoder(endpoint.response, endpoint.data_path)
}
NUMBERS_AS_TEXT = {"affiliates.packages"}
"""Endpoints whose documented response has numbers in quotes, which only the converter reads."""
JUNK = (
    None, True, False, 0, 1, -1, 2**53 - 1, 2**70, 1.5, 30.0, -1.0, 1e308, "", "x", "1.50", "ACTIVE", "2025-08-30",
    [], ["x"], [None], {}, {"a": 1}
)  # fmt: skip


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path to each value inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*path, key)
        yield from paths(item, (*path, key))


def read_fast(endpoint: Endpoint[..., Any], body: bytes) -> Any:
    """Read a body with the fast decoder."""
    read = fast_decoder(endpoint.response, endpoint.data_path)
    assert read is not None
    return read(body)


def read_slowly(endpoint: Endpoint[..., Any], body: bytes) -> Any:
    """Read a body with the converter."""
    return converter.structure(envelope._unwrap(converter.parse(body), endpoint.data_path), endpoint.response)


def in_full(value: Any) -> str:
    """Return all fields of a value, or of several, with their classes."""
    if isinstance(value, tuple):
        return ", ".join(map(in_full, value))
    if not attrs.has(type(value)):
        return repr(value)
    fields = {field.name: in_full(getattr(value, field.name)) for field in attrs.fields(type(value))}
    return f"{type(value).__name__}({fields})"


def test_large_responses_are_decoded_fast():
    """The catalogue, orders and eSIMs are read by the fast decoder."""
    assert {"packages.page", "orders.create", "orders.list", "esims.list", "topups.packages"} <= FAST.keys()


def test_same_values_as_the_converter():
    """Both decoders read a documented response as the same value, down to the classes of its parts."""
    for name in FAST.keys() - NUMBERS_AS_TEXT:
        body = json.dumps(sample(name)["answer"]).encode()
        fast, slow = read_fast(FAST[name], body), read_slowly(FAST[name], body)
        assert fast == slow, name
        assert in_full(fast) == in_full(slow), name


@given(st.data())
def test_corrupted_responses(data):
    """Whatever one value of a response is replaced by, the fast decoder accepts only what the converter accepts."""
    name = data.draw(st.sampled_from(sorted(FAST)))
    response = deepcopy(sample(name)["answer"])
    *path, last = data.draw(st.sampled_from(list(paths(response))))
    parent = response
    for key in path:
        parent = parent[key]
    if data.draw(st.booleans()):
        parent[last] = data.draw(st.sampled_from(JUNK))
    else:
        del parent[last]
    body = json.dumps(response).encode()
    try:
        fast = read_fast(FAST[name], body)
    except Exception:  # noqa: BLE001 -- left to the converter
        return
    assert in_full(fast) == in_full(read_slowly(FAST[name], body))


def priced(price: str) -> HttpResponse:
    """Return a page of the catalogue with one price."""
    body = b'{"data": {"packages": [{"packages": [{"packageId": "p", "price": %s}]}]}}' % price.encode()
    return HttpResponse(200, {}, body)


@pytest.mark.parametrize("price", ["1.10", "1.1", "1", "0.1", "123456789.123456789123456789", "1E+2", "1e-7", "-0.5"])
def test_prices_are_exact(price):
    """A price has the value and the digits of the number in the body."""
    (package,) = decoded(Packages.page, priced(price))
    assert package.price == Decimal(price)
    assert package.price.as_tuple() == Decimal(price).as_tuple()


@pytest.mark.parametrize("price", ['"NaN"', '"Infinity"', "NaN", "null", "true", "[]", '""'])
def test_invalid_prices(price):
    """A price that is not a number is refused by both decoders."""
    with pytest.raises(DecodeError):
        decoded(Packages.page, priced(price))


def test_unsupported_types():
    """Frozen classes, validated fields and types without a fixed shape are left to the converter."""

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
        assert fast_decoder(kind, "data") is None, kind


def test_defaults_and_post_init():
    """Each object gets its own defaults, ``__attrs_post_init__`` runs, and objects may share a record."""

    @attrs.define
    class Inner:
        a: str = "?"

    @attrs.define
    class Outer:
        inner: Inner = attrs.field(metadata=json_name(SAME_OBJECT))
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
