"""Kill a bulk order and its server repeatedly, then compare the journal with the orders on the server.

    python -m tests.chaos.bulk --orders 10000 --kills 20 --seed 1

A driver process orders in bulk, with a journal, from a sandbox process that fails a share of the purchases, and of the
look-ups if that is requested. The seed chooses when either process is killed with SIGKILL; then it is started again.
The exit code is 0 only if no purchase was made twice without being reported, none was lost, and the money is exact.
"""

import argparse
import asyncio
import json
import signal
import socket
import sys
import tempfile
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, Final

import attrs

from roamify_async import JournalError, PurchaseInDoubtError
from roamify_async.purchasing import BulkLine, Journal
from roamify_async.sandbox import Sandbox
from tests.chaos.driver import AGAIN, Plan, twins

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = 300
"""Packages that the sandbox sells; some of them are bought."""
BATCH_TIMEOUT: Final = 1.0
"""Seconds that a request of the driver may take; slow answers take longer."""
RESUMES: Final = 25
"""The most runs that a journal gets after the last kill."""
FIRST_LINES: Final = 5
"""Examples shown of what is wrong."""

FAULTS: Final = (
    ("drop", "before"),
    ("drop", "after"),
    ("reset", "after"),
    ("503", "before"),
    ("503", "after"),
    ("429", "before"),
    ("truncated", "before"),
    ("truncated", "after"),
    ("slow", "before"),
    ("slow", "after"),
    ("book_late", "before"),
    ("book_but_hide", "after"),
)
LOOK_UP_PATHS: Final = ("/api/esim/orders", "/api/esim/order")
LOOK_UP_FAULTS: Final = ("drop", "503", "truncated")


@attrs.frozen
class Kill:
    """One SIGKILL: when so many lines are done, and a while later."""

    done: int
    delay: float
    victims: tuple[str, ...]
    rest: float
    """Seconds until the process is started again."""


def kills(orders: int, count: int, seed: int) -> list[Kill]:
    """Choose what is killed when: the driver as often as the server, sometimes both, or one soon after the other."""
    dice = Random(f"{seed}/kills")
    chosen: list[Kill] = []
    for number, done in enumerate(sorted(dice.randint(0, orders * 9 // 10) for _ in range(count))):
        again = bool(chosen) and dice.random() < 0.25
        victim = ("driver", "sandbox")[number % 2]
        victims = ("driver", "sandbox") if dice.random() < 0.1 else (victim,)
        delay = dice.uniform(0, 1.5 if again else 0.3)
        chosen.append(Kill(chosen[-1].done if again else done, delay, victims, dice.choice((0, dice.uniform(0, 1)))))
    return chosen


def faults(share: float, late: float, dice: Random) -> list[dict[str, Any]]:
    """Script faults that hit together this share of the purchases, each as often as any other."""
    each, rest, scripted = share / len(FAULTS), 1.0, list[dict[str, Any]]()
    for fault, when in dice.sample(FAULTS, len(FAULTS)):
        scripted.append(
            {"method": "POST", "path": "/api/esim/order", "fault": fault, "when": when, "times": None}
            | {"probability": min(1.0, each / rest), "seconds": _seconds(fault, late)}
        )
        rest -= each
    return scripted


def look_up_faults(share: float) -> list[dict[str, Any]]:
    """Script faults that hit together this share of the look-ups, each as often as any other."""
    each = share / len(LOOK_UP_FAULTS)
    return (
        [
            {"method": "GET", "path": path, "fault": fault, "when": "before", "times": None}
            | {"probability": each / (1 - number * each)}
            for path in LOOK_UP_PATHS
            for number, fault in enumerate(LOOK_UP_FAULTS)
        ]
        if share
        else []
    )


def _seconds(fault: str, late: float) -> float:
    if fault == "slow":
        return BATCH_TIMEOUT + min(late, 0.3)
    return late if fault in {"book_late", "book_but_hide"} else 0.0


def free_port(dice: Random) -> int:
    """Return a free port below the ephemeral ones, which no connection takes while the server is down."""
    for _ in range(100):
        port = dice.randrange(20_000, 30_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("no free port was found")


# ---------------------------------------------------------------- the processes


@attrs.define
class Stage:
    """The two processes, and what is known of them."""

    plan: Plan
    folder: Path
    choice: argparse.Namespace
    sandbox: asyncio.subprocess.Process | None = None
    driver: asyncio.subprocess.Process | None = None
    done: int = 0
    starts: Counter[str] = attrs.field(factory=Counter[str])
    killed: Counter[str] = attrs.field(factory=Counter[str])
    told: list[str] = attrs.field(factory=list[str])
    """The last line of output of each driver."""
    wrong: list[str] = attrs.field(factory=list[str])
    """What went wrong before the comparison."""
    moved: asyncio.Event = attrs.field(factory=asyncio.Event)
    outcome: int | None = None
    _ears: asyncio.Task[None] | None = None

    async def start_sandbox(self) -> None:
        """Start the server on its database, and wait until it serves."""
        self.starts["sandbox"] += 1
        dice = Random(f"{self.choice.seed}/faults/{self.starts['sandbox']}")
        scripted = faults(self.choice.faults, self.choice.late, dice) + look_up_faults(self.choice.look_up_faults)
        self.sandbox = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "roamify_async.sandbox", "--db", str(self.folder / "sandbox.db")),
            *("--port", self.plan.url.rpartition(":")[2], "--packages", str(PACKAGES), "--balance", self.balance),
            *(("--latency", str(self.choice.latency)) if self.choice.latency else ()),
            *(word for fault in scripted for word in ("--fault", json.dumps(fault))),
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        assert self.sandbox.stdout is not None
        if not await self.sandbox.stdout.readline():
            raise RuntimeError("the sandbox did not start")

    @property
    def balance(self) -> str:
        """What the partner has at first: more than enough."""
        return str(self.plan.orders * 2000)

    async def start_driver(self) -> None:
        """Start or resume the bulk order; every other time its requests come from a generator."""
        self.starts["driver"] += 1
        plan = attrs.evolve(self.plan, is_streamed=self.starts["driver"] % 2 == 1)
        path = self.folder / "plan.json"
        path.write_text(json.dumps(attrs.asdict(plan)), "utf-8")
        self.outcome = None
        self.driver = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.chaos.driver", str(path)), stdout=asyncio.subprocess.PIPE, cwd=ROOT
        )
        self._ears = asyncio.create_task(self._listen(self.driver))

    async def _listen(self, driver: asyncio.subprocess.Process) -> None:
        assert driver.stdout is not None
        async for line in driver.stdout:
            with suppress(ValueError):  # the last line of one that is killed
                told = json.loads(line)
                self.done = max(self.done, told.get("done", 0))
                if "done" not in told:
                    self.told.append(line.decode().strip())
            self.moved.set()
        self.outcome = await driver.wait()
        self.moved.set()

    async def kill(self, name: str) -> None:
        """Kill a process at once."""
        process: asyncio.subprocess.Process | None = getattr(self, name)
        if process is None:
            return
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
                self.killed[name] += 1
        await process.wait()
        if name == "driver" and self._ears is not None:
            await self._ears
            self._look_into()

    def _look_into(self) -> None:
        """Read the journal that a killed driver left. It must be readable at any time."""
        path = Path(self.plan.journal)
        if not path.is_file():
            return
        try:
            with Journal.open(path) as journal:
                dict(journal.counts)
        except JournalError as error:
            # Killed between the making of the file and of its table, nothing was sent yet.
            if self.done:
                self.wrong.append(f"a journal left by a killed driver could not be read: {error}")

    async def until(self, done: int) -> None:
        """Wait until so many lines are done, or the driver has ended."""
        while self.done < done and self.outcome is None:
            self.moved.clear()
            await self.moved.wait()

    def ask(self, method: str, what: str) -> dict[str, Any]:
        """Send a request to the control API of the sandbox."""
        request = urllib.request.Request(f"{self.plan.url}/_sandbox/{what}", method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            told: dict[str, Any] = json.load(answer)
            return told


@asynccontextmanager
async def staged(choice: argparse.Namespace) -> AsyncGenerator[Stage, None]:
    """Create the folder, and kill both processes at the end."""
    sold = Sandbox(packages=PACKAGES).kinds
    with tempfile.TemporaryDirectory(prefix="roamify-chaos-") as folder:
        plan = Plan(
            url=f"http://127.0.0.1:{free_port(Random())}",
            token=Sandbox().token,
            journal=str(Path(folder) / "orders.db"),
            seed=choice.seed,
            orders=choice.orders,
            packages=sold["plain"] + sold["throttled"][:20],
            policy=choice.policy,
            window=choice.window,
            concurrency=choice.concurrency,
            patience=BATCH_TIMEOUT,
            look_up_is_broken=choice.break_look_up,
            is_streamed=False,
        )
        stage = Stage(plan, Path(folder), choice)
        try:
            yield stage
        finally:
            started = [process for process in (stage.driver, stage.sandbox) if process is not None]
            # All of them before the first wait, which a second interruption ends.
            for process in started:
                if process.returncode is None:
                    with suppress(ProcessLookupError):
                        process.kill()
            for process in started:
                await process.wait()
            if stage._ears is not None:
                stage._ears.cancel()


async def wreck(stage: Stage) -> None:
    """Run the bulk order, kill as planned, and resume until no line is left to send."""
    await stage.start_sandbox()
    await stage.start_driver()
    for kill in kills(stage.choice.orders, stage.choice.kills, stage.choice.seed):
        await stage.until(kill.done)
        if stage.outcome is not None:
            await stage.start_driver()
        await asyncio.sleep(kill.delay)
        for victim in kill.victims:
            await stage.kill(victim)
        await asyncio.sleep(kill.rest)
        if "sandbox" in kill.victims:
            await stage.start_sandbox()
        if stage.driver is None or stage.driver.returncode is not None:
            await stage.start_driver()
    for _ in range(RESUMES):
        await stage.until(sys.maxsize)
        if stage.outcome not in {0, AGAIN}:
            stage.wrong.append(f"a driver ended with exit code {stage.outcome}: {stage.told[-1:]}")
            break
        if stage.outcome == 0 and not _is_open(stage):
            break
        await stage.start_driver()
    else:
        stage.wrong.append(f"the journal still had lines to send after {RESUMES} resumes")
    # What the server does late has come due; whatever was in doubt is settled by one more run, without faults.
    await asyncio.sleep(stage.choice.late + 0.5)
    await asyncio.to_thread(stage.ask, "DELETE", "faults")
    await stage.start_driver()
    await stage.until(sys.maxsize)


def _is_open(stage: Stage) -> bool:
    """Return whether another run has something to send: a line in doubt is sent again only by one of the policies."""
    counts: dict[str, int] = json.loads(stage.told[-1])["counts"]
    # Bookings that come later than anybody looks leave lines in doubt for good.
    is_resent = stage.choice.policy == "look_up_then_resend" and stage.choice.late <= stage.choice.window
    return bool(counts["not_sent"] or (counts["in_doubt"] and is_resent))


# ---------------------------------------------------------------- the books


@attrs.define
class Books:
    """The differences between the journal and the server."""

    orders: int
    """Orders at the server."""
    statuses: Counter[str]
    duplicates: list[str] = attrs.field(factory=list[str])
    """References under which the server has more than one order, or that more than one ordered line has."""
    silent: list[str] = attrs.field(factory=list[str])
    """Those of them that the library did not report."""
    lost: list[str] = attrs.field(factory=list[str])
    """Lines that say ordered where the server has no such order; and positions without a line."""
    hidden: list[str] = attrs.field(factory=list[str])
    """Lines that say in doubt, refused or not sent, and whose order is at the server all the same."""
    absent: list[str] = attrs.field(factory=list[str])
    """Lines in doubt that were never booked."""
    orphans: list[str] = attrs.field(factory=list[str])
    """Orders at the server whose reference no line has."""
    astray: list[str] = attrs.field(factory=list[str])
    """Lines that were refused for no reason, or not sent in the end."""
    paid: Decimal = Decimal(0)
    """By what the balance fell."""
    totals: Decimal = Decimal(0)
    """Of the orders at the server."""
    spent: Decimal = Decimal(0)
    """As the journal says."""
    doubtful: Decimal = Decimal(0)
    """Orders at the server that no line says ordered of."""


def compare(lines: Iterable[BulkLine], said: Decimal, state: Mapping[str, Any], balance: Decimal, plan: Plan) -> Books:
    """Compare the lines of the journal with the orders on the server."""
    by_reference: defaultdict[str, list[Any]] = defaultdict(list)
    for order in state["orders"]:
        by_reference[order["referenceId"]].append(order)
    books = Books(
        orders=len(state["orders"]),
        statuses=Counter(),
        paid=balance - Decimal(state["balance"]),
        totals=sum((Decimal(order["total"]) for order in state["orders"]), Decimal(0)),
        spent=said,
    )
    expected, known, owned, count = twins(plan), set[str](), set[str](), 0
    for line in lines:
        if line.position != count:
            books.lost.append(f"line {count} is not in the journal")
        count = line.position + 1
        books.statuses[line.status] += 1
        known.add(line.reference_id)
        if line.position in expected:
            if line.status != "refused":
                books.astray.append(f"line {line.position} has the reference of another and is {line.status}")
            continue
        _lay(line, by_reference[line.reference_id], books, owned)
    books.lost += [f"line {position} is not in the journal" for position in range(count, plan.orders)]
    books.orphans = [reference for reference in by_reference if by_reference[reference] and reference not in known]
    books.doubtful = sum((Decimal(order["total"]) for order in state["orders"] if order["id"] not in owned), Decimal(0))
    return books


def _lay(line: BulkLine, orders: Sequence[Any], books: Books, owned: set[str]) -> None:
    """Compare one line with the orders under its reference."""
    name = f"line {line.position} ({line.reference_id}, {line.status})"
    found = line.error.found if isinstance(line.error, PurchaseInDoubtError) else ()
    if len(orders) > 1:
        books.duplicates.append(f"{name}: {len(orders)} orders")
        ids = {getattr(order, "id", None) for order in found}
        if line.status != "in_doubt" or ids != {order["id"] for order in orders}:
            books.silent.append(f"{name}: {len(orders)} orders, and {line.error!r}")
    if line.status == "ordered":
        wanted = Counter(line.request.packages())
        match = [order for order in orders if order["id"] == line.order.id]
        if len(match) != 1 or match[0]["id"] in owned:
            books.lost.append(f"{name}: order {line.order.id} is not at the server")
        elif Decimal(match[0]["total"]) != line.order.total or wanted != Counter(
            item["packageId"] for item in match[0]["items"]
        ):
            books.lost.append(f"{name}: order {line.order.id} is another one")
        owned.update(order["id"] for order in match)
    elif line.status in {"in_doubt", "sending"} and not orders:
        books.absent.append(name)
    elif len(orders) == 1:
        books.hidden.append(f"{name}: {line.error!r}")
    elif not orders:
        books.astray.append(f"{name}: {line.error!r}")


def judge(books: Books, choice: argparse.Namespace) -> list[str]:
    """Return what is wrong, according to what the policy promises."""
    is_too_late = choice.late > choice.window
    checks: list[tuple[str, Sequence[object]]] = [
        ("silent duplicates", books.silent) if is_too_late else ("duplicates", books.duplicates),
        ("lost", books.lost),
        ("lines that hide an order", books.hidden),
        ("orders that no line has", books.orphans),
        ("lines astray", books.astray),
    ]
    if choice.policy == "look_up_then_resend":
        checks.append(("lines in doubt", books.absent))
    wrong = [f"{len(found)} {what}, such as {found[:FIRST_LINES]}" for what, found in checks if found]
    if books.paid != books.totals:
        wrong.append(f"the balance fell by {books.paid}, and the orders cost {books.totals}")
    if books.spent + books.doubtful != books.totals:
        wrong.append(f"the journal says {books.spent}, doubtful are {books.doubtful}, the orders cost {books.totals}")
    return wrong


def table(books: Books, stage: Stage, seconds: float) -> str:
    """Show the books."""
    choice = stage.choice
    doubts = {
        "never booked": books.absent, "booked unseen": books.hidden, "of no line": books.orphans, "astray": books.astray
    }  # fmt: skip
    unknown = sum(map(len, doubts.values()))
    told = ", ".join(f"{count} {status}" for status, count in sorted(books.statuses.items()))
    struck = ", ".join(f"{name} {count}" for name, count in sorted(stage.killed.items()))
    rows = [
        ("policy", f"{choice.policy}; window {choice.window} s, booked or shown up to {choice.late} s late"),
        ("killed", f"{struck or 'nobody'}; {stage.starts['driver']} starts of the driver, {seconds:.0f} s"),
        ("journal", f"{sum(books.statuses.values())} lines: {told}"),
        ("server", f"{books.orders} orders"),
        ("duplicates", f"{len(books.duplicates)} ({len(books.silent)} of them silent)"),
        ("lost", f"{len(books.lost)}"),
        ("unknown", f"{unknown} ({', '.join(f'{len(found)} {what}' for what, found in doubts.items())})"),
        ("money", f"balance -{books.paid}, orders {books.totals}, journal {books.spent}, doubtful {books.doubtful}"),
    ]  # fmt: skip
    return "\n".join(f"{name:<11} {text}" for name, text in rows)


async def chaos(choice: argparse.Namespace) -> int:
    """Run it all; return the exit code."""
    begun = time.monotonic()
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    async with staged(choice) as stage:
        try:
            async with asyncio.timeout(choice.limit):
                await wreck(stage)
        except TimeoutError:
            print(f"FAILED: not done after {choice.limit} s; {stage.done} of {choice.orders} lines, {stage.told[-3:]}")
            return 1
        state = await asyncio.to_thread(stage.ask, "GET", "state")
        try:
            with Journal.open(stage.plan.journal) as journal:
                books = compare(journal.lines, journal.spent, state, Decimal(stage.balance), stage.plan)
        except JournalError as error:
            print(f"FAILED: {error}")
            return 1
        print(table(books, stage, time.monotonic() - begun))
        wrong = stage.wrong + judge(books, choice)
    for sentence in wrong:
        print(f"WRONG: {sentence}")
    print("FAILED" if wrong else "PASSED: each line is bought once, or told, and the money is exact")
    return 1 if wrong else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the choices and run; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.bulk", description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--orders", type=int, default=10_000, metavar="N", help="lines of the bulk order (10000)")
    add("--kills", type=int, default=20, metavar="K", help="how often somebody is killed (20)")
    add("--seed", type=int, default=1, metavar="S", help="what chooses requests, faults and kills (1)")
    add("--policy", choices=("look_up_then_resend", "look_up", "raise"), default="look_up_then_resend")
    add("--faults", type=float, default=0.2, metavar="P", help="share of the purchases that are hit (0.2)")
    add("--look-up-faults", type=float, default=0.0, metavar="P", help="share of the look-ups that fail (0)")
    add("--latency", type=float, default=0.0, metavar="SECONDS", help="before each response of the server (0)")
    add("--late", type=float, default=0.6, metavar="SECONDS", help="how late the server books or shows at times (0.6)")
    add("--window", type=float, default=1.5, metavar="SECONDS", help="for which the driver looks (1.5)")
    add("--concurrency", type=int, default=64, metavar="N", help="purchases in flight (64)")
    add("--limit", type=float, default=300, metavar="SECONDS", help="after which it is given up (300)")
    add("--break-look-up", action="store_true", help="let no look-up see anything: this has to fail")
    try:
        return asyncio.run(chaos(parser.parse_args(arguments)))
    except asyncio.CancelledError:
        print("INTERRUPTED")
        return 130


if __name__ == "__main__":
    sys.exit(main())
