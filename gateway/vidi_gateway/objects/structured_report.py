"""Comprehensive 3D SR with the measurement report template (PS3.16 TID 1500), as IHE AI Results asks: one a study.

The document is UNVERIFIED and PRELIMINARY. A first measurement group says what is to be said of the study as a whole,
if anything is. For each film, a group says which class the model favours, by which algorithm, with which warnings; one
more group per class holds the numbers and points at the class's maps. Without films it is the report of a withdrawal,
or of films that all have no result. highdicom writes the content tree; the modules around it are ViDi's own (highdicom
logs a name that it takes for invalid).
"""

from __future__ import annotations

from collections.abc import Mapping

from highdicom.sr import MeasurementReport, ObservationContext
from pydicom import Dataset
from pydicom.uid import Comprehensive3DSRStorage

from vidi_gateway.objects import codes, common, image_library, report_groups
from vidi_gateway.objects.study import Study

_SERIES = common.FIRST_SERIES_NUMBER


def build(study: Study, maps: Mapping[int, list[Dataset]]) -> Dataset:
    """Build the report.

    Parameters
    ----------
    maps
        The Parametric Maps by their film's number, when they are built; the report points at them.
    """
    title = "ViDi report" if study.exposures else "ViDi report, without results"
    ds = common.new_object(study, Comprehensive3DSRStorage, "sr", (), "SR", _SERIES, title)
    outcomes = [film.outcome for film in study.films]
    common.put_provenance(ds, [o.explanation_key for o in outcomes], [o.model.digest for o in outcomes])
    ds.CompletionFlag = "COMPLETE"
    ds.PreliminaryFlag = "PRELIMINARY"
    ds.VerificationFlag = "UNVERIFIED"
    ds.PerformedProcedureCodeSequence = []
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.update(_content(study, maps))

    evidence = [(f.source.series_instance_uid, f.source.reference()) for f in study.films if f.source.referable]
    evidence += [
        (str(m.SeriesInstanceUID), common.reference(str(m.SOPClassUID), str(m.SOPInstanceUID)))
        for number in sorted(maps)
        for m in maps[number]
    ]
    if evidence:
        ds.CurrentRequestedProcedureEvidenceSequence = [common.hierarchy(study.study_uid, evidence)]
    if study.predecessors:
        ds.PredecessorDocumentsSequence = _predecessors(study)
    return ds


def _predecessors(study: Study) -> list[Dataset]:
    """Return the references to the reports that this one takes the place of, by study (PS3.3 table C.17-2)."""
    by_study: dict[str, list[tuple[str, Dataset]]] = {}
    for p in study.predecessors:
        item = common.reference(p.sop_class_uid, p.sop_instance_uid)
        by_study.setdefault(p.study_instance_uid, []).append((p.series_instance_uid, item))
    return [common.hierarchy(uid, references) for uid, references in by_study.items()]


def _content(study: Study, maps: Mapping[int, list[Dataset]]) -> Dataset:
    groups = report_groups.of_study(study)
    for exposure in study.exposures:
        film = exposure.film
        uids = {
            (i, sign): film.uid("sop", "pm", str(outcome.index), outcome.name, sign)
            for i, outcome in enumerate(film.outcome.classes)
            for sign in ("favorable", "glum")
        }
        built = {m.SOPInstanceUID for m in maps.get(exposure.number, ())}
        groups += report_groups.of_exposure(study, exposure, {k: uid for k, uid in uids.items() if uid in built})
    report = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=common.observer(study.options.device_serial)),
        procedure_reported=codes.CHEST_RADIOGRAPHY,
        imaging_measurements=groups,
        title=codes.IMAGING_MEASUREMENT_REPORT,
    )
    root = report[0]
    library = image_library.build(study.films)
    if library is not None:
        root.ContentSequence.insert(len(root.ContentSequence) - 1, library)
    return Dataset(root)
