"""Prometheus metrics of the explainer."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

from vidi.metrics import BUCKETS

EXPLANATIONS = Counter("vidi_explanations", "Explanations returned, by where they came from.", ("model", "source"))
FORGOTTEN = Counter("vidi_explanations_forgotten", "Cached explanations that were deleted on demand.")
ASSESSMENTS = Counter("vidi_assessments", "Assessments of an explanation that were finished.", ("model",))
COMPUTE_SECONDS = Histogram(
    "vidi_explain_compute_seconds", "Seconds an engine worked on one film.", ("model", "engine"), buckets=BUCKETS
)
