"""What the services answered, as one checked outcome: nothing is published unless both speak of the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from vidi import tensors
from vidi.api.classifier.v1 import classifier_pb2
from vidi.api.common.v1 import common_pb2
from vidi.api.explainer.v1 import explainer_pb2
from vidi.errors import InternalError, PreconditionFailed, ViDiError
from vidi.imaging.geometry import Affine
from vidi.imaging.notes import Note
from vidi.imaging.preprocess import Preprocessing
from vidi_gateway.outcome import ClassOutcome, Code, FilmOutcome, ModelInfo
from vidi_gateway.store.records import ClassSummary, Summary

_TARGETS = {
    explainer_pb2.TARGET_KIND_UNSPECIFIED: "logit",
    explainer_pb2.TARGET_KIND_LOGIT: "logit",
    explainer_pb2.TARGET_KIND_CLASS_VS_MEAN: "class_vs_mean",
}


class Disagreement(ViDiError):
    """Classifier, explainer and gateway do not speak of the same thing: nothing may be published."""

    reason = "SERVICES_DISAGREE"


def preprocessing_of(model: common_pb2.Model) -> Preprocessing:
    """Return the preprocessing that a model was trained with.

    Raises
    ------
    Disagreement
        This gateway's arithmetic is another: PREPROCESSING_MISMATCH.
    """
    known: dict[str, Literal["squash", "letterbox"]] = {"squash": "squash", "letterbox": "letterbox"}
    geometry = known.get(model.preprocessing_geometry)
    if geometry:
        ours = Preprocessing(
            version=model.preprocessing_version, height=model.input_height, width=model.input_width, geometry=geometry
        )
        if ours.digest == model.preprocessing_digest:
            return ours
    raise Disagreement(
        "the model was trained with another preprocessing than this gateway has", reason="PREPROCESSING_MISMATCH"
    )


def combine(
    model: common_pb2.Model,
    classified: classifier_pb2.ClassifyResponse,
    explained: explainer_pb2.ExplainResponse,
    grid: npt.NDArray[np.float32],
    grid_to_film: Affine,
    notes: Sequence[Note],
    out_of_population: bool,
) -> FilmOutcome:
    """Combine both answers about one film.

    Parameters
    ----------
    model
        The pinned model's description.
    classified, explained
        The answers.
    grid
        The film on the model's grid, as it was sent.
    grid_to_film
        Transform from the grid that was sent to the film's pixels.
    notes, out_of_population
        What the reader should know.

    Raises
    ------
    PreconditionFailed
        A service answered for another digest than the pinned one.
    Disagreement
        TOP_CLASS_DIFFERS, BACKGROUND_DIFFERS, CLASSES_DIFFER.
    InvalidTensor
        A map is not what the API says.
    """
    scores = sorted(classified.classification.scores, key=lambda s: s.index)
    attributions = sorted(explained.attributions, key=lambda a: a.index)
    if {classified.classification.model.digest, explained.model.digest} != {model.ref.digest}:
        raise PreconditionFailed("a service answered for another model than the pinned one")
    names = [c.name for c in sorted(model.classes, key=lambda c: c.index)]
    if (
        [s.name for s in scores] != names
        or [a.name for a in attributions] != names
        or len(explained.logits) != len(names)
    ):
        raise Disagreement("classifier and explainer name other classes than the model has", reason="CLASSES_DIFFER")
    if explained.method.background_digest != model.background_digest:
        raise Disagreement("the explainer used other references than the model's", reason="BACKGROUND_DIFFERS")
    top = classified.classification.top_index
    if int(np.argmax(explained.logits)) != top:
        raise Disagreement(
            "classifier and explainer favour different classes: nothing is published", reason="TOP_CLASS_DIFFERS"
        )
    codes = {c.index: c.code for c in model.classes}
    classes = tuple(
        ClassOutcome(
            name=score.name,
            index=score.index,
            code=Code(codes[score.index].value, codes[score.index].scheme, codes[score.index].meaning),
            probability=score.probability,
            logit=score.logit,
            base_value=a.base_value,
            map=_map(a, (model.input_height, model.input_width)),
            total=a.sum,
            favorable_sum=a.favorable_sum,
            glum_sum=a.glum_sum,
            additivity_residual=a.additivity_residual,
        )
        for score, a in zip(scores, attributions, strict=True)
    )
    vector = tensors.decode(explained.attribution_vector, field="attribution_vector", ndim=1, dtypes={"float32"})
    m = explained.map_to_image
    return FilmOutcome(
        model=ModelInfo.from_proto(model),
        classes=classes,
        top=top,
        target=_TARGETS[explained.target.kind],
        engine=explained.method.engine,
        engine_version=explained.method.engine_version,
        precision=explained.method.precision,
        references=explained.method.references,
        background_digest=explained.method.background_digest,
        explanation_key=explained.cache_key,
        map_to_film=grid_to_film.after(Affine(m.a, m.b, m.c, m.d, m.e, m.f)),
        notes=tuple(notes),
        out_of_population=out_of_population,
        attribution_vector=np.asarray(vector, np.float32),
        seen=grid,
    )


def summarize(outcome: FilmOutcome, cache_hit: bool) -> Summary:
    """Return the outcome without its arrays, for the journal."""
    classes = tuple(
        ClassSummary(c.name, c.probability, c.logit, c.additivity_residual, c.favorable_sum, c.glum_sum)
        for c in outcome.classes
    )
    return Summary(
        prediction=outcome.favoured.name,
        classes=classes,
        calibrated=outcome.model.calibrated,
        cache_hit=cache_hit,
        explanation_key=outcome.explanation_key,
        background_digest=outcome.background_digest,
        method=f"{outcome.engine}/{outcome.precision}",
        map_to_film=outcome.map_to_film,
        notes=outcome.notes,
    )


def _map(attribution: explainer_pb2.ClassAttribution, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    array = tensors.decode(attribution.map, field="map", ndim=2, dtypes={"float32"})
    if array.shape != shape:
        raise InternalError(f"the explainer sent a map of shape {array.shape} for a model of {shape}")
    return np.array(array, np.float32).reshape(shape)
