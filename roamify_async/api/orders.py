"""Orders of eSIMs, alone and in bulk."""

from collections.abc import AsyncIterable, Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import attrs

from roamify_async._core.concurrency import poll
from roamify_async._core.endpoint import (
    ACTION,
    PURCHASE,
    Async,
    Endpoint,
    Mode,
    Reconciliation,
    Resource,
    dual_method,
    resource,
)
from roamify_async._core.engine import Engine
from roamify_async._core.keys import OrderEndpoint
from roamify_async._core.progress_bar import ProgressBar
from roamify_async._http.messages import HttpResponse, SendState
from roamify_async._serde.envelope import decode
from roamify_async._validation import check, flag, whole_number
from roamify_async.errors import EsimsNotReadyError, NotFoundError, PurchaseInDoubtError, RoamifyError
from roamify_async.ledger.protocol import PurchaseLedger
from roamify_async.models.account import GetBalance
from roamify_async.models.esims import Esim, ListEsims, ReadyEsim, as_ready
from roamify_async.models.orders import (
    CreateOrder,
    GetOrder,
    InstantOrder,
    ListOrders,
    Order,
    ReconcileOrder,
    RepeatedOrder,
    RepeatOrder,
)
from roamify_async.purchasing.bulk import Progress, bulk
from roamify_async.purchasing.classify import LookUpResult, PurchaseRequest, ids, is_api_404
from roamify_async.purchasing.line import BulkAdapter, Line
from roamify_async.purchasing.look_up import search
from roamify_async.purchasing.purchase import find_second, make_purchase, patience
from roamify_async.purchasing.recorded import resolve
from roamify_async.purchasing.repeat import repeat_order
from roamify_async.purchasing.report import BulkReport

from .account import Account
from .esims import Esims, ready_esims
from .packages import find_package, find_packages, refuse_undated


async def find_orders(engine: Engine, reference_id: str) -> tuple[Order, ...]:
    """Return the orders under a reference, from the list of orders or, if that fails, from the single order.

    A 404 of the API itself means that there is none. A list of ``LOOK_UP_LIMIT`` orders without it proves nothing.
    """
    problem: RoamifyError | None = None
    listed: tuple[Order, ...] = ()
    try:
        listed = await engine.send(Orders.list, ListOrders(reference_id=reference_id))
    except RoamifyError as error:
        problem = None if is_api_404(error) else error
    is_found = any(order.reference_id == reference_id for order in listed)
    if is_found or (problem is None and len(listed) < LOOK_UP_LIMIT):
        return listed
    try:
        return (*listed, await engine.send(Orders.get, GetOrder(reference_id=reference_id)))
    except RoamifyError as error:
        if is_api_404(error):
            return listed
        raise problem or error from None


async def refresh_order(engine: Engine, _: object, order_id: str) -> Order:
    """Return an order by its id."""
    return await engine.send(Orders.get, GetOrder(order_id=order_id))


async def latest_orders(engine: Engine) -> tuple[Order, ...]:
    """Return the latest orders of all references."""
    return await engine.send(Orders.list, ListOrders(limit=LOOK_UP_LIMIT))


async def to_order(_: Engine, order: Order) -> Order:
    """Return an order that was found, as the response of its endpoint."""
    return order


async def _find(engine: Engine, request: CreateOrder) -> tuple[Order, ...]:
    return await find_orders(engine, request.reference_id or "")


async def _check(engine: Engine, request: CreateOrder) -> None:
    await find_packages(engine, tuple(request.packages()))


async def price_of(engine: Engine, request: PurchaseRequest) -> Decimal:
    """Return the cost of packages of the catalogue."""
    quantities = request.packages()
    packages = await find_packages(engine, tuple(quantities))
    return sum((package.price * quantities[package.package_id] for package in packages), Decimal(0))


async def _check_instant(engine: Engine, request: CreateOrder) -> None:
    packages = await find_packages(engine, tuple(request.packages()))
    refuse_undated(packages, "use orders.create(), and esims.apply() with a start_date")


async def _to_instant_order(engine: Engine, order: Order) -> InstantOrder:
    """Return an order that was found, with its eSIMs."""
    esims = order.esims or await _list_esims(engine, order)
    return await _with_ready_esims(engine, _instant(attrs.evolve(order, esims=esims)))


def _decode_instant(response: HttpResponse) -> InstantOrder:
    """Decode an instant order. What was booked is accepted even if an eSIM has no codes yet."""
    return _instant(decode(response, Order, Orders.create.data_path, method=Orders.create_instant.method))


def _instant(order: Order) -> InstantOrder:
    fields: dict[str, Any] = attrs.asdict(order, recurse=False)
    del fields["items"]
    fields["esims"] = tuple(as_ready(esim) or esim for esim in order.esims)
    return InstantOrder(**fields)


async def _with_ready_esims(engine: Engine, instant: InstantOrder) -> InstantOrder:
    """Return an instant order when each of its eSIMs has its codes. Raises ``EsimsNotReadyError`` if one gets none."""
    if all(map(as_ready, instant.esims)):
        return instant
    order = Order(**attrs.asdict(instant, recurse=False))
    return attrs.evolve(instant, esims=await ready_esims(engine, order))


async def _list_esims(engine: Engine, order: Order) -> tuple[Esim, ...]:
    """Return all eSIMs of an order, which may be listed later than the order itself."""
    count, esims = len(order.items), tuple[Esim, ...]()
    query = ListEsims(reference_id=order.reference_id, limit=max(LOOK_UP_LIMIT, count))
    async for _ in poll(engine.settings.reconcile_window):
        esims = await engine.send(Esims.list, query)
        if len(esims) >= count:
            return esims
    raise EsimsNotReadyError(
        f"{len(esims)} of {count} eSIMs of the order {order.id} are listed; all are paid. Call again with the "
        "reference to continue",
        order=order,
        esims=tuple(filter(None, map(as_ready, esims))),
        reference_id=order.reference_id,
    )


LOOK_UP_LIMIT: Final = 50
"""Number of orders that a look-up requests: the default of the API."""


@resource
class Orders(Resource[Mode]):
    """Orders of eSIMs."""

    create: Final = Endpoint(
        "POST", "/api/esim/order", CreateOrder, Order,
        safety=PURCHASE, timeout=60,
        reconciliation=Reconciliation(
            kind="order", find=_find, latest=latest_orders, to_response=to_order, refresh=refresh_order, check=_check,
            price=price_of,
        ),
    )  # fmt: skip
    """Order eSIMs. ``esims.apply`` generates their profiles."""
    create_instant: Final = Endpoint(
        "POST", "/api/esim/order/instant", CreateOrder, InstantOrder,
        safety=PURCHASE, timeout=60,
        reconciliation=Reconciliation(
            kind="order", find=_find, latest=latest_orders, to_response=_to_instant_order, refresh=refresh_order,
            check=_check_instant, price=price_of, complete=_with_ready_esims,
        ),
        decode=_decode_instant,
    )  # fmt: skip
    """Order eSIMs that are ready to install."""
    get: Final = OrderEndpoint("GET", "/api/esim/order", GetOrder, Order)
    """Return one order."""
    list: Final = Endpoint("GET", "/api/esim/orders", ListOrders, tuple[Order, ...], data_path="data.orders")
    """Return orders, of one reference or of all."""

    @dual_method
    async def bulk(
        self: "Orders[Async]",
        requests: Iterable[CreateOrder] | AsyncIterable[CreateOrder],
        *,
        journal: str | Path | PurchaseLedger | None = None,
        batch: str | None = None,
        concurrency: int | None = None,
        rate: float | None = None,
        max_spend: Decimal | int | str | None = None,
        apply: bool = False,
        on_progress: Callable[[Progress], object] | None = None,
        progress: bool = False,
    ) -> BulkReport:
        """Make many orders concurrently, and return a report with a line for each request.

        A failed line does not affect the others. Without *journal*, lines are written to a temporary file. If the order
        is interrupted, by Ctrl-C or by an exception in the caller's code, that file is kept: the exception names it in
        a note and as ``journal``, and a call with it as *journal* continues.

        Args:
            requests: An iterable of ``CreateOrder``, which may be asynchronous. It is read in the caller's thread. Any
                other value in it is refused: in a list with ``TypeError`` before anything is sent, else as a line.
            journal: Path of a file to which each line is written before it is sent, and again when its outcome is
                known. A call with the same file and requests continues, also after a crash: lines that were ordered are
                not sent again. Further requests at the end are allowed. With *batch* it is a ``SqliteLedger`` or
                ``PostgresLedger``; by default that of the client.
            batch: Name of the bulk order in a ledger. Several processes that call with the same ledger, name and
                requests share the lines: each is bought once, and the report of each process has all of them. Lines of
                a process that was killed are taken over after the lease of the ledger. All requests are read and
                compared before the first is sent.
            concurrency: Maximum number of orders in flight; by default that of the settings.
            rate: Maximum number of requests per second; by default that of the settings.
            max_spend: Maximum amount in USD, such as ``Decimal("50")`` or ``"50"``, over all runs of the journal, and
                over all processes of the batch. Lines that would exceed it are not sent.
            apply: Also generate the profiles of the eSIMs, which are then in ``line.esims``. Not with
                *batch*, since a ledger holds no activation codes: read them with ``esims.get(esim_id=item.esim_id)``.
            on_progress: Called in the caller's thread with a ``Progress`` after lines have an outcome. An exception in
                it, or in *requests*, stops the reading of requests and is raised at the end.
            progress: Whether to show a progress bar, with the money spent. It needs the extra ``notebook``, and shows
                lines of earlier runs as done.

        Raises:
            ValueError: Nothing was sent: an argument is invalid.
            BudgetError: Nothing was sent: all lines together are known to cost more than *max_spend* or the balance.
            LedgerError: Nothing was sent: the ledger of the batch cannot be reached, or belongs to another host.
            JournalError: The journal or the batch belongs to other requests or another host, is in use, is damaged, or
                cannot be written. Nothing was sent, unless this happened during the run; then the exception has a note.

        See: https://docs.getroamify.com/esims/orders/
        """
        if concurrency is not None:
            check("concurrency", concurrency, whole_number)
        check("progress", progress, flag)
        return await bulk(
            self.engine,
            bulk_adapter(self.engine, apply=apply),
            requests,
            journal=journal,
            batch=batch,
            concurrency=concurrency,
            rate=rate,
            max_spend=max_spend,
            on_progress=on_progress,
            bar=ProgressBar(" lines") if progress else None,
        )

    @dual_method
    async def repeat(self: "Orders[Async]", reference_id: str) -> RepeatedOrder:
        """Send an order that consists only of the reference of an existing order.

        The API's overview mentions this request in one sentence, and its effect is disputed: the server may return the
        existing order, or make the same order again and charge for it. ``is_new`` of the result says which, by the
        orders under the reference before and after. To read an order use ``orders.get``; to order the same again use
        ``orders.create`` with a new reference. The request is sent at most once.

        Args:
            reference_id: The reference of exactly one order.

        Raises:
            NotFoundError: There is no order under the reference; nothing was sent.
            ConflictError: There are several orders under the reference; nothing was sent.
            PurchaseInDoubtError: It is not known whether another order was made.

        See: https://docs.getroamify.com/esims/overview/
        """
        return await repeat_order(self.engine, _REPEAT, RepeatOrder(reference_id), find_orders)

    @dual_method
    async def reconcile(self: "Orders[Async]", reference_id: str) -> Order:
        """Look up an order by its reference until it is found, or ``Settings.reconcile_window`` seconds have passed.

        Use it after a ``PurchaseInDoubtError`` or a cancelled purchase. Nothing is bought.

        Args:
            reference_id: The reference of the order.

        Raises:
            NotFoundError: There is no order under the reference.
            PurchaseInDoubtError: There are several orders under the reference.
            RoamifyError: The look-ups failed, so that it is still not known whether there is an order.

        See: https://docs.getroamify.com/guides/retries-and-idempotency/
        """
        request = ReconcileOrder(reference_id)

        async def look() -> LookUpResult[Order]:
            try:
                found = await find_orders(self.engine, reference_id)
            except RoamifyError as error:
                return LookUpResult(failure=error.with_traceback(None))
            return LookUpResult(request.own(found))

        result = await search(look, self.engine.settings.reconcile_window)
        if len(result.ours) == 1:
            self.engine.memory.add_bought(reference_id)
            await resolve(self.engine, result.ours[0])
            return result.ours[0]
        if result.ours:
            raise PurchaseInDoubtError(
                f"there are {len(result.ours)} orders under this reference: {ids(result.ours)}",
                found=result.ours,
                sent="answered",
                reference_id=reference_id,
            )
        raise result.failure or NotFoundError(
            f"no order found for reference {reference_id!r}",
            status=404,
            method=Orders.list.method,
            path=Orders.list.path,
            reference_id=reference_id,
        )


def bulk_adapter(engine: Engine, *, apply: bool) -> BulkAdapter:
    """Return how a bulk order buys, and whether it generates the profiles of the eSIMs."""

    async def price(package_id: str) -> Decimal:
        return (await find_package(engine, package_id, is_fresh=True)).price

    async def balance() -> Decimal:
        return (await engine.send(Account.balance, GetBalance())).balance

    async def finish(order: Order) -> tuple[ReadyEsim, ...]:
        return await ready_esims(engine, order)

    async def buy(engine: Engine, line: Line) -> Order:
        async def check() -> None:
            await line.check()
            if apply:
                packages = await find_packages(engine, tuple(line.request.packages()))
                refuse_undated(packages, "order it without apply=True, and use esims.apply() with a start_date")

        return await make_purchase(
            engine, Orders.create, line.request, line.send_state,
            is_new=line.is_new, must_look=line.must_look,
            check=check, before_send=line.before_send, on_doubt=line.on_doubt,
        )  # fmt: skip

    async def recheck(engine: Engine, request: CreateOrder, send_state: SendState) -> None:
        await find_second(engine, Orders.create, request, send_state)

    return BulkAdapter(
        buy=buy, recheck=recheck, patience=patience(engine, Orders.create.timeout), price=price, balance=balance,
        finish=finish if apply else None,
    )  # fmt: skip


_REPEAT: Final = Endpoint("POST", "/api/esim/order", RepeatOrder, Order, safety=ACTION, timeout=60)
"""``Orders.create`` with only a reference. Its safety is not ``PURCHASE``: a look-up cannot show a second order."""
