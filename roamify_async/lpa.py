"""Activation codes of eSIMs (GSMA SGP.22), the links that install them, and the check digit of an ICCID."""

import re
from typing import Final
from urllib.parse import quote

import attrs

MAX_LENGTH: Final = 255
"""Maximum length of an activation code without its prefix."""
PREFIX: Final = "LPA:"
FORMAT: Final = "1"
"""The only format of activation codes that exists."""
APPLE: Final = "https://esimsetup.apple.com/esim_qrcode_provisioning?carddata="
ANDROID: Final = "https://esimsetup.android.com/esim_qrcode_provisioning?carddata="

_HOST: Final = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)+"
)
_TOKEN: Final = re.compile(r"[!-#%-~]*")  # visible ASCII without the dollar
_OID: Final = re.compile(r"(\d+(\.\d+)+)?", re.ASCII)


@attrs.frozen
class ActivationCode:
    """The parts of an activation code. Whoever has the matching id can install the eSIM, so the ``repr`` omits it.

    ``str(code)`` is the text of the QR code.
    """

    smdp_address: str
    """Host of the SM-DP+ server that has the profile."""
    matching_id: str = attrs.field(default="", repr=False)
    """The profile on that server; empty if the server knows it by the device."""
    smdp_oid: str | None = None
    """Object identifier of the server, which the device compares with its certificate."""
    needs_confirmation: bool = False
    """Whether the device asks for a confirmation code, which is sent to the traveller in another way."""

    def __str__(self) -> str:
        """Return the text of the QR code."""
        parts = [FORMAT, self.smdp_address, self.matching_id]
        if self.smdp_oid or self.needs_confirmation:
            parts.append(self.smdp_oid or "")
        if self.needs_confirmation:
            parts.append("1")
        return f"{PREFIX}{'$'.join(parts)}"


@attrs.frozen
class InstallLinks:
    """Links that install an eSIM on the device that opens them. They contain the code, so the ``repr`` omits them."""

    apple: str = attrs.field(repr=False)
    """For iOS 17.4 and newer."""
    android: str = attrs.field(repr=False)
    """For Android."""


def parse(code: str) -> ActivationCode:
    """Return the parts of an activation code.

    Args:
        code: Text such as ``"LPA:1$smdp.example.com$MATCHING-ID"``, as in ``esim.esim.lpa_code``. The prefix may be
            missing or in lower case, as where people type the code. White space around it is ignored.

    Raises:
        ValueError: The text is not an activation code. The message does not contain the text.
    """
    text = code.strip()
    if text[: len(PREFIX)].upper() == PREFIX:
        text = text[len(PREFIX) :]
    if len(text) > MAX_LENGTH:
        raise _invalid(f"it has more than {MAX_LENGTH} characters")
    parts = text.split("$")
    if parts[0] != FORMAT or not 3 <= len(parts) <= 5:  # noqa: PLR2004 -- two parts may be missing
        raise _invalid("it must be LPA:1$<SM-DP+ address>$<matching id>")
    address, matching_id, oid, flag = (*parts[1:], "", "")[:4]
    if not _HOST.fullmatch(address):
        raise _invalid("its second part must be the host of an SM-DP+ server")
    if not _TOKEN.fullmatch(matching_id):
        raise _invalid("its matching id has white space, or characters outside ASCII")
    if not _OID.fullmatch(oid):
        raise _invalid("its fourth part must be an object identifier such as 1.3.6.1")
    if flag not in {"", "1"}:
        raise _invalid("its fifth part must be 1")
    return ActivationCode(address, matching_id, oid or None, flag == "1")


def _invalid(problem: str) -> ValueError:
    return ValueError(f"this is not an activation code: {problem}")


def install_links(code: ActivationCode | str) -> InstallLinks:
    """Return links that install an eSIM on the phone that opens them, with the code percent-encoded.

    Args:
        code: An activation code, or its text, which is checked.

    Raises:
        ValueError: The text is not an activation code.
    """
    carddata = quote(str(parse(code) if isinstance(code, str) else code), safe="")
    return InstallLinks(f"{APPLE}{carddata}", f"{ANDROID}{carddata}")


def luhn_ok(iccid: str) -> bool:
    """Return whether the last digit of an ICCID is the check digit (Luhn) of the others.

    Anything but digits makes it ``False``. Some operators issue ICCIDs without a check digit, so a number that
    fails may still be valid.
    """
    if not re.fullmatch(r"\d{2,}", iccid, re.ASCII):
        return False
    digits = [int(digit) for digit in reversed(iccid)]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0
