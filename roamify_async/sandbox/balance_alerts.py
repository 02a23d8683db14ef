"""The partner's balance, watched: who runs low, is refused a purchase or adds to it is told so."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from . import notifications as events
from .context import World
from .data.money import cents
from .state.store import TooPoorError

_LEVELS: Final = (100, 75, 50, 25)  # percent of the threshold


@contextmanager
def watched(world: World) -> Generator[None, None, None]:
    """Tell the partner of a refusal for the balance in the block, and of each level that the balance comes down to."""
    before = world.store.balance()
    try:
        yield
    except TooPoorError:
        world.webhooks.send(events.insufficient_balance(world))
        raise
    after = world.store.balance()
    for percent in _LEVELS if world.options.low_balance else ():
        if after * 100 <= world.options.low_balance * percent < before * 100:
            world.webhooks.send(events.low_balance(world, percent))


def add(world: World, amount: object) -> None:
    """Add dollars to the balance; ValueError for what is no amount of money above zero."""
    counted = cents(amount, "add") if isinstance(amount, (str, int)) and not isinstance(amount, bool) else 0
    if not counted:
        raise ValueError(f"add must be an amount above 0 in whole cents, such as '100.00', not {amount!r}")
    world.store.credit(counted)
    world.webhooks.send(events.top_up(world))
