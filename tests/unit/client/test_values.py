"""Results against the messages they stand for."""

from __future__ import annotations

import inspect
import json
from dataclasses import fields
from typing import Any, get_type_hints

import numpy as np
import pytest

from vidi import client, tensors
from vidi.api.classifier.v1 import classifier_pb2
from vidi.api.clusterer.v1 import clusterer_pb2
from vidi.api.common.v1 import common_pb2
from vidi.api.explainer.v1 import explainer_pb2, quality_pb2
from vidi.api.gateway.v1 import gateway_pb2
from vidi.client.clusters import BATCH_BYTES, batches
from vidi.errors import InvalidInput, NotFound

#: A result's type, its message, and fields of the message that have another shape in the result.
PAIRS: list[tuple[type, Any, set[str]]] = [
    (client.ModelRef, common_pb2.ModelRef, set()),
    (client.Model, common_pb2.Model, set()),
    (client.ModelClass, common_pb2.ModelClass, set()),
    (client.Code, common_pb2.Code, set()),
    (client.IntendedUse, common_pb2.IntendedUse, set()),
    (client.ModelMetric, common_pb2.ModelMetric, set()),
    (client.ClassScore, classifier_pb2.ClassScore, set()),
    (client.Classification, classifier_pb2.Classification, set()),
    (client.Target, explainer_pb2.Target, set()),
    (client.Method, explainer_pb2.Method, set()),
    (client.Attribution, explainer_pb2.ClassAttribution, {"map_scale"}),  # applied to the map
    (client.Explanation, explainer_pb2.ExplainResponse, set()),
    (client.Assessment, explainer_pb2.AssessExplanationResponse, set()),
    (client.OutputQuality, quality_pb2.OutputQuality, set()),
    (client.DeletionInsertion, quality_pb2.DeletionInsertion, set()),
    (client.Curve, quality_pb2.Curve, set()),
    (client.Repeatability, quality_pb2.Repeatability, set()),
    (client.NoiseFloor, quality_pb2.NoiseFloor, set()),
    (client.Areas, quality_pb2.Areas, set()),
    (client.Area, quality_pb2.Area, set()),
    (client.TruthAgreement, quality_pb2.TruthAgreement, set()),
    (client.TruthScore, quality_pb2.TruthScore, set()),
    (client.TruthChance, quality_pb2.TruthChance, set()),
    (client.Provenance, clusterer_pb2.Provenance, set()),
    (client.Agreement, clusterer_pb2.Agreement, set()),
    (client.SweepPoint, clusterer_pb2.SweepPoint, set()),
    (client.Sweep, clusterer_pb2.SweepKResponse, set()),
    (client.Member, clusterer_pb2.Member, set()),
    (client.Cluster, clusterer_pb2.Cluster, set()),
    (client.Assignment, clusterer_pb2.Assignment, set()),
    (client.Clustering, clusterer_pb2.Clustering, {"kmeans"}),  # its fields stand beside the others
    (client.Clustering, clusterer_pb2.KMeansConfig, set()),
    (client.Receipt, gateway_pb2.SubmitInstanceResponse, set()),
    (client.Film, gateway_pb2.Film, set()),
    (client.FilmResult, gateway_pb2.FilmResult, set()),
    (client.FilmWarning, gateway_pb2.Warning, set()),
    (client.ClassResult, gateway_pb2.ClassResult, set()),
    (client.ResultObject, gateway_pb2.ResultObject, set()),
    (client.Delivery, gateway_pb2.Delivery, set()),
    (client.Job, gateway_pb2.Job, set()),
    (client.Cohort, gateway_pb2.Cohort, set()),
    (client.CohortClustering, gateway_pb2.ClusterCohortResponse, set()),
]


@pytest.mark.parametrize(("value", "message", "elsewhere"), PAIRS, ids=lambda x: getattr(x, "__name__", ""))
def test_every_field_of_a_message_reaches_the_caller(value: type, message: Any, elsewhere: set[str]) -> None:
    offered = {f.name for f in fields(value)}
    assert {f.name for f in message.DESCRIPTOR.fields} - elsewhere <= offered


def test_the_sync_client_offers_what_the_async_one_does() -> None:
    def public(kind: type) -> dict[str, Any]:
        return {n: m for n, m in inspect.getmembers(kind, inspect.isfunction) if not n.startswith("_")}

    sync, asynchronous = public(client.Client), public(client.AsyncClient)
    assert set(sync) == set(asynchronous)
    for name, method in asynchronous.items():
        assert inspect.signature(method).parameters == inspect.signature(sync[name]).parameters, name
        if inspect.iscoroutinefunction(method):
            assert get_type_hints(method)["return"] == get_type_hints(sync[name])["return"], name
        else:
            assert inspect.isasyncgenfunction(method)
            assert inspect.isgeneratorfunction(sync[name]) or "Iterator" in str(get_type_hints(sync[name])["return"])
    assert (
        inspect.signature(client.Client.__init__).parameters
        == inspect.signature(client.AsyncClient.__init__).parameters
    )


def test_values_cannot_be_changed() -> None:
    attribution = client.Attribution.from_proto(
        explainer_pb2.ClassAttribution(name="a", map=tensors.encode(np.ones((2, 2), np.float32)), map_scale=1.0)
    )
    with pytest.raises(AttributeError):
        attribution.name = "b"  # type: ignore[misc]
    with pytest.raises(ValueError):
        attribution.map[0, 0] = 2


def test_float16_maps_come_back_in_logits() -> None:
    exact = np.random.default_rng(0).normal(0, 1e-6, (8, 8)).astype(np.float32)  # below float16's range unscaled
    scale = float(np.abs(exact).max())
    sent = explainer_pb2.ClassAttribution(map=tensors.encode((exact / scale).astype(np.float16)), map_scale=scale)
    back = client.Attribution.from_proto(sent).map
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, exact, atol=scale / 2000)
    with pytest.raises(ValueError):
        back[0, 0] = 1


def test_unset_is_none_and_zero_is_zero() -> None:
    use = common_pb2.IntendedUse(age_min_years=0.0)
    model = client.Model.from_proto(common_pb2.Model(intended_use=use, metrics=[common_pb2.ModelMetric(ci_low=0.0)]))
    assert (model.intended_use.age_min_years, model.intended_use.age_max_years) == (0.0, None)
    assert (model.metrics[0].ci_low, model.metrics[0].ci_high) == (0.0, None)
    assert client.Film.from_proto(gateway_pb2.Film(state=gateway_pb2.FILM_STATE_REFUSED)).result is None
    assert client.Clustering.from_proto(clusterer_pb2.Clustering()).agreement is None


def test_what_was_not_measured_is_none_and_what_is_newer_is_passed_over() -> None:
    response = explainer_pb2.AssessExplanationResponse(
        outputs=[quality_pb2.OutputQuality(sign_disagreement=0.0, repeatability=[quality_pb2.Repeatability(sigma=4)])]
    )
    newer = response.FromString(response.SerializeToString() + b"\x22\x01\x63")  # measures: 99
    (output,) = client.Assessment.from_proto(newer).outputs
    assert list(newer.measures) == [99]
    assert client.Assessment.from_proto(newer).measures == ()
    assert (output.sign_disagreement, output.additivity_residual) == (0.0, None)
    assert (output.deletion_insertion, output.noise_floor, output.areas, output.truth) == (None,) * 4
    assert (output.repeatability[0].perturbation, output.repeatability[0].cosine) == ("unspecified", None)


def test_states_of_a_newer_server_are_not_final() -> None:
    film = gateway_pb2.Film.FromString(b"\x10\x63")  # state: 99
    assert film.state == 99
    assert client.Film.from_proto(film).state == "unspecified"
    assert not client.Film.from_proto(film).final


@pytest.mark.parametrize("state", ["done", "refused", "failed", "quarantined", "received", "processing"])
def test_films_know_whether_they_are_final(state: str) -> None:
    code: Any = gateway_pb2.FilmState.Value(f"FILM_STATE_{state.upper()}")
    film = client.Film.from_proto(gateway_pb2.Film(state=code))
    assert film.state == state
    assert film.final is (state not in ("received", "processing"))


def test_clusterings_become_json() -> None:
    clustering = clusterer_pb2.Clustering(
        id="c1",
        k=2,
        centroids=tensors.encode(np.zeros((2, 3), np.float32)),
        clusters=[clusterer_pb2.Cluster(index=0, labels=[clusterer_pb2.LabelCount(label="mild", count=3)])],
        members=[clusterer_pb2.Member(id="f1", label="mild")],
    )
    clustering.create_time.FromMilliseconds(1_700_000_000_123)
    outcome = client.CohortClustering.from_proto(
        gateway_pb2.ClusterCohortResponse(clustering=clustering, report_html=b"<html>")
    )
    told = json.loads(json.dumps(outcome.to_json()))
    assert told["sweep"] is None
    assert told["clustering"]["create_time"] == "2023-11-14T22:13:20.123000+00:00"
    assert told["clustering"]["clusters"][0]["labels"] == [["mild", 3]]
    assert told["clustering"]["members"][0]["id"] == "f1"
    assert "centroids" not in told["clustering"]


@pytest.mark.parametrize("shape", [(3, 5), (20_000, 4), (30, 100_352)])
def test_vectors_are_cut_into_messages_below_the_limit(shape: tuple[int, int]) -> None:
    vectors = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape)
    labels = [f"l{i % 3}" for i in range(shape[0])]
    cut = list(batches(vectors, None, labels))
    assert max(b.ByteSize() for b in cut) < BATCH_BYTES + (1 << 20)
    assert [i for b in cut for i in b.ids] == [str(i) for i in range(shape[0])]
    assert [x for b in cut for x in b.labels] == labels
    np.testing.assert_array_equal(np.concatenate([tensors.decode(b.vectors) for b in cut]), vectors)
    assert (len(cut) > 1) == (vectors.nbytes > BATCH_BYTES or len(vectors) > 8192)


def test_vectors_that_do_not_fit_their_ids_are_refused_at_once() -> None:
    vectors = np.zeros((3, 2), np.float32)
    with pytest.raises(InvalidInput, match="2 ids for 3 vectors"):
        batches(vectors, ["a", "b"], None)
    with pytest.raises(InvalidInput, match="1 labels for 3 vectors"):
        batches(vectors, None, ["a"])
    for wrong in (vectors[0], np.zeros((3, 2), int), np.zeros((0, 2), np.float32)):
        with pytest.raises(InvalidInput):
            batches(wrong, None, None)


def test_an_answer_is_a_result_or_an_error() -> None:
    assert client.Answer(0, result=3).unwrap() == 3
    with pytest.raises(NotFound):
        client.Answer[int](1, error=NotFound("model", "x")).unwrap()


def test_a_client_needs_an_address() -> None:
    with pytest.raises(InvalidInput, match="address"):
        client.AsyncClient()
    with pytest.raises(InvalidInput, match="address"):
        client.Client()
