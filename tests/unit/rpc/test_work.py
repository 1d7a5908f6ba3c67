"""The bounded queue, without any RPC."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from vidi.errors import Exhausted, Expired, NotFound, Unavailable
from vidi.rpc.work import WorkQueue


class Blocker:
    """Work that waits to be released."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.release = threading.Event()

    def __call__(self) -> str:
        self.started.set()
        assert self.release.wait(60)
        return "done"


@pytest.fixture
async def blocker() -> AsyncIterator[Blocker]:
    made = Blocker()
    yield made
    made.release.set()


async def occupied(queue: WorkQueue, blocker: Blocker) -> asyncio.Task[str]:
    """Occupy the queue's one thread."""
    task = asyncio.create_task(queue.run(blocker))
    assert await asyncio.to_thread(blocker.started.wait, 60)
    return task


async def settle(queue: WorkQueue, depth: int) -> None:
    """Let tasks that were just made reach the queue."""
    async with asyncio.timeout(60):
        while queue.depth != depth:  # noqa: ASYNC110 - the queue tells nobody
            await asyncio.sleep(0.001)


async def test_work_runs_on_a_thread_of_the_queue_in_order_of_arrival() -> None:
    queue = WorkQueue("order", size=10)
    names: list[str] = []
    order: list[int] = []

    def work(i: int) -> int:
        names.append(threading.current_thread().name)
        order.append(i)
        return i * i

    assert await asyncio.gather(*(queue.run(work, i) for i in range(8))) == [i * i for i in range(8)]
    assert order == list(range(8))
    assert len(set(names)) == 1
    assert names[0].startswith("vidi-order")
    await queue.close()


async def test_as_many_threads_as_asked_for_work_at_a_time() -> None:
    queue = WorkQueue("two", size=10, threads=2)
    meeting = threading.Barrier(2)
    await asyncio.gather(*(queue.run(meeting.wait, 60) for _ in range(2)))  # one thread alone would never get through
    await queue.close()


async def test_a_full_queue_refuses_and_says_when_to_come_back(blocker: Blocker) -> None:
    queue = WorkQueue("full", size=2)
    running = await occupied(queue, blocker)
    waiting = [asyncio.create_task(queue.run(lambda: "late")) for _ in range(2)]
    await settle(queue, 2)
    assert (queue.depth, queue.in_flight) == (2, 1)
    with pytest.raises(Exhausted) as caught:
        await queue.run(lambda: "too many")
    assert caught.value.retry_after > 0
    blocker.release.set()
    assert await running == "done"
    assert await asyncio.gather(*waiting) == ["late", "late"]
    assert (queue.depth, queue.in_flight) == (0, 0)
    await queue.close()


@pytest.mark.parametrize("timeout", [0.0, -1.0])
async def test_work_that_comes_too_late_never_starts(timeout: float) -> None:
    queue = WorkQueue("late", size=2)
    started: list[int] = []
    with pytest.raises(Expired):
        await queue.run(started.append, 1, timeout=timeout)
    assert started == []
    await queue.close()


async def test_work_that_expires_while_waiting_never_starts(blocker: Blocker) -> None:
    queue = WorkQueue("expiring", size=2)
    running = await occupied(queue, blocker)
    started: list[int] = []
    with pytest.raises(Expired):
        await queue.run(started.append, 1, timeout=0.05)
    assert queue.depth == 0
    blocker.release.set()
    await running
    await queue.run(started.append, 2)
    assert started == [2]
    await queue.close()


async def test_cancelled_work_never_starts_and_leaves_its_place(blocker: Blocker) -> None:
    queue = WorkQueue("cancelling", size=1)
    running = await occupied(queue, blocker)
    started: list[int] = []
    gone = asyncio.create_task(queue.run(started.append, 1))
    await settle(queue, 1)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    next_one = asyncio.create_task(queue.run(started.append, 2))
    await settle(queue, 1)
    blocker.release.set()
    await running
    await next_one
    assert started == [2]
    await queue.close()


async def test_a_caller_who_leaves_a_running_computation_does_not_free_its_thread(blocker: Blocker) -> None:
    queue = WorkQueue("leaving", size=1)
    running = await occupied(queue, blocker)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert queue.in_flight == 1
    later = asyncio.create_task(queue.run(lambda: "later"))
    await settle(queue, 1)
    blocker.release.set()
    assert await later == "later"
    assert queue.in_flight == 0
    await queue.close()


async def test_errors_come_through_and_free_the_thread() -> None:
    def fail() -> None:
        raise NotFound("model", "x")

    queue = WorkQueue("failing", size=1)
    for _ in range(3):
        with pytest.raises(NotFound):
            await queue.run(fail)
    assert await queue.run(lambda: 1) == 1
    await queue.close()


async def test_closing_waits_for_running_work_and_turns_waiting_work_away(blocker: Blocker) -> None:
    queue = WorkQueue("closing", size=2)
    running = await occupied(queue, blocker)
    waiting = asyncio.create_task(queue.run(lambda: "never"))
    await settle(queue, 1)
    closing = asyncio.create_task(queue.close())
    await asyncio.sleep(0)
    blocker.release.set()
    assert await running == "done"
    with pytest.raises(Unavailable):
        await waiting
    await closing
    with pytest.raises(Unavailable):
        await queue.run(lambda: "too late")


async def test_a_storm_of_cancellations_and_deadlines_loses_no_thread() -> None:
    queue = WorkQueue("storm", size=200, threads=2)
    ran = 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal ran
        with lock:
            ran += 1

    tasks = [asyncio.create_task(queue.run(work, timeout=0.02 if i % 3 else None)) for i in range(150)]
    for i, task in enumerate(tasks):
        if i % 4 == 0:
            task.cancel()
        if i % 10 == 0:
            await asyncio.sleep(0)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    served = sum(o is None for o in outcomes)
    assert all(o is None or isinstance(o, Expired | asyncio.CancelledError) for o in outcomes)
    assert served <= ran <= served + sum(isinstance(o, asyncio.CancelledError) for o in outcomes)
    meeting = threading.Barrier(2)
    await asyncio.gather(*(queue.run(meeting.wait, 60) for _ in range(2)))
    assert (queue.depth, queue.in_flight) == (0, 0)
    await queue.close()
