"""A server process of its own: what it logs, and how it ends."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from vidi.api.classifier.v1 import classifier_pb2, classifier_pb2_grpc

PROGRAM = """
import asyncio, sys, time
from contextlib import asynccontextmanager
from vidi.api.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from vidi.rpc.server import serve
from vidi.rpc.work import WorkQueue
from vidi.service import Mounted, Service
from vidi.settings import ServiceSettings

class Servicer(classifier_pb2_grpc.ClassifierServiceServicer):
    async def Classify(self, request, context):
        if request.model.name == "boom":
            raise ValueError("patient " + request.image.encoded.decode())
        print("started", flush=True)
        await self.queue.run(sys.stdin.readline)
        return classifier_pb2.ClassifyResponse(compute_seconds=1.0)

@asynccontextmanager
async def opened(settings):
    servicer = Servicer()
    servicer.queue = WorkQueue("slow", size=1)
    def drained():
        print("drained", flush=True)
    yield Mounted(
        add_to=lambda s: classifier_pb2_grpc.add_ClassifierServiceServicer_to_server(servicer, s),
        names=("vidi.api.classifier.v1.ClassifierService",),
        drain=drained,
    )
    await servicer.queue.close()
    print("closed", flush=True)

asyncio.run(serve(Service("slow", ServiceSettings, opened), ServiceSettings(log_json=True, drain_seconds=0.5)))
print("ended", flush=True)
"""


class Process:
    """A server process: its log as it comes, and plain gRPC access."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log: list[str] = []

    async def logged(self, event: str) -> dict[str, Any]:
        """Read the log up to an event."""
        assert self.process.stderr is not None
        async with asyncio.timeout(120):
            while line := (await self.process.stderr.readline()).decode():
                self.log.append(line)
                if line.startswith("{") and (entry := json.loads(line))["event"] == event:
                    return dict(entry)
        pytest.fail(f"no {event!r} in the log: {self.log}")

    async def says(self, word: str) -> None:
        """Read a line of standard output."""
        assert self.process.stdout is not None
        async with asyncio.timeout(120):
            assert (await self.process.stdout.readline()).decode().strip() == word

    def answer(self) -> None:
        """Let the running call finish."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")


@asynccontextmanager
async def served(tmp_path: Path) -> AsyncIterator[tuple[Process, grpc.aio.Channel]]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, str(program), stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        wrapped = Process(process)
        address = (await wrapped.logged("serving"))["address"]
        async with grpc.aio.insecure_channel(address) as channel:
            yield wrapped, channel
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_sigterm_drains_and_ends_well(tmp_path: Path) -> None:
    async with served(tmp_path) as (server, channel):
        stub = classifier_pb2_grpc.ClassifierServiceStub(channel)
        running = stub.Classify(classifier_pb2.ClassifyRequest(image={"encoded": b"x"}), timeout=120)
        call = asyncio.ensure_future(running)
        await server.says("started")
        server.process.send_signal(signal.SIGTERM)
        await server.logged("draining")
        await server.says("drained")  # what else takes work was stopped while the call still runs
        assert not call.done()
        server.answer()
        assert (await call).compute_seconds == 1.0
        await server.says("closed")
        await server.says("ended")
        async with asyncio.timeout(120):
            assert await server.process.wait() == 0


async def test_health_during_the_pause(tmp_path: Path) -> None:
    async with served(tmp_path) as (server, channel):
        health = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service=""), timeout=120)
        alive = health.Watch(health_pb2.HealthCheckRequest(service="liveness"), timeout=120)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        assert (await alive.read()).status == health_pb2.HealthCheckResponse.SERVING
        server.process.send_signal(signal.SIGTERM)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        again = await health.Check(health_pb2.HealthCheckRequest(service="liveness"), timeout=120)
        assert again.status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()
        alive.cancel()


async def test_the_log_names_calls_and_holds_no_patient_data(tmp_path: Path) -> None:
    async with served(tmp_path) as (server, channel):
        stub = classifier_pb2_grpc.ClassifierServiceStub(channel)
        request = classifier_pb2.ClassifyRequest(model={"name": "boom"}, image={"encoded": b"DOE^JANE 1970"})
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.Classify(
                request, timeout=120, metadata=(("x-request-id", "req-9"), ("patient-name", "DOE^JANE"))
            )
        problem = await server.logged("internal error")
        call = await server.logged("rpc")
    assert (problem["error"], problem["request_id"]) == ("ValueError", "req-9")
    assert "Classify" in problem["at"]
    assert call["method"].endswith("/Classify")
    assert (call["code"], call["request_id"]) == ("INTERNAL", "req-9")
    assert call["seconds"] >= 0
    assert "DOE" not in "".join(server.log)
    assert "1970" not in "".join(server.log)
