"""PNG and JPEG files to grey films."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from vidi.errors import UnreadableImage

MIN_SIDE = 16
MAX_SIDE = 8192

# What Pillow's PNG and JPEG readers raise on damaged files.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def decode_encoded(data: bytes) -> npt.NDArray[np.float32]:
    """Decode a PNG or JPEG film.

    Parameters
    ----------
    data
        The complete file: PNG of 1 to 16 bits or JPEG, grey or colour. Colour becomes luma (ITU-R BT.601, exact on
        grey), transparency is laid on black, the EXIF orientation is applied.

    Returns
    -------
    float32 (height, width) in 0..1, 0 black. 8-bit files are divided by 255, 16-bit files by 65535.

    Raises
    ------
    UnreadableImage
        When the bytes are neither PNG nor JPEG, are damaged or truncated, or a side lies outside 16..8192 pixels.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
    except _DAMAGE as error:
        raise UnreadableImage("not a readable PNG or JPEG file", field="image") from error
    check_sides(image.height, image.width)
    try:
        return _to_grey(image)
    except _DAMAGE as error:
        raise UnreadableImage(f"damaged or truncated {image.format} file", field="image") from error


def check_sides(height: int, width: int) -> None:
    """Refuse films that are too small to show a chest or too large to be one.

    Raises
    ------
    UnreadableImage
        When a side lies outside 16..8192 pixels.
    """
    if min(height, width) < MIN_SIDE or max(height, width) > MAX_SIDE:
        raise UnreadableImage(
            f"a film of {height} x {width} pixels: sides of {MIN_SIDE} to {MAX_SIDE} pixels are accepted",
            field="image",
            reason="DIMENSIONS",
        )


def _to_grey(image: Image.Image) -> npt.NDArray[np.float32]:
    image.load()
    turned: Any = ImageOps.exif_transpose(image)
    if turned.mode.startswith("I;16") or turned.mode in ("I", "F"):
        return np.asarray(turned, np.float32) / np.float32(65535.0)
    if turned.mode in ("LA", "RGBA", "PA", "La", "RGBa") or "transparency" in turned.info:
        rgba = turned.convert("RGBA")
        turned = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba).convert("RGB")
    return np.asarray(turned.convert("L"), np.float32) / np.float32(255.0)
