"""The site key: film ids are keyed digests, so that a log line cannot be traced to a film without it."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from vidi.errors import PreconditionFailed
from vidi_gateway.store.files import sync_directory

KEY_BYTES = 32


class SiteKey:
    """Makes film ids."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def open(cls, path: Path) -> SiteKey:
        """Read the key, or make it. Several processes may start at once: the first one's key stays.

        Raises
        ------
        PreconditionFailed
            When the file is damaged: a new key would give every film another id.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _create(path)
        key = path.read_bytes()
        if len(key) != KEY_BYTES:
            raise PreconditionFailed(f"{path} is damaged: restore it from a backup", reason="SITE_KEY_DAMAGED")
        return cls(key)

    def film_id(self, sop_instance_uid: str, *parts: str) -> str:
        """Return "f" and 31 hex digits. `parts` tell apart films that share a SOP Instance UID (quarantine)."""
        return "f" + self._digest(sop_instance_uid, *parts)

    def patient_key(self, issuer: str, patient_id: str) -> str:
        """Return "p" and 31 hex digits: who a patient is, without saying it."""
        return "p" + self._digest("patient", issuer, patient_id)

    def study_key(self, study_instance_uid: str, patient_key: str) -> str:
        """Return "s" and 31 hex digits. Two patients under one Study Instance UID are never one study."""
        return "s" + self._digest("study", study_instance_uid, patient_key)

    def mac(self, text: str) -> str:
        """Return a keyed digest of a text, 64 hex digits."""
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def _digest(self, *parts: str) -> str:
        return self.mac("\0".join(parts))[:31]


def _create(path: Path) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        # A link fails where a rename would replace the key of another process that started first.
        os.link(temporary, path)
    except FileExistsError:
        return
    finally:
        temporary.unlink()
        sync_directory(path.parent)
