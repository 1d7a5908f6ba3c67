"""Reading a stream of vector batches: checked as they come, bounded in memory over all streams."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, cast

import numpy as np
import numpy.typing as npt

from vidi import tensors
from vidi.api.clusterer.v1 import clusterer_pb2
from vidi.errors import Exhausted, InvalidInput, InvalidTensor

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class VectorSet:
    """All vectors of a stream: ids, float32 (n, d), and one label a vector or None."""

    ids: tuple[str, ...]
    vectors: Float32
    labels: tuple[str, ...] | None


class Budget:
    """Bytes of vectors that all running calls together may hold. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """Reserve bytes.

        Raises
        ------
        Exhausted
            When they are not left.
        """
        with self._lock:
            if self.used + size > self.limit:
                alone = "" if self.used else "; this call alone needs more"
                raise Exhausted(
                    f"more vector data than this server holds at once ({self.limit} bytes over all calls{alone})",
                    retry_after=5.0,
                )
            self.used += size

    def give(self, size: int) -> None:
        """Give bytes back."""
        with self._lock:
            self.used -= size


class Collector:
    """Collects the batches of one stream; a context that gives its memory back to the budget at the end."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._taken = 0
        self._ids: dict[str, None] = {}
        self._parts: list[Float32] = []
        self._labels: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._budget.give(self._taken)
        self._taken = 0

    def add(self, batch: clusterer_pb2.VectorBatch) -> None:
        """Take one batch.

        Raises
        ------
        InvalidInput
            When an id comes twice, counts do not fit, the dimension changes, or only some vectors have labels.
        InvalidTensor
            When the vectors are not finite floats of shape (count, dimension).
        Exhausted
            When the server holds too much vector data already.
        """
        raw = _checked(batch)
        self._budget.take(4 * raw.size)
        self._taken += 4 * raw.size
        vectors = _narrow(raw)
        if self._parts and vectors.shape[1] != self._parts[0].shape[1]:
            raise InvalidInput(
                f"a vector of dimension {vectors.shape[1]} among others of dimension {self._parts[0].shape[1]}",
                field="batch.vectors",
            )
        for position, vector_id in enumerate(batch.ids, start=len(self._ids)):
            if vector_id in self._ids:
                raise InvalidInput(f"the id of vector {position} (from 0) came before in the stream", field="batch.ids")
            self._ids[vector_id] = None
        self._labels.extend(batch.labels)
        self._parts.append(vectors)
        if len(self._labels) not in (0, len(self._ids)):
            raise InvalidInput("some vectors have labels and some have none: all or none", field="batch.labels")

    def finish(self) -> VectorSet:
        """Return everything that was read.

        Raises
        ------
        InvalidInput
            When nothing was.
        """
        if not self._parts:
            raise InvalidInput("the stream holds no vectors", field="batch")
        vectors = self._parts[0] if len(self._parts) == 1 else np.concatenate(self._parts)
        self._parts.clear()
        return VectorSet(tuple(self._ids), vectors, tuple(self._labels) or None)


def decode(batch: clusterer_pb2.VectorBatch) -> Float32:
    """Decode the vectors of one batch to a float32 copy (n, d) and check them against its ids and labels.

    Raises
    ------
    InvalidInput
        When counts do not fit, or a label is empty.
    InvalidTensor
        When they are not finite floats of shape (count, dimension), or do not fit into float32.
    """
    return _narrow(_checked(batch))


def _checked(batch: clusterer_pb2.VectorBatch) -> npt.NDArray[np.floating]:
    """The vectors over the message's own bytes, checked in all but their range."""
    array = tensors.decode(batch.vectors, field="batch.vectors", ndim=2, dtypes=("float16", "float32", "float64"))
    if array.shape[1] == 0:
        raise InvalidTensor("batch.vectors: vectors of dimension 0", field="batch.vectors")
    _same_length(batch.ids, len(array), "batch.ids")
    if batch.labels:
        _same_length(batch.labels, len(array), "batch.labels")
        if not all(batch.labels):
            raise InvalidInput("an empty label: all vectors have one, or none has", field="batch.labels")
    return cast("npt.NDArray[np.floating]", array)


def _narrow(array: npt.NDArray[np.floating]) -> Float32:
    """A float32 copy."""
    with np.errstate(over="ignore"):
        vectors = array.astype(np.float32)
    if not bool(np.isfinite(vectors).all()):
        raise InvalidTensor("batch.vectors: values beyond the range of float32", field="batch.vectors")
    return vectors


def _same_length(values: Sequence[str], count: int, field: str) -> None:
    if len(values) != count:
        raise InvalidInput(f"{field}: {len(values)} entries for {count} vectors", field=field)
