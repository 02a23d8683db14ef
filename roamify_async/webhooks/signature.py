"""Signatures over the raw bytes of a body: HMAC-SHA256 in lower-case hex, sent as ``X-Roamify-Signature``.

See: https://docs.getroamify.com/webhooks/verification/
"""

import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Final

import attrs

from roamify_async.errors import ConfigurationError, WebhookError

SIGNATURE_HEADER: Final = "X-Roamify-Signature"
"""Name of the header that carries the signature."""
HEX_DIGITS: Final = 64
"""Length of a signature."""

NOT_BYTES: Final = (
    "body must be the raw bytes of the request, not {kind}: JSON that was parsed and serialized again has another"
    " signature. The raw bytes are await request.read() in aiohttp, await request.body() in Starlette and FastAPI,"
    " request.get_data() in Flask and request.body in Django"
)
NOT_CONFIGURED: Final = (
    "no webhook secret: pass the secret of your webhook (it is not the API token) or, for a Receiver, set"
    " ROAMIFY_WEBHOOK_SECRET"
)
MISSING: Final = (
    f"no signature: pass the value of the {SIGNATURE_HEADER} header; a request without it was not sent by Roamify"
)
PREFIXED: Final = f"the signature has a prefix: pass the {SIGNATURE_HEADER} header unchanged; it is hex only"
UPPER_CASE: Final = (
    f"the signature is in upper case: pass the {SIGNATURE_HEADER} header unchanged; it is lower-case hex"
)
MALFORMED: Final = f"the signature is not {HEX_DIGITS} hex digits: pass the {SIGNATURE_HEADER} header unchanged"
MISMATCH: Final = (
    "the signature does not match the body: check that the secret belongs to this webhook and that the body is passed"
    " as the raw bytes of the request. If both are right, the request is forged"
)


@attrs.frozen
class Secrets:
    """One or more secrets, any of which may have signed a body; they never appear in a ``repr`` or a traceback."""

    _values: tuple[bytes, ...] = attrs.field(repr=False)

    @staticmethod
    def of(secret: "Secret") -> "Secrets":
        """Return *secret* as ``Secrets``.

        Raises ``ConfigurationError`` for a missing or blank secret, and ``TypeError`` for one that is not text.
        """
        if isinstance(secret, Secrets):
            return secret
        is_iterable = isinstance(secret, Iterable) and not isinstance(secret, str)  # pyright: ignore[reportUnnecessaryIsInstance]
        values: list[object] = [*secret] if is_iterable else [secret]
        if not all(isinstance(value, str) or value is None for value in values):
            raise TypeError("secret must be a string or several strings")
        texts = [value for value in values if isinstance(value, str) and value.strip()]
        if not texts or len(texts) < len(values):
            raise ConfigurationError(NOT_CONFIGURED)
        return Secrets(tuple(text.encode("utf-8", "surrogateescape") for text in texts))

    def signatures(self, body: bytes) -> tuple[str, ...]:
        """Return the signature of *body* with each secret."""
        return tuple(hmac.new(value, body, hashlib.sha256).hexdigest() for value in self._values)


Secret = str | Iterable[str] | Secrets
"""One secret, or several during a rotation."""


def verify(body: bytes, signature: str | None, secret: Secret) -> None:
    """Check that Roamify signed a body.

    The signature covers neither a time nor a nonce, so a replayed delivery passes; see ``once``.

    Args:
        body: The raw bytes of the request.
        signature: The value of the ``X-Roamify-Signature`` header, or ``None`` if the header is missing.
        secret: The secret of the webhook, or several during a rotation; any of them may have signed.

    Raises:
        WebhookError: The signature is missing, malformed or wrong.
        ConfigurationError: A secret is missing or blank.
        TypeError: *body* is not bytes, or *secret* is not text.

    See: https://docs.getroamify.com/webhooks/verification/
    """
    secret = Secrets.of(secret)  # from here on no frame of this module holds it in the clear
    if not isinstance(body, bytes | bytearray | memoryview):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(NOT_BYTES.format(kind=type(body).__name__))
    problem = _format_problem(signature)
    if problem:
        raise WebhookError(problem)
    # Every secret is compared, so that the timing does not reveal which one matches.
    matches = [hmac.compare_digest(expected, str(signature)) for expected in secret.signatures(body)]
    if not any(matches):
        raise WebhookError(MISMATCH)


def sign(body: bytes, secret: str) -> str:
    """Return the signature that Roamify would send with a body; for tests.

    Args:
        body: The raw bytes of the request.
        secret: The secret of the webhook.

    Raises:
        ConfigurationError: The secret is missing or blank.
        TypeError: *secret* is not one string.

    See: https://docs.getroamify.com/webhooks/verification/
    """
    signatures = Secrets.of(secret).signatures(body)
    if len(signatures) != 1:
        raise TypeError("secret must be one string: a body is signed with one secret")
    return signatures[0]


def _format_problem(signature: object) -> str | None:
    """Return what is wrong with the format of a signature, without quoting it; ``None`` if nothing is."""
    if not signature:
        return MISSING
    if not isinstance(signature, str):
        return MALFORMED
    if re.fullmatch(rf"[\w-]+=[0-9a-fA-F]{{{HEX_DIGITS}}}", signature):
        return PREFIXED
    if not re.fullmatch(rf"[0-9a-fA-F]{{{HEX_DIGITS}}}", signature):
        return MALFORMED
    return None if signature == signature.lower() else UPPER_CASE
