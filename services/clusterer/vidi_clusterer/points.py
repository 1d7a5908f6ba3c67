"""Vectors made ready for k-means: checked, centred, scaled, and in no more dimensions than they span."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vidi.errors import InvalidTensor

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

#: float64 working memory of one pass over the vectors, in bytes.
CHUNK_BYTES = 32 << 20

#: Up to so many vectors, and when they have more than twice as many dimensions, distances are kept in fewer dimensions.
REDUCE_COUNT = 2048


@dataclass(frozen=True)
class Points:
    """Vectors made ready for any number of k.

    Attributes
    ----------
    vectors
        float32 (n, d), as given.
    scaled
        float32 (n, d'), d' at most d: centred, rotated into fewer dimensions where that pays, and divided by `scale`.
        Distances keep their ratios, and float32 its precision.
    scale
        Root mean square of the centred values; 1 when all vectors are equal.
    distinct
        Number of different vectors: the largest k.
    """

    vectors: Float32
    scaled: Float32
    scale: float
    distinct: int

    @property
    def count(self) -> int:
        """Number of vectors."""
        return len(self.vectors)


def prepare(vectors: npt.NDArray[np.floating]) -> Points:
    """Check, centre and scale vectors.

    Parameters
    ----------
    vectors
        (n, d), n and d at least 1, finite, within the range of float32.

    Raises
    ------
    InvalidTensor
        When the shape is wrong or a value is not a finite float32.
    """
    if vectors.ndim != 2 or 0 in vectors.shape:
        raise InvalidTensor(f"vectors of shape {vectors.shape}: (count, dimension) is needed", field="vectors")
    with np.errstate(over="ignore"):
        x = np.ascontiguousarray(vectors, dtype=np.float32)
    if not bool(np.isfinite(x).all()):
        raise InvalidTensor("vectors: NaN, infinite or beyond the range of float32", field="vectors")
    mean = x.mean(axis=0, dtype=np.float64)
    total = sum(float(np.square(x[rows] - mean).sum()) for rows in chunks(x))
    scale = float(np.sqrt(total / x.size)) or 1.0
    scaled = np.empty_like(x)
    for rows in chunks(x):
        scaled[rows] = (x[rows] - mean) / scale
    if len(x) <= REDUCE_COUNT and x.shape[1] > 2 * len(x):
        scaled = _rotated(scaled)
    return Points(x, scaled, scale, _distinct(x))


def chunks(x: npt.NDArray[np.floating]) -> list[slice]:
    """Slices of rows whose float64 copies stay within `CHUNK_BYTES`."""
    rows = max(1, CHUNK_BYTES // (8 * x.shape[1]))
    return [slice(start, start + rows) for start in range(0, len(x), rows)]


def _distinct(x: Float32) -> int:
    """Number of different vectors, told apart by 128 bits of a digest instead of whole copies."""
    digests: set[bytes] = set()
    for rows in chunks(x):
        same_zeros = x[rows] + np.float32(0)  # -0.0 + 0 is 0.0
        digests.update(hashlib.blake2b(row, digest_size=16).digest() for row in same_zeros)
    return len(digests)


def _rotated(x: Float32) -> Float32:
    """Coordinates (n, n) of centred vectors on their principal axes: every distance stays.

    n vectors span at most n dimensions. With the Gram matrix G = X X^T = U L U^T the rows of U L^(1/2) have the scalar
    products, and with them the distances, of the rows of X.
    """
    gram = np.zeros((len(x), len(x)))
    columns = max(1, CHUNK_BYTES // (8 * len(x)))
    for start in range(0, x.shape[1], columns):
        part = x[:, start : start + columns].astype(np.float64)
        gram += part @ part.T
    values, axes = np.linalg.eigh(gram)
    return np.ascontiguousarray(axes * np.sqrt(np.maximum(values, 0.0)), dtype=np.float32)
