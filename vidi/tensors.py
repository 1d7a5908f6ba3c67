"""The Tensor codec: numpy arrays to and from `vidi.api.common.v1.Tensor` (little endian, row major)."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from vidi.api.common.v1 import common_pb2
from vidi.errors import InvalidTensor

_DTYPES: dict[int, np.dtype[np.generic]] = {
    common_pb2.DATA_TYPE_UINT8: np.dtype("u1"),
    common_pb2.DATA_TYPE_UINT16: np.dtype("<u2"),
    common_pb2.DATA_TYPE_INT32: np.dtype("<i4"),
    common_pb2.DATA_TYPE_INT64: np.dtype("<i8"),
    common_pb2.DATA_TYPE_FLOAT16: np.dtype("<f2"),
    common_pb2.DATA_TYPE_FLOAT32: np.dtype("<f4"),
    common_pb2.DATA_TYPE_FLOAT64: np.dtype("<f8"),
}
_NAMES = {dtype: common_pb2.DataType.Name(code) for code, dtype in _DTYPES.items()}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}


def encode(array: npt.ArrayLike) -> common_pb2.Tensor:
    """Encode an array of any shape whose dtype the API has.

    Raises
    ------
    InvalidTensor
        When the dtype has no counterpart (bool, complex, object, ...).
    """
    a = np.asarray(array)
    dtype = a.dtype.newbyteorder("<")
    if dtype not in _CODES:
        raise InvalidTensor(f"dtype {a.dtype} has no counterpart in the API")
    data = np.ascontiguousarray(a, dtype=dtype).tobytes()
    return common_pb2.Tensor(dtype=_CODES[dtype], shape=a.shape, data=data)  # type: ignore[arg-type]


def decode(
    tensor: common_pb2.Tensor,
    *,
    field: str = "tensor",
    ndim: int | None = None,
    dtypes: Collection[str] | None = None,
    finite: bool = True,
) -> npt.NDArray[np.generic]:
    """Decode a tensor into a read-only array over its bytes (no copy).

    Parameters
    ----------
    tensor
        The message.
    field
        Path of the tensor in the request, for the error.
    ndim
        Required number of axes; None: any.
    dtypes
        Accepted dtypes as numpy names ("float32"); None: all.
    finite
        Whether NaN and infinities are refused.

    Raises
    ------
    InvalidTensor
        When the type is unknown or not accepted, an extent is negative, the byte count does not fit the shape, or a
        value is not finite.
    """
    dtype = _DTYPES.get(tensor.dtype)
    if dtype is None:
        raise InvalidTensor(f"{field}: unknown data type {tensor.dtype}", field=field)
    if dtypes is not None and dtype.name not in dtypes:
        accepted = ", ".join(sorted(dtypes))
        raise InvalidTensor(f"{field}: data type {_NAMES[dtype]} is not accepted here ({accepted})", field=field)
    shape = tuple(tensor.shape)
    if any(n < 0 for n in shape):
        raise InvalidTensor(f"{field}: shape {shape} has a negative extent", field=field)
    if ndim is not None and len(shape) != ndim:
        raise InvalidTensor(f"{field}: {len(shape)} axes where {ndim} are needed (shape {shape})", field=field)
    need = math.prod(shape) * dtype.itemsize
    if len(tensor.data) != need:
        raise InvalidTensor(
            f"{field}: {len(tensor.data)} bytes where shape {shape} of {_NAMES[dtype]} needs {need}", field=field
        )
    array = np.frombuffer(tensor.data, dtype=dtype).reshape(shape)
    if finite and dtype.kind == "f" and not bool(np.isfinite(array).all()):
        raise InvalidTensor(f"{field}: holds NaN or infinite values", field=field)
    return array
