"""Travel insurance, for citizens and residents of Saudi Arabia: products, orders, and policies."""

from decimal import Decimal
from functools import partial
from typing import Final

from roamify_async._core.endpoint import ACTION, PURCHASE, Endpoint, Mode, Reconciliation, Resource, resource
from roamify_async._core.engine import Engine
from roamify_async._core.keys import OrderEndpoint
from roamify_async._core.recovery import poll_until, recovery_window
from roamify_async._core.server_messages import is_already_issued, is_being_issued
from roamify_async.errors import ConflictError, NotFoundError, RoamifyError
from roamify_async.models.insurance import (
    GetInsurance,
    GetInsuranceOrder,
    InsuranceCountry,
    InsuranceOrder,
    InsuranceProduct,
    ListInsurance,
    ListInsuranceCountries,
    ListInsuranceOrders,
    OrderInsurance,
)
from roamify_async.models.policies import ApplyPolicy, GetPolicy, ListPolicies, Policy, PolicyStatus
from roamify_async.purchasing.classify import is_api_404

from .countries import remember_places, resolve_filters
from .packages import nearest_ids, packages_not_found


async def _find(engine: Engine, request: OrderInsurance) -> tuple[InsuranceOrder, ...]:
    """Return the order with the reference of a request. The server accepts each reference once."""
    try:
        return (await engine.send(Insurance.get_order, GetInsuranceOrder(reference_id=request.reference_id)),)
    except NotFoundError as error:
        if not is_api_404(error):
            raise
        return ()


async def _latest(engine: Engine) -> tuple[InsuranceOrder, ...]:
    return await engine.send(Insurance.list_orders, ListInsuranceOrders())


async def _to_order(_: Engine, order: InsuranceOrder) -> InsuranceOrder:
    return order


async def _refresh(engine: Engine, _: OrderInsurance, order_id: str) -> InsuranceOrder:
    return await engine.send(Insurance.get_order, GetInsuranceOrder(order_id=order_id))


async def _check(engine: Engine, request: OrderInsurance) -> None:
    products = await engine.send(Insurance.packages, ListInsurance())
    offered = [package.package_id for product in products for package in product.packages]
    unknown = tuple(package_id for package_id in request.packages() if package_id not in offered)
    if unknown:
        nearest = tuple(near for package_id in unknown for near in nearest_ids(package_id, offered))
        raise packages_not_found(unknown, nearest, "insurance.packages()")


def _undecided_states(failure: RoamifyError) -> frozenset[PolicyStatus]:
    """Return the states in which a policy may still be issued after a failed ``apply``."""
    if is_being_issued(failure) or not isinstance(failure, ConflictError):
        return frozenset({PolicyStatus.NEW, PolicyStatus.PENDING, PolicyStatus.UNKNOWN})
    return frozenset() if is_already_issued(failure) else frozenset({PolicyStatus.PENDING})


async def _price(engine: Engine, request: OrderInsurance) -> Decimal:
    products = await engine.send(Insurance.packages, ListInsurance())
    prices = {package.package_id: package.price for product in products for package in product.packages}
    unknown = tuple(package_id for package_id in request.packages() if package_id not in prices)
    if unknown:
        raise packages_not_found(unknown, (), "insurance.packages()")
    return sum((prices[package_id] * count for package_id, count in request.packages().items()), Decimal(0))


async def _read_issued(engine: Engine, request: ApplyPolicy, failure: RoamifyError) -> Policy:
    """Read the policy after a failed ``apply``, until it is issued or *failure* is final."""
    undecided = _undecided_states(failure)

    async def look() -> Policy | None:
        policy = await engine.send(Insurance.policy, GetPolicy(request.policy_id))
        return None if policy.status in undecided else policy

    policy = await poll_until(look, recovery_window(engine, failure), failure)
    if policy.is_issued and policy.matches(request):
        return policy
    failure.args = (f"{failure.args[0]}; the policy is {policy.status}: see insurance.policy({policy.policy_id!r})",)
    raise failure


async def _resolve_country(engine: Engine, request: ListInsurance) -> ListInsurance:
    read = partial(engine.send, Insurance.countries, ListInsuranceCountries())
    return await resolve_filters(request, partial(remember_places, engine, Insurance.countries.path, read))


@resource
class Insurance(Resource[Mode]):
    """Travel insurance."""

    countries: Final = Endpoint(
        "GET", "/api/insurance/countries", ListInsuranceCountries, tuple[InsuranceCountry, ...],
        data_path="data.countries",
    )  # fmt: skip
    """Return the countries for which insurance is sold."""
    packages: Final = Endpoint(
        "GET", "/api/insurance/packages", ListInsurance, tuple[InsuranceProduct, ...],
        data_path="data.packages", prepare=_resolve_country,
    )  # fmt: skip
    """Return insurance products with their packages."""
    package: Final = Endpoint("GET", "/api/insurance/package", GetInsurance, InsuranceProduct)
    """Return the product of one package, without its other packages."""
    order: Final = Endpoint(
        "POST", "/api/insurance/order", OrderInsurance, InsuranceOrder,
        safety=PURCHASE, timeout=60,
        reconciliation=Reconciliation(
            kind="insurance", find=_find, latest=_latest, to_response=_to_order, refresh=_refresh, check=_check,
            price=_price,
        ),
    )  # fmt: skip
    """Order policies."""
    get_order: Final = OrderEndpoint("GET", "/api/insurance/order", GetInsuranceOrder, InsuranceOrder)
    """Return one order."""
    list_orders: Final = Endpoint(
        "GET", "/api/insurance/orders", ListInsuranceOrders, tuple[InsuranceOrder, ...], data_path="data.orders"
    )
    """Return orders."""
    apply: Final = Endpoint(
        "POST", "/api/insurance/apply", ApplyPolicy, Policy, safety=ACTION, timeout=90, recover=_read_issued
    )
    """Issue a policy."""
    policy: Final = Endpoint("GET", "/api/insurance/policy", GetPolicy, Policy)
    """Return one policy."""
    policies: Final = Endpoint(
        "GET", "/api/insurance/policies", ListPolicies, tuple[Policy, ...], data_path="data.policies"
    )
    """Return policies, of one order or of all."""
