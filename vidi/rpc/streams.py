"""Bidirectional streams: many items at a time, each with its own fate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from google.rpc import status_pb2

from vidi import logs
from vidi.errors import ViDiError
from vidi.rpc.context import request_id
from vidi.rpc.status import to_status
from vidi.rpc.validation import validate

Request = TypeVar("Request")
Response = TypeVar("Response")


async def answer(
    requests: AsyncIterator[Request],
    handle: Callable[[Request], Awaitable[Response]],
    failed: Callable[[Request, status_pb2.Status], Response],
    *,
    concurrency: int,
) -> AsyncIterator[Response]:
    """Answer a stream of requests in the order in which they are done.

    An item's error becomes its answer and does not end the stream. No more than `concurrency` items are between being
    read and their answer being taken, so that a slow caller slows its own stream and no more.

    Parameters
    ----------
    requests
        The stream; each item is checked against its proto's rules.
    handle
        Answers one item.
    failed
        Makes the answer to an item that failed.
    concurrency
        Items at a time.
    """
    room = asyncio.Semaphore(concurrency)
    done: asyncio.Queue[Response | None] = asyncio.Queue()
    tasks: set[asyncio.Task[None]] = set()

    async def one(request: Request) -> None:
        try:
            validate(request)
            response = await handle(request)
        except Exception as error:  # noqa: BLE001 - whatever went wrong with one item is that item's answer
            if not isinstance(error, ViDiError):
                logs.get("vidi.rpc").error(
                    "internal error", error=type(error).__name__, at=logs.where(error), request_id=request_id()
                )
            response = failed(request, to_status(error))
        done.put_nowait(response)

    async def read() -> None:
        try:
            await room.acquire()
            async for request in requests:
                task = asyncio.create_task(one(request))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                await room.acquire()
            await asyncio.gather(*tasks)
        finally:
            done.put_nowait(None)

    reader = asyncio.create_task(read())
    try:
        while (response := await done.get()) is not None:
            yield response
            room.release()
        await reader  # raises what the stream of requests raised
    finally:
        for task in (reader, *tasks):
            task.cancel()
        await asyncio.gather(reader, *tasks, return_exceptions=True)
