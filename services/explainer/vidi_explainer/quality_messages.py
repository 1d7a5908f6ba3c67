"""Between assessments and the API's messages."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from vidi import tensors
from vidi.api.common.v1 import common_pb2
from vidi.api.explainer.v1 import explainer_pb2, quality_pb2
from vidi.bundle import Bundle, to_ref
from vidi.errors import InvalidTensor
from vidi.imaging.overlay import SIGMA
from vidi.imaging.preprocess import Preprocessing
from vidi_explainer.engine import Engine
from vidi_explainer.messages import method_of, target_to_proto
from vidi_explainer.quality.areas import Areas
from vidi_explainer.quality.assess import Assessment, Measure, OutputQuality, Question
from vidi_explainer.quality.curves import Curve, DeletionInsertion
from vidi_explainer.quality.noise_floor import NoiseFloor
from vidi_explainer.quality.repeatability import Perturbation, Repeatability
from vidi_explainer.quality.truth import Mask, TruthAgreement, TruthScore

_MEASURES = {
    quality_pb2.MEASURE_ADDITIVITY: Measure.ADDITIVITY,
    quality_pb2.MEASURE_SIGN_DISAGREEMENT: Measure.SIGN_DISAGREEMENT,
    quality_pb2.MEASURE_DELETION_INSERTION: Measure.DELETION_INSERTION,
    quality_pb2.MEASURE_REPEATABILITY: Measure.REPEATABILITY,
    quality_pb2.MEASURE_NOISE_FLOOR: Measure.NOISE_FLOOR,
    quality_pb2.MEASURE_AREAS: Measure.AREAS,
    quality_pb2.MEASURE_TRUTH: Measure.TRUTH,
}
_TO_PROTO = {measure: code for code, measure in _MEASURES.items()}
_PERTURBATIONS = {
    Perturbation.SHIFT: quality_pb2.PERTURBATION_SHIFT,
    Perturbation.ROTATION: quality_pb2.PERTURBATION_ROTATION,
    Perturbation.JPEG: quality_pb2.PERTURBATION_JPEG,
}


def measures_from_proto(codes: Iterable[quality_pb2.Measure]) -> tuple[Measure, ...]:
    """Return what a request asks to be measured."""
    return tuple(_MEASURES[code] for code in codes)


def truth_on_grid(tensor: common_pb2.Tensor, film_shape: tuple[int, ...], preprocessing: Preprocessing) -> Mask:
    """Bring a request's truth mask to the model's grid.

    Parameters
    ----------
    tensor
        uint8 (height, width), of the film's shape or the grid's; 0 is outside.
    film_shape
        Height and width of the image that was sent.
    preprocessing
        What brings films to the grid; a mask of the film's shape goes the same way.

    Returns
    -------
    bool (grid height, grid width): pixels of which at least half lies inside.

    Raises
    ------
    InvalidTensor
        When it is not uint8, has another shape, or holds no pixel.
    """
    given: npt.NDArray[np.generic] = tensors.decode(tensor, field="truth_mask", ndim=2, dtypes=("uint8",))
    grid_shape = (preprocessing.height, preprocessing.width)
    if given.shape == film_shape:
        inside, _ = preprocessing.to_grid((given != 0).astype(np.float32))
    elif given.shape == grid_shape:
        inside = (given != 0).astype(np.float32)
    else:
        raise InvalidTensor(
            f"truth_mask: shape {given.shape} is neither the image's {film_shape} nor the grid's {grid_shape}",
            field="truth_mask",
        )
    mask: Mask = inside >= 0.5
    if not mask.any():
        raise InvalidTensor("truth_mask: no pixel of the model's grid lies inside", field="truth_mask")
    return mask


def assessment_response(
    bundle: Bundle, engine: Engine, question: Question, assessment: Assessment, seconds: float
) -> explainer_pb2.AssessExplanationResponse:
    """Return the response of an assessment that is done; `seconds` is how long it computed."""
    chance = assessment.truth_chance
    return explainer_pb2.AssessExplanationResponse(
        model=to_ref(bundle),
        method=method_of(bundle, engine),
        target=target_to_proto(question.target),
        measures=[_TO_PROTO[measure] for measure in assessment.measured],
        left_out=[
            quality_pb2.LeftOutMeasure(measure=_TO_PROTO[measure], reason=reason)
            for measure, reason in assessment.left_out.items()
        ],
        outputs=[_output(output) for output in assessment.outputs],
        truth_chance=None
        if chance is None
        else quality_pb2.TruthChance(
            favorable_inside=chance.favorable_inside, points_inside=chance.points_inside, tolerance=chance.tolerance
        ),
        smoothing_sigma=SIGMA,
        seed=question.seed,
        steps=question.steps,
        compute_seconds=seconds,
    )


def _output(output: OutputQuality) -> quality_pb2.OutputQuality:
    return quality_pb2.OutputQuality(
        name=output.name,
        index=output.index,
        output=output.output,
        base_value=output.base_value,
        additivity_residual=output.additivity_residual,
        sign_disagreement=output.sign_disagreement,
        deletion_insertion=None if output.deletion_insertion is None else _curves(output.deletion_insertion),
        repeatability=[_repeatability(found) for found in output.repeatability],
        noise_floor=None if output.noise_floor is None else _noise_floor(output.noise_floor),
        areas=None if output.areas is None else _areas(output.areas),
        truth=None if output.truth is None else _truth(output.truth),
    )


def _curves(curves: DeletionInsertion) -> quality_pb2.DeletionInsertion:
    def message(curve: Curve) -> quality_pb2.Curve:
        return quality_pb2.Curve(values=curve.values.tolist(), area=curve.area)

    return quality_pb2.DeletionInsertion(
        deletion=message(curves.deletion),
        insertion=message(curves.insertion),
        random_deletion=message(curves.random_deletion),
        random_insertion=message(curves.random_insertion),
    )


def _repeatability(found: Repeatability) -> quality_pb2.Repeatability:
    return quality_pb2.Repeatability(
        perturbation=_PERTURBATIONS[found.perturbation],
        sigma=found.sigma,
        rank_correlation=found.rank_correlation,
        cosine=found.cosine,
    )


def _noise_floor(floor: NoiseFloor) -> quality_pb2.NoiseFloor:
    return quality_pb2.NoiseFloor(
        value=floor.value, percentile=floor.percentile, seeds=floor.seeds, by_seed=floor.by_seed
    )


def _areas(found: Areas) -> quality_pb2.Areas:
    return quality_pb2.Areas(
        stands_out=found.stands_out,
        mass_above_floor=found.mass_above_floor,
        areas=[
            quality_pb2.Area(
                mass_share=area.mass_share, pixels=area.pixels, grid_share=area.grid_share, level=area.level
            )
            for area in found.areas
        ],
    )


def _truth(found: TruthAgreement) -> quality_pb2.TruthAgreement:
    def message(score: TruthScore) -> quality_pb2.TruthScore:
        return quality_pb2.TruthScore(favorable_inside=score.favorable_inside, points_inside=score.points_inside)

    return quality_pb2.TruthAgreement(
        map=message(found.map), rivals={name: message(score) for name, score in found.rivals.items()}
    )
