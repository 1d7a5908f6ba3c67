"""Both services' answers are combined only when they speak of the same model, classes and references."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from vidi import tensors
from vidi.api.classifier.v1 import classifier_pb2
from vidi.api.common.v1 import common_pb2
from vidi.api.explainer.v1 import explainer_pb2
from vidi.errors import PreconditionFailed, ViDiError
from vidi.imaging.geometry import Affine
from vidi.imaging.notes import Note
from vidi.imaging.preprocess import Preprocessing
from vidi_gateway.outcome import FilmOutcome
from vidi_gateway.pipeline.outcomes import Disagreement, combine, preprocessing_of, summarize
from vidi_gateway.store.records import Summary

DIGEST = "sha256:" + "1" * 64
OTHER = "sha256:" + "2" * 64
Messages = tuple[common_pb2.Model, classifier_pb2.ClassifyResponse, explainer_pb2.ExplainResponse]


@pytest.fixture
def messages() -> Messages:
    """A model of two classes on a 16 x 16 grid, and what the services say of a film; classes in another order."""
    preprocessing = Preprocessing(height=16, width=16)
    model = common_pb2.Model(
        ref=common_pb2.ModelRef(name="m", version="1", digest=DIGEST),
        classes=[common_pb2.ModelClass(index=i, name=n, code=common_pb2.Code(value=n)) for i, n in enumerate("ab")],
        input_height=16,
        input_width=16,
        preprocessing_version=preprocessing.version,
        preprocessing_digest=preprocessing.digest,
        preprocessing_geometry=preprocessing.geometry,
        background_digest=OTHER,
    )
    scores = [
        classifier_pb2.ClassScore(name="b", index=1, probability=0.7, logit=1.0),
        classifier_pb2.ClassScore(name="a", index=0, probability=0.3, logit=0.2),
    ]
    classified = classifier_pb2.ClassifyResponse(
        classification=classifier_pb2.Classification(model=model.ref, scores=scores, top_index=1, top_name="b")
    )
    explained = explainer_pb2.ExplainResponse(
        model=model.ref,
        method=explainer_pb2.Method(engine="shap", precision="float32", references=8, background_digest=OTHER),
        attributions=[
            explainer_pb2.ClassAttribution(
                name=n, index=i, map=tensors.encode(np.full((16, 16), i, np.float32)), map_scale=1.0, sum=256.0 * i
            )
            for i, n in enumerate("ab")
        ],
        attribution_vector=tensors.encode(np.zeros(392, np.float32)),
        logits=[0.2, 1.0],
        map_to_image=common_pb2.Affine(a=1, e=1, c=0.5),
        cache_key="ab" * 32,
    )
    return model, classified, explained


def combined(messages: Messages) -> FilmOutcome:
    grid = np.zeros((16, 16), np.float32)
    return combine(*messages, grid, Affine(2.0, 0.0, 0.5, 0.0, 3.0, 1.0), [Note("AGE_UNKNOWN", "no age")], False)


def test_answers_are_combined_by_class_index(messages: Messages) -> None:
    outcome = combined(messages)
    assert [(c.name, c.probability, float(c.map[0, 0])) for c in outcome.classes] == [("a", 0.3, 0.0), ("b", 0.7, 1.0)]
    assert outcome.favoured.name == "b"
    assert outcome.map_to_film(0.0, 0.0) == (1.5, 1.0), "grid of the map, then grid that was sent, then film"
    summary = summarize(outcome, True)
    assert Summary.from_json(summary.to_json()) == summary
    assert (summary.prediction, summary.cache_hit, summary.method) == ("b", True, "shap/float32")


def other_top(m: Messages) -> None:
    m[2].logits[:] = [1.0, 0.2]


def other_background(m: Messages) -> None:
    m[2].method.background_digest = DIGEST


def other_class(m: Messages) -> None:
    m[2].attributions[0].name = "z"


def class_missing(m: Messages) -> None:
    del m[1].classification.scores[0]


def map_of_another_shape(m: Messages) -> None:
    m[2].attributions[0].map.CopyFrom(tensors.encode(np.zeros((8, 8), np.float32)))


def map_with_nan(m: Messages) -> None:
    m[2].attributions[0].map.CopyFrom(tensors.encode(np.full((16, 16), np.nan, np.float32)))


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (other_top, "TOP_CLASS_DIFFERS"),
        (other_background, "BACKGROUND_DIFFERS"),
        (other_class, "CLASSES_DIFFER"),
        (class_missing, "CLASSES_DIFFER"),
        (map_of_another_shape, "INTERNAL"),
        (map_with_nan, "INVALID_TENSOR"),
    ],
)
def test_nothing_comes_of_answers_that_differ(
    messages: Messages, break_it: Callable[[Messages], None], reason: str
) -> None:
    break_it(messages)
    with pytest.raises(ViDiError) as e:
        combined(messages)
    assert e.value.reason == reason


@pytest.mark.parametrize("service", [1, 2])
def test_an_answer_for_another_digest_asks_for_a_new_pin(messages: Messages, service: int) -> None:
    target = messages[1].classification.model if service == 1 else messages[2].model
    target.digest = OTHER
    with pytest.raises(PreconditionFailed):
        combined(messages)


def test_the_gateways_preprocessing_must_be_the_models(messages: Messages) -> None:
    model = messages[0]
    assert preprocessing_of(model) == Preprocessing(height=16, width=16)
    model.preprocessing_digest = OTHER
    with pytest.raises(Disagreement) as e:
        preprocessing_of(model)
    assert e.value.reason == "PREPROCESSING_MISMATCH"
