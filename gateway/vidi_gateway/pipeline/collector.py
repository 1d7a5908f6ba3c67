"""Metrics that are read from the journal when Prometheus asks: the same in every process, and right after a restart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import REGISTRY, CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from vidi import logs
from vidi_gateway.pipeline.overview import Overview, Overviews
from vidi_gateway.store.controls import Controls

log = logs.get("vidi.gateway.metrics")


class JournalCollector(Collector):
    """Collects from the journal. A journal that cannot be read gives `vidi_journal_readable` 0 and nothing else."""

    def __init__(self, overviews: Overviews, controls: Controls) -> None:
        self._overviews = overviews
        self._controls = controls

    def describe(self) -> list[Metric]:
        """Say nothing beforehand: registering must not read the journal."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        readable = GaugeMetricFamily("vidi_journal_readable", "Whether the journal could be read just now.")
        try:
            overview, allowed = self._overviews.get(), self._controls.delivery_allowed()
        except Exception as e:  # noqa: BLE001 - the other metrics say more than a scrape that fails
            log.warning("the journal cannot be read", error=type(e).__name__)
            readable.add_metric((), 0.0)
            yield readable
            return
        readable.add_metric((), 1.0)
        yield readable
        yield _gauge("vidi_delivery_running", "Whether results are sent: 0 while an operator has stopped it.", allowed)
        yield _gauge("vidi_spool_depth", "Analyses that wait or are being worked on.", overview.unfinished)
        oldest = overview.oldest_unfinished
        age = max(0.0, overview.at - oldest) if oldest is not None else 0.0
        yield _gauge("vidi_oldest_unfinished_seconds", "Age of the oldest film that is not done.", age)
        yield _gauge("vidi_disk_free_bytes", "Free space where films and results are stored.", overview.free_bytes)
        yield _undelivered(overview)
        yield from _sources(overview)


@contextmanager
def collected(collector: JournalCollector, registry: CollectorRegistry = REGISTRY) -> Iterator[None]:
    """Have the metrics collected while the block runs."""
    registry.register(collector)
    try:
        yield
    finally:
        registry.unregister(collector)


def _gauge(name: str, text: str, value: float) -> Metric:
    family = GaugeMetricFamily(name, text)
    family.add_metric((), float(value))
    return family


def _undelivered(overview: Overview) -> Metric:
    text = "Objects that are not delivered: pending, sent and not confirmed, dead letters."
    family = GaugeMetricFamily("vidi_undelivered", text, labels=("destination", "state"))
    for (destination, state), count in overview.undelivered.items():
        family.add_metric((destination, state.value), count)
    return family


def _sources(overview: Overview) -> Iterator[Metric]:
    silence = GaugeMetricFamily(
        "vidi_source_silence_seconds", "Seconds since a source's last film.", labels=("source",)
    )
    films = GaugeMetricFamily(
        "vidi_source_films", "Films of the last 24 hours, by the state they are in.", labels=("source", "state")
    )
    refusals = GaugeMetricFamily(
        "vidi_source_refusals",
        "Films refused, and what was turned away, in the last 24 hours.",
        labels=("source", "reason"),
    )
    for source in overview.sources:
        if source.last_film is not None:
            silence.add_metric((source.name,), max(0.0, overview.at - source.last_film))
        for state, count in source.films.items():
            films.add_metric((source.name, state), count)
        for reason, count in source.refusals.items():
            refusals.add_metric((source.name, reason), count)
    yield silence
    yield films
    yield refusals
