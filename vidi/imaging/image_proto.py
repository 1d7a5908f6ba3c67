"""The API's Image message to a grey film."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vidi import tensors
from vidi.api.common.v1 import common_pb2
from vidi.errors import InvalidInput, InvalidTensor
from vidi.imaging.encoded import check_sides, decode_encoded

_TOLERANCE = 1e-6


def grid_source(image: common_pb2.Image, *, field: str = "image") -> npt.NDArray[np.float32]:
    """Return the grey film of a request, ready for `Preprocessing.to_grid`.

    Parameters
    ----------
    image
        The message: an encoded PNG or JPEG, or a tensor (height, width) of float16, float32 or float64 in 0..1.
    field
        Path of the message in the request, for errors.

    Returns
    -------
    float32 (height, width) in 0..1, 0 black.

    Raises
    ------
    InvalidInput
        When neither source is set.
    InvalidTensor
        When the tensor is not two-dimensional float in 0..1 (within 1e-6), or holds NaN or infinities.
    UnreadableImage
        When the file cannot be read, or a side lies outside 16..8192 pixels.
    """
    source = image.WhichOneof("source")
    if source is None:
        raise InvalidInput(f"{field}: set either encoded or tensor", field=field)
    if source == "encoded":
        return decode_encoded(image.encoded)
    path = f"{field}.tensor"
    film = tensors.decode(image.tensor, field=path, ndim=2, dtypes=("float16", "float32", "float64"))
    check_sides(film.shape[0], film.shape[1])
    grey = film.astype(np.float32)
    low, high = float(grey.min()), float(grey.max())
    if low < -_TOLERANCE or high > 1.0 + _TOLERANCE:
        raise InvalidTensor(f"{path}: values from {low:.6g} to {high:.6g} where 0 to 1 is needed", field=path)
    return np.clip(grey, 0.0, 1.0)
