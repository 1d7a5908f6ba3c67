"""Prometheus metrics of every process."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)

RPCS = Counter("vidi_rpc", "RPCs answered, by status code.", ("method", "code"))
RPC_SECONDS = Histogram("vidi_rpc_seconds", "Seconds until an RPC was answered.", ("method",), buckets=BUCKETS)
RPC_RUNNING = Gauge("vidi_rpc_in_flight", "RPCs being answered.", ("method",))
QUEUE_WAITING = Gauge("vidi_queue_waiting", "Requests that wait for a computation thread.", ("queue",))
QUEUE_RUNNING = Gauge("vidi_queue_running", "Requests being computed.", ("queue",))
QUEUE_DROPPED = Counter("vidi_queue_dropped", "Requests that never started, by reason.", ("queue", "reason"))


def render() -> tuple[bytes, str]:
    """Return all metrics in Prometheus's text format, and its media type."""
    return generate_latest(), CONTENT_TYPE_LATEST
