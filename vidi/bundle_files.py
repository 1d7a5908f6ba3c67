"""The files of a bundle: read within limits, digested, and written whole or not at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from vidi.errors import BundleError


def read(file: Path, limit: int) -> bytes:
    """Return a file's bytes.

    Raises
    ------
    BundleError
        When it is missing, cannot be read or is larger than `limit` bytes.
    """
    try:
        _require(file, limit)
        return file.read_bytes()
    except OSError as error:
        raise BundleError(f"{file}: cannot be read ({error.strerror})") from None


def file_digest(file: Path, limit: int) -> str:
    """Return a file's digest, "sha256:" and hex, without holding the file in memory; raises what `read` raises."""
    try:
        _require(file, limit)
        with file.open("rb") as stream:
            return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{file}: cannot be read ({error.strerror})") from None


def digest(data: bytes) -> str:
    """Return the digest of bytes, "sha256:" and hex."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def replace(file: Path, data: bytes) -> None:
    """Write a file whole or not at all (OSError)."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def _require(file: Path, limit: int) -> None:
    if not file.is_file():
        raise BundleError(f"{file}: missing")
    if file.stat().st_size > limit:
        raise BundleError(f"{file}: larger than {limit} bytes")
