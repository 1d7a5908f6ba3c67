"""Comprehensive 3D SR with the measurement report template (PS3.16 TID 1500), as IHE AI Results asks.

The document is UNVERIFIED and PRELIMINARY. Its first measurement group says which class the model favours, by which
algorithm, with which warnings; one more group per class holds the numbers and points at the class's maps. highdicom
writes the content tree; the modules around it are ViDi's own (highdicom logs a name that it takes for invalid).
"""

from __future__ import annotations

from collections.abc import Sequence

from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    CodedConcept,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    ImageContentItem,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    NumContentItem,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurement,
    SourceImageForMeasurementGroup,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes as standard
from pydicom.uid import Comprehensive3DSRStorage, ComputedRadiographyImageStorage, ParametricMapStorage

from vidi_gateway.objects import codes, common, uids
from vidi_gateway.objects.common import Film
from vidi_gateway.outcome import ClassOutcome

_EXPLAINED = {
    "logit": "Explained: the logit of each class.",
    "class_vs_mean": "Explained: the logit of each class less the mean logit of the other classes.",
}


def build(film: Film, maps: Sequence[Dataset]) -> Dataset:
    """Build the report.

    Parameters
    ----------
    maps
        The film's Parametric Maps when they are built, in the order (class, sign); the report points at them.
    """
    ds = common.new_object(film, Comprehensive3DSRStorage, "sr", (), "SR", common.FIRST_SERIES_NUMBER, "ViDi report")
    ds.CompletionFlag = "COMPLETE"
    ds.PreliminaryFlag = "PRELIMINARY"
    ds.VerificationFlag = "UNVERIFIED"
    ds.PerformedProcedureCodeSequence = []
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.update(_content(film, _map_references(film, maps)))

    evidence = [(str(m.SeriesInstanceUID), common.reference(str(m.SOPClassUID), str(m.SOPInstanceUID))) for m in maps]
    if film.source.referable:
        evidence.insert(0, (film.source.series_instance_uid, film.source.reference()))
    if evidence:
        study = Dataset()
        common.put_verbatim(study, "StudyInstanceUID", str(ds.StudyInstanceUID))
        study.ReferencedSeriesSequence = common.referenced_series(evidence, "ReferencedSOPSequence")
        ds.CurrentRequestedProcedureEvidenceSequence = [study]
    return ds


def _map_references(film: Film, maps: Sequence[Dataset]) -> dict[tuple[int, str], str]:
    """Return SOP Instance UIDs of the maps by class position and sign."""
    found = {}
    for i, outcome in enumerate(film.outcome.classes):
        for sign in ("favorable", "glum"):
            uid = film.uid("sop", "pm", str(outcome.index), outcome.name, sign)
            if any(m.SOPInstanceUID == uid for m in maps):
                found[i, sign] = str(uid)
    return found


def _content(film: Film, maps: dict[tuple[int, str], str]) -> Dataset:
    options = film.options
    observer = ObserverContext(
        observer_type=standard.DCM.Device,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=uids.derive("device", options.device_serial),
            name="ViDi",
            manufacturer_name=common.MANUFACTURER,
            model_name=common.MODEL_NAME,
            serial_number=codes.printable(options.device_serial) or "VIDI",
            role_in_procedure=codes.ARTIFICIAL_INTELLIGENCE,
        ),
    )
    groups = [_result_group(film)]
    groups += [
        _class_group(film, c, maps.get((i, "favorable")), maps.get((i, "glum")))
        for i, c in enumerate(film.outcome.classes)
    ]
    report = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer),
        procedure_reported=codes.CHEST_RADIOGRAPHY,
        imaging_measurements=groups,
        title=codes.IMAGING_MEASUREMENT_REPORT,
    )
    root = report[0]
    if film.source.referable:
        root.ContentSequence.insert(len(root.ContentSequence) - 1, _image_library(film))
    return Dataset(root)


def _image_library(film: Film) -> ContainerContentItem:
    """Return the image library (TID 1600) with the film; what its header does not say is left out."""
    context = RelationshipTypeValues.HAS_ACQ_CONTEXT
    is_cr = film.source.sop_class_uid == ComputedRadiographyImageStorage
    modality = ("CR", "Computed Radiography") if is_cr else ("DX", "Digital Radiography")
    entries: list[ContentItem] = [
        CodeContentItem(
            name=standard.DCM.Modality, value=CodedConcept(modality[0], "DCM", modality[1]), relationship_type=context
        )
    ]
    for name, count in ((standard.DCM.PixelDataRows, film.shape[0]), (standard.DCM.PixelDataColumns, film.shape[1])):
        entries.append(NumContentItem(name=name, value=count, unit=codes.PIXELS, relationship_type=context))
    if film.orientation:
        names = (standard.DCM.PatientOrientationRow, standard.DCM.PatientOrientationColumn)
        for name, direction in zip(names, film.orientation, strict=True):
            entries.append(TextContentItem(name=name, value=direction, relationship_type=context))
    if film.spacing:
        names = (standard.DCM.VerticalPixelSpacing, standard.DCM.HorizontalPixelSpacing)
        for name, spacing in zip(names, film.spacing, strict=True):
            entries.append(
                NumContentItem(name=name, value=spacing, unit=standard.UCUM.Millimeter, relationship_type=context)
            )
    image = ImageContentItem(
        name=codes.SOURCE,
        referenced_sop_class_uid=film.source.sop_class_uid,
        referenced_sop_instance_uid=film.source.sop_instance_uid,
        relationship_type=RelationshipTypeValues.CONTAINS,
    )
    image.ContentSequence = ContentSequence(entries)
    group = ContainerContentItem(name=standard.DCM.ImageLibraryGroup, relationship_type=RelationshipTypeValues.CONTAINS)
    group.ContentSequence = ContentSequence([image])
    library = ContainerContentItem(name=standard.DCM.ImageLibrary, relationship_type=RelationshipTypeValues.CONTAINS)
    library.ContentSequence = ContentSequence([group])
    return library


def _algorithm(film: Film, parameters: Sequence[str] | None = None) -> AlgorithmIdentification:
    version = codes.printable(film.options.software_version) or "unknown"
    return AlgorithmIdentification(
        name="ViDi", version=version, parameters=parameters, manufacturer=common.MANUFACTURER
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


def _result_group(film: Film) -> MeasurementsAndQualitativeEvaluations:
    """Return the group that says which class the model favours, and what the reader should know."""
    outcome = film.outcome
    evaluations = [QualitativeEvaluation(codes.MODEL_FAVOURS, codes.of_class(outcome.favoured))]
    noted = {n.code for n in outcome.notes}
    if outcome.out_of_population and "OUT_OF_POPULATION" not in noted:
        evaluations.append(QualitativeEvaluation(codes.WARNING, codes.warning("OUT_OF_POPULATION")))
    evaluations += [QualitativeEvaluation(codes.WARNING, codes.warning(code)) for code in sorted(noted)]
    group = _group(film, "ViDi result", ("result",), (), evaluations, _parameters(film))
    items = group[0].ContentSequence
    for text in comments(film):
        items.append(TextContentItem(name=codes.COMMENT, value=text, relationship_type=RelationshipTypeValues.CONTAINS))
    return group


def comments(film: Film) -> list[str]:
    """Return what the report says in words."""
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
    texts += [f"{n.code}: {n.message}" for n in outcome.notes]
    return [codes.printable(t) for t in texts]


def _class_group(
    film: Film, outcome: ClassOutcome, favorable_map: str | None, glum_map: str | None
) -> MeasurementsAndQualitativeEvaluations:
    """Return the group of one class: its numbers, each saying its unit, and its maps."""
    calibration = codes.CALIBRATED if film.outcome.model.calibrated else codes.UNCALIBRATED
    measurements = [
        Measurement(codes.PROBABILITY, _number(outcome.probability), codes.NO_UNITS, method=calibration),
        Measurement(codes.LOGIT, _number(outcome.logit), codes.LOGIT_UNIT),
        Measurement(codes.BASE_VALUE, _number(outcome.base_value), codes.LOGIT_UNIT),
        Measurement(codes.ATTRIBUTION_SUM, _number(outcome.total), codes.LOGIT_UNIT, method=codes.DEEP_SHAP),
        Measurement(
            codes.FAVORABLE_SUM,
            _number(outcome.favorable_sum),
            codes.LOGIT_UNIT,
            method=codes.DEEP_SHAP,
            referenced_images=_map_images(favorable_map),
        ),
        Measurement(
            codes.GLUM_SUM,
            _number(outcome.glum_sum),
            codes.LOGIT_UNIT,
            method=codes.DEEP_SHAP,
            referenced_images=_map_images(glum_map),
        ),
        Measurement(codes.RESIDUAL, _number(outcome.additivity_residual), codes.NO_UNITS),
    ]
    evaluations = [QualitativeEvaluation(codes.MODEL_CLASS, codes.of_class(outcome))]
    named_after = codes.named_after(outcome)
    if named_after is not None:
        evaluations.append(QualitativeEvaluation(codes.NAMED_AFTER, named_after))
    identifier = codes.printable(f"ViDi class {outcome.name}")
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
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=film.uid("tracking", *parts), identifier=identifier),
        algorithm_id=_algorithm(film, parameters),
        finding_sites=[FindingSite(codes.THORAX)],
        measurements=measurements,
        qualitative_evaluations=evaluations,
        source_images=[SourceImageForMeasurementGroup(image.sop_class_uid, image.sop_instance_uid)]
        if image.referable
        else None,
    )


def _map_images(uid: str | None) -> list[SourceImageForMeasurement] | None:
    return None if uid is None else [SourceImageForMeasurement(ParametricMapStorage, uid)]


def _number(value: float) -> float:
    """Return the float64 of a value, negative zero as zero."""
    return float(value) + 0.0
