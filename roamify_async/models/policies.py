"""Insurance policies and the travellers they insure."""

import datetime as dt
from datetime import UTC, datetime
from typing import Any, Final

import attrs

from roamify_async._validation import (
    matching,
    optional,
    parse_date,
    text,
    whole_number,
)

from ._fields import SLASHED_DATE, State

MAX_AGE: Final = 120
"""Years that a traveller may have at most."""


class PolicyStatus(State):
    """Where a policy is; the set is open."""

    NEW = "NEW"
    """Ordered; not applied for yet."""
    PENDING = "PENDING"
    """Being issued."""
    ISSUED = "ISSUED"
    ACTIVE = "ACTIVE"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"
    REQUIRE_ACTION = "REQUIRE_ACTION"
    UNKNOWN = "UNKNOWN"


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


@attrs.frozen
class Insurer:
    """Who is insured: a citizen or resident of Saudi Arabia.

    Which of the fields after the nationality are needed is said by the ``requirements`` of the package and of the
    policy; what is not asked for is ignored. Only the nationality shows in its ``repr``.
    """

    first_name: str = attrs.field(repr=False, validator=_name)
    last_name: str = attrs.field(repr=False, validator=_name)
    nationality: str = attrs.field(validator=text)
    """As in ``eligible_nationality`` of the product."""
    date_of_birth: dt.date | None = attrs.field(
        default=None, kw_only=True, repr=False, converter=_birth, validator=_alive, metadata=SLASHED_DATE
    )
    """A ``datetime.date`` or its ISO text."""
    id_number: str | None = attrs.field(default=None, kw_only=True, repr=False, validator=optional(_number))
    """5 to 20 letters and digits."""
    passport_number: str | None = attrs.field(default=None, kw_only=True, repr=False, validator=optional(_number))
    """5 to 20 letters and digits."""


def _insurer(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    if not isinstance(value, Insurer):
        raise TypeError(f"{field.name} must be an Insurer(first_name, last_name, nationality, ...)")


@attrs.frozen
class ApplyPolicy:
    """Have a policy issued; ``/insurance/apply``.

    It is sent once: whether it was issued all the same after a failure is read from the policy. Raises
    ``ConflictError`` where it was issued before, for other days or somebody else, and ``ServerError`` with status 502
    where the insurance company refused or failed. How long it takes is not documented.
    """

    policy_id: str = attrs.field(validator=text)
    start_date: dt.date = attrs.field(kw_only=True, converter=_start, metadata=SLASHED_DATE)
    """First day: a ``datetime.date`` or its ISO text; tomorrow at the earliest."""
    end_date: dt.date = attrs.field(kw_only=True, converter=_end, metadata=SLASHED_DATE)
    """Last day: after the first one, and within the package's ``day``s."""
    mobile: str = attrs.field(kw_only=True, repr=False, validator=_mobile)
    """8 to 15 digits in international form, without ``+``."""
    email: str = attrs.field(kw_only=True, repr=False, validator=_email)
    insurer: Insurer = attrs.field(kw_only=True, validator=_insurer)
    """Who is insured."""

    def __attrs_post_init__(self) -> None:
        """Refuse days in the wrong order."""
        if self.end_date <= self.start_date:
            raise ValueError(f"end_date must be after start_date, {self.start_date}; it is {self.end_date}")


@attrs.frozen
class GetPolicy:
    """Get one policy; ``/insurance/policies``."""

    policy_id: str = attrs.field(validator=text)


@attrs.frozen(kw_only=True)
class ListPolicies:
    """List policies, the newest first; there are no pages, only a limit; ``/insurance/policies``."""

    order_id: str | None = attrs.field(default=None, validator=optional(text))
    """Those of this order only."""
    status: str | None = attrs.field(default=None, validator=optional(text))
    limit: int = attrs.field(default=50, validator=whole_number)


@attrs.define(kw_only=True)
class InsuranceRequirements:
    """What has to be told of a traveller before a policy is issued."""

    phone_number: bool = False
    """``insurance.apply`` needs a ``mobile`` whether it is asked for here or not."""
    date_of_birth: bool = False
    id_number: bool = False
    passport_number: bool = False


@attrs.define(kw_only=True)
class Coverage:
    """What a policy covers, and for how long."""

    insured_type: str | None = None
    day: int | None = None
    """Validity in days."""
    benefits: tuple[str, ...] = ()


@attrs.define(kw_only=True)
class IssuedPolicy:
    """What the insurance company made."""

    policy_no: str | None = None
    policy_issuance_date: dt.date | None = None
    policy_link: str | None = attrs.field(default=None, repr=False)
    """Where the document is."""


@attrs.define(kw_only=True)
class Policy:
    """An insurance policy: reserved by an order, issued by ``insurance.apply``."""

    policy_id: str
    order_id: str | None = None
    package_id: str = ""
    package: str = ""
    """Name of the package for people."""
    country_name: str | None = None
    type: str | None = None
    status: PolicyStatus = PolicyStatus.UNKNOWN
    start_date: dt.date | None = None
    """``None`` before it is issued."""
    end_date: dt.date | None = None
    insurer_name: str | None = attrs.field(default=None, repr=False)
    """First and last name of who is insured; ``None`` before it is issued."""
    requirements: InsuranceRequirements = attrs.field(factory=InsuranceRequirements)
    """What ``insurance.apply`` has to be told."""
    coverage: Coverage = attrs.field(factory=Coverage)
    policy: IssuedPolicy | None = None
    """``None`` until it is issued."""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    expired_at: datetime | None = None

    @property
    def is_issued(self) -> bool:
        """Whether the insurance company has made it and it holds."""
        return self.status in {PolicyStatus.ISSUED, PolicyStatus.ACTIVE}

    @property
    def is_undecided(self) -> bool:
        """Whether it may still be issued."""
        return self.status in {PolicyStatus.NEW, PolicyStatus.PENDING, PolicyStatus.UNKNOWN}

    def matches(self, request: ApplyPolicy) -> bool:
        """Return whether it was issued for a request: for the same dates and the same name."""
        name = f"{request.insurer.first_name} {request.insurer.last_name}"
        return (self.start_date, self.end_date) == (request.start_date, request.end_date) and (
            (self.insurer_name or "").casefold().split() == name.casefold().split()
        )
