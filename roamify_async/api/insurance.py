"""Travel insurance, for citizens and residents of Saudi Arabia: products, orders, and policies."""

from typing import Final

from roamify_async._core.endpoint import ACTION, PURCHASE, Endpoint, Mode, Reconciliation, Resource
from roamify_async._core.engine import Engine
from roamify_async._core.recovery import poll_until, recovery_window
from roamify_async.errors import NotFoundError, RoamifyError
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
from roamify_async.models.policies import ApplyPolicy, GetPolicy, ListPolicies, Policy


async def _find(engine: Engine, request: OrderInsurance) -> tuple[InsuranceOrder, ...]:
    """Return the order under a reference; the server accepts each reference once."""
    try:
        return (await engine.send(Insurance.get_order, GetInsuranceOrder(reference_id=request.reference_id)),)
    except NotFoundError:
        return ()


async def _to_order(_: Engine, order: InsuranceOrder) -> InsuranceOrder:
    return order


async def _unknown_packages(engine: Engine, request: OrderInsurance) -> tuple[str, ...]:
    products = await engine.send(Insurance.packages, ListInsurance())
    offered = {package.package_id for product in products for package in product.packages}
    return tuple(package_id for package_id in request.packages() if package_id not in offered)


async def _read_issued(engine: Engine, request: ApplyPolicy, failure: RoamifyError) -> Policy:
    """Read the policy whose issuing failed, until it is issued."""

    async def look() -> Policy | None:
        policy = await engine.send(Insurance.policy, GetPolicy(request.policy_id))
        return None if policy.is_undecided else policy

    policy = await poll_until(look, recovery_window(engine, failure), failure)
    if policy.is_issued and policy.matches(request):
        return policy
    failure.args = (f"{failure.args[0]}; the policy is {policy.status}: see insurance.policy({policy.policy_id!r})",)
    raise failure


class Insurance(Resource[Mode]):
    """Travel insurance."""

    countries: Final = Endpoint(
        "GET", "/api/insurance/countries", ListInsuranceCountries, tuple[InsuranceCountry, ...],
        data_path="data.countries",
    )  # fmt: skip
    """Return the countries that insurance is sold for."""
    packages: Final = Endpoint(
        "GET", "/api/insurance/packages", ListInsurance, tuple[InsuranceProduct, ...], data_path="data.packages"
    )
    """Return the insurance products and their packages."""
    package: Final = Endpoint("GET", "/api/insurance/package", GetInsurance, InsuranceProduct)
    """Return the product of one package, with that package only."""
    order: Final = Endpoint(
        "POST", "/api/insurance/order", OrderInsurance, InsuranceOrder,
        safety=PURCHASE, timeout=60,
        reconciliation=Reconciliation(
            _find, _to_order, _unknown_packages, catalogue_hint="insurance.packages()"
        ),
    )  # fmt: skip
    """Order policies."""
    get_order: Final = Endpoint("GET", "/api/insurance/order", GetInsuranceOrder, InsuranceOrder)
    """Return one order."""
    list_orders: Final = Endpoint(
        "GET", "/api/insurance/orders", ListInsuranceOrders, tuple[InsuranceOrder, ...], data_path="data.orders"
    )
    """Return orders."""
    apply: Final = Endpoint(
        "POST", "/api/insurance/apply", ApplyPolicy, Policy, safety=ACTION, timeout=90, recover=_read_issued
    )
    """Have a policy issued."""
    policy: Final = Endpoint("GET", "/api/insurance/policy", GetPolicy, Policy)
    """Return one policy."""
    policies: Final = Endpoint(
        "GET", "/api/insurance/policies", ListPolicies, tuple[Policy, ...], data_path="data.policies"
    )
    """Return policies, of one order or of all."""
