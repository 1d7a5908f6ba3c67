"""Audit records in a file: a line each, on the disk before it counts, set aside by size."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from vidi_gateway.store.files import sync_directory


class AuditFile:
    """Appends lines.

    Parameters
    ----------
    path
        The current file; older ones are beside it as `.1` (the newest of them), `.2` and so on.
    max_bytes
        Size at which a new file is begun; a file is never longer than that by more than one batch.
    keep
        How many older files stay.
    """

    def __init__(self, path: Path, *, max_bytes: int, keep: int) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._keep = keep

    def send(self, lines: Sequence[str]) -> None:
        """Append lines; they are on the disk when this returns.

        Raises
        ------
        OSError
            When they cannot be written. Some may be: they come again.
        """
        if not lines:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = not self.path.exists()
        if not new and self.path.stat().st_size >= self._max_bytes:
            self._set_aside()
            new = True
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        with open(descriptor, "r+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            # A line that a crash broke off ends here, so that the next one is whole.
            torn = size and os.pread(descriptor, 1, size - 1) != b"\n"
            data = (b"\n" if torn else b"") + "".join(f"{line}\n" for line in lines).encode()
            while data:
                data = data[file.write(data) :]
            os.fsync(descriptor)
        if new:
            sync_directory(self.path.parent)

    def close(self) -> None:
        """Nothing stays open."""

    def _set_aside(self) -> None:
        for number in range(self._keep, 0, -1):
            older = self._numbered(number)
            if older.exists():
                if number == self._keep:
                    older.unlink()
                else:
                    older.rename(self._numbered(number + 1))
        self.path.rename(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")
