"""Files that are written while their content still comes, before it is known whether they are kept, and as what.

Such a file has no name until it is durable (O_TMPFILE): whatever ends the process or the machine before leaves nothing.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from vidi_gateway.store import direct

_O_TMPFILE = getattr(os, "O_TMPFILE", 0)


class Staged:
    """A file without a name, on the disk of `root`. One thread at a time.

    Attributes
    ----------
    error
        Why it cannot be completed, if so: the disk took no more.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._written = 0
        self._direct = direct.switch(descriptor, on=True)
        self.error: OSError | None = None

    def __del__(self) -> None:
        self.discard()

    def advance(self, content: memoryview) -> None:
        """Write what is new of the content so far, up to a whole block. Errors are kept for `complete`.

        Parameters
        ----------
        content
            The file from its beginning. It begins at a multiple of `direct.ALIGNMENT` in memory.
        """
        end = len(content) - len(content) % direct.ALIGNMENT
        if self.error is None and end > self._written:
            try:
                self._write(content[self._written : end])
            except OSError as e:
                self.error = e

    def complete(self, content: memoryview, target: Path) -> None:
        """Write the rest, make it durable, and give it its name, in place of what had that name.

        The directory is the caller's to sync.

        Raises
        ------
        OSError
            When it cannot be written, now or before; nothing is left behind.
        """
        try:
            self.advance(content)
            if self.error:
                raise self.error
            if self._direct:
                direct.switch(self._descriptor, on=False)
                self._direct = False
            if self._written < len(content):
                self._write(content[self._written :])
            os.fsync(self._descriptor)
            self._name(target)
        finally:
            self.discard()

    def discard(self) -> None:
        """Let go of it: without a name it is gone."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _write(self, part: memoryview) -> None:
        done = 0
        while done < len(part):
            try:
                count = os.write(self._descriptor, part[done:])
            except OSError as e:
                if not self._direct or e.errno not in direct.UNSUPPORTED:
                    raise
                count = 0
            done += count
            self._written += count
            if self._direct and (count == 0 or count % direct.ALIGNMENT):  # not here, or no more: as any file
                direct.switch(self._descriptor, on=False)
                self._direct = False

    def _name(self, target: Path) -> None:
        source, directory = f"/proc/self/fd/{self._descriptor}", os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:  # a directory's descriptor makes Python call linkat, which follows the link
            try:
                os.link(source, target, src_dir_fd=directory, follow_symlinks=True)
            except FileExistsError:
                aside = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
                os.link(source, aside, src_dir_fd=directory, follow_symlinks=True)
                os.replace(aside, target)
        finally:
            os.close(directory)


def stage(root: Path) -> Staged | None:
    """Begin a file on the disk of `root`; None where the system has no such files, or no more room.

    Parameters
    ----------
    root
        Directory of the files that it may become one of.
    """
    if not _O_TMPFILE:
        return None
    try:
        return Staged(os.open(root, os.O_WRONLY | _O_TMPFILE, 0o600))
    except OSError:  # what is wrong with the disk is found out, and said, when the film is put there
        return None
