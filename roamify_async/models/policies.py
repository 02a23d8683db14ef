"""Insurance policies and the insured travellers."""

import datetime as dt
from datetime import UTC, datetime
from typing import Any, Final

import attrs

from roamify_async._serde.fields import SLASHED_DATE, State
from roamify_async._validation import (
    matching,
    optional,
    parse_date,
    text,
    whole_number,
)

from ._text import summary
from ._value import Value

MAX_AGE: Final = 120
"""Maximum age of a traveller in years."""


class PolicyStatus(State):
    """State of a policy. Unknown values are kept as they are."""

    NEW = "NEW"
    """Ordered; ``insurance.apply`` has not been called."""
    PENDING = "PENDING"
    """Being issued."""
    ISSUED = "ISSUED"
    ACTIVE = "ACTIVE"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"
    REQUIRE_ACTION = "REQUIRE_ACTION"
    UNKNOWN = "UNKNOWN"
    """Sent by the server, or the response contains no state."""


_name = matching(r".*\S.*", "a name, not empty")

_number = matching(r"[A-Za-z0-9]{5,20}", "5 to 20 letters and digits, without spaces or signs")

_mobile = matching(r"[0-9]{8,15}", "8 to 15 digits in international form without + or spaces, like 966501234567")

_email = matching(r"[^@\s]+@[^@\s]+", "an e-mail address, like layla@example.com")


def _start(value: dt.date | str) -> dt.date:
    return parse_date("start_date", value)


def _end(value: dt.date | str) -> dt.date:
    return parse_date("end_date", value)


def _birth(value: dt.date | str | None) -> dt.date | None:
    try:
        return None if value is None else parse_date("date_of_birth", value)
    except (TypeError, ValueError) as wrong:
        raise type(wrong)("date_of_birth must be a datetime.date, or ISO text like 1990-07-01") from None


def _alive(_: object, field: "attrs.Attribute[Any]", value: dt.date | None) -> None:
    today = datetime.now(UTC).date()
    if value is None:
        return
    age = today.year - value.year - ((today.month, today.day) < (value.month, value.day))
    if value >= today or age > MAX_AGE:
        raise ValueError(f"{field.name} must be a day in the past, and at most {MAX_AGE} years ago")


@attrs.frozen(eq=False, repr=False)
class Insurer(Value):
    """The insured traveller, whom the API calls the insurer: a citizen or resident of Saudi Arabia.

    The ``requirements`` of the package and of the policy say which of the optional fields are required; the server
    ignores the others. The ``repr`` shows only the nationality, and errors do not repeat the other values.

    The insurance company may refuse values that the API accepts. By the documentation, the current one requires a
    10-digit Saudi id and a mobile number that begins with 966.

    Args:
        first_name: First name.
        last_name: Last name.
        nationality: Nationality, as in ``eligible_nationality`` of the product.
        date_of_birth: A ``datetime.date`` or ISO text such as ``"1990-07-01"``; at most 120 years ago.
        id_number: 5 to 20 letters and digits.
        passport_number: 5 to 20 letters and digits.
    """

    first_name: str = attrs.field(repr=False, validator=_name)
    last_name: str = attrs.field(repr=False, validator=_name)
    nationality: str = attrs.field(validator=text)
    """Nationality, as in ``eligible_nationality`` of the product."""
    date_of_birth: dt.date | None = attrs.field(
        default=None, kw_only=True, repr=False, converter=_birth, validator=_alive, metadata=SLASHED_DATE
    )
    """A ``datetime.date`` or ISO text."""
    id_number: str | None = attrs.field(default=None, kw_only=True, repr=False, validator=optional(_number))
    """5 to 20 letters and digits."""
    passport_number: str | None = attrs.field(default=None, kw_only=True, repr=False, validator=optional(_number))
    """5 to 20 letters and digits."""


def _insurer(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    if not isinstance(value, Insurer):
        raise TypeError(f"{field.name} must be an Insurer(first_name, last_name, nationality, ...)")


@attrs.frozen(eq=False, repr=False)
class ApplyPolicy(Value):
    """Issue a policy that an order reserved, and return the policy.

    Issuing is not idempotent, so the request is not sent again once it may have left: after a failure the policy is
    read until it is issued. The documentation does not say how long issuing takes. A policy that another call is
    issuing is waited for in the same way.

    Args:
        policy_id: The ``policy_id`` of an order item.
        start_date: First day of cover, as a ``datetime.date`` or ISO text; tomorrow or later.
        end_date: Last day of cover, as a ``datetime.date`` or ISO text; after *start_date*, and within the ``day``
            of the package.
        mobile: Mobile number of the traveller: 8 to 15 digits in international form without ``+``, such as
            ``"966501234567"``.
        email: E-mail address of the traveller.
        insurer: The insured traveller.

    Raises:
        BadRequestError: The server refused a value.
        NotFoundError: There is no such policy, or it belongs to another partner.
        ConflictError: The policy was issued before, for other dates or another traveller. It is raised at once.
        ServerError: With status 502, the insurance company refused the request or failed.

    See: https://docs.getroamify.com/insurance/policies/
    """

    policy_id: str = attrs.field(validator=text)
    start_date: dt.date = attrs.field(kw_only=True, converter=_start, metadata=SLASHED_DATE)
    """First day of cover: a ``datetime.date`` or ISO text; tomorrow or later."""
    end_date: dt.date = attrs.field(kw_only=True, converter=_end, metadata=SLASHED_DATE)
    """Last day of cover: after ``start_date``, and within the ``day`` of the package."""
    mobile: str = attrs.field(kw_only=True, repr=False, validator=_mobile)
    """Mobile number: 8 to 15 digits in international form without ``+``."""
    email: str = attrs.field(kw_only=True, repr=False, validator=_email)
    insurer: Insurer = attrs.field(kw_only=True, validator=_insurer)
    """The insured traveller."""

    def __attrs_post_init__(self) -> None:
        """Check that the end is after the start."""
        if self.end_date <= self.start_date:
            raise ValueError(f"end_date must be after start_date, {self.start_date}; it is {self.end_date}")


@attrs.frozen(eq=False, repr=False)
class GetPolicy(Value):
    """Return one policy.

    Args:
        policy_id: The ``policy_id`` of an order item.

    Raises:
        NotFoundError: There is no such policy, or it belongs to another partner.

    See: https://docs.getroamify.com/insurance/policies/
    """

    policy_id: str = attrs.field(validator=text)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class ListPolicies(Value):
    """Return policies, newest first. The API has no pagination for them.

    Args:
        order_id: Return only the policies of this order.
        status: Return only policies in this state, such as ``PolicyStatus.ISSUED``. The match is exact.
        limit: Maximum number of policies to return.

    See: https://docs.getroamify.com/insurance/policies/
    """

    order_id: str | None = attrs.field(default=None, validator=optional(text))
    """Id of the order whose policies are returned."""
    status: str | None = attrs.field(default=None, validator=optional(text))
    limit: int = attrs.field(default=50, validator=whole_number)
    """Maximum number of policies."""


@attrs.define(kw_only=True, eq=False, repr=False)
class InsuranceRequirements(Value):
    """Data about the traveller that is required to issue a policy."""

    phone_number: bool = False
    """``insurance.apply`` requires ``mobile`` whatever the value."""
    date_of_birth: bool = False
    id_number: bool = False
    passport_number: bool = False


@attrs.define(kw_only=True, eq=False, repr=False)
class Coverage(Value):
    """Cover of a policy."""

    insured_type: str | None = None
    day: int | None = None
    """Validity in days."""
    benefits: tuple[Any, ...] = ()
    """Display content of the insurance company: texts, or any other JSON."""


@attrs.define(kw_only=True, eq=False, repr=False)
class IssuedPolicy(Value):
    """The document that the insurance company issued."""

    policy_no: str | None = None
    policy_issuance_date: dt.date | None = None
    policy_link: str | None = attrs.field(default=None, repr=False)
    """URL of the document."""


@attrs.define(kw_only=True, eq=False, repr=False)
class Policy(Value):
    """An insurance policy: reserved by an order, issued by ``insurance.apply``."""

    policy_id: str
    order_id: str | None = None
    package_id: str = ""
    package: str = ""
    """Display name of the package."""
    country_name: str | None = None
    type: str | None = None
    status: PolicyStatus = PolicyStatus.UNKNOWN
    start_date: dt.date | None = None
    """First day of cover; ``None`` before the policy is issued."""
    end_date: dt.date | None = None
    """Last day of cover; ``None`` before the policy is issued."""
    insurer_name: str | None = attrs.field(default=None, repr=False)
    """First and last name of the traveller; ``None`` before the policy is issued."""
    requirements: InsuranceRequirements = attrs.field(factory=InsuranceRequirements)
    """Data about the traveller that ``insurance.apply`` requires."""
    coverage: Coverage = attrs.field(factory=Coverage)
    policy: IssuedPolicy | None = None
    """The issued document; ``None`` until the policy is issued."""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    expired_at: datetime | None = None
    """When the cover ends; ``None`` if not applicable."""

    @property
    def is_issued(self) -> bool:
        """Whether the policy is issued and has not expired."""
        return self.status in {PolicyStatus.ISSUED, PolicyStatus.ACTIVE}

    def matches(self, request: ApplyPolicy) -> bool:
        """Return whether the policy has the dates of a request, and the name unless the response omits it."""
        name = f"{request.insurer.first_name} {request.insurer.last_name}"
        return (
            self.start_date == request.start_date
            and self.end_date == request.end_date
            and (self.insurer_name is None or self.insurer_name.casefold().split() == name.casefold().split())
        )

    def __repr__(self) -> str:
        """Return one line."""
        return summary(self, self.policy_id, self.package_id, self.status)
