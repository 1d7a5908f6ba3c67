"""What the gateway counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

INSTANCES = Counter("vidi_instances", "DICOM instances taken in, by what became of them.", ("fate",))
ASSOCIATIONS_REJECTED = Counter("vidi_associations_rejected", "Associations rejected, by reason.", ("reason",))
REQUESTS_REFUSED = Counter("vidi_requests_refused", "HTTP requests refused by who sent them, by reason.", ("reason",))
PULLED = Counter("vidi_pulled_items", "Attempts to fetch from an archive, by outcome.", ("archive", "outcome"))
ANALYSES = Counter("vidi_analyses", "Analyses that ended, by state and reason.", ("state", "reason"))
WAITING = Gauge("vidi_analyses_unfinished", "Analyses that wait or are being worked on.")
DELIVERIES = Counter("vidi_deliveries", "Attempts to deliver an object, by outcome.", ("destination", "outcome"))
