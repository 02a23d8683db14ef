"""Signatures: verify, sign, and the secrets that both take."""

import json
import pickle

import pytest
from hypothesis import given, settings, strategies as st
from support.deliveries import BODY, SECRET, SIGNATURE

from roamify_async import ConfigurationError, RoamifyError, WebhookError
from roamify_async.webhooks import parse, sign, verify


def test_signature_is_hmac_sha256():
    """A signature is HMAC-SHA256 in lower-case hex: test case 2 of RFC 4231."""
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert sign(b"what do ya want for nothing?", "Jefe") == expected
    verify(b"what do ya want for nothing?", expected, "Jefe")


@settings(deadline=None)
@given(st.binary(), st.text(min_size=1).filter(str.strip))
def test_signed_body_is_verified(body, secret):
    """Any bytes verify with the secret that signed them."""
    verify(body, sign(body, secret), secret)


@settings(deadline=None)
@given(st.binary(max_size=50), st.data())
def test_changed_body_is_rejected(body, data):
    """A body that differs from the signed one is rejected."""
    other = data.draw(st.binary(max_size=60).filter(lambda other: other != body))
    with pytest.raises(WebhookError):
        verify(other, sign(body, SECRET), SECRET)


@settings(deadline=None)
@given(st.integers(0, len(BODY) * 8 - 1))
def test_flipped_bit_is_rejected(position):
    """A body that differs in one bit is rejected."""
    changed = bytearray(BODY)
    changed[position // 8] ^= 1 << position % 8
    with pytest.raises(WebhookError, match="does not match"):
        verify(bytes(changed), SIGNATURE, SECRET)


def test_reserialized_json_is_rejected():
    """The same JSON in other bytes is rejected, and the error asks for the raw bytes."""
    with pytest.raises(WebhookError, match="as the raw bytes"):
        verify(json.dumps(json.loads(BODY)).encode(), SIGNATURE, SECRET)


def test_errors_name_the_problem():
    """Each kind of wrong signature has its own error, which shows neither the signature nor the secret."""
    for signature, message in [
        (None, "no signature: pass the value of the X-Roamify-Signature header"),
        ("", "no signature"),
        ("sha256=" + SIGNATURE, "has a prefix"),
        (SIGNATURE.upper(), "upper case"),
        (SIGNATURE[:-1], "not 64 hex digits"),
        (SIGNATURE + "\n", "not 64 hex digits"),
        ("z" * 64, "not 64 hex digits"),
        ("\u0661" * 64, "not 64 hex digits"),
        (SIGNATURE.encode(), "not 64 hex digits"),
        (sign(BODY, "another"), "check that the secret belongs to this webhook"),
    ]:
        for function in (verify, parse):
            with pytest.raises(WebhookError, match=message) as caught:
                function(BODY, signature, SECRET)
            text = repr(caught.value) + str(pickle.dumps(caught.value))
            assert SECRET not in text
            assert not signature or str(signature) not in text
            assert caught.value.sent == "no"


def test_error_can_be_pickled():
    """An unpickled error equals the original."""
    with pytest.raises(WebhookError) as caught:
        verify(BODY, None, SECRET)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (WebhookError, str(caught.value))
    assert isinstance(again, RoamifyError)


def test_secrets_rotate():
    """Any of several secrets may have signed, and an iterator of them lasts for a whole call."""
    for secret in (["old", "new"], ("new",), {"old", "new"}, iter(["old", "new"]), "new"):
        verify(BODY, sign(BODY, "new"), secret)
    assert parse(BODY, sign(BODY, "new"), iter(["old", "new"])).category == "esim"


def test_blank_secret_is_refused():
    """A missing, empty or white-space-only secret is refused, also among good ones."""
    for secret in ("", None, [], [""], ["good", ""], [None], " ", "\n\t", ["good", " "]):
        with pytest.raises(ConfigurationError, match="no webhook secret"):
            verify(BODY, sign(BODY, "good"), secret)


def test_secret_must_be_text():
    """A secret of another type is a TypeError that does not show it."""
    for secret in (7, b"good", ["good", 7]):
        with pytest.raises(TypeError, match=r"^secret must be a string or several strings$"):
            verify(BODY, SIGNATURE, secret)


def test_sign_takes_one_secret():
    """Several secrets are refused: a body is signed with one."""
    with pytest.raises(TypeError, match="one string"):
        sign(b"{}", ["a", "b"])  # type: ignore[arg-type]


def test_body_must_be_bytes():
    """A decoded or parsed body is a TypeError that names the raw one of each framework."""
    for body in (BODY.decode(), json.loads(BODY), None):
        for function in (verify, parse):
            with pytest.raises(TypeError, match=r"raw bytes of the request, not (str|dict|NoneType).*get_data.*Django"):
                function(body, SIGNATURE, SECRET)


def test_body_may_be_any_bytes_type():
    """The other types of bytes that servers use are accepted."""
    for kind in (bytearray, memoryview):
        assert parse(kind(BODY), SIGNATURE, SECRET) == parse(BODY, SIGNATURE, SECRET)
