"""Commands that spend money: eSIMs, top-ups, vouchers and insurance; and ``apply``, which follows an order."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter

from roamify_async.errors import EsimsNotReadyError, NotFoundError
from roamify_async.models.esims import Esim
from roamify_async.models.insurance import InsuranceOrder
from roamify_async.models.orders import Order, OrderItem
from roamify_async.models.policies import ApplyPolicy, Policy

from . import installing, money, table
from .context import current
from .exits import REFUSED, CommandError
from .money import Terms
from .output import View, show
from .parameters import Day, Flag, Iccid, Money, PackageId, Quantity, Reference

ESIMS: Final = View.of(table.ESIM, Esim)
ORDERS: Final = View.of(table.ORDER, Order)
BATCH: Final = View.of(table.VOUCHER, rows="vouchers")
INSURANCE: Final = View.of(table.ORDER, InsuranceOrder)
POLICIES: Final = View.of(table.POLICY, Policy)


def buy(
    package_id: PackageId,
    /,
    *,
    quantity: Quantity = 1,
    start: Day = None,
    ref: Reference = None,
    yes: Flag = False,
    dry_run: Flag = False,
    max_spend: Money = None,
    qr: Flag = False,
    qr_dir: Path | None = None,
) -> None:
    """Buy eSIMs, generate their profiles, and show the eSIMs when they can be installed.

    For example, `roamify buy esim-greece-30days-1gb-all -n 2 --ref order-4711`. A repetition with the same reference
    buys nothing again: it shows the eSIMs, and generates profiles that are missing.

    Args:
        package_id: Id of the package, from `roamify packages`.
        quantity: Number of eSIMs.
        start: First day of travel, such as 2027-07-01, if the package requires it.
        ref: Your key for this purchase, such as an order number; one reference is one purchase. Without it, one is
            created and printed.
        yes: Buy without a question.
        dry_run: Only show the price and the balance.
        max_spend: Highest total in USD.
        qr: Also draw the QR codes, on the standard error.
        qr_dir: Also write the QR codes to files in this folder. Whoever has a code can install the eSIM.
    """
    context = current()
    ESIMS.chosen(context)
    pictures = installing.Pictures.prepared(show=qr, folder=qr_dir)
    words = ("buy", package_id, "-n", str(quantity), *(() if start is None else ("--start", start.isoformat())))
    with context.client() as client:
        try:
            esims = money.buy(
                context, Terms(reference=ref, yes=yes, dry_run=dry_run, max_spend=max_spend), words,
                is_known=lambda reference: bool(client.orders.list(reference_id=reference)),
                price=lambda: money.quote(client, package_id, quantity, client.packages.get(package_id).price),
                create=lambda reference: client.esims.buy(
                    package_id, quantity, start_date=start, reference_id=reference
                ),
            )  # fmt: skip
        except EsimsNotReadyError as error:
            show(context, error.esims, ESIMS)
            raise
    if esims is not None:
        show(context, esims, ESIMS)
        pictures.draw(esims)


def topup(
    iccid: Iccid,
    package_id: PackageId,
    /,
    *,
    ref: Reference = None,
    yes: Flag = False,
    dry_run: Flag = False,
    max_spend: Money = None,
) -> None:
    """Top up an eSIM.

    Args:
        iccid: The ICCID of the eSIM.
        package_id: Id of a package that `roamify topups ICCID` lists.
        ref: Your key for this purchase; one reference is one purchase. Without it, one is created and printed.
        yes: Buy without a question.
        dry_run: Only show the price and the balance.
        max_spend: Highest price in USD.
    """
    context = current()
    ORDERS.chosen(context)
    with context.client() as client:

        def price() -> money.Quote:
            offered = client.topups.packages(iccid, package_id=package_id)
            prices = [package.price for package in offered if package.package_id == package_id]
            if not prices:
                hint = f"{context.command('topups', iccid)} lists those that fit"
                raise CommandError(f"eSIM {iccid} cannot be topped up with {package_id!r}", REFUSED, hint)
            return money.quote(client, package_id, 1, prices[0])

        order = money.buy(
            context, Terms(reference=ref, yes=yes, dry_run=dry_run, max_spend=max_spend), ("topup", iccid, package_id),
            is_known=lambda reference: bool(client.orders.list(reference_id=reference)),
            price=price,
            create=lambda reference: client.topups.create(iccid, package_id, reference_id=reference),
        )  # fmt: skip
    if order is not None:
        show(context, order, ORDERS)


def create_vouchers(
    package_id: PackageId,
    /,
    *,
    quantity: Quantity = 1,
    notes: str | None = None,
    ref: Reference = None,
    yes: Flag = False,
    dry_run: Flag = False,
    max_spend: Money = None,
) -> None:
    """Buy vouchers, which travellers redeem for eSIMs. Roamify enables them for selected partners.

    Args:
        package_id: Id of the package.
        quantity: Number of vouchers, 1 to 10.
        notes: Text that is stored with each voucher.
        ref: Your key for this purchase; one reference is one purchase. Without it, one is created and printed.
        yes: Buy without a question.
        dry_run: Only show the price and the balance.
        max_spend: Highest total in USD.
    """
    context = current()
    with context.client() as client:
        batch = money.buy(
            context, Terms(reference=ref, yes=yes, dry_run=dry_run, max_spend=max_spend),
            ("vouchers", "create", package_id, "-n", str(quantity)),
            is_known=lambda reference: bool(client.vouchers.list(reference_id=reference)),
            price=lambda: money.quote(client, package_id, quantity, client.packages.get(package_id).price),
            create=lambda reference: client.vouchers.create(
                package_id, quantity=quantity, notes=notes, reference_id=reference
            ),
        )  # fmt: skip
    if batch is not None:
        show(context, batch, BATCH)


def buy_insurance(
    package_id: PackageId,
    /,
    *,
    quantity: Quantity = 1,
    ref: Reference = None,
    yes: Flag = False,
    dry_run: Flag = False,
    max_spend: Money = None,
) -> None:
    """Order insurance policies. `insurance apply` issues each of them.

    Args:
        package_id: Id of the package, from `roamify insurance packages --json`.
        quantity: Number of policies, 1 to 5.
        ref: Your key for this purchase; one reference is one purchase. Without it, one is created and printed.
        yes: Buy without a question.
        dry_run: Only show the price and the balance.
        max_spend: Highest total in USD.
    """
    context = current()
    INSURANCE.chosen(context)
    with context.client() as client:

        def is_known(reference: str) -> bool:
            try:
                return bool(client.insurance.get_order(reference_id=reference))
            except NotFoundError:
                return False

        def price() -> money.Quote:
            packages = client.insurance.package(package_id).packages
            prices = [package.price for package in packages if package.package_id == package_id]
            if not prices:
                raise CommandError(f"there is no insurance package {package_id!r}", REFUSED)
            return money.quote(client, package_id, quantity, prices[0])

        order = money.buy(
            context, Terms(reference=ref, yes=yes, dry_run=dry_run, max_spend=max_spend),
            ("insurance", "buy", package_id, "-n", str(quantity)),
            is_known=is_known, price=price,
            create=lambda reference: client.insurance.order([OrderItem(package_id, quantity)], reference_id=reference),
        )  # fmt: skip
    if order is not None:
        show(context, order, INSURANCE)


def apply(
    esim_id: Annotated[str | None, Parameter(name="ESIM_ID")] = None,
    /,
    *,
    ref: Reference = None,
    start: Day = None,
) -> None:
    """Generate the profile of an eSIM, or of all eSIMs of an order, which takes up to 90 seconds.

    Args:
        esim_id: Id of the eSIM, as in `roamify esims`. Pass it or --ref.
        ref: Reference of the order.
        start: First day of travel, such as 2027-07-01, if the package requires it.
    """
    context = current()
    ESIMS.chosen(context)
    if (esim_id is None) == (ref is None):
        raise ValueError("pass the id of an eSIM, or --ref with the reference of an order")
    with context.client() as client:
        if esim_id is not None:
            found: Any = client.esims.apply(esim_id, start_date=start)
        else:
            found = client.esims.apply_order(ref or "", start_date=start)
    show(context, found, ESIMS)


def apply_policy(
    policy_id: Annotated[str, Parameter(name="POLICY_ID")],
    /,
    *,
    input: Annotated[str, Parameter(name="--input", allow_leading_hyphen=True)],
) -> None:
    """Issue a policy that an order reserved.

    The data of the traveller is read from a file, since other users can see the arguments of a command. It is JSON
    with `startDate`, `endDate` (31/12/2027), `mobile`, `email`, and in `insurer` the traveller: `firstName`,
    `lastName`, `nationality`, and what the policy requires of `dateOfBirth`, `idNumber` and `passportNumber`.

    Args:
        policy_id: Id of the policy, as in `roamify insurance policies`.
        input: The file; `-` is the standard input.
    """
    context = current()
    POLICIES.chosen(context)
    request = ApplyPolicy.from_dict({**read_json(input), "policyId": policy_id})
    with context.client() as client:
        policy = client.insurance.apply(
            request.policy_id, start_date=request.start_date, end_date=request.end_date, mobile=request.mobile,
            email=request.email, insurer=request.insurer,
        )  # fmt: skip
    show(context, policy, POLICIES)


def read_json(path: str) -> Any:
    """Return the JSON of a file, or of the standard input."""
    try:
        return json.loads(sys.stdin.read() if path == "-" else Path(path).read_text("utf-8"))
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise CommandError(f"{path} is not JSON") from None
