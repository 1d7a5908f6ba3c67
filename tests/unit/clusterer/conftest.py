"""Vectors, provenance and configs for the clusterer's tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from vidi import tensors
from vidi.api.clusterer.v1 import clusterer_pb2
from vidi.api.common.v1 import common_pb2


@pytest.fixture
def provenance() -> clusterer_pb2.Provenance:
    return clusterer_pb2.Provenance(
        model=common_pb2.ModelRef(name="m", version="1", digest="sha256:" + "a" * 64),
        background_digest="sha256:" + "b" * 64,
        feature_space="pooled14-signed",
        method="shap/float32",
        classes=["normal", "pneumonia"],
    )


@pytest.fixture
def config(provenance: clusterer_pb2.Provenance) -> clusterer_pb2.KMeansConfig:
    return clusterer_pb2.KMeansConfig(provenance=provenance, seed=3, label_source=clusterer_pb2.LABEL_SOURCE_REFERENCE)


@pytest.fixture
def batch() -> Callable[..., clusterer_pb2.VectorBatch]:
    """Makes a batch of three well-separated groups of vectors, labelled by group."""

    def make(
        count: int = 30, dimension: int = 8, *, start: int = 0, labelled: bool = True, dtype: str = "float32"
    ) -> clusterer_pb2.VectorBatch:
        groups = np.arange(start, start + count) % 3
        centres = 10.0 * np.random.default_rng(0).normal(size=(3, dimension))
        noise = np.random.default_rng(start + 1).normal(size=(count, dimension))
        return clusterer_pb2.VectorBatch(
            ids=[f"v{i}" for i in range(start, start + count)],
            vectors=tensors.encode((centres[groups] + noise).astype(dtype)),
            labels=[f"group {g}" for g in groups] if labelled else [],
        )

    return make
