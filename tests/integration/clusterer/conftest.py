"""A real clusterer on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidi import tensors
from vidi.api.clusterer.v1 import clusterer_pb2, clusterer_pb2_grpc
from vidi.api.common.v1 import common_pb2
from vidi.rpc.channel import open_channel
from vidi.rpc.server import running
from vidi_clusterer.service import SERVICE


@pytest.fixture
def clusterer(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Any]]:
    """Starts a clusterer, yields its stub, and stops it; state stays in the test's folder."""

    @asynccontextmanager
    async def start(**overrides: Any) -> AsyncIterator[Any]:
        settings = SERVICE.settings(**{"data_dir": tmp_path, "port": 0, "grace_seconds": 10.0, **overrides})
        async with running(SERVICE, settings) as server:
            channel = open_channel(server.address)
            try:
                yield clusterer_pb2_grpc.ClustererServiceStub(channel)
            finally:
                await channel.close()

    return start


@pytest.fixture
def kmeans() -> clusterer_pb2.KMeansConfig:
    return clusterer_pb2.KMeansConfig(
        provenance=clusterer_pb2.Provenance(
            model=common_pb2.ModelRef(name="m", version="1", digest="sha256:" + "a" * 64),
            background_digest="sha256:" + "b" * 64,
            feature_space="pooled14-signed",
            method="shap/float32",
            classes=["normal", "pneumonia"],
        ),
        seed=1,
        label_source=clusterer_pb2.LABEL_SOURCE_REFERENCE,
    )


@pytest.fixture
def batches() -> Callable[..., list[clusterer_pb2.VectorBatch]]:
    """Makes batches of ten vectors of three well-separated groups."""

    def make(count: int = 60, dimension: int = 16) -> list[clusterer_pb2.VectorBatch]:
        rng = np.random.default_rng(0)
        groups = np.arange(count) % 3
        vectors = (10.0 * rng.normal(size=(3, dimension))[groups] + rng.normal(size=(count, dimension))).astype(
            np.float32
        )
        return [
            clusterer_pb2.VectorBatch(
                ids=[f"v{i}" for i in range(start, min(start + 10, count))],
                vectors=tensors.encode(vectors[start : start + 10]),
                labels=[f"group {g}" for g in groups[start : start + 10]],
            )
            for start in range(0, count, 10)
        ]

    return make
