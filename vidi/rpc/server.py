"""Running a service: health, reflection, limits, draining."""

from __future__ import annotations

import asyncio
import inspect
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from vidi import logs
from vidi.errors import Unavailable
from vidi.rpc.interceptors import Edge
from vidi.service import Mounted, Service
from vidi.settings import ServiceSettings

#: Health-service name that stays SERVING while a server drains: a busy pod is not to be killed.
LIVENESS = "liveness"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@dataclass
class Running:
    """A running server.

    Attributes
    ----------
    address
        "host:port" of its gRPC port.
    endpoints
        Its other addresses by name ("http", "dimse", "metrics").
    """

    address: str
    endpoints: dict[str, str] = field(default_factory=dict)
    _drain: Any = None

    async def drain(self, pause: float, grace: float) -> None:
        """Say NOT_SERVING, wait `pause` seconds, stop taking work, and let running calls go on for `grace` seconds."""
        await self._drain(pause, grace)


@asynccontextmanager
async def running(service: Service, settings: ServiceSettings) -> AsyncIterator[Running]:
    """Serve until the context ends; running calls then have `settings.grace_seconds` to finish.

    Raises
    ------
    Unavailable
        When a port is taken.
    BundleError, PreconditionFailed
        What the service says when it cannot be opened.
    """
    logs.ensure(settings)
    async with service.open(settings) as mounted, _metrics(settings) as metrics_endpoint:
        server = grpc.aio.server(interceptors=[Edge()], options=_options(settings))
        mounted.add_to(server)
        checks = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(checks, server)
        names = (*mounted.names, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        port = _listen(server, settings)
        for name in (*mounted.names, "", LIVENESS):
            await checks.set(name, SERVING)
        await server.start()
        stopped = False

        async def drain(pause: float, grace: float) -> None:
            nonlocal stopped
            if stopped:
                return
            stopped = True
            for name in (*mounted.names, ""):
                await checks.set(name, NOT_SERVING)
            await asyncio.sleep(pause)
            await _stop_taking(mounted)
            await server.stop(grace)

        try:
            yield Running(_at(settings.host, port), {**mounted.endpoints, **metrics_endpoint}, drain)
        finally:
            await drain(0.0, settings.grace_seconds)


async def serve(service: Service, settings: ServiceSettings) -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    logs.configure(settings)
    log = logs.get("vidi.server")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(service, settings) as server:
        log.info("serving", service=service.name, address=server.address, **server.endpoints)
        await stop.wait()
        log.info("draining", service=service.name)
        await server.drain(settings.drain_seconds, settings.grace_seconds)
    log.info("stopped", service=service.name)


def _options(settings: ServiceSettings) -> list[tuple[str, int]]:
    # Replicas that all close connections at the same age would send their clients around together.
    age = settings.max_connection_age_seconds * random.uniform(0.9, 1.1)
    return [
        ("grpc.max_receive_message_length", max(settings.max_message_bytes, settings.max_receive_bytes)),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.max_connection_age_ms", int(age * 1000)),
        # No grace is set: calls on an old connection end by themselves, however long they take (watches, sweeps).
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
        ("grpc.so_reuseport", 0),
    ]


def _listen(server: Any, settings: ServiceSettings) -> int:
    where = _at(settings.host, settings.port)
    try:
        port = int(server.add_insecure_port(where))
    except RuntimeError:
        port = 0
    if not port:
        raise Unavailable(f"gRPC port {where} cannot be opened: is it taken?", reason="PORT_TAKEN")
    return port


@asynccontextmanager
async def _metrics(settings: ServiceSettings) -> AsyncIterator[dict[str, str]]:
    """Serve Prometheus's text format over HTTP where the settings ask for it; yield the endpoint."""
    if settings.metrics_port < 0:
        yield {}
        return
    from prometheus_client import start_http_server

    try:
        server, _thread = start_http_server(settings.metrics_port, settings.host)
    except OSError as error:
        where = _at(settings.host, settings.metrics_port)
        raise Unavailable(f"metrics port {where} cannot be opened: {error.strerror}", reason="PORT_TAKEN") from None
    try:
        yield {"metrics": f"http://{_at(settings.host, server.server_port)}/metrics"}
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()


def _at(host: str, port: int) -> str:
    """Return "host:port", an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _stop_taking(mounted: Mounted) -> None:
    if mounted.drain is None:
        return
    if inspect.iscoroutinefunction(mounted.drain):
        await mounted.drain()
    else:
        await asyncio.to_thread(mounted.drain)
