"""Damage journals at random, resume each, and count the orders on the server.

    python -m tests.chaos.damage --count 2000 --seed 1

All lines are booked before the first journal is damaged, so any further order is a purchase made again. A damaged
journal is either refused with ``JournalError``, or resumed to a report that agrees with the server. The seed chooses
the damage. The exit code is 0 only if nothing was bought again, no report was untrue, and nothing was raised or hung.
"""

import argparse
import asyncio
import faulthandler
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, Final

import attrs

from roamify_async import AsyncRoamify, CreateOrder, JournalError, OrderItem, Retries, Settings
from roamify_async.purchasing import Journal, journal
from roamify_async.sandbox import Sandbox

PLAIN: Final = "esim-greece-30days-1gb-all"
LINES: Final = 60
"""Lines of the journal, of all statuses."""
PAGE: Final = 4096
"""Bytes of a page of the file."""
HANGS: Final = 30.0
"""Seconds after which a resume counts as hung."""
FIRST_LINES: Final = 5
"""Examples shown of what is wrong."""
WORDS: Final = (b"ordered", b"refused", b"sending")
"""Statuses of the same length."""

Damage = Callable[[bytearray, Random], None]

# ---------------------------------------------------------------- damage


def flip(data: bytearray, dice: Random) -> None:
    """Flip a few bits."""
    for _ in range(dice.choice((1, 1, 2, 8))):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def zero(data: bytearray, dice: Random) -> None:
    """Zero a page."""
    place = dice.randrange(len(data) // PAGE) * PAGE
    data[place : place + PAGE] = bytes(PAGE)


def swap(data: bytearray, dice: Random) -> None:
    """Swap two pages."""
    one, other = (dice.randrange(len(data) // PAGE) * PAGE for _ in range(2))
    data[one : one + PAGE], data[other : other + PAGE] = data[other : other + PAGE], data[one : one + PAGE]


def copy(data: bytearray, dice: Random) -> None:
    """Write a page over another one."""
    one, other = (dice.randrange(len(data) // PAGE) * PAGE for _ in range(2))
    data[one : one + PAGE] = data[other : other + PAGE]


def scribble(data: bytearray, dice: Random) -> None:
    """Write random bytes."""
    place, count = dice.randrange(len(data)), dice.randrange(1, 300)
    data[place : place + count] = dice.randbytes(min(count, len(data) - place))


def cut(data: bytearray, dice: Random) -> None:
    """Cut off the end; sometimes at a page, sometimes nearly all."""
    del data[dice.choice((dice.randrange(len(data)), dice.randrange(len(data) // PAGE) * PAGE, 0, 1)) :]


def digits(data: bytearray, dice: Random) -> None:
    """Write a number that may be huge."""
    place = dice.randrange(len(data))
    data[place : place + 4] = b"9e99"


def words(data: bytearray, dice: Random) -> None:
    """Replace the status of a line."""
    places = [place for word in WORDS for place in _places(data, word)]
    place = dice.choice(places)
    data[place : place + len(WORDS[0])] = dice.choice(WORDS)


def _places(data: bytes | bytearray, word: bytes) -> Iterator[int]:
    place = data.find(word)
    while place >= 0:
        yield place
        place = data.find(word, place + 1)


DAMAGES: Final[Sequence[Damage]] = (flip, flip, zero, swap, copy, scribble, cut, digits, words)


def damaged(content: bytes, seed: str) -> tuple[str, bytes]:
    """Return a damaged copy of a file, and what was done to it."""
    dice = Random(seed)
    while True:
        data = bytearray(content)
        damage = dice.choice(DAMAGES)
        damage(data, dice)
        if data != content:
            return f"{seed} {damage.__name__}", bytes(data)


# ---------------------------------------------------------------- the journal


def requests() -> list[CreateOrder]:
    """Make the requests: half of them with references of the caller."""
    return [CreateOrder([OrderItem(PLAIN)], reference_id=f"own-{n}" if n % 2 else None) for n in range(LINES)]


async def original(roamify: AsyncRoamify, sandbox: Sandbox, path: Path) -> bytes:
    """Return a journal with lines of all statuses, at a time when all of them but the last are booked."""
    sandbox.fail("POST", "/api/esim/order", "drop", when="after", times=4)
    careful = roamify.with_settings(on_doubt="raise")
    limit = (LINES - 6) * sandbox.price(PLAIN)
    await careful.orders.bulk(iter(requests()), journal=path, max_spend=limit, concurrency=1)
    file = journal.JournalFile(path)
    for entry in list(file.entries("ordered"))[:4]:  # As a crash leaves them.
        entry.status, entry.final, entry.order_id, entry.answer = "sending", False, None, None
        await file.put(entry)
    counts = file.counts
    file.close()
    if len(counts) < 4:
        raise RuntimeError(f"the journal has lines of too few statuses: {counts}")
    return path.read_bytes()  # noqa: ASYNC240


@attrs.define
class Result:
    """What became of the damaged journals."""

    refused: int = 0
    resumed: int = 0
    again: list[str] = attrs.field(factory=list[str])
    """Damages after which something was bought again."""
    untrue: list[str] = attrs.field(factory=list[str])
    """Damages after which the report did not agree with the server."""
    raised: list[str] = attrs.field(factory=list[str])
    """Damages after which something else than ``JournalError`` was raised, or nothing ended."""


async def resume(roamify: AsyncRoamify, sandbox: Sandbox, path: Path, name: str, result: Result) -> None:
    """Look into a damaged journal and resume it; note what is wrong."""
    # This ends even what blocks the event loop.
    faulthandler.dump_traceback_later(2 * HANGS, exit=True, file=sys.__stderr__)
    before = len(sandbox.state()["orders"])
    try:
        async with asyncio.timeout(HANGS):
            _look_into(path)
            report = await roamify.orders.bulk(requests(), journal=path)
            with report:
                result.resumed += 1
                if not _is_true(report, sandbox):
                    result.untrue.append(f"{name}: {report!r}")
    except JournalError:
        result.refused += 1
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is wrong
        result.raised.append(f"{name}: {error!r}")
    finally:
        faulthandler.cancel_dump_traceback_later()
    if len(sandbox.state()["orders"]) != before:
        result.again.append(name)


def _look_into(path: Path) -> None:
    """Read a journal as somebody does who only looks."""
    try:
        with Journal.open(path) as opened:
            repr((opened, opened._repr_html_(), [line.order for line in opened.lines]))
    except JournalError:
        pass


def _is_true(report: Any, sandbox: Sandbox) -> bool:
    orders = sandbox.state()["orders"]
    told = Counter((line.order and line.order.id, line.reference_id) for line in report.lines)
    return (
        told == Counter((order["id"], order["referenceId"]) for order in orders)
        and report.counts["ordered"] == LINES
        and report.spent == sum(Decimal(order["total"]) for order in orders)
    )


async def campaign(count: int, seed: int, step: int) -> Result:
    """Damage journals from a seed, and truncate one at every *step* bytes; resume each."""
    result = Result()
    settings = Settings(
        retries=Retries(wait=0.001, longest_wait=0.001), reconcile_window=0.05, on_doubt="look_up_then_resend"
    )
    with tempfile.TemporaryDirectory(prefix="roamify-damage-") as folder:
        path = Path(folder) / "orders.db"
        async with (
            Sandbox(packages=300) as sandbox,
            AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=settings) as roamify,
        ):
            content = await original(roamify, sandbox, path)
            await resume(roamify, sandbox, path, "intact", Result())  # All is booked from here on.
            for name, data in _copies(content, count, seed, step):
                _clear(Path(folder))
                path.touch(0o600)
                path.write_bytes(data)
                await resume(roamify, sandbox, path, name, result)
    return result


def _clear(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def _copies(content: bytes, count: int, seed: int, step: int) -> Iterator[tuple[str, bytes]]:
    for number in range(count):
        yield damaged(content, f"{seed}/{number}")
    for place in (0, 1, *range(2, len(content), step)):
        yield f"truncated at {place}", content[:place]


def judge(result: Result) -> list[str]:
    """Return what is wrong."""
    checks = {"bought again": result.again, "untrue": result.untrue, "raised or hung": result.raised}
    return [f"{len(found)} {what}, such as {found[:FIRST_LINES]}" for what, found in checks.items() if found]


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the choices and run; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.damage", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--count", type=int, default=2000, metavar="N", help="damaged journals (2000)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="what chooses the damage (1)")
    parser.add_argument("--step", type=int, default=97, metavar="BYTES", help="between two truncations (97)")
    choice = parser.parse_args(arguments)
    result = asyncio.run(campaign(choice.count, choice.seed, choice.step))
    print(f"{result.refused} refused, {result.resumed} resumed")
    wrong = judge(result)
    for sentence in wrong:
        print(f"WRONG: {sentence}")
    print("FAILED" if wrong else "PASSED: nothing was bought again, and no report was untrue")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
