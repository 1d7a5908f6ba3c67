"""Deterministic UIDs: the same inputs give the same UID, so that a retry never doubles a series.

A UID is "2.25." and a UUID as a decimal number (PS3.5 annex B.2). The UUID is made from a SHA-256 over the inputs, in
the manner of a name-based UUID (RFC 9562, section 5.5).
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence

from pydicom.uid import UID

ROOT = "2.25."
"""Prefix of all of ViDi's UIDs."""

BUILDER_VERSION = "2"
"""Version of the object builder: raised with every change of the bytes that it writes."""


def derive(kind: str, *parts: str | Sequence[str]) -> UID:
    """Return the UID of a kind of thing ("sop", "series", "tracking", ...) that is made from `parts`."""
    text = json.dumps(["vidi", kind, *parts], ensure_ascii=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).digest()
    return UID(ROOT + str(uuid.UUID(bytes=digest[:16], version=5).int))


def digest_of(*parts: str | Sequence[str]) -> str:
    """Return "sha256:" and the hex digest over `parts`, each told apart from the next."""
    text = json.dumps(parts, ensure_ascii=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
