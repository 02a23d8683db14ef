"""Meaning of the server's messages, where the status is ambiguous. Each predicate quotes the documented message.

Messages may change, so single words are matched, and they only refine a decision that is safe without them.
"""

from roamify_async.errors import APIStatusError, BadRequestError, ConflictError, RoamifyError


def is_pending(error: RoamifyError) -> bool:
    """Return whether the server is still processing an eSIM.

    Documented message: "eSIM is still pending processing". Its status is not documented.

    See: https://docs.getroamify.com/esims/esims/
    """
    return isinstance(error, APIStatusError) and "pending" in error.message


def is_insufficient_balance(error: RoamifyError) -> bool:
    """Return whether the balance was insufficient.

    Documented message of a 409 for insurance orders: "Insufficient partner balance, please recharge it first before
    placing order". For eSIM orders neither the status nor the message is documented.

    See: https://docs.getroamify.com/insurance/orders/
    """
    return isinstance(error, ConflictError) and "balance" in error.message.lower()


def is_being_issued(error: RoamifyError) -> bool:
    """Return whether the server is still issuing an insurance policy, so that its end can be waited for.

    Documented phrase of a 409: "currently being issued".

    See: https://docs.getroamify.com/insurance/policies/
    """
    return isinstance(error, ConflictError) and "being issued" in error.message.lower()


def is_already_issued(error: RoamifyError) -> bool:
    """Return whether a policy was issued before, which is final.

    Documented phrases of a 409: "already issued" and "already been issued for this reference".

    See: https://docs.getroamify.com/insurance/policies/
    """
    return isinstance(error, ConflictError) and "already" in error.message.lower()


def requires_esim_id(error: RoamifyError) -> bool:
    """Return whether the server requires an ``esimId`` in addition to, or instead of, a reference.

    The documentation calls ``esimId`` "a required field" of ``/api/esim/apply``, but also describes requests with a
    reference only. The message ``"esimId" is required`` is inferred from that of a missing ``items`` in orders.

    See: https://docs.getroamify.com/esims/esims/
    """
    return isinstance(error, BadRequestError) and "esimId" in error.message
