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
CONFIRMATIONS = Counter(
    "vidi_confirmations", "Answers to whether a destination has an object, by outcome.", ("destination", "outcome")
)
OLDEST_UNDELIVERED = Gauge(
    "vidi_oldest_undelivered_seconds", "Age of the oldest object that waits to be sent.", ("destination",)
)
AUDIT_UNEXPORTED = Gauge("vidi_audit_unexported", "Audit records on their way to file and repository, as far as seen.")
AUDIT_RELAY_FAILURES = Counter("vidi_audit_relay_failures", "Failed attempts to relay audit records.", ("target",))
PURGED = Counter("vidi_purged", "Files deleted when their time was over, by what they were.", ("what",))
