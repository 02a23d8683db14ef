"""Installation links and text messages."""

from datetime import datetime
from typing import Any

import attrs

from roamify_async._validation import exactly_one, text

from ._fields import SAME_OBJECT, json_name


@attrs.frozen(kw_only=True)
class LinkEsim:
    """Make a link by which a traveller installs an eSIM, by its ICCID or its id; ``/esims/esims-link``.

    Its profile must be made. Whether a second call gives the same link is not documented.
    """

    iccid: str | None = None
    esim_id: str | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse none and both."""
        exactly_one(self)


@attrs.define(kw_only=True)
class EsimLink:
    """A page on which a traveller installs an eSIM."""

    link: str
    whatsapp_link: str | None = attrs.field(default=None, repr=False)
    """Opens WhatsApp with a message that holds the link."""
    key: str | None = None
    access_code: str | None = attrs.field(default=None, repr=False)
    """Digits that the page asks for; text, for it may begin with zeros."""
    iccid: str | None = None
    esim_id: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


@attrs.frozen
class SendSms:
    """Send a text message to an eSIM; ``/esims/esims``.

    Its longest length and its alphabet are not documented. Called twice, it is sent twice.
    """

    iccid: str = attrs.field(validator=text)
    message: str = attrs.field(validator=text)


@attrs.define(kw_only=True)
class SmsReceipt:
    """The API took a text message; what it says of it is not documented."""

    status: str | None = None
    """``"success"``, if it comes as other answers do."""
    message: str | None = None
    """What the server says, if it does."""
    raw: Any = attrs.field(default=None, metadata=json_name(SAME_OBJECT))
    """The answer as parsed JSON, or as text where it is none."""
