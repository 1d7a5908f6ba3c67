"""What goes through the pipes of the decoding sandbox: frames of bytes, films as JSON and raw arrays.

Nothing is unpickled. What a child sends is checked as if it came from a stranger: a codec that was taken over by a
crafted film can say anything, but only in this format.
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import numpy as np

from vidi.errors import InternalError, UnreadableImage
from vidi.imaging.dicom import Film, read_header
from vidi.imaging.encoded import MAX_SIDE
from vidi.imaging.notes import Note

HEAD = struct.Struct(">Q")
# A film of the largest size: 4 bytes a pixel, one bit a pixel of validity, and the description.
MAX_REPLY = MAX_SIDE * MAX_SIDE * 4 + MAX_SIDE * MAX_SIDE // 8 + (1 << 20)
_MAX_DESCRIPTION = 1 << 16


def pack_film(film: Film) -> list[bytes | memoryview]:
    """Serialise a film, in parts, without its header, which the receiver reads from the file itself."""
    description = {
        "ok": True,
        "shape": list(film.pixels.shape),
        "valid": film.valid is not None,
        "bits": film.bits,
        "digest": film.pixel_digest,
        "notes": [[note.code, note.message] for note in film.notes],
    }
    pixels = np.ascontiguousarray(film.pixels, "<f4").data.cast("B")
    valid = b"" if film.valid is None else np.packbits(film.valid).tobytes()
    return [*_described(description), pixels, valid]


def pack_error(message: str, reason: str) -> list[bytes | memoryview]:
    """Serialise a refusal of the decoder; a reason of "" means a defect."""
    return _described({"ok": False, "message": message, "reason": reason})


def _described(description: dict[str, Any]) -> list[bytes | memoryview]:
    head = json.dumps(description).encode()
    return [struct.pack(">I", len(head)), head]


def unpack(reply: bytes, data: bytes) -> Film:
    """Rebuild the film that a child decoded from `data`.

    Raises
    ------
    UnreadableImage
        What the decoder raised.
    InternalError
        The decoder failed by a defect, or the reply is not in the format.
    """
    try:
        return _unpack(reply, data)
    except (ValueError, TypeError, KeyError, struct.error) as error:
        raise InternalError("the decoder's reply cannot be read") from error


def _unpack(reply: bytes, data: bytes) -> Film:
    (length,) = struct.unpack_from(">I", reply)
    if length > _MAX_DESCRIPTION:
        raise ValueError("description too long")
    said: dict[str, Any] = json.loads(reply[4 : 4 + length])
    if not said["ok"]:
        if not said["reason"]:
            raise InternalError("the decoder failed")
        raise UnreadableImage(str(said["message"])[:500], field="data", reason=str(said["reason"])[:64])
    height, width = (int(side) for side in said["shape"])
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise ValueError("shape out of bounds")
    count = height * width
    body = memoryview(reply)[4 + length :]
    packed = math.ceil(count / 8) if said["valid"] else 0
    if len(body) != 4 * count + packed:
        raise ValueError("length does not fit the shape")
    pixels = np.frombuffer(body[: 4 * count], "<f4").reshape(height, width).astype(np.float32)
    if not bool(np.isfinite(pixels).all()) or float(pixels.min()) < 0.0 or float(pixels.max()) > 1.0:
        raise ValueError("pixels out of range")
    valid = None
    if said["valid"]:
        valid = (
            np.unpackbits(np.frombuffer(body[4 * count :], np.uint8), count=count).astype(bool).reshape(height, width)
        )
    notes = tuple(Note(str(code)[:64], str(message)[:500]) for code, message in said["notes"][:32])
    return Film(pixels, valid, read_header(data), int(said["bits"]), notes, str(said["digest"])[:80])
