"""A small cohort for the report: two clusters of phantoms' kind of data, made by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from vidi.api.clusterer.v1 import clusterer_pb2 as pb
from vidi.api.common.v1 import common_pb2
from vidi.report import FilmCard

CLASSES = ("normal", "pneumonia")
DIGEST = "sha256:" + "a" * 64


def make_card(number: int, **changes: object) -> FilmCard:
    rng = np.random.default_rng(number)
    values: dict[str, object] = {
        "id": f"film-{number}",
        "thumbnail": rng.random((64, 64), dtype=np.float32),
        "maps": {name: (1e-3 * rng.normal(size=(64, 64))).astype(np.float32) for name in CLASSES},
        "prediction": CLASSES[number % 2],
        "probabilities": {CLASSES[number % 2]: 0.75, CLASSES[1 - number % 2]: 0.25},
        "label": f"label-{number % 2}",
        "residuals": {"normal": 1e-6, "pneumonia": -3e-6},
    }
    return FilmCard(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture
def cards() -> list[FilmCard]:
    return [make_card(i) for i in range(10)]


@pytest.fixture
def model() -> common_pb2.Model:
    return common_pb2.Model(
        ref=common_pb2.ModelRef(name="tiny", version="1.0.0", digest=DIGEST),
        arch="vgg19_bn",
        classes=[common_pb2.ModelClass(index=i, name=name) for i, name in enumerate(CLASSES)],
        input_height=64,
        input_width=64,
        intended_use=common_pb2.IntendedUse(statement="For tests."),
        training_data="nothing",
        background_digest="sha256:" + "b" * 64,
        background_size=8,
        map_scale=1e-4,
    )


@pytest.fixture
def clustering() -> pb.Clustering:
    """Cluster 0: films 0 to 6, mixed labels; cluster 1: films 7 to 9."""
    members = [
        pb.Member(id=f"film-{i}", cluster=int(i > 6), distance=1.0 + i, label=f"label-{i % 2}") for i in range(10)
    ]
    return pb.Clustering(
        id="c0123456789ab-01234567",
        k=2,
        dimension=8,
        count=10,
        inertia=12.5,
        kmeans=pb.KMeansConfig(
            provenance=pb.Provenance(
                model=common_pb2.ModelRef(digest=DIGEST),
                background_digest="sha256:" + "b" * 64,
                feature_space="pooled14-signed",
                method="shap/float32",
                classes=CLASSES,
            ),
            restarts=3,
            max_iterations=100,
            seed=7,
            label_source=pb.LABEL_SOURCE_REFERENCE,
        ),
        agreement=pb.Agreement(homogeneity=0.612, completeness=0.5, v_measure=0.55, adjusted_mutual_information=0.4),
        random_baseline=pb.Agreement(homogeneity=0.213, adjusted_mutual_information=-0.0001),
        clusters=[
            pb.Cluster(
                index=0,
                size=7,
                medoid_ids=[f"film-{i}" for i in range(5)],
                extreme_ids=[f"film-{i}" for i in (6, 5, 4, 3, 2)],
                labels=[pb.LabelCount(label="label-0", count=4), pb.LabelCount(label="label-1", count=3)],
                purity=4 / 7,
                mean_distance=4.0,
                max_distance=7.0,
                favorable_sums=[0.5, 1.25],
                glum_sums=[-2.0, -0.75],
            ),
            pb.Cluster(
                index=1,
                size=3,
                medoid_ids=["film-7", "film-8", "film-9"],
                extreme_ids=["film-9", "film-8", "film-7"],
                labels=[pb.LabelCount(label="label-1", count=3)],
                purity=1.0,
                mean_distance=9.0,
                max_distance=10.0,
            ),
        ],
        members=members,
        backend="faiss 1 cpu",
    )


@pytest.fixture
def sweep() -> pb.SweepKResponse:
    def agreement(value: float) -> pb.Agreement:
        return pb.Agreement(homogeneity=value, completeness=0.5, v_measure=0.5, adjusted_mutual_information=value - 0.2)

    return pb.SweepKResponse(
        points=[
            pb.SweepPoint(k=k, inertia=100 / k, agreement=agreement(h), random_baseline=agreement(h / 4))
            for k, h in ((2, 0.5), (5, 0.75), (10, 1.0))
        ],
        recommended_k=5,
        reason="Because <five> is enough.",
        backend="faiss 1 cpu",
        count=10,
    )


@pytest.fixture
def generated() -> datetime:
    return datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
