"""Type-checked and never run: what purchases return and raise, calls by exactly one key, and protocols of users."""

from collections.abc import Iterable, Mapping
from typing import Protocol, assert_type

from roamify_async import (
    AsyncRoamify,
    BulkLine,
    Catalogue,
    Country,
    CreateOrder,
    CreateTopUp,
    Doubt,
    Esim,
    EsimEvents,
    EsimLink,
    EsimsNotReadyError,
    Geography,
    InstantOrder,
    InsuranceOrder,
    Order,
    OrderItem,
    PurchaseFailedError,
    PurchaseInDoubtError,
    ReadyEsim,
    ReadyProfile,
    Roamify,
    RoamifyError,
)


def ready(roamify: Roamify, line: BulkLine) -> None:
    """ESIMs that were paid and prepared have their codes."""
    [esim] = roamify.esims.buy("p")
    assert_type(esim, ReadyEsim)
    assert_type(esim.iccid, str)
    assert_type(esim.esim, ReadyProfile)
    assert_type(esim.esim.lpa_code, str)
    assert_type(roamify.esims.apply("e").esim.lpa_code, str)
    assert_type(roamify.esims.apply_order("r")[0].iccid, str)
    assert_type(roamify.orders.create_instant([OrderItem("p")]).esims[0].iccid, str)
    assert_type(line.esims[0].esim.lpa_code, str)
    roamify.topups.create(esim.iccid, "p")
    as_any_other: Esim = esim
    assert_type(roamify.esims.get(iccid=esim.iccid).iccid, str | None)
    roamify.topups.create(as_any_other.iccid, "p") if as_any_other.iccid else None


async def ready_async(roamify: AsyncRoamify) -> None:
    """They have them with both clients."""
    [esim] = await roamify.esims.buy("p")
    assert_type(esim.iccid, str)
    assert_type((await roamify.esims.apply("e")).esim.lpa_code, str)
    assert_type((await roamify.esims.apply_order("r"))[0].esim.lpa_code, str)
    assert_type((await roamify.orders.create_instant([OrderItem("p")])).esims[0].esim.lpa_code, str)


def errors(roamify: Roamify) -> None:
    """Errors of purchases have what the next step needs."""
    try:
        roamify.esims.buy("p")
    except EsimsNotReadyError as error:
        assert_type(error.order, Order)
        assert_type(error.esims, tuple[ReadyEsim, ...])
        assert_type(error.failures, Mapping[str, RoamifyError])
        roamify.esims.buy("p", reference_id=error.reference_id)
    except PurchaseInDoubtError as error:
        assert_type(error.reference_id, str)
        assert_type(error.reason, RoamifyError | None)
        assert_type(error.look_up_error, RoamifyError | None)
        if isinstance(error.request, CreateOrder):
            assert_type(error.request.items, tuple[OrderItem, ...])
        roamify.orders.reconcile(error.reference_id)
    except PurchaseFailedError as error:
        assert_type(error.reference_id, str)
        assert_type(error.order.is_kept, bool)
    except RoamifyError as error:
        assert_type(error.reference_id, str | None)


def doubts(roamify: Roamify) -> None:
    """Read what was requested."""
    for doubt in roamify.doubts():
        assert_type(doubt, Doubt)
        assert_type(doubt.reference_id, str)
        if isinstance(doubt.request, CreateTopUp):
            assert_type(doubt.request.iccid, str)


# ---------------------------------------------------------------- exactly one of


def exactly_one(roamify: Roamify, order_id: str | None) -> None:
    """Pass exactly one key."""
    assert_type(roamify.orders.get(order_id="o"), Order)
    assert_type(roamify.orders.get(reference_id="r"), Order)
    assert_type(roamify.esims.get(iccid="1"), Esim)
    assert_type(roamify.esims.get(esim_id="e"), Esim)
    assert_type(roamify.esims.events(iccid="1"), EsimEvents)
    assert_type(roamify.esims.events(reference_id="r"), EsimEvents)
    assert_type(roamify.esims.link(esim_id="e"), EsimLink)
    assert_type(roamify.insurance.get_order(order_id="o"), InsuranceOrder)
    roamify.orders.get()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    roamify.orders.get(order_id="o", reference_id="r")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    roamify.orders.get("o")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    roamify.orders.get(order_id=order_id)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    roamify.esims.get()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    roamify.esims.get(iccid="1", esim_id="e")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    roamify.esims.events()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    roamify.esims.events(iccid="1", reference_id="r")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    roamify.esims.link()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    roamify.insurance.get_order()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


async def exactly_one_async(roamify: AsyncRoamify) -> None:
    """Pass exactly one key to the other client."""
    assert_type(await roamify.orders.get(order_id="o"), Order)
    assert_type(await roamify.esims.get(esim_id="e"), Esim)
    assert_type(await roamify.esims.events(reference_id="r"), EsimEvents)
    assert_type(await roamify.esims.link(iccid="1"), EsimLink)
    await roamify.orders.get()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await roamify.esims.get(iccid="1", esim_id="e")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await roamify.esims.events()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await roamify.esims.link()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


def words(roamify: Roamify, geography: Geography) -> None:
    """Words of a closed set are literals."""
    assert_type(roamify.countries.list(geography=geography), tuple[Country, ...])
    assert_type(roamify.packages.list(geography="regional"), Catalogue)
    roamify.countries.list(geography="locl")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    roamify.packages.list(geography="locl")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    roamify.orders.list(status="A STATE OF TOMORROW")


# ---------------------------------------------------------------- protocols of users


class Shop(Protocol):
    """What a user's code needs of ``Roamify().orders``."""

    def create(self, items: Iterable[OrderItem], *, reference_id: str | None = None) -> Order:
        """Order eSIMs."""
        ...

    def create_instant(self, items: Iterable[OrderItem], *, reference_id: str) -> InstantOrder:
        """Order eSIMs that can be installed at once."""
        ...

    def get(self, *, reference_id: str) -> Order:
        """Return an order."""
        ...

    def reconcile(self, reference_id: str) -> Order:
        """Look up an order."""
        ...


class AsyncShop(Protocol):
    """What a user's code needs of ``AsyncRoamify().orders``."""

    async def create(self, items: Iterable[OrderItem], *, reference_id: str | None = None) -> Order:
        """Order eSIMs."""
        ...

    async def reconcile(self, reference_id: str) -> Order:
        """Look up an order."""
        ...


class WrongShop(Protocol):
    """A protocol that the resource does not satisfy."""

    def create(self, package_id: int) -> Order:
        """Order an eSIM."""
        ...


class Reconciler(Protocol):
    """A protocol of workflows only."""

    def reconcile(self, reference_id: str) -> Order:
        """Look up an order."""
        ...

    def repeat(self, reference_id: str) -> object:
        """Repeat an order."""
        ...


def protocols(roamify: Roamify, async_roamify: AsyncRoamify) -> tuple[object, ...]:
    """Pass resources where a protocol is expected. Whether calls are awaited is seen by mypy only."""
    shop: Shop = roamify.orders
    async_shop: AsyncShop = async_roamify.orders
    reconciler: Reconciler = roamify.orders
    wrong: WrongShop = roamify.orders  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    mixed: Shop = async_roamify.orders  # type: ignore[assignment]
    return shop, async_shop, reconciler, wrong, mixed
