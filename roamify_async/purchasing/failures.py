"""Errors of purchases, and their messages: in doubt, booked more than once, different, or not looked up."""

from roamify_async.errors import APIStatusError, PurchaseInDoubtError, RoamifyError

from .classify import Booked, BookedT, LookUpResult, PurchaseRequest, ids


def doubt(
    request: PurchaseRequest,
    reason: RoamifyError | None,
    found: tuple[object, ...] = (),
    message: str = "",
    *,
    look_up_error: RoamifyError | None = None,
) -> PurchaseInDoubtError:
    """Return the error of a purchase of which it is not known whether it was booked once."""
    reference, packages = request.reference_id, tuple(request.packages())
    advice = f"Look it up with {request.look_up.format(reference)} before buying again"
    seen = f"; under its reference there are {ids(found)}" if found else ""
    failed = "" if look_up_error is None else f"; it could not be looked up: {brief(look_up_error)}"
    cause = "it was started before, and was not found" if reason is None else brief(reason)
    error = PurchaseInDoubtError(
        message or f"the purchase may have been booked: {cause}{seen}{failed}. {advice}",
        request=request,
        reason=reason,
        found=found,
        look_up_error=look_up_error,
        reference_id=reference,
        package_ids=packages,
    )
    if reason is None:
        return error
    reason.with_facts(reference_id=reference, package_ids=packages)
    return error.with_facts(sent=reason.sent, method=reason.method, path=reason.path, request_id=reason.request_id)


def booked_twice(
    request: PurchaseRequest, booked: tuple[object, ...], reason: RoamifyError | None
) -> PurchaseInDoubtError:
    """Return the error of a purchase that was booked more than once."""
    message = f"the purchase was booked {len(booked)} times, as {ids(booked)}: ask Roamify to refund all but one"
    return doubt(request, reason, booked, message)


def brief(error: RoamifyError) -> str:
    """Return the class, the status and the message of an error."""
    status = f" {error.status}" if isinstance(error, APIStatusError) else ""
    return f"{type(error).__name__}{status}: {error.args[0] if error.args else ''}"


def differs(response: Booked, request: PurchaseRequest) -> str:
    """Return how a response differs from what was requested."""
    if not response.id:
        return "the response carries no id"
    if response.reference_id not in {None, request.reference_id}:
        return f"the response carries another reference: {response.reference_id}"
    return f"the response holds other items than were ordered: {response.id}"


def with_orders(failure: RoamifyError, result: LookUpResult[BookedT]) -> RoamifyError:
    """Add the ids of other orders under the reference to a refusal."""
    seen = result.booked + result.evidence
    if seen:
        failure.args = (f"{failure.args[0]}; there are other orders under this reference: {ids(seen)}",)
    return failure


def not_looked_up(failure: RoamifyError) -> RoamifyError:
    """Return the error of a purchase that was not sent, since its reference could not be looked up."""
    message = f"the reference could not be looked up before sending, and nothing was sent: {failure.args[0]}"
    failure.args = (f"{message}. Settings(look_first=False) sends without looking it up",)
    return failure.with_facts(sent="no")
