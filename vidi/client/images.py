"""Images as callers have them, as the API takes them."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as PilImage

from vidi import tensors
from vidi.api.common.v1 import common_pb2
from vidi.errors import InvalidTensor, NotFound, UnreadableImage
from vidi.settings import MIB

#: A film: the path of a PNG or JPEG, the bytes of one, or a grey array (height, width).
ImageLike = str | os.PathLike[str] | bytes | npt.NDArray[np.generic]

#: Kept free in a message for everything beside the image.
ENVELOPE = 64 << 10


def to_image(image: ImageLike, *, max_bytes: int = 16 * MIB) -> common_pb2.Image:
    """Return the message for an image.

    Parameters
    ----------
    image
        Path or bytes of a PNG or JPEG; or an array (height, width) where 0 shows black: floats in 0..1 are sent as they
        are, or as 16-bit PNG when they would not fit a message; uint8 and uint16 over their whole range are sent as PNG
        without loss.
    max_bytes
        Largest message that the server takes.

    Raises
    ------
    NotFound
        When there is no file at the path.
    UnreadableImage
        When it is DICOM, which no service but the gateway takes (`submit`), or larger than a message.
    InvalidTensor
        When an array's shape, dtype or values are none of the above.
    """
    if isinstance(image, np.ndarray):
        return _from_array(image, max_bytes - ENVELOPE)
    data = image if isinstance(image, bytes) else read_file(Path(image))
    if data[128:132] == b"DICM":
        raise UnreadableImage("DICOM is taken by the gateway only: use submit", reason="DICOM_NOT_ACCEPTED")
    return common_pb2.Image(encoded=_fitting(data, max_bytes - ENVELOPE))


def read_file(path: Path) -> bytes:
    """Return a file's bytes.

    Raises
    ------
    NotFound
        When there is none at the path.
    UnreadableImage
        When it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise NotFound("file", path.name) from None
    except OSError as error:
        raise UnreadableImage(f"{path.name} cannot be read: {error.strerror}") from None


def _from_array(array: npt.NDArray[np.generic], limit: int) -> common_pb2.Image:
    if array.ndim != 2:
        raise InvalidTensor(
            f"an image has two axes, height and width; this array has shape {array.shape}", field="image"
        )
    if array.dtype.kind == "f" and array.dtype.itemsize <= 8:
        if array.nbytes <= limit:
            return common_pb2.Image(tensor=tensors.encode(array))
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise InvalidTensor("values of a float image are finite and in 0..1", field="image")
        array = np.round(array.astype(np.float64) * 65535).astype(np.uint16)
    native = array.astype(array.dtype.newbyteorder("="), order="C", copy=False)
    if native.dtype not in (np.uint8, np.uint16):
        raise InvalidTensor(f"an image is float, uint8 or uint16; this array is {array.dtype}", field="image")
    file = io.BytesIO()
    PilImage.fromarray(native).save(file, "PNG", compress_level=1)
    return common_pb2.Image(encoded=_fitting(file.getvalue(), limit))


def _fitting(data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        size = f"{len(data) / MIB:.1f} MiB where at most {limit / MIB:.1f} MiB are taken"
        raise UnreadableImage(f"the image is too large: {size}; send it smaller", reason="MESSAGE_TOO_LARGE")
    return data
