"""Channels to ViDi's services."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import grpc

from vidi.rpc.context import HEADER, request_id
from vidi.settings import MIB

#: Calls that make something new each time: trying again after a broken connection might make it twice.
ONCE = (
    {"service": "vidi.api.clusterer.v1.ClustererService", "method": "Fit"},
    {"service": "vidi.api.gateway.v1.StudyService", "method": "CreateExplainJob"},
    {"service": "vidi.api.gateway.v1.StudyService", "method": "CreateCohort"},
    {"service": "vidi.api.gateway.v1.StudyService", "method": "ClusterCohort"},
)
#: Balanced over all replicas behind a name. Everything else may be tried again; gRPC itself repeats what never left.
SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {"name": ONCE},
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        },
    ],
}


def open_channel(address: str, *, max_message_bytes: int = 16 * MIB) -> grpc.aio.Channel:
    """Open a channel; it connects by itself when it is first used. It belongs to the running event loop.

    Parameters
    ----------
    address
        "host:port", or a target with a scheme ("dns:///explainer:50052", "unix:...").
    max_message_bytes
        Largest message in either direction.
    """
    target = address if "://" in address or address.startswith("unix:") else f"dns:///{address}"
    options = [
        ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.keepalive_time_ms", 60_000),
        # A service that comes back after a minute is found within seconds.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        ("grpc.enable_http_proxy", 0),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    return grpc.aio.insecure_channel(target, options=options, interceptors=_interceptors())


def _with_request_id(details: Any) -> Any:
    """Hand the current request's id on, so that one film can be followed through all logs."""
    current = request_id()
    if not current or any(key == HEADER for key, _ in details.metadata or ()):
        return details
    metadata = grpc.aio.Metadata(*(tuple(details.metadata or ())), (HEADER, current))
    return details._replace(metadata=metadata)


class _UnaryUnary(grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        return await continuation(_with_request_id(details), request)


class _UnaryStream(grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        return await continuation(_with_request_id(details), request)


class _StreamUnary(grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(self, continuation: Callable[..., Any], details: Any, requests: Any) -> Any:
        return await continuation(_with_request_id(details), requests)


class _StreamStream(grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(self, continuation: Callable[..., Any], details: Any, requests: Any) -> Any:
        return await continuation(_with_request_id(details), requests)


def _interceptors() -> list[Any]:
    return [_UnaryUnary(), _UnaryStream(), _StreamUnary(), _StreamStream()]
