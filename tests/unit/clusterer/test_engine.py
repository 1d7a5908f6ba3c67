"""Sweep, fit and assign without RPC."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vidi import tensors
from vidi.api.clusterer.v1 import clusterer_pb2
from vidi.errors import Cancelled, InvalidInput, InvalidTensor, NotFound, PreconditionFailed
from vidi_clusterer.engine import DEFAULT_KS, ClusterEngine
from vidi_clusterer.store import ClusteringStore
from vidi_clusterer.vectors import Budget, Collector, VectorSet

MakeBatch = Callable[..., clusterer_pb2.VectorBatch]


@pytest.fixture
def store(tmp_path: Path) -> ClusteringStore:
    return ClusteringStore(tmp_path)


@pytest.fixture
def engine(store: ClusteringStore) -> ClusterEngine:
    return ClusterEngine(store, max_clustering_bytes=1 << 20)


def data(*batches: clusterer_pb2.VectorBatch) -> VectorSet:
    with Collector(Budget(1 << 24)) as collector:
        for batch in batches:
            collector.add(batch)
        return collector.finish()


def test_a_sweep_measures_and_recommends(
    engine: ClusterEngine, config: clusterer_pb2.KMeansConfig, batch: MakeBatch
) -> None:
    sweep = engine.sweep(clusterer_pb2.SweepKConfig(kmeans=config, ks=[6, 2, 3]), data(batch(60)))
    assert [p.k for p in sweep.points] == [2, 3, 6]
    assert sweep.recommended_k == 3
    assert sweep.count == 60
    assert sweep.backend.startswith("faiss ")
    assert not sweep.circular
    three = sweep.points[1]
    assert three.agreement.homogeneity == three.agreement.adjusted_mutual_information == 1.0
    assert 0 < three.random_baseline.homogeneity < 0.2
    assert list(three.sizes) == [20, 20, 20]
    inertias = [p.inertia for p in sweep.points]
    assert inertias == sorted(inertias, reverse=True)


def test_default_ks_reach_as_far_as_the_vectors(
    engine: ClusterEngine, config: clusterer_pb2.KMeansConfig, batch: MakeBatch
) -> None:
    sweep = clusterer_pb2.SweepKConfig(kmeans=config)
    for count in (2, 12, 45):
        points = engine.sweep(sweep, data(batch(count))).points
        assert [p.k for p in points] == [k for k in DEFAULT_KS if k <= count]


def test_predicted_labels_are_marked_circular(
    engine: ClusterEngine, config: clusterer_pb2.KMeansConfig, batch: MakeBatch
) -> None:
    config.label_source = clusterer_pb2.LABEL_SOURCE_PREDICTED
    sweep = clusterer_pb2.SweepKConfig(kmeans=config, ks=[3])
    labelled = engine.sweep(sweep, data(batch(12)))
    assert labelled.circular
    assert "circular" in labelled.reason
    without = engine.sweep(sweep, data(batch(12, labelled=False)))
    assert not without.circular
    assert not without.points[0].HasField("agreement")
    assert not without.points[0].HasField("random_baseline")


def test_labels_of_unknown_source_are_refused(
    engine: ClusterEngine, config: clusterer_pb2.KMeansConfig, batch: MakeBatch
) -> None:
    config.label_source = clusterer_pb2.LABEL_SOURCE_UNSPECIFIED
    with pytest.raises(InvalidInput, match="circular"):
        engine.sweep(clusterer_pb2.SweepKConfig(kmeans=config), data(batch()))
    with pytest.raises(InvalidInput, match="circular"):
        engine.fit(clusterer_pb2.FitConfig(kmeans=config, k=2), data(batch()))


def test_k_above_the_different_vectors_is_refused(
    engine: ClusterEngine, config: clusterer_pb2.KMeansConfig, batch: MakeBatch
) -> None:
    with pytest.raises(InvalidInput, match="k = 31"):
        engine.sweep(clusterer_pb2.SweepKConfig(kmeans=config, ks=[2, 31]), data(batch(30)))
    with pytest.raises(InvalidInput, match="k = 31"):
        engine.fit(clusterer_pb2.FitConfig(kmeans=config, k=31), data(batch(30)))
    with pytest.raises(InvalidInput, match="two different"):
        engine.sweep(clusterer_pb2.SweepKConfig(kmeans=config), data(batch(1)))


def test_a_fit_is_described_stored_and_repeatable(
    engine: ClusterEngine, store: ClusteringStore, config: clusterer_pb2.KMeansConfig, batch: MakeBatch
) -> None:
    fitted = engine.fit(
        clusterer_pb2.FitConfig(kmeans=config, k=3, display_name="mine"), data(batch(30), batch(5, start=30))
    )
    assert store.get(fitted.id) == fitted
    assert (fitted.display_name, fitted.k, fitted.dimension, fitted.count) == ("mine", 3, 8, 35)
    assert (fitted.kmeans.restarts, fitted.kmeans.max_iterations, fitted.kmeans.seed) == (3, 100, 3)
    assert fitted.kmeans.provenance == config.provenance
    assert [c.size for c in fitted.clusters] == [12, 12, 11]
    assert all(c.purity == 1.0 and len(c.medoid_ids) == len(c.extreme_ids) == 5 for c in fitted.clusters)
    assert fitted.agreement.homogeneity == 1.0
    assert [m.id for m in fitted.members] == [f"v{i}" for i in range(35)]
    assert {m.label for m in fitted.members if m.cluster == fitted.members[0].cluster} == {"group 0"}
    assert fitted.inertia == pytest.approx(sum(m.distance**2 for m in fitted.members))
    centroids = tensors.decode(fitted.centroids)
    assert list(fitted.clusters[0].favorable_sums) == pytest.approx(
        np.maximum(centroids[0].reshape(2, 4), 0).sum(axis=1)
    )
    again = engine.fit(clusterer_pb2.FitConfig(kmeans=config, k=3, display_name="mine"), data(batch(35)))
    assert again.id != fitted.id
    assert again.centroids == engine.fit(clusterer_pb2.FitConfig(kmeans=config, k=3), data(batch(35))).centroids


def test_sweep_and_fit_agree_at_the_same_k(
    engine: ClusterEngine, config: clusterer_pb2.KMeansConfig, batch: MakeBatch
) -> None:
    swept = engine.sweep(clusterer_pb2.SweepKConfig(kmeans=config, ks=[5]), data(batch(40))).points[0]
    fitted = engine.fit(clusterer_pb2.FitConfig(kmeans=config, k=5), data(batch(40)))
    assert (swept.inertia, swept.agreement, swept.random_baseline) == (
        fitted.inertia,
        fitted.agreement,
        fitted.random_baseline,
    )


def test_nothing_is_stored_when_a_fit_fails(
    store: ClusteringStore, config: clusterer_pb2.KMeansConfig, batch: MakeBatch
) -> None:
    engine = ClusterEngine(store, max_clustering_bytes=500)
    with pytest.raises(InvalidInput, match="messages are limited to 500"):
        engine.fit(clusterer_pb2.FitConfig(kmeans=config, k=3), data(batch()))
    with pytest.raises(Cancelled):
        engine.fit(clusterer_pb2.FitConfig(kmeans=config, k=3), data(batch()), lambda: True)
    assert store.page(10) == ([], "")


@pytest.fixture
def fitted(engine: ClusterEngine, config: clusterer_pb2.KMeansConfig, batch: MakeBatch) -> clusterer_pb2.Clustering:
    return engine.fit(clusterer_pb2.FitConfig(kmeans=config, k=3), data(batch(30)))


def request(clustering: clusterer_pb2.Clustering, batch: clusterer_pb2.VectorBatch) -> clusterer_pb2.AssignRequest:
    return clusterer_pb2.AssignRequest(
        request_id="r", clustering_id=clustering.id, provenance=clustering.kmeans.provenance, batch=batch
    )


def test_members_are_assigned_to_their_own_clusters_and_are_no_outliers(
    engine: ClusterEngine, fitted: clusterer_pb2.Clustering, batch: MakeBatch
) -> None:
    found = engine.assign(request(fitted, batch(30))).assignments
    assert [(a.id, a.cluster) for a in found] == [(m.id, m.cluster) for m in fitted.members]
    assert [a.distance for a in found] == pytest.approx([m.distance for m in fitted.members], rel=1e-9)
    assert not any(a.outlier for a in found)


def test_a_far_vector_is_an_outlier(engine: ClusterEngine, fitted: clusterer_pb2.Clustering, batch: MakeBatch) -> None:
    far = batch(2)
    vectors = tensors.decode(far.vectors).copy()
    vectors[1] += 100.0
    far.vectors.CopyFrom(tensors.encode(vectors))
    near, away = engine.assign(request(fitted, far)).assignments
    assert (near.outlier, away.outlier) == (False, True)
    assert away.distance > max(c.max_distance for c in fitted.clusters)


@pytest.mark.parametrize("part", ["digest", "background", "space", "method", "classes"])
def test_vectors_of_another_provenance_are_refused_naming_both(
    engine: ClusterEngine, fitted: clusterer_pb2.Clustering, batch: MakeBatch, part: str
) -> None:
    asked = request(fitted, batch(2))
    given = asked.provenance
    match part:
        case "digest":
            given.model.digest = "sha256:" + "c" * 64
        case "background":
            given.background_digest = "sha256:" + "c" * 64
        case "space":
            given.feature_space = "other-space"
        case "method":
            given.method = "other/bf16"
        case "classes":
            del given.classes[:]
            given.classes.extend(["pneumonia", "normal"])
    with pytest.raises(PreconditionFailed) as caught:
        engine.assign(asked)
    expected, other = {
        "digest": ("a" * 64, "c" * 64),
        "background": ("b" * 64, "c" * 64),
        "space": ("pooled14-signed", "other-space"),
        "method": ("shap/float32", "other/bf16"),
        "classes": ("['normal', 'pneumonia']", "['pneumonia', 'normal']"),
    }[part]
    assert expected in str(caught.value)
    assert other in str(caught.value)


def test_the_models_name_and_version_may_differ(
    engine: ClusterEngine, fitted: clusterer_pb2.Clustering, batch: MakeBatch
) -> None:
    """The digest identifies a model; a caller need not know its name."""
    asked = request(fitted, batch(2))
    asked.provenance.model.name = asked.provenance.model.version = ""
    assert len(engine.assign(asked).assignments) == 2


def test_wrong_vectors_and_unknown_clusterings_are_refused(
    engine: ClusterEngine, fitted: clusterer_pb2.Clustering, batch: MakeBatch
) -> None:
    with pytest.raises(InvalidTensor, match="dimension 5, but the clustering has 8"):
        engine.assign(request(fitted, batch(2, 5)))
    spoiled = batch(2)
    spoiled.vectors.CopyFrom(tensors.encode(np.full((2, 8), np.nan, np.float32)))
    with pytest.raises(InvalidTensor, match="NaN"):
        engine.assign(request(fitted, spoiled))
    unknown = request(fitted, batch(2))
    unknown.clustering_id = "../" + fitted.id
    with pytest.raises(NotFound):
        engine.assign(unknown)
