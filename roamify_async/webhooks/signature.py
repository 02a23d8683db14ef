"""Signatures over the raw bytes of a body: HMAC-SHA256, in lower-case hex, as ``X-Roamify-Signature`` carries it."""

import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Final

import attrs

from roamify_async.errors import ConfigurationError, WebhookError

SIGNATURE_HEADER: Final = "X-Roamify-Signature"
"""The header that carries the signature."""
DIGITS: Final = 64
"""Hex digits of a signature."""

NOT_RAW: Final = (
    "body must be the raw bytes of the request, not {kind}: JSON that was parsed and written again has another"
    " signature. They are await request.read() in aiohttp, await request.body() in Starlette and FastAPI,"
    " request.get_data() in Flask and request.body in Django"
)
NONE_GIVEN: Final = (
    "no webhook secret: pass the one that Roamify gave you for your webhook (it is not the API's token), or, for a"
    " Receiver, set ROAMIFY_WEBHOOK_SECRET"
)
MISSING: Final = f"no signature: pass the value of the {SIGNATURE_HEADER} header; without it, it is not from Roamify"
PREFIXED: Final = f"the signature has a prefix: pass the {SIGNATURE_HEADER} header as it came, which is hex alone"
UPPER: Final = f"the signature is in upper case: pass the {SIGNATURE_HEADER} header as it came, which is lower-case hex"
MALFORMED: Final = f"the signature is not {DIGITS} hex digits: pass the {SIGNATURE_HEADER} header as it came"
MISMATCH: Final = (
    "the signature does not belong to this body: check that the secret is the one of this webhook, and that the body"
    " is passed as the bytes that came. If both are right, it is forged"
)


@attrs.frozen
class Keys:
    """Secrets, of which any may have signed; no repr and no traceback shows them."""

    _keys: tuple[bytes, ...] = attrs.field(repr=False)

    @staticmethod
    def of(secret: "Secret") -> "Keys":
        """Take one secret or several; raises ``ConfigurationError`` where there is none."""
        if isinstance(secret, Keys):
            return secret
        several = isinstance(secret, Iterable) and not isinstance(secret, str)  # pyright: ignore[reportUnnecessaryIsInstance]
        given: list[object] = [*secret] if several else [secret]
        if not all(isinstance(one, str) or one is None for one in given):
            raise TypeError("secret must be text, or several texts")
        if not given or not all(isinstance(one, str) and one.strip() for one in given):
            raise ConfigurationError(NONE_GIVEN)
        return Keys(tuple(str(one).encode("utf-8", "surrogateescape") for one in given))

    def signatures(self, body: bytes) -> tuple[str, ...]:
        """Sign a body with each."""
        return tuple(hmac.new(key, body, hashlib.sha256).hexdigest() for key in self._keys)


Secret = str | Iterable[str] | Keys
"""One secret, or several while one takes the other's place."""


def verify(body: bytes, signature: str | None, secret: Secret) -> None:
    """Make sure that Roamify signed a body; ``/webhooks/verification``.

    *body* is the bytes as they came, *signature* the value of ``X-Roamify-Signature``. Of several secrets any may fit.
    Raises ``WebhookError``, and ``TypeError`` for a body that is no bytes. It does not tell a replay from the first
    delivery: see ``once``.
    """
    secret = Keys.of(secret)  # from here on no frame of ours holds it in the clear
    if not isinstance(body, bytes | bytearray | memoryview):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(NOT_RAW.format(kind=type(body).__name__))
    problem = _problem_with(signature)
    if problem:
        raise WebhookError(problem)
    # All are compared, so that the time tells nothing of which one fits.
    fits = [hmac.compare_digest(one, str(signature)) for one in secret.signatures(body)]
    if not any(fits):
        raise WebhookError(MISMATCH)


def sign(body: bytes, secret: str) -> str:
    """Sign a body as Roamify does, for tests."""
    signatures = Keys.of(secret).signatures(body)
    if len(signatures) != 1:
        raise TypeError("secret must be one text: a body is signed with one")
    return signatures[0]


def _problem_with(signature: object) -> str | None:
    """Say what is wrong with the form of a signature, without showing it."""
    if not signature:
        return MISSING
    if not isinstance(signature, str):
        return MALFORMED
    if re.fullmatch(rf"[\w-]+=[0-9a-fA-F]{{{DIGITS}}}", signature):
        return PREFIXED
    if not re.fullmatch(rf"[0-9a-fA-F]{{{DIGITS}}}", signature):
        return MALFORMED
    return None if signature == signature.lower() else UPPER
