"""Names of one export: keyed digests under a secret that only lives as long as the export does.

Within an export the same patient, study and film have the same names; between exports, and without the secret, nothing
leads from one name to another. Nobody keeps the secret, so there is no map back.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import uuid
from dataclasses import dataclass

from vidi.errors import InvalidInput

SECRET_BYTES = 32
#: Dates are moved into the past by up to ten years.
_MOST_DAYS = 3650


@dataclass(frozen=True)
class Names:
    """Makes names under a secret."""

    secret: bytes

    @classmethod
    def new(cls) -> Names:
        """Names of a new export."""
        return cls(secrets.token_bytes(SECRET_BYTES))

    @classmethod
    def from_hex(cls, text: str) -> Names:
        """Names of an export under way.

        Raises
        ------
        InvalidInput
            This is no such secret.
        """
        try:
            secret = bytes.fromhex(text)
        except ValueError:
            secret = b""
        if len(secret) != SECRET_BYTES:
            raise InvalidInput(f"the secret of an export has {SECRET_BYTES} bytes, as hex digits", field="secret")
        return cls(secret)

    @property
    def export_id(self) -> str:
        """What the export is called in the audit trail; says nothing about the secret."""
        return "e" + hashlib.sha256(b"vidi export " + self.secret).hexdigest()[:31]

    def patient(self, patient_key: str) -> str:
        """Return a Patient ID."""
        return "P" + self._digest("patient", patient_key).hex()[:15].upper()

    def film(self, film_id: str) -> str:
        """Return the name of a film's files."""
        return "i" + self._digest("film", film_id).hex()[:31]

    def uid(self, kind: str, *parts: str) -> str:
        """Return a UID (PS3.5 annex B.2)."""
        return f"2.25.{uuid.UUID(bytes=self._digest('uid', kind, *parts)[:16], version=5).int}"

    def days(self, patient_key: str) -> int:
        """Return by how many days a patient's dates are moved into the past; at least one."""
        return 1 + int.from_bytes(self._digest("days", patient_key)[:8], "big") % _MOST_DAYS

    def _digest(self, *parts: str) -> bytes:
        return hmac.new(self.secret, "\0".join(parts).encode(), hashlib.sha256).digest()
