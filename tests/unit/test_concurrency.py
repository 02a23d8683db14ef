"""The limiter keeps its limits and the order of arrival, and ``gather`` returns outcomes in order."""

import asyncio
import contextlib
import functools
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint
from hypothesis import given, strategies as st

from roamify_async._core.concurrency import MIN_THROTTLE, Limiter, gather


class SimulatedTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        """Replace the wait for sockets and timers."""
        super().__init__()
        self.now = 0.0
        select = self._selector.select

        def jump(timeout: float | None = None) -> Any:
            ready = select(0)
            if timeout is None and not ready:
                raise AssertionError("deadlock: no timer and no ready callback")
            self.now += (timeout or 0) + 1e-7  # a real clock advances too
            return ready

        self._selector.select = jump

    def time(self) -> float:
        """Return the simulated time."""
        return self.now


def simulated_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test in a loop with simulated time."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=SimulatedTimeLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


class Workers:
    """Tasks that enter a limiter and hold their slot until they are released."""

    def __init__(self, limiter: Limiter) -> None:
        """Create no task yet."""
        self.limiter = limiter
        self.entered: list[int] = []
        """Workers in the order in which they got a slot."""
        self.active: set[int] = set()
        """Workers that hold a slot."""
        self.releases: dict[int, asyncio.Event] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}

    def start(self, *workers: int) -> None:
        """Start workers, which request a slot in this order."""
        for worker in workers:
            self.releases[worker] = asyncio.Event()
            self.tasks[worker] = asyncio.create_task(self._work(worker))

    async def _work(self, worker: int) -> None:
        async with self.limiter:
            self.entered.append(worker)
            self.active.add(worker)
            try:
                await self.releases[worker].wait()
            finally:
                self.active.remove(worker)

    async def finish(self, *workers: int) -> None:
        """Make workers release their slots, and wait until all tasks are blocked."""
        for worker in workers:
            self.releases[worker].set()
        await wait_all_tasks_blocked()

    async def cancel(self, *workers: int) -> None:
        """Cancel workers, and wait until all tasks are blocked."""
        for worker in workers:
            self.tasks[worker].cancel()
        await asyncio.wait([self.tasks[worker] for worker in workers])
        await wait_all_tasks_blocked()

    async def finish_all(self) -> None:
        """Make all workers finish."""
        for release in self.releases.values():
            release.set()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


async def slots(limiter: Limiter, at_most: int = 50) -> int:
    """Return how many workers can hold a slot of a limiter at the same time."""
    workers = Workers(limiter)
    workers.start(*range(at_most))
    await wait_all_tasks_blocked()
    count = len(workers.active)
    await workers.finish_all()
    return count


# ---------------------------------------------------------------- the number of slots


@pytest.mark.parametrize("limit", [1, 2, 16])
@simulated_time
async def test_limit(limit):
    """Exactly *limit* workers hold a slot at the same time; each that finishes makes room for one."""
    workers = Workers(Limiter(limit))
    workers.start(*range(limit + 3))
    await wait_all_tasks_blocked()
    assert workers.active == set(range(limit))
    await workers.finish(0)
    assert workers.active == set(range(1, limit + 1))
    await workers.finish(1, 2)
    assert len(workers.active) == limit
    await workers.finish_all()
    assert workers.entered == list(range(limit + 3))


@simulated_time
async def test_order_of_arrival():
    """Slots are granted in the order in which they were requested, whichever worker finishes."""
    workers = Workers(Limiter(3))
    workers.start(*range(10))
    await wait_all_tasks_blocked()
    for worker in (2, 0, 3, 1, 4, 6, 5):
        await workers.finish(worker)
    assert workers.entered == list(range(10))
    await workers.finish_all()


@simulated_time
async def test_late_request_does_not_overtake():
    """A request that arrives while a freed slot is being passed on to a waiting worker gets the next slot."""
    workers = Workers(Limiter(1))
    workers.start(0, 1)
    await wait_all_tasks_blocked()
    workers.releases[0].set()
    await checkpoint()
    workers.start(2)
    await wait_all_tasks_blocked()
    assert workers.entered == [0, 1]
    await workers.finish(1)
    assert workers.entered == [0, 1, 2]
    await workers.finish_all()


@simulated_time
async def test_free_slot_is_granted_at_once():
    """A free slot is granted without a turn of the event loop."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counter = asyncio.create_task(count())
    async with Limiter(1):
        assert turns == 0
    counter.cancel()


@simulated_time
async def test_error_releases_the_slot():
    """An error inside the block propagates and releases the slot."""
    limiter = Limiter(1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with limiter:
                _ = 1 / 0
    assert await slots(limiter) == 1


@simulated_time
async def test_cancelled_with_a_slot():
    """Cancelling a worker that holds a slot passes the slot on."""
    workers = Workers(Limiter(1))
    workers.start(0, 1)
    await wait_all_tasks_blocked()
    await workers.cancel(0)
    assert workers.active == {1}
    await workers.finish_all()
    assert await slots(workers.limiter) == 1


@simulated_time
async def test_cancelled_while_waiting():
    """Cancelling a worker that waits removes it from the queue, and takes no slot."""
    workers = Workers(Limiter(1))
    workers.start(0, 1, 2)
    await wait_all_tasks_blocked()
    await workers.cancel(1)
    await workers.finish(0)
    assert workers.entered == [0, 2]
    await workers.finish_all()
    assert await slots(workers.limiter) == 1


@simulated_time
async def test_cancelled_while_a_slot_is_passed_on():
    """Cancelling a worker at the moment at which it is granted a slot passes the slot on."""
    workers = Workers(Limiter(1))
    workers.start(0, 1, 2)
    await wait_all_tasks_blocked()
    workers.releases[0].set()
    while workers.active:
        await checkpoint()
    await workers.cancel(1)
    assert 2 in workers.entered
    await workers.finish_all()
    assert await slots(workers.limiter) == 1


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from(["start", "finish", "cancel"]), st.integers(0, 30)), max_size=40),
)
@simulated_time
async def test_no_slot_is_lost(limit, steps):
    """However workers start, finish and are cancelled, the limit holds, and none waits beside a free slot."""
    workers = Workers(Limiter(limit))
    started = 0
    for step, number in steps:
        if step == "start":
            workers.start(started)
            started += 1
            await wait_all_tasks_blocked()
        else:
            running = sorted(worker for worker, task in workers.tasks.items() if not task.done())
            if running:
                await getattr(workers, step)(running[number % len(running)])
        waiting = [w for w, task in workers.tasks.items() if not task.done() and w not in workers.active]
        assert len(workers.active) <= limit
        assert not waiting or len(workers.active) == limit
    await workers.finish_all()
    assert workers.entered == sorted(workers.entered)
    assert await slots(workers.limiter) == limit


# ---------------------------------------------------------------- throttling


@pytest.mark.parametrize(("limit", "half"), [(1, 1), (2, 1), (7, 3), (16, 8)])
@simulated_time
async def test_throttle_halves_the_limit(limit, half):
    """A throttled adaptive limiter grants half of its slots, and all of them again after the time given."""
    limiter = Limiter(limit, is_adaptive=True)
    limiter.throttle(60)
    assert await slots(limiter) == half
    await anyio.sleep(59)
    assert await slots(limiter) == half
    await anyio.sleep(2)
    assert await slots(limiter) == limit


@pytest.mark.parametrize("seconds", [None, 0, 1])
@simulated_time
async def test_throttle_lasts_a_while(seconds):
    """Throttling lasts at least ``MIN_THROTTLE`` seconds."""
    limiter = Limiter(8, is_adaptive=True)
    limiter.throttle(seconds)
    await anyio.sleep(MIN_THROTTLE - 0.5)
    assert await slots(limiter) == 4
    await anyio.sleep(1)
    assert await slots(limiter) == 8


@simulated_time
async def test_throttle_twice():
    """Throttling again extends the time and does not halve the limit again."""
    limiter = Limiter(8, is_adaptive=True)
    limiter.throttle(10)
    await anyio.sleep(9)
    limiter.throttle(10)
    await anyio.sleep(9)
    assert await slots(limiter) == 4


@simulated_time
async def test_throttle_spares_active_workers():
    """Workers that hold a slot keep it; new ones wait until fewer than half are left."""
    workers = Workers(Limiter(4, is_adaptive=True))
    workers.start(0, 1, 2, 3, 4)
    await wait_all_tasks_blocked()
    workers.limiter.throttle(60)
    await workers.finish(0, 1)
    assert workers.active == {2, 3}
    await workers.finish(2)
    assert workers.active == {3, 4}
    await workers.finish_all()


@simulated_time
async def test_throttle_ends_for_waiting_workers():
    """After the throttling, the next slot that is released makes room for workers that wait."""
    workers = Workers(Limiter(2, is_adaptive=True))
    workers.limiter.throttle(60)
    workers.start(0, 1, 2, 3)
    await anyio.sleep(61)
    assert workers.active == {0}
    await workers.finish(0)
    assert workers.active == {1, 2}
    await workers.finish_all()


@simulated_time
async def test_limit_is_kept_when_throttling_ends():
    """If workers from before the throttling still hold their slots at its end, no more than the limit are active."""
    workers = Workers(Limiter(8, is_adaptive=True))
    workers.start(*range(24))
    await wait_all_tasks_blocked()
    workers.limiter.throttle(60)
    await anyio.sleep(61)
    for finished in range(8):
        await workers.finish(finished)
        assert len(workers.active) <= 8
    assert len(workers.active) == 8
    await workers.finish_all()


@simulated_time
async def test_throttle_of_a_fixed_limiter():
    """A limiter that is not adaptive keeps its limit."""
    limiter = Limiter(8)
    limiter.throttle(60)
    assert await slots(limiter) == 8


# ---------------------------------------------------------------- the rate


async def start_times(limiter: Limiter, count: int) -> list[float]:
    """Make workers enter and leave at once, and return when each entered."""
    times: list[float] = []

    async def work() -> None:
        async with limiter:
            times.append(anyio.current_time())

    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(work)
    return times


@pytest.mark.parametrize("rate", [0.5, 1, 4, 50.0, 1000])
@simulated_time
async def test_rate(rate):
    """*rate* workers start in a second, evenly spaced, without a burst at the beginning."""
    times = await start_times(Limiter(100, rate), 20)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps == pytest.approx([1 / rate] * 19, rel=0.02)
    assert times[0] == pytest.approx(0, abs=0.001)


@simulated_time
async def test_no_burst_after_a_pause():
    """After a pause, however long, there is no burst either."""
    limiter = Limiter(100, 4)
    await start_times(limiter, 3)
    await anyio.sleep(1000)
    times = await start_times(limiter, 3)
    assert [time - times[0] for time in times] == pytest.approx([0, 0.25, 0.5], abs=0.01)


@simulated_time
async def test_no_rate():
    """Without a rate no worker waits for the clock."""
    assert await start_times(Limiter(2), 100) == pytest.approx([0] * 100, abs=0.01)


@simulated_time
async def test_rate_keeps_the_order():
    """Workers that wait for the rate start in the order in which they requested it."""
    workers = Workers(Limiter(3, 10))
    workers.start(*range(6))
    await workers.finish_all()
    assert workers.entered == list(range(6))


@simulated_time
async def test_rate_keeps_the_limit():
    """A rate does not raise the number of slots."""
    workers = Workers(Limiter(2, 10))
    workers.start(*range(5))
    await anyio.sleep(100)
    assert workers.active == {0, 1}
    await workers.finish_all()


@simulated_time
async def test_cancelled_while_waiting_for_the_rate():
    """Cancelling a worker that waits for the rate releases its slot, each time."""
    limiter = Limiter(1, 0.001)
    async with limiter:
        pass
    for _ in range(3):
        with anyio.move_on_after(1) as scope:
            async with limiter:
                raise AssertionError("started too early")
        assert scope.cancelled_caught
    async with limiter:
        assert anyio.current_time() == pytest.approx(1000, rel=0.01)


# ---------------------------------------------------------------- gather


@simulated_time
async def test_outcomes_in_order():
    """All calls run concurrently, and outcomes are in the order of the values, whichever call ends first."""
    started: list[int] = []
    gates = [asyncio.Event() for _ in range(4)]

    async def call(number: int) -> int:
        started.append(number)
        if number < 3:
            await gates[number + 1].wait()
        gates[number].set()
        return number * 10

    assert await gather(call, range(4)) == (0, 10, 20, 30)
    assert started == [0, 1, 2, 3]


@simulated_time
async def test_errors_are_outcomes():
    """A failure is returned as the outcome of its value, and does not affect the others."""
    errors = {1: ValueError("one"), 3: KeyError("three")}
    gate = asyncio.Event()

    async def call(number: int) -> int:
        if number in errors:
            raise errors[number]
        if number == 4:
            gate.set()
        await gate.wait()
        return number

    assert await gather(call, range(5)) == (0, errors[1], 2, errors[3], 4)


@simulated_time
async def test_errors_before_the_first_await_are_outcomes():
    """A function that fails before it returns a coroutine is an outcome too."""

    def call(number: int) -> Any:
        raise ValueError(number)

    (outcome,) = await gather(call, [7])
    assert isinstance(outcome, ValueError)
    assert outcome.args == (7,)


@simulated_time
async def test_no_values():
    """Without values there are no outcomes."""
    assert await gather(asyncio.sleep, []) == ()


@simulated_time
async def test_equal_values():
    """Equal values are called one by one."""
    calls: list[str] = []

    async def call(value: str) -> int:
        calls.append(value)
        return len(calls)

    assert await gather(call, iter(["a", "a", "a"])) == (1, 2, 3)


@simulated_time
async def test_error_of_the_values():
    """An error of the iterable propagates as it is, not in an exception group."""

    def values() -> Any:
        yield 1
        raise LookupError("no more")

    async def call(number: int) -> int:
        return number

    with pytest.raises(LookupError, match="no more"):
        await gather(call, values())


@simulated_time
async def test_cancellation():
    """Cancelling ``gather`` cancels every call and raises ``CancelledError``."""
    ended: list[int] = []

    async def call(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(number)

    task = asyncio.create_task(gather(call, range(3)))
    await wait_all_tasks_blocked()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(ended) == [0, 1, 2]


@simulated_time
async def test_errors_during_cancellation():
    """A call that fails while it is cancelled does not hide the cancellation."""

    async def call(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError(number)

    task = asyncio.create_task(gather(call, range(2)))
    await wait_all_tasks_blocked()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
