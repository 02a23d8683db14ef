"""The process that the crash program kills: it starts one bulk order, or resumes it.

    python -m tests.chaos.driver plan.json

It prints one line of JSON at a time: how many lines have an outcome, and at the end the counts or the error.
"""

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

import attrs

from roamify_async import AsyncRoamify, CreateOrder, JournalError, OrderItem, Retries, RoamifyError, Settings, Timeouts
from roamify_async.purchasing.classify import LookUpResult
from roamify_async.purchasing.look_up import LookUp

AGAIN: Final = 3
"""The exit code where another start may do better: the server was not there when the run began."""
LOST: Final = 4
"""The exit code where the journal cannot be gone on with."""


@attrs.frozen(kw_only=True)
class Plan:
    """What one bulk order is to do; the same for each start of its driver but for the last field."""

    url: str
    token: str
    journal: str
    seed: int
    orders: int
    packages: Sequence[str]
    policy: Any
    window: float
    concurrency: int
    patience: float
    """Seconds that a request may take."""
    look_up_is_broken: bool
    is_streamed: bool
    """Whether the requests come from a generator, whose length and packages nobody knows before."""


def requests(plan: Plan) -> Iterator[CreateOrder]:
    """Make the same requests each time: small and larger ones, some with references, a few of which come twice."""
    dice = Random(f"{plan.seed}/requests")
    own: list[str] = []
    for position in range(plan.orders):
        items = [OrderItem(dice.choice(plan.packages), dice.randint(1, 3)) for _ in range(dice.choice((1, 1, 1, 2, 3)))]
        kind, reference = dice.random(), None
        if kind < 0.1:
            reference = f"own-{plan.seed}-{position}"
            own.append(reference)
        elif kind < 0.11 and own:
            reference = dice.choice(own)
        yield CreateOrder(items, reference_id=reference)


def twins(plan: Plan) -> set[int]:
    """Return the positions of the lines whose reference an earlier line has: they have to be refused."""
    seen: set[str] = set()
    found: set[int] = set()
    for position, request in enumerate(requests(plan)):
        if request.reference_id in seen:
            found.add(position)
        elif request.reference_id is not None:
            seen.add(request.reference_id)
    return found


def say(**facts: object) -> None:
    """Print a line for the parent process."""
    print(json.dumps(facts), flush=True)


async def run(plan: Plan) -> int:
    """Run the bulk order to its end; return the exit code."""
    settings = Settings(
        concurrency=plan.concurrency,
        reconcile_window=plan.window,
        on_doubt=plan.policy,
        timeouts=Timeouts(connect=plan.patience, total=plan.patience),
        retries=Retries(wait=0.2),
    )
    if plan.look_up_is_broken:
        LookUp.once = _blind  # type: ignore[method-assign]
    lines = requests(plan)
    async with AsyncRoamify(plan.token, base_url=plan.url, settings=settings) as roamify:
        try:
            report = await roamify.orders.bulk(
                lines if plan.is_streamed else [*lines],
                journal=plan.journal,
                on_progress=lambda progress: say(done=progress.done),
            )
        except RoamifyError as error:
            say(error=f"{type(error).__name__}: {error}")
            return LOST if isinstance(error, JournalError) else AGAIN
    with report:
        say(counts=report.counts, spent=str(report.spent))
    return 0


async def _blind(*_: object) -> LookUpResult[Any]:
    """Find nothing, whatever is booked."""
    return LookUpResult()


def main(arguments: Sequence[str]) -> int:
    """Run what a plan says; return the exit code."""
    return asyncio.run(run(Plan(**json.loads(Path(arguments[0]).read_text("utf-8")))))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
