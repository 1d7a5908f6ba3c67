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
        text = "\0".join((sop_instance_uid, *parts))
        return "f" + hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()[:31]


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
