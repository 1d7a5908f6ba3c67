"""How a value is stored: magic, version, checksum over key and value, value.

The key is part of the checksum, so that an answer to another question is recognised as well as a flipped bit.
"""

from __future__ import annotations

import hashlib
import hmac

MAGIC = b"VIDI"
VERSION = 1
_HEADER = MAGIC + bytes([VERSION])
_DIGEST_SIZE = hashlib.sha256().digest_size
OVERHEAD = len(_HEADER) + _DIGEST_SIZE


def seal(key: str, value: bytes) -> bytes:
    """Return `value` framed for storage under `key`; it grows by `OVERHEAD` bytes."""
    return _HEADER + _checksum(key, value) + value


def unseal(key: str, framed: bytes) -> bytes | None:
    """Return the value that was sealed under `key`; None when it is damaged, another key's or another version's."""
    if len(framed) < OVERHEAD or not framed.startswith(_HEADER):
        return None
    value = framed[OVERHEAD:]
    return value if hmac.compare_digest(framed[len(_HEADER) : OVERHEAD], _checksum(key, value)) else None


def _checksum(key: str, value: bytes) -> bytes:
    digest = hashlib.sha256(key.encode() + b"\0")
    digest.update(value)
    return digest.digest()
