"""Measurement groups of a report (PS3.16 TID 1501): one for the study, and for each film its result and its classes."""

from __future__ import annotations

from collections.abc import Sequence

from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    FindingSite,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurement,
    SourceImageForMeasurementGroup,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom.uid import UID, ParametricMapStorage

from vidi_gateway.objects import codes, common, statements
from vidi_gateway.objects.film import Film
from vidi_gateway.objects.statements import Statement
from vidi_gateway.objects.study import Exposure, Study
from vidi_gateway.outcome import ClassOutcome

MapUids = dict[tuple[int, str], UID]
"""SOP Instance UIDs of a film's maps, by class position and sign."""

_EXPLAINED = {
    "logit": "Explained: the logit of each class.",
    "class_vs_mean": "Explained: the logit of each class less the mean logit of the other classes.",
}


def of_study(study: Study) -> list[MeasurementsAndQualitativeEvaluations]:
    """Return the group of what is to be said of the study as a whole; none when there is nothing."""
    said = statements.of_study(study)
    if not said:
        return []
    evaluations = _warnings({code for s in said for code in s.warnings})
    reasons = dict.fromkeys(s.reason for s in said if s.reason)
    evaluations += [QualitativeEvaluation(codes.WITHDRAWN_FOR, codes.concept(r.code)) for r in reasons]
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=study.uid("tracking", "study"), identifier="ViDi study"),
        finding_sites=[FindingSite(codes.THORAX)],
        qualitative_evaluations=evaluations,
    )
    return [_with_comments(group, [common.NOT_FOR_DIAGNOSIS, *(s.text for s in said)])]


def of_exposure(study: Study, exposure: Exposure, maps: MapUids) -> list[MeasurementsAndQualitativeEvaluations]:
    """Return a film's groups: its result, then one per class.

    Parameters
    ----------
    maps
        The film's Parametric Maps when they are built; the groups point at them.
    """
    film = exposure.film
    prefix = f"ViDi film {exposure.number}" if len(study.exposures) > 1 else "ViDi"
    groups = [_result(film, exposure, statements.of_exposure(study, exposure), prefix)]
    for i, outcome in enumerate(film.outcome.classes):
        groups.append(_class(film, outcome, maps.get((i, "favorable")), maps.get((i, "glum")), prefix))
    return groups


def _result(
    film: Film, exposure: Exposure, said: Sequence[Statement], prefix: str
) -> MeasurementsAndQualitativeEvaluations:
    """Return the group that says which class the model favours, and what the reader should know."""
    outcome = film.outcome
    evaluations = [QualitativeEvaluation(codes.MODEL_FAVOURS, codes.of_class(outcome.favoured))]
    warnings = {n.code for n in outcome.notes} | {code for s in said for code in s.warnings}
    if outcome.out_of_population:
        warnings.add("OUT_OF_POPULATION")
    evaluations += _warnings(warnings)
    measurements = []
    if exposure.urgency is not None:
        measurements.append(Measurement(codes.URGENCY, _number(exposure.urgency), codes.NO_UNITS))
        evaluations += [QualitativeEvaluation(codes.URGENCY_REASON, codes.warning(r)) for r in exposure.urgency_reasons]
    group = _group(film, f"{prefix} result", ("result",), measurements, evaluations, _parameters(film))
    return _with_comments(group, [*_comments(film), *(s.text for s in said)])


def _comments(film: Film) -> list[str]:
    """Return what a film's result says in words."""
    outcome, model = film.outcome, film.outcome.model
    height, width = outcome.grid
    texts = [
        common.NOT_FOR_DIAGNOSIS,
        f"The model favours its class '{outcome.favoured.name}'. A class of the model is not a finding.",
        "Probabilities are calibrated."
        if model.calibrated
        else "Probabilities are not calibrated: they order films but are not frequencies.",
        f"The model saw {width} x {height} pixels (columns x rows).",
        _EXPLAINED.get(outcome.target, f"Explained: {outcome.target}.")
        + " Favorable attribution spoke for a class, glum attribution against it.",
        f"Maps compare the film with {outcome.references} references ({outcome.background_digest}).",
    ]
    if model.intended_use:
        texts.append(f"Intended use: {model.intended_use}")
    if outcome.out_of_population:
        texts.append("The film lies outside the model's intended use; the site chose to process it all the same.")
    return [*texts, *(f"{n.code}: {n.message}" for n in outcome.notes)]


def _class(
    film: Film, outcome: ClassOutcome, favorable_map: str | None, glum_map: str | None, prefix: str
) -> MeasurementsAndQualitativeEvaluations:
    """Return the group of one class: its numbers, each saying its unit, and its maps."""
    calibration = codes.CALIBRATED if film.outcome.model.calibrated else codes.UNCALIBRATED

    def attribution(name: CodedConcept, value: float, map_uid: str | None = None) -> Measurement:
        images = None if map_uid is None else [SourceImageForMeasurement(ParametricMapStorage, map_uid)]
        return Measurement(name, _number(value), codes.LOGIT_UNIT, method=codes.DEEP_SHAP, referenced_images=images)

    measurements = [
        Measurement(codes.PROBABILITY, _number(outcome.probability), codes.NO_UNITS, method=calibration),
        Measurement(codes.LOGIT, _number(outcome.logit), codes.LOGIT_UNIT),
        Measurement(codes.BASE_VALUE, _number(outcome.base_value), codes.LOGIT_UNIT),
        attribution(codes.ATTRIBUTION_SUM, outcome.total),
        attribution(codes.FAVORABLE_SUM, outcome.favorable_sum, favorable_map),
        attribution(codes.GLUM_SUM, outcome.glum_sum, glum_map),
        Measurement(codes.RESIDUAL, _number(outcome.additivity_residual), codes.NO_UNITS),
    ]
    evaluations = [QualitativeEvaluation(codes.MODEL_CLASS, codes.of_class(outcome))]
    named_after = codes.named_after(outcome)
    if named_after is not None:
        evaluations.append(QualitativeEvaluation(codes.NAMED_AFTER, named_after))
    identifier = codes.printable(f"{prefix} class {outcome.name}")
    return _group(film, identifier, ("class", str(outcome.index), outcome.name), measurements, evaluations)


def _group(
    film: Film,
    identifier: str,
    parts: tuple[str, ...],
    measurements: Sequence[Measurement],
    evaluations: Sequence[QualitativeEvaluation],
    parameters: Sequence[str] | None = None,
) -> MeasurementsAndQualitativeEvaluations:
    image = film.source
    version = codes.printable(film.options.software_version) or "unknown"
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=film.uid("tracking", *parts), identifier=identifier),
        algorithm_id=AlgorithmIdentification(
            name="ViDi", version=version, parameters=parameters, manufacturer=common.MANUFACTURER
        ),
        finding_sites=[FindingSite(codes.THORAX)],
        measurements=measurements,
        qualitative_evaluations=evaluations,
        source_images=[SourceImageForMeasurementGroup(image.sop_class_uid, image.sop_instance_uid)]
        if image.referable
        else None,
    )


def _parameters(film: Film) -> list[str]:
    outcome, model = film.outcome, film.outcome.model
    height, width = outcome.grid
    values = {
        "model": f"{model.name} {model.version}",
        "model digest": model.digest,
        "weights digest": model.weights_digest,
        "architecture": model.arch,
        "preprocessing digest": model.preprocessing_digest,
        "explanation engine": f"{outcome.engine} {outcome.engine_version} {outcome.precision}".strip(),
        "explanation key": outcome.explanation_key,
        "explained target": outcome.target,
        "references": str(outcome.references),
        "reference set digest": outcome.background_digest,
        "reference set": model.background_description,
        "model input, columns x rows": f"{width} x {height}",
        "probabilities": "calibrated" if model.calibrated else "not calibrated",
        "content qualification": model.content_qualification,
        "training data": model.training_data,
        "intended use": model.intended_use,
    }
    return [codes.printable(f"{name}: {value}") for name, value in values.items() if value]


def _warnings(found: set[str]) -> list[QualitativeEvaluation]:
    return [QualitativeEvaluation(codes.WARNING, codes.warning(code)) for code in sorted(found)]


def _with_comments(
    group: MeasurementsAndQualitativeEvaluations, texts: Sequence[str]
) -> MeasurementsAndQualitativeEvaluations:
    """Add comments in words to a group."""
    for text in texts:
        group[0].ContentSequence.append(
            TextContentItem(
                name=codes.COMMENT, value=codes.printable(text), relationship_type=RelationshipTypeValues.CONTAINS
            )
        )
    return group


def _number(value: float) -> float:
    """Return the float64 of a value, negative zero as zero."""
    return float(value) + 0.0
