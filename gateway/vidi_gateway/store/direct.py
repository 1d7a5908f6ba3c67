"""Writing a file past the page cache (O_DIRECT), where the system has that.

A film is written once and made durable at once. Through the page cache, that costs a page's allocation and a copy for
every 4 KiB, and the disk starts only afterwards: several times what the disk itself needs (`vidi bench ingest` shows
both). Durability is not this module's: whoever calls it syncs the file.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import threading

import numpy as np

#: What devices ask for: offsets, lengths and addresses are multiples of their block size.
ALIGNMENT = 4096
#: Smaller files are no gain.
FROM_BYTES = 256 << 10
_CHUNK = 1 << 20
_O_DIRECT = getattr(os, "O_DIRECT", 0)
UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP)


class _Aligned(threading.local):
    """A thread's own aligned memory, for data that lies elsewhere."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, _CHUNK)


_aligned = _Aligned()


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write everything to an empty file that is open for writing.

    Parameters
    ----------
    descriptor
        Of the file; when this returns, it goes through the page cache again.
    data
        What to write. What starts at a multiple of `ALIGNMENT` in memory is not copied.

    Raises
    ------
    OSError
        When it cannot be written: an unknown part of it was.
    """
    view = memoryview(data)
    done = 0
    if len(view) >= FROM_BYTES and switch(descriptor, on=True):
        try:
            done = _direct(descriptor, view[: len(view) - len(view) % ALIGNMENT])
        finally:
            switch(descriptor, on=False)
    while done < len(view):
        done += os.write(descriptor, view[done:])


def _direct(descriptor: int, view: memoryview) -> int:
    """Write what can be written directly; return how many bytes that were."""
    in_place = np.frombuffer(view, np.uint8).ctypes.data % ALIGNMENT == 0
    done = 0
    while done < len(view):
        part = view[done:] if in_place else view[done : done + _CHUNK]
        if not in_place:
            _aligned.memory[: len(part)] = part
            part = memoryview(_aligned.memory)[: len(part)]
        try:
            written = os.write(descriptor, part)
        except OSError as e:
            if e.errno in UNSUPPORTED:
                break
            raise
        done += written
        if written % ALIGNMENT:  # the disk is nearly full: what is left would not be aligned
            break
    return done


def switch(descriptor: int, *, on: bool) -> bool:
    """Turn O_DIRECT on or off; False where there is none."""
    if not _O_DIRECT:
        return False
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | _O_DIRECT if on else flags & ~_O_DIRECT)
    except OSError as e:
        if e.errno in UNSUPPORTED:
            return False
        raise
    return True
