"""The command ``usage``."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from roamify_async.models.usage import Usage, UsageDetails

from .context import current
from .output import View, show
from .parameters import Flag

if TYPE_CHECKING:
    from roamify_async import Roamify

COLUMNS: Final = View.of("iccid status remainingData allowedData startedAt expiredAt", Usage)
DAYS: Final = View.of("date usage location", rows="data_usages")


def usage(
    *iccids: Annotated[str, Parameter(name="ICCID")],
    daily: Flag = False,
    watch: Annotated[float | None, Parameter(name="--watch")] = None,
) -> None:
    """Show the allowance of eSIMs and what is left of it. The units are disputed; MB by most of the documentation.

    Args:
        iccids: ICCIDs of the eSIMs.
        daily: Show the daily data usage of one eSIM.
        watch: Show it again every so many seconds, until Ctrl-C.
    """
    context = current()
    if not iccids:
        raise ValueError("usage needs the ICCID of an eSIM; roamify esims lists them")
    if daily and len(iccids) > 1:
        raise ValueError("--daily needs one ICCID")
    view = DAYS if daily else COLUMNS
    view.chosen(context)
    with context.client() as client:
        for found in _repeated(client, iccids, daily=daily, watch=watch):
            show(context, found, view)


def _repeated(client: "Roamify", iccids: tuple[str, ...], *, daily: bool, watch: float | None) -> Iterator[Any]:
    while True:
        found: list[Usage | UsageDetails] = [
            client.esims.usage_details(iccid) if daily else client.esims.usage(iccid) for iccid in iccids
        ]
        yield found if len(found) > 1 else found[0]
        if watch is None:
            return
        time.sleep(watch)
