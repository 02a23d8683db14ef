"""The endpoints that list top-up packages and order top-ups."""

from collections.abc import Iterable
from typing import Any

from roamify_async.sandbox.context import Context, Request
from roamify_async.sandbox.data.packages import Package
from roamify_async.sandbox.http.errors import error
from roamify_async.sandbox.http.responses import Response, success
from roamify_async.sandbox.http.serializers import top_up_package
from roamify_async.sandbox.http.validation import Schema, boolean, number, text
from roamify_async.sandbox.state.records import Esim

from .orders import as_created, book, find_packages, order_json

_PACKAGES = Schema(
    {"iccid": text, "days": number, "gbs": number, "isUnlimited": boolean, "packageId": text},
    required=frozenset({"iccid"}),
)
_CREATE = Schema({"iccid": text, "packageId": text, "referenceId": text}, required=frozenset({"iccid", "packageId"}))


def packages(context: Context, request: Request) -> Response:
    """Return the packages that an applied eSIM can be topped up with; undocumented: an empty list if with none."""
    query = _PACKAGES.parse(request.query)
    esim = context.find_esim(iccid=query["iccid"])
    return success([top_up_package(package) for package in _matching(_offered(context, esim), query)])


def create(context: Context, request: Request) -> Response:
    """Order a package of the same destination for an applied eSIM."""
    body = _CREATE.parse(request.body)
    esim = context.find_esim(iccid=body["iccid"])
    package = find_packages(context, request, [(body["packageId"], 1)])[0]
    own = context.catalogue.packages[esim.package_id]
    if not own.supports_top_up or esim.status in {"REVOKED", "EXPIRED"}:
        raise error(400, "This eSIM does not support top-up")
    if package not in _offered(context, esim):
        raise error(400, "This package is not compatible with the eSIM")
    order = book(context, request, "topup", body.get("referenceId", ""), [package], esim_id=esim.id)
    return success(order_json(context, as_created(order)))


def _offered(context: Context, esim: Esim) -> list[Package]:
    packages = context.catalogue.packages[esim.package_id].top_ups
    if context.options.topup_offers == "all":
        return packages
    _, *bought = context.store.history(esim.id, hidden=True)
    used = {item.package_id for item in bought}
    return [package for package in packages if package.id not in used]


def _matching(packages: Iterable[Package], query: dict[str, Any]) -> Iterable[Package]:
    unlimited = query.get("isUnlimited", False)
    megabytes = query["gbs"] * 1024 if "gbs" in query and not unlimited else None
    for package in packages:
        plan = package.plan
        if query.get("packageId") not in {None, package.id} or query.get("days") not in {None, plan.days}:
            continue
        if megabytes in {None, plan.megabytes} and (plan.unlimited or not unlimited):
            yield package
