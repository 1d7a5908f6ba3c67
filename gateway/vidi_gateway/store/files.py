"""Durable files: what was put survives a power cut (temporary file, fsync, rename, fsync of the directory)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
from pathlib import Path
from typing import Protocol

from vidi.errors import Exhausted, InvalidInput, NotFound
from vidi_gateway.store import direct, staging
from vidi_gateway.store.staging import Staged

#: What is stored: bytes, or a view of memory that stays as it is meanwhile.
Data = bytes | memoryview

_KEY = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")


def digest(data: Data) -> str:
    """Return "sha256:" and the hex digest of `data`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Store(Protocol):
    """Films and results by key. A key is a relative path of lower-case words, made by ViDi, never taken from a peer."""

    def put_durable(self, key: str, data: Data) -> None:
        """Store `data` under `key`, replacing what was there; returns after it is durable.

        Raises
        ------
        Exhausted
            When there is no space.
        """

    def stage(self) -> Staged | None:
        """Begin to write what still comes; None where there is no such thing: then put it when it has come."""

    def keep(self, key: str, staged: Staged, data: memoryview) -> None:
        """As `put_durable`, of data that was begun to be written.

        Raises
        ------
        Exhausted
            When there is no space.
        """

    def get(self, key: str) -> bytes:
        """Return what is stored.

        Raises
        ------
        NotFound
            When there is nothing.
        """

    def delete(self, key: str) -> None:
        """Remove what is stored, if anything."""

    def free_bytes(self) -> int:
        """Space left, in bytes."""


class FileStore:
    """A `Store` in a directory of the file system."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def path(self, key: str) -> Path:
        """Return the file of a key.

        Raises
        ------
        InvalidInput
            When the key is not one of ours: no key leads outside the root.
        """
        if not _KEY.fullmatch(key) or ".." in key:
            raise InvalidInput("not a key of the file store")
        return self.root / key

    def prepare(self, prefix: str) -> None:
        """Make the 256 directories of keys such as "films/ab/...", so that no film has to wait for its own."""
        directory = self.path(prefix)
        _make_directories(directory, self.root)
        for number in range(256):
            (directory / f"{number:02x}").mkdir(exist_ok=True)
        sync_directory(directory)

    def put_durable(self, key: str, data: Data) -> None:
        """See `Store.put_durable`."""
        target = self.path(key)
        try:
            _make_directories(target.parent, self.root)
            write_durable(target, data)
        except OSError as e:
            raise Exhausted("the file store cannot take more", reason="STORE_FULL", retry_after=60.0) from e

    def stage(self) -> Staged | None:
        """See `Store.stage`."""
        return staging.stage(self.root)

    def keep(self, key: str, staged: Staged, data: memoryview) -> None:
        """See `Store.keep`."""
        target = self.path(key)
        try:
            _make_directories(target.parent, self.root)
            staged.complete(data, target)
            sync_directory(target.parent)
        except OSError as e:
            raise Exhausted("the file store cannot take more", reason="STORE_FULL", retry_after=60.0) from e

    def get(self, key: str) -> bytes:
        """See `Store.get`."""
        try:
            return self.path(key).read_bytes()
        except FileNotFoundError:
            raise NotFound("file", key) from None

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        self.path(key).unlink(missing_ok=True)

    def free_bytes(self) -> int:
        """See `Store.free_bytes`."""
        return shutil.disk_usage(self.root).free


def write_durable(target: Path, data: Data) -> None:
    """Write a file so that it is whole or absent whenever the power fails, and stays once this returns.

    Raises
    ------
    OSError
        When it cannot be written; nothing is left behind.
    """
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            direct.write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, target)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_directory(target.parent)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_directories(directory: Path, root: Path) -> None:
    if directory.is_dir():
        return
    _make_directories(directory.parent, root)
    directory.mkdir(exist_ok=True)
    sync_directory(directory.parent)
