"""Waiting loops end when they are told to, whatever else happens in that moment."""

from __future__ import annotations

import asyncio

import pytest

from vidi_gateway.threads import heard


async def test_an_event_is_heard_or_not() -> None:
    event = asyncio.Event()
    assert not await heard(event, 0.01)
    event.set()
    assert await heard(event, 10.0)


@pytest.mark.parametrize("steps", range(5))
async def test_a_cancellation_in_the_moment_of_the_event_is_not_lost(steps: int) -> None:
    event = asyncio.Event()

    async def loop() -> None:
        while True:
            event.clear()
            await heard(event, 60.0)

    task = asyncio.create_task(loop())
    await asyncio.sleep(0.01)
    event.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=5.0)
    assert done and task.cancelled()
