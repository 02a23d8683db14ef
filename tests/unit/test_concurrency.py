"""Many at once: a queue that limits, keeps the order and loses no place, and outcomes in the order of the values."""

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

from roamify_async._core.concurrency import Limiter, gather


class LeapingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock leaps to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        """Put the leap where the loop would wait."""
        super().__init__()
        self.now = 0.0
        select = self._selector.select

        def leap(timeout: float | None = None) -> Any:
            ready = select(0)
            if timeout is None and not ready:
                raise AssertionError("nothing will ever happen again")
            self.now += (timeout or 0) + 1e-7  # real clocks go on too
            return ready

        self._selector.select = leap

    def time(self) -> float:
        """Give the time to which it has leapt."""
        return self.now


def leaping(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Let a test run in a loop that never waits."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=LeapingLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


class Room:
    """People who enter a queue, stay until they are told to leave, and are counted."""

    def __init__(self, queue: Limiter) -> None:
        """Begin with an empty room."""
        self.queue = queue
        self.entered: list[int] = []
        self.inside: set[int] = set()
        self.doors: dict[int, asyncio.Event] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}

    def ask(self, *people: int) -> None:
        """Let people ask for a place."""
        for person in people:
            self.doors[person] = asyncio.Event()
            self.tasks[person] = asyncio.create_task(self._visit(person))

    async def _visit(self, person: int) -> None:
        async with self.queue:
            self.entered.append(person)
            self.inside.add(person)
            try:
                await self.doors[person].wait()
            finally:
                self.inside.remove(person)

    async def leave(self, *people: int) -> None:
        """Let people leave, and wait until all is quiet."""
        for person in people:
            self.doors[person].set()
        await wait_all_tasks_blocked()

    async def cancel(self, *people: int) -> None:
        """Cancel people, and wait until all is quiet."""
        for person in people:
            self.tasks[person].cancel()
        await asyncio.wait([self.tasks[person] for person in people])
        await wait_all_tasks_blocked()

    async def end(self) -> None:
        """Send everybody home."""
        for door in self.doors.values():
            door.set()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


async def has_places(queue: Limiter, places: int) -> bool:
    """Tell whether exactly so many can be in a queue at once."""
    room = Room(queue)
    room.ask(*range(places + 1))
    await wait_all_tasks_blocked()
    inside = len(room.inside)
    await room.end()
    return inside == places


# ---------------------------------------------------------------- places


@pytest.mark.parametrize("places", [1, 2, 16])
@leaping
async def test_so_many_at_once(places):
    """As many as there are places are in at once, and not one more; who leaves makes room for one."""
    room = Room(Limiter(places))
    room.ask(*range(places + 3))
    await wait_all_tasks_blocked()
    assert room.inside == set(range(places))
    await room.leave(0)
    assert room.inside == set(range(1, places + 1))
    await room.leave(1, 2)
    assert len(room.inside) == places
    await room.end()
    assert room.entered == list(range(places + 3))


@leaping
async def test_first_come_first_served():
    """Places are given in the order in which they were asked for, whoever leaves."""
    room = Room(Limiter(3))
    room.ask(*range(10))
    await wait_all_tasks_blocked()
    for person in (2, 0, 3, 1, 4, 6, 5):
        await room.leave(person)
    assert room.entered == list(range(10))
    await room.end()


@leaping
async def test_no_queue_jumping():
    """Who asks while a freed place is on its way to another waits for the next one."""
    room = Room(Limiter(1))
    room.ask(0, 1)
    await wait_all_tasks_blocked()
    room.doors[0].set()
    await checkpoint()
    room.ask(2)
    await wait_all_tasks_blocked()
    assert room.entered == [0, 1]
    await room.leave(1)
    assert room.entered == [0, 1, 2]
    await room.end()


@leaping
async def test_free_place_is_taken_at_once():
    """Where nobody waits, a place is taken without a turn of the event loop."""
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


@leaping
async def test_error_gives_the_place_back():
    """An error inside is raised, and gives the place back."""
    queue = Limiter(1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with queue:
                _ = 1 / 0
    assert await has_places(queue, 1)


@leaping
async def test_cancelled_inside():
    """Who is cancelled inside gives the place to the next one."""
    room = Room(Limiter(1))
    room.ask(0, 1)
    await wait_all_tasks_blocked()
    await room.cancel(0)
    assert room.inside == {1}
    await room.end()
    assert await has_places(room.queue, 1)


@leaping
async def test_cancelled_while_waiting():
    """Who is cancelled while waiting is passed over, and takes no place along."""
    room = Room(Limiter(1))
    room.ask(0, 1, 2)
    await wait_all_tasks_blocked()
    await room.cancel(1)
    await room.leave(0)
    assert room.entered == [0, 2]
    await room.end()
    assert await has_places(room.queue, 1)


@leaping
async def test_cancelled_while_the_place_was_on_its_way():
    """Who is cancelled in the moment in which the place comes hands it on."""
    room = Room(Limiter(1))
    room.ask(0, 1, 2)
    await wait_all_tasks_blocked()
    room.doors[0].set()
    while room.inside:
        await checkpoint()
    await room.cancel(1)
    assert 2 in room.entered
    await room.end()
    assert await has_places(room.queue, 1)


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from(["ask", "leave", "cancel"]), st.integers(0, 30)), max_size=40),
)
@leaping
async def test_no_place_is_lost(places, steps):
    """Whoever comes, leaves or is cancelled: never too many are in, nobody waits beside a free place, in order."""
    room = Room(Limiter(places))
    asked = 0
    for step, number in steps:
        if step == "ask":
            room.ask(asked)
            asked += 1
            await wait_all_tasks_blocked()
        else:
            there = sorted(person for person, task in room.tasks.items() if not task.done())
            if there:
                await getattr(room, step)(there[number % len(there)])
        waiting = [p for p, task in room.tasks.items() if not task.done() and p not in room.inside]
        assert len(room.inside) <= places
        assert not waiting or len(room.inside) == places
    await room.end()
    assert room.entered == sorted(room.entered)
    assert await has_places(room.queue, places)


# ---------------------------------------------------------------- the rate


async def entries(queue: Limiter, people: int, times: list[float]) -> None:
    """Let people in and out at once, and note when each came in."""

    async def visit() -> None:
        async with queue:
            times.append(anyio.current_time())

    async with anyio.create_task_group() as group:
        for _ in range(people):
            group.start_soon(visit)


@pytest.mark.parametrize("rate", [0.5, 1, 4, 50.0, 1000])
@leaping
async def test_rate(rate):
    """So many a second are let in, evenly spaced and without a burst at the beginning."""
    times: list[float] = []
    await entries(Limiter(100, rate), 20, times)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps == pytest.approx([1 / rate] * 19, rel=0.02)
    assert times[0] == pytest.approx(0, abs=0.001)


@leaping
async def test_rate_saves_nothing_up():
    """After a pause, however long, there is no burst either."""
    queue = Limiter(100, 4)
    await entries(queue, 3, [])
    await anyio.sleep(1000)
    times: list[float] = []
    await entries(queue, 3, times)
    assert [time - times[0] for time in times] == pytest.approx([0, 0.25, 0.5], abs=0.01)


@leaping
async def test_no_rate():
    """Without a rate nobody waits for the clock."""
    times: list[float] = []
    await entries(Limiter(2), 100, times)
    assert times == pytest.approx([0] * 100, abs=0.01)


@leaping
async def test_rate_keeps_the_order():
    """Who waits for the rate is let in in the order of asking."""
    room = Room(Limiter(3, 10))
    room.ask(*range(6))
    await room.end()
    assert room.entered == list(range(6))


@leaping
async def test_rate_does_not_let_more_in():
    """The rate does not loosen the limit of places."""
    room = Room(Limiter(2, 10))
    room.ask(*range(5))
    await anyio.sleep(100)
    assert room.inside == {0, 1}
    await room.end()


@leaping
async def test_cancelled_while_waiting_for_the_rate():
    """Who is cancelled while waiting for the rate gives the place back, time after time."""
    queue = Limiter(1, 0.001)
    async with queue:
        pass
    for _ in range(3):
        with anyio.move_on_after(1) as scope:
            async with queue:
                raise AssertionError("let in too early")
        assert scope.cancelled_caught
    async with queue:
        assert anyio.current_time() == pytest.approx(1000, rel=0.01)


# ---------------------------------------------------------------- outcomes


@leaping
async def test_outcomes_in_order():
    """Outcomes stand in the order of the values, whichever call ends first; all calls run at once."""
    started: list[int] = []
    doors = [asyncio.Event() for _ in range(4)]

    async def call(number: int) -> int:
        started.append(number)
        if number < 3:
            await doors[number + 1].wait()
        doors[number].set()
        return number * 10

    assert await gather(call, range(4)) == (0, 10, 20, 30)
    assert started == [0, 1, 2, 3]


@leaping
async def test_errors_are_outcomes():
    """An error is the outcome of its own value, and hurts no other."""
    errors = {1: ValueError("one"), 3: KeyError("three")}
    door = asyncio.Event()

    async def call(number: int) -> int:
        if number in errors:
            raise errors[number]
        if number == 4:
            door.set()
        await door.wait()
        return number

    assert await gather(call, range(5)) == (0, errors[1], 2, errors[3], 4)


@leaping
async def test_errors_before_the_first_await_are_outcomes():
    """A call that fails before it is a coroutine is an outcome as well."""

    def call(number: int) -> Any:
        raise ValueError(number)

    (outcome,) = await gather(call, [7])
    assert isinstance(outcome, ValueError)
    assert outcome.args == (7,)


@leaping
async def test_nothing_gives_nothing():
    """No values, no outcomes."""
    assert await gather(asyncio.sleep, []) == ()


@leaping
async def test_same_values_are_different_calls():
    """Equal values are called once each."""
    calls: list[str] = []

    async def call(value: str) -> int:
        calls.append(value)
        return len(calls)

    assert await gather(call, iter(["a", "a", "a"])) == (1, 2, 3)


@leaping
async def test_values_may_come_from_a_generator():
    """What the values' own iterator raises is raised as it is, not in a group."""

    def values() -> Any:
        yield 1
        raise LookupError("no more")

    async def call(number: int) -> int:
        return number

    with pytest.raises(LookupError, match="no more"):
        await gather(call, values())


@leaping
async def test_cancelling_ends_all():
    """Who cancels the gathering cancels every call in it, and it is a cancellation that comes out."""
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


@leaping
async def test_errors_on_the_way_out_do_not_hide_a_cancellation():
    """A call that fails while it is cancelled does not swallow the cancellation."""

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
