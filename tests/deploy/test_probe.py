"""The health check of the images, against a real server."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from vidi.rpc.probe import main, probe
from vidi.rpc.server import LIVENESS, Running, running
from vidi.service import Mounted, Service
from vidi.settings import ServiceSettings

NAME = "vidi.test.v1.Nothing"


@dataclass
class Case:
    """A server without RPCs of its own that drains until it is let go."""

    server: Running
    let_go: asyncio.Event


@pytest.fixture
async def case() -> AsyncIterator[Case]:
    """A running server."""
    let_go = asyncio.Event()

    async def drain() -> None:
        await let_go.wait()

    @asynccontextmanager
    async def nothing(settings: ServiceSettings) -> AsyncIterator[Mounted]:
        yield Mounted(add_to=lambda server: None, names=(NAME,), drain=drain)

    async with running(Service("nothing", ServiceSettings, nothing), ServiceSettings(grace_seconds=0)) as server:
        yield Case(server, let_go)
        let_go.set()


async def test_a_server_that_is_well(case: Case) -> None:
    for service in ("", NAME, LIVENESS):
        assert await asyncio.to_thread(probe, case.server.address, service) == "SERVING"
    assert await asyncio.to_thread(main, [case.server.address]) == 0
    assert await asyncio.to_thread(probe, case.server.address, "vidi.test.v1.Other") == "NOT_FOUND"
    assert await asyncio.to_thread(main, [case.server.address, "vidi.test.v1.Other"]) == 1


async def test_a_draining_server_is_alive_but_not_ready(case: Case) -> None:
    address = case.server.address
    draining = asyncio.create_task(case.server.drain(0.0, 0.0))
    for _ in range(1000):
        if await asyncio.to_thread(probe, address) == "NOT_SERVING":
            break
    assert await asyncio.to_thread(probe, address, NAME) == "NOT_SERVING"
    assert await asyncio.to_thread(probe, address, LIVENESS) == "SERVING"
    case.let_go.set()
    await draining


async def test_nobody_there() -> None:
    listener = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    assert await asyncio.to_thread(main, [f"127.0.0.1:{port}"]) == 1


async def test_as_a_container_runs_it(case: Case) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "vidi.rpc.probe", case.server.address, LIVENESS, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert (process.returncode, output) == (0, b"SERVING\n")


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err
