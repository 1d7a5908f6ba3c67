"""The process that decodes: `python -m vidi.imaging.sandbox_worker MEMORY_BYTES`.

Reads length-prefixed DICOM files from standard input, writes length-prefixed replies (`vidi.imaging.wire`) to standard
output, and ends with its input. Its address space is limited; it needs no network, file or environment.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Sequence
from typing import BinaryIO

from vidi.errors import UnreadableImage
from vidi.imaging import headers, wire
from vidi.imaging.dicom import decode_dicom


def main() -> None:
    """Serve until the input ends."""
    # Codecs print to standard output at times; the replies go to a descriptor that they do not know.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    limit = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    headers.quiet_pydicom()
    serve(sys.stdin.buffer, replies)


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests one after the other."""
    _send(replies, [b"ready"])
    while True:
        head = requests.read(wire.HEAD.size)
        if len(head) < wire.HEAD.size:
            return
        (length,) = wire.HEAD.unpack(head)
        data = requests.read(length)
        if len(data) < length:
            return
        _send(replies, _answer(data))


def _answer(data: bytes) -> list[bytes | memoryview]:
    try:
        return wire.pack_film(decode_dicom(data))
    except UnreadableImage as error:
        if isinstance(error.__cause__, MemoryError):
            return wire.pack_error("decoding this film takes more memory than is allowed", "DECODER_MEMORY")
        return wire.pack_error(error.message, error.reason)
    except MemoryError:
        return wire.pack_error("decoding this film takes more memory than is allowed", "DECODER_MEMORY")
    except Exception:  # noqa: BLE001 - a defect is reported as one; its message may quote the film's header
        return wire.pack_error("", "")


def _send(replies: BinaryIO, parts: Sequence[bytes | memoryview]) -> None:
    replies.write(wire.HEAD.pack(sum(len(part) for part in parts)))
    for part in parts:
        replies.write(part)
    replies.flush()


if __name__ == "__main__":
    main()
