"""Limits that all processes of an account share, in the database of their ledger."""

from decimal import Decimal, InvalidOperation
from typing import Any

import attrs

from roamify_async._validation import optional, rate, text


def _amount(value: Decimal | int | str | None) -> Decimal | None:
    if value is None or isinstance(value, Decimal):
        return value
    if isinstance(value, bool) or not isinstance(value, int | str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"max_spend must be a Decimal, a whole number or text, not {value!r}: floats are not exact")
    try:
        return Decimal(value)
    except InvalidOperation:
        raise ValueError(f"max_spend must be an amount of money, not {value!r}") from None


def _positive(_: object, field: "attrs.Attribute[Any]", value: Decimal | None) -> None:
    if value is not None and not (value.is_finite() and value >= 0):
        raise ValueError(f"{field.name} must be an amount of money, not {value!r}")


@attrs.frozen
class SharedLimits:
    """Limits of the purchases that several processes make from one account.

    Args:
        account: Label of the counters, of your choice. All processes that share limits use the same one, and the same
            limits.
        rate: Maximum number of purchases sent per second by all processes together.
        max_spend: Maximum amount in US dollars that may be spent under this label, such as ``"500"``.

    A response with status 429 to a purchase of one process pauses those of all.
    """

    account: str = attrs.field(default="main", validator=text)
    """Label of the counters."""
    rate: float | None = attrs.field(default=None, validator=optional(rate))
    """Maximum number of purchases sent per second; ``None`` means no limit."""
    max_spend: Decimal | None = attrs.field(default=None, converter=_amount, validator=_positive)
    """Maximum amount in US dollars; ``None`` means no limit."""
