"""Resolving purchases in doubt that a ledger records, whoever made them."""

import copy
from collections.abc import Mapping
from typing import Any

import attrs

from roamify_async._core.endpoint import Endpoint
from roamify_async._core.engine import Engine
from roamify_async._http.messages import SendState
from roamify_async.errors import ConflictError
from roamify_async.ledger.rows import Row

from .classify import Booked
from .purchase import make_purchase
from .recorded import recorded


async def reconcile_row(engine: Engine, endpoints: Mapping[str, Endpoint[..., Any]], row: Row) -> Booked:
    """Look up a purchase in doubt for the reconcile window, and record what was found. Nothing is bought.

    *endpoints* are those of each kind. Raises ``PurchaseInDoubtError`` if it is not found.
    """
    endpoint = copy.copy(endpoints[row.kind])
    if endpoint.reconciliation is not None:  # The eSIM of a top-up is not recorded, so that its history is not known.
        endpoint.reconciliation = attrs.evolve(endpoint.reconciliation, other_evidence=None)

    async def refuse() -> None:
        raise ConflictError("reconciling buys nothing", status=409, sent="no")

    async def unchecked() -> None:
        pass

    looking = engine.view(engine.settings.changed(on_doubt="look_up"))
    request = recorded(row)
    limit = looking.memory.claims.hold(row.reference, looking.settings.reconcile_window)
    async with limit:
        return await make_purchase(
            looking, endpoint, request, SendState(), must_look=True, check=unchecked, before_send=refuse
        )
