"""Installation links and text messages."""

from datetime import datetime
from typing import Any

import attrs

from roamify_async._serde.fields import SAME_OBJECT, json_name
from roamify_async._validation import exactly_one, text

from ._value import Value


@attrs.frozen(kw_only=True, eq=False, repr=False)
class LinkEsim(Value):
    """Create a link to a page on which a traveller installs an eSIM.

    The profile of the eSIM must have been generated. Whether a second call returns the same link is not documented.

    Args:
        iccid: The ICCID of the eSIM. Pass exactly one of the two.
        esim_id: The id of the eSIM.

    See: https://docs.getroamify.com/esims/esims-link/
    """

    iccid: str | None = None
    esim_id: str | None = None

    def __attrs_post_init__(self) -> None:
        """Check that exactly one argument is given."""
        exactly_one(self)


@attrs.define(kw_only=True, eq=False, repr=False)
class EsimLink(Value):
    """A page on which a traveller installs an eSIM."""

    link: str
    """URL of the page."""
    whatsapp_link: str | None = attrs.field(default=None, repr=False)
    """URL that opens WhatsApp with a message that contains the link."""
    key: str | None = None
    """Last part of the path of ``link``."""
    access_code: str | None = attrs.field(default=None, repr=False)
    """Access code of the page. It is text, since it may begin with zeros."""
    iccid: str | None = None
    esim_id: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


@attrs.frozen(eq=False, repr=False)
class SendSms(Value):
    """Send a text message to an eSIM.

    A second call sends a second message. The maximum length and the character set are not documented.

    Args:
        iccid: The ICCID of the eSIM.
        message: The text of the message.

    See: https://docs.getroamify.com/esims/esims/
    """

    iccid: str = attrs.field(validator=text)
    message: str = attrs.field(validator=text)


@attrs.define(kw_only=True, eq=False, repr=False)
class SmsReceipt(Value):
    """Confirmation that the API accepted a text message. Its content is not documented."""

    status: str | None = None
    """``"success"`` if the response has the envelope of other responses."""
    message: str | None = None
    """Message of the server, if there is one."""
    raw: Any = attrs.field(default=None, eq=False, metadata=json_name(SAME_OBJECT))
    """The response as parsed JSON, or as text if it is not JSON."""
