"""Use clients under faults for a long time, and check that memory, descriptors, threads and tasks stay flat.

    python -m tests.chaos.soak --seconds 600 --seed 1

Workers read, order, buy, cancel and leave iterators with two clients that live throughout, while others are created
and dropped each second. A sandbox process fails a share of all requests. After each round the load pauses and this
process is measured. The exit code is 0 only if the last rounds need no more than earlier ones.
"""

import argparse
import asyncio
import ctypes
import gc
import json
import logging
import os
import subprocess
import sys
import threading
import time
import urllib.request
import warnings
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, Final

import anyio
import attrs

from roamify_async import AsyncRoamify, CreateOrder, OrderItem, Retries, Roamify, RoamifyError, Settings, Timeouts
from roamify_async._core import memory

PACKAGE: Final = "esim-greece-30days-1gb-all"
SETTINGS: Final = Settings(
    timeouts=Timeouts(total=3),
    retries=Retries(tries=3, wait=0.01, longest_wait=0.05, deadline=5),
    concurrency=4,
    reconcile_window=0.3,
)
FAULTS: Final = (
    *(("drop", "before"), ("drop", "after"), ("reset", "after"), ("truncated", "after"), ("garbled", "before")),
    *(("500", "before"), ("503", "after"), ("429_bare", "before"), ("slow", "after"), ("missing_field", "after")),
)
BOUND: Final = 50
"""Entries that the memories of a client keep here, so that they are full from the first round on."""
MIB: Final = 2**20
MALL_INFO: Final = (
    *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
    *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
)


@attrs.frozen
class Sample:
    """What the process holds while nothing is going on."""

    descriptors: int
    """Open files and sockets, without the idle connections of the clients that live throughout."""
    threads: int
    tasks: int
    blocks: int
    """Blocks of memory that Python has allocated."""
    heap: float
    """MiB that C code has allocated and not freed; 0 where the C library does not tell."""
    rss: float
    """Resident memory in MiB, with what is free within it; 0 where the system does not tell."""


class _MallInfo(ctypes.Structure):
    """What ``mallinfo2`` of glibc returns."""

    _fields_: Final = [(name, ctypes.c_size_t) for name in MALL_INFO]


def allocated() -> float:
    """Return the MiB that C code has allocated and not freed; 0 where the C library does not tell."""
    ask = getattr(ctypes.CDLL(None), "mallinfo2", None) if os.name == "posix" else None
    if ask is None:
        return 0.0
    ask.restype = _MallInfo
    facts = ask()
    return float(facts.uordblks + facts.hblkhd) / MIB


def measure(pooled: int) -> Sample:
    """Measure this process, whose clients keep *pooled* connections."""
    for _ in range(3):
        gc.collect()
    folder, statm = Path("/proc/self/fd"), Path("/proc/self/statm")
    rss = int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB if statm.exists() else 0.0
    return Sample(
        descriptors=len([*folder.iterdir()]) - pooled if folder.is_dir() else 0,
        threads=threading.active_count(),
        tasks=len(asyncio.all_tasks()),
        blocks=sys.getallocatedblocks(),
        heap=allocated(),
        rss=rss,
    )


def judge(samples: Sequence[Sample]) -> list[str]:
    """Return what grew from the second quarter to the last: the first one warms up."""
    size = len(samples) // 4
    early, late = samples[size : 2 * size], samples[-size:]
    wrong: list[str] = []
    for name, slack in (("descriptors", 4), ("threads", 4), ("tasks", 0)):
        before, after = (max(getattr(sample, name) for sample in part) for part in (early, late))
        if after > before + slack:
            wrong.append(f"{name} grew from {before} to {after}")
    for name, factor, slack in (("blocks", 1.02, 2_000), ("heap", 1.02, 1.0), ("rss", 1.03, 4.0)):
        before, after = (median(getattr(sample, name) for sample in part) for part in (early, late))
        if after > before * factor + slack:
            wrong.append(f"{name} grew from {before:.0f} to {after:.0f}")
    return wrong


class Load:
    """The work of one round after another."""

    def __init__(self, url: str, token: str, seed: int, *, keep: bool) -> None:
        """Create the two clients that live throughout; *keep* keeps those that should be dropped."""
        self.url, self.token = url, token
        self.dice = Random(seed)
        self.counts: Counter[str] = Counter()
        self.kept: list[object] | None = [] if keep else None
        self.awaited = AsyncRoamify(token, base_url=url, settings=SETTINGS)
        self.blocking = Roamify(token, base_url=url, settings=SETTINGS)

    @property
    def pooled(self) -> int:
        """Number of connections of the two clients."""
        clients = (self.awaited, self.blocking)
        return sum(made.fileno() >= 0 for client in clients for made in [*client._engine.transport._sockets])

    async def round(self, seconds: float) -> None:
        """Work for some seconds, and wait until all has ended."""
        end = time.monotonic() + seconds
        asynchronous = (self._read, self._list, self._leave, self._order, self._buy, self._cancel, self._bulk)
        blocking = (self._read_blocking, self._leave_blocking, self._order_blocking)
        async with asyncio.TaskGroup() as group:
            for _ in range(6):
                group.create_task(self._work(end, asynchronous))
            for _ in range(2):
                group.create_task(self._work(end, tuple(self._threaded(step) for step in blocking)))
            group.create_task(self._replace(end))

    async def _work(self, end: float, steps: Sequence[Callable[[], Awaitable[object]]]) -> None:
        while time.monotonic() < end:
            step = self.dice.choice(steps)
            try:
                await step()
                self.counts["succeeded"] += 1
            except (RoamifyError, TimeoutError) as error:
                self.counts[type(error).__name__] += 1

    def _threaded(self, step: Callable[[], object]) -> Callable[[], Awaitable[object]]:
        return lambda: asyncio.to_thread(step)

    def _reference(self) -> str:
        return f"order-{self.dice.randrange(10**9)}"

    async def _read(self) -> None:
        await self.awaited.with_settings(user_agent="soak").account.balance()

    async def _list(self) -> None:
        await self.awaited.packages.list(page_size=self.dice.choice((50, 100)))

    async def _leave(self) -> None:
        async for _ in self.awaited.packages.iter(page_size=20):
            return

    async def _order(self) -> None:
        await self.awaited.orders.create([OrderItem(PACKAGE)], reference_id=self._reference())

    async def _buy(self) -> None:
        await self.awaited.esims.buy(PACKAGE, reference_id=self._reference())

    async def _cancel(self) -> None:
        with anyio.move_on_after(self.dice.uniform(0, 0.05)):
            await self.awaited.orders.create([OrderItem(PACKAGE)], reference_id=self._reference())
        async with asyncio.timeout(self.dice.uniform(0, 0.05)):
            await self.awaited.packages.list(page_size=20)

    async def _bulk(self) -> None:
        requests = [CreateOrder([OrderItem(PACKAGE)], reference_id=self._reference()) for _ in range(5)]
        await self.awaited.orders.bulk(requests)

    def _read_blocking(self) -> None:
        self.blocking.account.balance()

    def _leave_blocking(self) -> None:
        next(self.blocking.packages.iter(page_size=20))

    def _order_blocking(self) -> None:
        self.blocking.orders.create([OrderItem(PACKAGE)], reference_id=self._reference())

    async def _replace(self, end: float) -> None:
        """Create a client of each kind each second, and drop it, closed or not."""
        while time.monotonic() < end:
            client = AsyncRoamify(self.token, base_url=self.url, settings=SETTINGS)
            with suppress(RoamifyError):
                await client.account.balance()
                await anext(client.packages.iter(page_size=20))
            if self.kept is None and self.dice.random() < 0.5:
                await client.aclose()
            other = await asyncio.to_thread(self._replace_blocking)
            if self.kept is not None:
                self.kept += [client, other]
            self.counts["clients"] += 2
            await asyncio.sleep(min(1, max(0, end - time.monotonic())))

    def _replace_blocking(self) -> Roamify:
        client = Roamify(self.token, base_url=self.url, settings=SETTINGS)
        with suppress(RoamifyError):
            next(client.packages.iter(page_size=20))
        if self.kept is None and self.dice.random() < 0.5:
            client.close()
        return client

    async def close(self) -> None:
        """Close the clients."""
        await self.awaited.aclose()
        await asyncio.to_thread(self.blocking.close)


@asynccontextmanager
async def sandbox(seed: int, share: float) -> AsyncGenerator[dict[str, str], None]:
    """Run a sandbox process that fails a share of all requests; yield its URL and its token."""
    command = [sys.executable, "-m", "roamify_async.sandbox", "--port", "0", "--packages", "300", "--seed", str(seed)]
    command += ["--balance", "1000000"]
    for fault, when in FAULTS:
        rule = {"method": "*", "path": "*", "fault": fault, "when": when, "times": None, "seconds": 0.1}
        command += ["--fault", json.dumps(rule | {"probability": share / len(FAULTS)})]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: ASYNC220 -- starts at once
        assert process.stdout is not None
        try:
            yield json.loads(await asyncio.to_thread(process.stdout.readline))
        finally:
            process.kill()


def reset(url: str) -> None:
    """Reset the orders of the sandbox, so that it stays quick."""
    request = urllib.request.Request(f"{url}/_sandbox/reset", b"{}", {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=30).close()


async def soak(options: argparse.Namespace) -> int:
    """Run the rounds and print what was measured; return the exit code."""
    logging.getLogger("roamify_async").setLevel(logging.CRITICAL)  # It would name each purchase that is cancelled.
    samples: list[Sample] = []
    async with sandbox(options.seed, options.faults) as about:
        load = Load(about["url"], about["token"], options.seed, keep=options.keep_clients)
        began = time.monotonic()
        try:
            while time.monotonic() < began + options.seconds or len(samples) < 8:
                await load.round(options.round)
                await asyncio.to_thread(reset, about["url"])
                await asyncio.sleep(0.2)  # Threads and sockets of dropped clients close.
                gc.collect()
                await asyncio.sleep(0.2)
                samples.append(measure(load.pooled))
                print(f"{time.monotonic() - began:6.1f} s  {attrs.asdict(samples[-1])}", flush=True)
        finally:
            await load.close()
    wrong = judge(samples)
    print(json.dumps(dict(load.counts)))
    print("\n".join(f"WRONG: {text}" for text in wrong) or "FLAT")
    return 1 if wrong else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options and run; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--seconds", type=float, default=600, help="how long (600)")
    add("--round", type=float, default=5, metavar="SECONDS", help="between two measurements (5)")
    add("--seed", type=int, default=1, metavar="S", help="what chooses the work and the faults (1)")
    add("--faults", type=float, default=0.15, metavar="P", help="share of the requests that fail (0.15)")
    add("--keep-clients", action="store_true", help="keep the clients that should be dropped: this has to fail")
    small: dict[str, Any] = dict.fromkeys(("MAX_DOUBTS", "MAX_REFERENCES", "MAX_PACKAGES"), BOUND)
    saved = {name: getattr(memory, name) for name in small}
    try:
        vars(memory).update(small)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # Clients are dropped unclosed.
            return asyncio.run(soak(parser.parse_args(arguments)))
    finally:
        vars(memory).update(saved)


if __name__ == "__main__":
    sys.exit(main())
