"""What the server's messages mean, where its status alone does not say. Each predicate quotes the documentation.

Messages are in English and may change, so they are matched by single words and only refine a decision that is safe
without them.
"""

from roamify_async.errors import APIStatusError, BadRequestError, ConflictError, RoamifyError


def is_pending(error: RoamifyError) -> bool:
    """Return whether the server says that it goes on working: "The eSIM profile is still pending"."""
    return isinstance(error, APIStatusError) and "pending" in error.message


def is_insufficient_balance(error: RoamifyError) -> bool:
    """Return whether the balance was too low: "Insufficient balance, please top up your account"."""
    return isinstance(error, ConflictError) and "balance" in error.message.lower()


def requires_esim_id(error: RoamifyError) -> bool:
    """Return whether the server takes no reference in place of an eSIM id: ``"esimId" is required``."""
    return isinstance(error, BadRequestError) and "esimId" in error.message
