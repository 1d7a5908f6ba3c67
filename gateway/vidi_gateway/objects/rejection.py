"""Rejection notes: Key Object Selection Documents (PS3.3 A.35.4, PS3.16 TID 2010) as IHE RAD IOCM uses them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from highdicom.ko import KeyObjectSelection
from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.uid import UID, KeyObjectSelectionDocumentStorage

from vidi.errors import InvalidInput
from vidi_gateway.objects import base, common, source, uids
from vidi_gateway.objects.film import LIBRARIES
from vidi_gateway.objects.identity import same_patient
from vidi_gateway.objects.own import is_own
from vidi_gateway.objects.parts import BuildOptions, BuiltObject, dataset_of
from vidi_gateway.objects.reasons import RejectionReason

MOST_REFERENCES = 10_000
_SERIES = common.FIRST_SERIES_NUMBER + 2


@dataclass(frozen=True)
class RejectedObject:
    """An object that a note rejects; the UIDs of study and series are empty where the note does not say them."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True)
class RejectionNote:
    """A rejection note that came in.

    Attributes
    ----------
    sop_instance_uid
        Its own UID, empty where it has no valid one.
    reason
        Its title.
    references
        What it rejects, at least one.
    """

    sop_instance_uid: str
    reason: RejectionReason
    references: tuple[RejectedObject, ...]


@dataclass(frozen=True, eq=False)
class _Retired:
    """Owner of a note: patient and study of the objects that it rejects."""

    base: Dataset
    fingerprint: str

    def uid(self, kind: str, *parts: str) -> UID:
        """Return the deterministic UID of something that belongs to the note."""
        return uids.derive(kind, self.fingerprint, *parts)


def build_rejection(retired: Sequence[bytes], reason: RejectionReason, options: BuildOptions) -> BuiltObject:
    """Build the note that rejects objects of ours. The same arguments, in any order, give the same UID and bytes.

    Parameters
    ----------
    retired
        The objects as they were sent (Part 10 files; not the PNG), all of one study.
    reason
        Why.
    options
        What the site decides; `kinds` does not count.

    Raises
    ------
    InvalidInput
        When there is none, one is not ViDi's own, they are of several studies or patients, or `options.created` has no
        time zone.
    """
    objects = sorted((dataset_of(data) for data in retired), key=lambda ds: source.uid(ds, "SOPInstanceUID"))
    if not objects:
        raise InvalidInput("a rejection note rejects at least one object", field="retired")
    study_uid = source.study_uid(objects[0])
    for ds in objects:
        if not is_own(ds) or not all(source.uid(ds, k) for k in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID")):
            raise InvalidInput("only objects of ViDi's own are rejected", field="retired")
        if not study_uid or source.study_uid(ds) != study_uid or not same_patient(objects[0], ds):
            raise InvalidInput("a rejection note is about one study of one patient", field="retired")
    names = {source.uid(ds, "SOPInstanceUID"): ds for ds in objects}
    attributes = base.of_header(objects[0], study_uid, options.created, options)
    fingerprint = uids.digest_of(
        "rejection",
        uids.BUILDER_VERSION,
        LIBRARIES,
        base.values_of(attributes),
        reason.value,
        list(names),
        (options.software_version, options.device_serial, options.created.isoformat()),
    )
    ds = common.new_object(
        _Retired(attributes, fingerprint),
        KeyObjectSelectionDocumentStorage,
        "ko",
        (),
        "KO",
        _SERIES,
        "ViDi results withdrawn",
    )
    ds.ReferencedPerformedProcedureStepSequence = []
    code = reason.code
    content = KeyObjectSelection(
        document_title=CodedConcept(code.value, code.scheme, code.meaning),
        referenced_objects=list(names.values()),
        observer_device_context=common.observer(options.device_serial),
        description="ViDi withdrew these results. They must not be used.",
    )
    ds.update(Dataset(content[0]))
    evidence = [
        (source.uid(o, "SeriesInstanceUID"), common.reference(source.uid(o, "SOPClassUID"), uid))
        for uid, o in names.items()
    ]
    ds.CurrentRequestedProcedureEvidenceSequence = [common.hierarchy(study_uid, evidence)]
    uid = str(ds.SOPInstanceUID)
    return BuiltObject("ko", uid, str(ds.SOPClassUID), common.encode(ds), "application/dicom")


def read_rejection(ds: Dataset) -> RejectionNote | None:
    """Read a rejection note that came in.

    What it rejects are the objects in its content tree; the evidence sequence says their studies and series. A note
    without a content tree rejects what its evidence sequence lists.

    Parameters
    ----------
    ds
        Any object, however sloppy or hostile.

    Returns
    -------
    None when it is no Key Object Selection Document, or one with another title.

    Raises
    ------
    InvalidInput
        When it is a rejection note but what it rejects cannot be read, is nothing, or is more than `MOST_REFERENCES`.
        To drop it silently would keep a rejected film on show.
    """
    if source.uid(ds, "SOPClassUID") != KeyObjectSelectionDocumentStorage:
        return None
    reason = _title(ds)
    if reason is None:
        return None
    try:
        evidence = {r.sop_instance_uid: r for r in _evidence(ds)}
        selected = dict(_selected(ds))
    except InvalidInput:
        raise
    except Exception:  # noqa: BLE001 - whatever pydicom raises on a damaged sequence; it may quote patient data
        raise InvalidInput("a rejection note whose references cannot be read") from None
    references = [
        evidence.get(uid, RejectedObject("", "", sop_class, uid)) for uid, sop_class in selected.items()
    ] or list(evidence.values())
    if not references:
        raise InvalidInput("a rejection note that rejects nothing")
    return RejectionNote(source.uid(ds, "SOPInstanceUID"), reason, tuple(references))


def _title(ds: Dataset) -> RejectionReason | None:
    try:
        (concept,) = ds.ConceptNameCodeSequence
    except Exception:  # noqa: BLE001 - a title that cannot be read is no rejection's
        return None
    if source.text(concept, "CodingSchemeDesignator") != "DCM":
        return None
    return RejectionReason.from_code(source.text(concept, "CodeValue"))


def _evidence(ds: Dataset) -> Iterator[RejectedObject]:
    count = 0
    for study in ds.get("CurrentRequestedProcedureEvidenceSequence") or ():
        for series in study.get("ReferencedSeriesSequence") or ():
            for item in series.get("ReferencedSOPSequence") or ():
                count = _counted(count)
                yield RejectedObject(
                    source.study_uid(study), source.uid(series, "SeriesInstanceUID"), *_referenced(item)
                )


def _selected(ds: Dataset) -> Iterator[tuple[str, str]]:
    """Yield SOP Instance and SOP Class UIDs of the content tree, which is flat."""
    count = 0
    for content in ds.get("ContentSequence") or ():
        for item in content.get("ReferencedSOPSequence") or ():
            count = _counted(count)
            sop_class, uid = _referenced(item)
            yield uid, sop_class


def _referenced(item: Dataset) -> tuple[str, str]:
    uid = source.uid(item, "ReferencedSOPInstanceUID")
    if not uid:
        raise InvalidInput("a rejection note with an invalid UID")
    return source.uid(item, "ReferencedSOPClassUID"), uid


def _counted(count: int) -> int:
    if count >= MOST_REFERENCES:
        raise InvalidInput(f"a rejection note of more than {MOST_REFERENCES} objects")
    return count + 1
