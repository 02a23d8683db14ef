"""eSIMs: profiles, states, usage and events."""

import datetime as dt
from contextlib import suppress
from typing import Final, NoReturn

from roamify_async._core.concurrency import gather, raise_first
from roamify_async._core.endpoint import ACTION, Async, Endpoint, Mode, Resource, dual_method, resource
from roamify_async._core.engine import Engine
from roamify_async._core.keys import EsimEndpoint, EsimOrOrderEndpoint
from roamify_async._core.recovery import poll_until, recovery_window
from roamify_async._core.server_messages import requires_esim_id
from roamify_async._http.messages import HttpResponse
from roamify_async._serde.converter import JSON, parse, structure
from roamify_async._serde.envelope import DATA_OR_BODY, decode, decode_any
from roamify_async._validation import to_start_date
from roamify_async.errors import (
    APIStatusError,
    BadRequestError,
    NotFoundError,
    RoamifyError,
    UnprocessableError,
    UsageNotSupportedError,
)
from roamify_async.models.esims import ApplyEsim, ApplyOrder, Esim, GetEsim, GetHistory, ListEsims, ReadyEsim, as_ready
from roamify_async.models.events import EsimEvents, GetEvents
from roamify_async.models.messaging import EsimLink, LinkEsim, SendSms, SmsReceipt
from roamify_async.models.orders import CreateOrder, HistoryItem, Order, OrderItem
from roamify_async.models.usage import GetUsage, GetUsageDetails, Usage, UsageDetails
from roamify_async.purchasing.buy import buy_esims, poll_installable, prepare_esims

from .packages import find_packages, refuse_undated

MAX_ESIMS: Final = 500
"""Limit that is assumed to exceed the number of eSIMs in an order."""


async def _read_applied(engine: Engine, request: ApplyEsim, failure: RoamifyError) -> ReadyEsim:
    """Read the eSIM after a failed ``apply``, until its profile exists."""
    return await poll_installable(engine, Esims.get, request.esim_id, recovery_window(engine, failure), failure)


async def _read_order_applied(engine: Engine, request: ApplyOrder, failure: RoamifyError) -> tuple[ReadyEsim, ...]:
    """Read the eSIMs after a failed ``apply_order``. If the server requires eSIM ids, apply each eSIM."""

    async def list_esims() -> tuple[Esim, ...]:
        return await engine.send(Esims.list, ListEsims(reference_id=request.reference_id, limit=MAX_ESIMS))

    async def all_ready() -> tuple[ReadyEsim, ...] | None:
        esims = await list_esims()
        ready = tuple(filter(None, map(as_ready, esims)))
        is_complete = len(ready) == len(esims) and all(esim.is_installable for esim in ready)
        return ready if ready and is_complete else None

    async def apply(esim: Esim) -> ReadyEsim:
        return await engine.send(Esims.apply, ApplyEsim(esim.id, start_date=request.start_date))

    if not requires_esim_id(failure):
        return await poll_until(all_ready, recovery_window(engine, failure), failure)
    return raise_first(await gather(apply, await list_esims()))


async def _read_2025_events(engine: Engine, request: GetEvents, failure: RoamifyError) -> EsimEvents:
    """Read the events at the path of 2025, if a 404 shows that the server does not know the current one."""
    if not isinstance(failure, NotFoundError) or _is_json_object(failure.body):
        raise failure
    try:
        return await engine.send(_EVENTS_2025, request)
    except NotFoundError as other:
        raise other if _is_json_object(other.body) else failure from None


async def _explain_usage(engine: Engine, request: GetUsage | GetUsageDetails, failure: RoamifyError) -> NoReturn:
    """Read the eSIM after a refusal, whose form is not documented, to tell whether its package has a usage check."""
    esim = None
    if isinstance(failure, BadRequestError | NotFoundError | UnprocessableError):
        with suppress(RoamifyError):
            esim = await engine.send(Esims.get, GetEsim(iccid=request.iccid))
    if esim is None or esim.with_usage_check or not isinstance(failure, APIStatusError):
        raise failure
    raise UsageNotSupportedError(
        f"the package of this eSIM has no usage check, see its notes: {failure.message}",
        status=failure.status, code=failure.code, body=failure.body, notes=esim.notes,
        sent=failure.sent, method=failure.method, path=failure.path, request_id=failure.request_id,
    ) from None  # fmt: skip


def _is_json_object(body: str) -> bool:
    try:
        return isinstance(parse(body.encode()), dict)
    except ValueError:
        return False


def _decode_receipt(response: HttpResponse) -> SmsReceipt:
    """Decode any 2xx response: the message was sent, whatever the body contains."""
    value = decode_any(response)
    try:
        return structure(value, SmsReceipt)
    except ValueError:
        return SmsReceipt(raw=value)


def _decode_events(response: HttpResponse) -> EsimEvents:
    """Decode the events of one eSIM, or an array with those of several."""
    if isinstance(decode(response, JSON, DATA_OR_BODY), list):
        return EsimEvents.joined(decode(response, tuple[EsimEvents, ...], DATA_OR_BODY))
    return decode(response, EsimEvents, DATA_OR_BODY)


@resource
class Esims(Resource[Mode]):
    """eSIMs that were bought."""

    apply: Final = Endpoint(
        "POST", "/api/esim/apply", ApplyEsim, ReadyEsim, safety=ACTION, timeout=100, recover=_read_applied
    )
    """Generate the profile of an eSIM."""
    apply_order: Final = Endpoint(
        "POST", "/api/esim/apply", ApplyOrder, tuple[ReadyEsim, ...],
        safety=ACTION, timeout=100, recover=_read_order_applied,
    )  # fmt: skip
    """Generate the profiles of all eSIMs of an order."""
    get: Final = EsimEndpoint("GET", "/api/esim", GetEsim, Esim)
    """Return one eSIM."""
    list: Final = Endpoint("GET", "/api/esims", ListEsims, tuple[Esim, ...])
    """Return eSIMs, of one order or of all."""
    usage: Final = Endpoint("GET", "/api/esim/usage", GetUsage, Usage, recover=_explain_usage)
    """Return the allowance and the remaining amounts of an eSIM."""
    usage_details: Final = Endpoint(
        "GET", "/api/esim/usage/details", GetUsageDetails, UsageDetails, recover=_explain_usage
    )
    """Return the daily data usage of an eSIM."""
    history: Final = Endpoint("GET", "/api/esim/history", GetHistory, tuple[HistoryItem, ...])
    """Return the packages that an eSIM was bought and topped up with."""
    events: Final = EsimOrOrderEndpoint(
        "GET", "/api/esim/event", GetEvents, EsimEvents, decode=_decode_events, recover=_read_2025_events
    )
    """Return the events of an eSIM."""
    link: Final = EsimEndpoint("POST", "/api/esim/link", LinkEsim, EsimLink, safety=ACTION)
    """Create a link to a page on which a traveller installs an eSIM."""
    send_sms: Final = Endpoint("POST", "/api/esim/sms", SendSms, SmsReceipt, safety=ACTION, decode=_decode_receipt)
    """Send a text message to an eSIM."""

    @dual_method
    async def buy(
        self: "Esims[Async]",
        package_id: str,
        quantity: int = 1,
        *,
        start_date: dt.date | str | None = None,
        reference_id: str | None = None,
    ) -> tuple[ReadyEsim, ...]:
        """Order eSIMs, generate their profiles, and return the eSIMs when they can be installed.

        A call with a reference that exists continues that purchase: it orders nothing again, and generates only the
        profiles that are missing.

        Args:
            package_id: Id of the package, from the catalogue.
            quantity: Number of eSIMs.
            start_date: First day of travel, as a ``datetime.date`` or ISO text such as ``"2027-07-01"``. Required if
                the package has ``requirements.travel_date``.
            reference_id: Your key for this purchase, such as ``"order-4711"``; see ``orders.create``.

        Raises:
            ValueError: The package requires *start_date*; nothing was bought.
            EsimsNotReadyError: The order is paid, but some eSIMs cannot be installed yet. ``esims`` has those that can.
            PackageNotFoundError: The package does not exist; nothing was sent.
            ConflictError: An order with other items has the reference, or the server refused the order with status 409.
            PurchaseFailedError: The order was booked and then cancelled or refunded, or it failed.
            PurchaseInDoubtError: It is not known whether the order was booked.

        See: https://docs.getroamify.com/esims/orders/ and https://docs.getroamify.com/esims/esims/
        """
        from .orders import Orders  # Orders of instant eSIMs need this module.

        request = CreateOrder([OrderItem(package_id, quantity)], reference_id=reference_id)
        start = to_start_date(start_date)

        async def check() -> None:
            packages = await find_packages(self.engine, (package_id,))
            if start is None:
                refuse_undated(packages, "pass start_date, the first day of travel")

        return await buy_esims(
            self.engine, request, start, check=check, create=Orders.create, get=Esims.get, apply=Esims.apply
        )


_EVENTS_2025: Final = Endpoint("GET", "/api/esim/events", GetEvents, EsimEvents, decode=_decode_events)
"""The path of the events as documented in 2025."""


async def ready_esims(engine: Engine, order: Order) -> tuple[ReadyEsim, ...]:
    """Generate the profiles of all eSIMs of an order, and return the eSIMs when they can be installed."""
    return await prepare_esims(engine, Esims.get, Esims.apply, order)
