"""A C-STORE's data set while it is received: one buffer that the socket fills, hashed beside the receiving.

pynetdicom collects a data set by copying each PDU several times, and joins it with its file meta information by copying
it twice more. Here the file meta information stands in the buffer first, and the socket writes behind it: what is
complete is a Part 10 file.
"""

from __future__ import annotations

import hashlib
import io
import mmap
import os
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from vidi_gateway.store.staging import Staged

#: A buffer begins with so many bytes, and doubles. Memory that was never written costs nothing.
FIRST_BYTES = 4 << 20
#: All together are kept for the next films up to this size.
KEPT_BYTES = 128 << 20
#: Hashing and writing begin with so many bytes, and go on with so many more.
_BLOCK = 1 << 20
#: Most bytes that are read from the socket at a time.
_READ = 1 << 18
#: The rest of a PDU that is at least so long is read to where it belongs; shorter ones are read together, and moved.
_WHOLE = 1 << 15
P_DATA_TF = 4
#: Bits of the message control header (PS3.8 annex E.2).
COMMAND, LAST = 0x01, 0x02
#: PDU type, reserved, PDU length, item length, presentation context, message control header (PS3.8 section 9.3.5).
_HEAD = struct.Struct(">BBLLBB")

Stage = Callable[[], Staged | None]


class Helpers:
    """Threads that work on films while they come.

    Parameters
    ----------
    name
        Of the threads.
    count
        How many.
    """

    def __init__(self, name: str, count: int) -> None:
        self.pool = ThreadPoolExecutor(count, thread_name_prefix=name)
        self.idle = threading.BoundedSemaphore(count)


# More threads that hash than cores are no gain; those that write wait for the disk most of the time.
_HASHING = Helpers("vidi-hash", os.cpu_count() or 1)
_WRITING = Helpers("vidi-write", 16)


class Beside:
    """Work on a file while it comes: by a thread beside while one is idle, else by the one that brings it.

    Parameters
    ----------
    work
        Called with the file so far, from its beginning; by one thread at a time. Raises nothing.
    helpers
        The threads.
    """

    def __init__(self, work: Callable[[memoryview], object], helpers: Helpers) -> None:
        self._work = work
        self._helpers = helpers
        self._newest: memoryview | None = None
        self._changed = threading.Condition()
        self._running = False

    def bring(self, content: memoryview) -> None:
        """Say what the file is so far."""
        with self._changed:
            if self._running:
                self._newest = content
                return
            self._running = self._helpers.idle.acquire(blocking=False)
            if self._running:
                self._newest = content
                self._helpers.pool.submit(self._run)
                return
        self._work(content)

    def wait(self) -> None:
        """Wait until what was brought is worked on."""
        with self._changed:
            self._changed.wait_for(lambda: not self._running)

    def _run(self) -> None:
        while True:
            with self._changed:
                content, self._newest = self._newest, None
                if content is None:
                    self._running = False
                    self._helpers.idle.release()
                    self._changed.notify_all()
                    return
            self._work(content)


class Buffers:
    """Buffers that films were in, for the next ones: memory that is fresh from the system costs as much as a copy.

    Parameters
    ----------
    kept_bytes
        Most bytes that are kept while nobody uses them.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept_bytes = kept_bytes
        self._spare: list[mmap.mmap] = []
        self._lock = threading.Lock()

    def take(self) -> mmap.mmap:
        """Return the buffer that was given last, or a small one."""
        with self._lock:
            if self._spare:
                return self._spare.pop()
        return mmap.mmap(-1, FIRST_BYTES)

    def give(self, buffer: mmap.mmap) -> None:
        """Take a buffer back that nobody looks at any more."""
        with self._lock:
            if sum(map(len, self._spare)) + len(buffer) <= self._kept_bytes:
                self._spare.append(buffer)


class FilmStream(io.BytesIO):
    """Stands where pynetdicom expects the `BytesIO` of a message's data set.

    Parameters
    ----------
    head
        Preamble and file meta information.
    context_id
        The presentation context that it comes in.
    buffers
        Where memory comes from, and returns to.
    stage
        Begins a file that the film is written to while it comes; returns None where that is not to be.
    """

    def __init__(self, head: bytes, context_id: int, buffers: Buffers, stage: Stage = lambda: None) -> None:
        super().__init__()
        self.context_id = context_id
        self._buffers = buffers
        self._buffer = buffers.take()
        self._head = len(head)
        self._end = 0
        self._brought = 0
        self._hash, self._hashed = hashlib.sha256(), 0
        self._stage: Stage | None = stage
        self._staged: Staged | None = None
        self._hashing, self._writing = Beside(self._hash_more, _HASHING), Beside(self._write_more, _WRITING)
        self.write(head)

    @property
    def end(self) -> int:
        """How long the file is so far, in bytes."""
        return self._end

    def memory(self, start: int, count: int) -> memoryview:
        """Return `count` bytes of the buffer, to be written to. `start` is `end`, or after it."""
        if start + count > len(self._buffer):
            larger = mmap.mmap(-1, max(2 * len(self._buffer), start + count))
            larger[:start] = memoryview(self._buffer)[:start]
            self._buffer = larger  # those beside may still look at the old one
        return memoryview(self._buffer)[start : start + count]

    def append(self, start: int, count: int) -> None:
        """Append `count` bytes that stand in the buffer at `start`."""
        if start != self._end:
            self._buffer.move(self._end, start, count)
        self._end += count
        if self._end - self._brought >= _BLOCK:
            self._bring()

    def write(self, data: Any, /) -> int:
        """Append, as pynetdicom does."""
        view = memoryview(data)
        with self.memory(self._end, view.nbytes) as memory:
            memory[:] = view
        self.append(self._end, view.nbytes)
        return view.nbytes

    def getvalue(self) -> bytes:
        """Return the data set without the file meta information."""
        return self._buffer[self._head : self._end]

    @property
    def part10(self) -> memoryview:
        """The file as it is; look at it before `release`."""
        return memoryview(self._buffer)[: self._end].toreadonly()

    def digest(self) -> str:
        """Return "sha256:" and the hex digest of the file; to be called when it is complete."""
        if self._brought < self._end:
            self._bring()
        self._hashing.wait()
        return "sha256:" + self._hash.hexdigest()

    @property
    def staged(self) -> Staged | None:
        """The file that it was written to while it came, if so. To be asked for after `digest`."""
        self._writing.wait()
        return self._staged

    def release(self) -> None:
        """Give the memory back, for another film: nobody may look at this one any more."""
        self._hashing.wait()
        staged = self.staged
        if staged:
            staged.discard()
        self._buffers.give(self._buffer)
        self._buffer = mmap.mmap(-1, mmap.PAGESIZE)
        self._head = self._end = self._brought = 0

    def _bring(self) -> None:
        content = memoryview(self._buffer)[: self._end]
        self._brought = self._end
        if self._end >= _BLOCK:  # smaller ones are written when they are complete
            self._writing.bring(content)
        self._hashing.bring(content)

    def _hash_more(self, content: memoryview) -> None:
        self._hash.update(content[self._hashed :])
        self._hashed = len(content)

    def _write_more(self, content: memoryview) -> None:
        if self._stage is not None:
            self._staged, self._stage = self._stage(), None
        if self._staged is not None:
            self._staged.advance(content)


class Fragments:
    """Takes P-DATA-TF PDUs apart that carry one fragment of one film's data each, as nearly all do.

    Parameters
    ----------
    stream
        Where the fragments go. Bytes are read into its buffer, behind what is there.
    admit
        Called with each PDU's length before it is taken; raises where a bound is exceeded.

    Attributes
    ----------
    complete
        Whether the last fragment was taken.
    pdus
        How many were taken so far.
    ended
        Whether there is no more to be taken: the film is complete, or what follows is no such PDU.
    """

    def __init__(self, stream: FilmStream, admit: Callable[[int], object]) -> None:
        self._stream = stream
        self._admit = admit
        self._start = self._stop = stream.end  # what was read and not yet looked at
        self._left = 0  # of the fragment
        self._inside = self._last = False
        self.complete = self.ended = False
        self.pdus = 0

    def room(self) -> memoryview:
        """Return memory to read into; then call `advance`."""
        whole = self._left >= _WHOLE and self._start == self._stop
        return self._stream.memory(self._stop, self._left + _HEAD.size if whole else _READ)

    def advance(self, count: int) -> None:
        """Look at `count` more bytes."""
        self._stop += count
        while not self.ended and (self._fragment() if self._inside else self._next()):
            pass
        if self._start == self._stop:
            self._start = self._stop = self._stream.end

    def rest(self) -> bytes:
        """Return what was read and not taken."""
        return bytes(self._stream.memory(self._start, self._stop - self._start))

    def _next(self) -> bool:
        """Look at the next PDU's header. Returns whether it was all there."""
        with self._stream.memory(self._start, self._stop - self._start) as view:
            if len(view) < _HEAD.size:
                self.ended = len(view) > 0 and view[0] != P_DATA_TF
                return False
            kind, _, length, item, context_id, control = _HEAD.unpack_from(view)
        plain = kind == P_DATA_TF and item == length - 4 and item >= 2 and context_id == self._stream.context_id
        if not plain or control & COMMAND:
            self.ended = True
            return False
        self._admit(length)
        self._start += _HEAD.size
        self._left, self._last, self._inside = item - 2, bool(control & LAST), True
        return True

    def _fragment(self) -> bool:
        """Take what there is of a fragment. Returns whether that was all of it."""
        count = min(self._left, self._stop - self._start)
        self._stream.append(self._start, count)
        self._start += count
        self._left -= count
        if self._left:
            return False
        self._inside = False
        self.pdus += 1
        self.complete = self.ended = self._last
        return True
