"""The balance of the account."""

from typing import Final

from roamify_async._core.endpoint import Endpoint, Mode, Resource, resource
from roamify_async.models.account import Balance, GetBalance


@resource
class Account(Resource[Mode]):
    """The balance of the account."""

    balance: Final = Endpoint("GET", "/api/balance", GetBalance, Balance)
    """Return the balance that purchases are paid from."""
