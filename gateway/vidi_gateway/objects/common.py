"""What all of ViDi's objects have in common: series, private marks, references, encoding."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Protocol

import pydicom
from highdicom.sr import DeviceObserverIdentifyingAttributes, ObserverContext
from pydicom import DataElement, Dataset
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import FileMetaDataset
from pydicom.sr.codedict import codes as standard
from pydicom.uid import UID, ExplicitVRLittleEndian

from vidi.imaging.dx import IMPLEMENTATION_CLASS_UID
from vidi_gateway.objects import codes, uids

MANUFACTURER = "ViDi"
MODEL_NAME = "ViDi gateway"
PRIVATE_GROUP = 0x0099
PRIVATE_CREATOR = "VIDI RESULT 1"
P_KIND, P_CLASS, P_SIGN, P_KEY, P_MODEL, P_AFFINE, P_GRID = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07
FIRST_SERIES_NUMBER = 9001
NOT_FOR_DIAGNOSIS = "Not for diagnosis. Made by software; a radiologist decides."


class Owner(Protocol):
    """What an object is about: a film or a study."""

    @property
    def base(self) -> Dataset:
        """Patient, study and general attributes."""

    def uid(self, kind: str, *parts: str) -> UID:
        """Return the deterministic UID of something that belongs to it."""


def new_object(
    owner: Owner, sop_class: str, kind: str, parts: Sequence[str], modality: str, number: int, title: str
) -> Dataset:
    """Return a dataset with all modules that the objects have in common, in a series of its own.

    Parameters
    ----------
    kind, parts
        What the UIDs are derived from, beside the owner's fingerprint, such as "pm", ("pneumonia", "glum").
    modality, number, title
        The series' modality, number (from 9001, so that hanging protocols stay as they are) and description, which gets
        the prefix "AI ".
    """
    if number < FIRST_SERIES_NUMBER:
        raise ValueError(f"a result's series number is at least {FIRST_SERIES_NUMBER}")
    ds = Dataset()
    ds.update(owner.base)
    ds.SOPClassUID = UID(sop_class)
    ds.SOPInstanceUID = owner.uid("sop", kind, *parts)
    ds.SeriesInstanceUID = owner.uid("series", kind, *parts)
    ds.Modality = modality
    ds.SeriesNumber = number
    ds.InstanceNumber = 1
    ds.SeriesDescription = codes.short("AI " + codes.printable(title))
    block = ds.private_block(PRIVATE_GROUP, PRIVATE_CREATOR, create=True)
    block.add_new(P_KIND, "CS", kind.upper())
    return ds


def put_provenance(ds: Dataset, explanation_keys: Sequence[str], model_digests: Sequence[str]) -> None:
    """Add the private attributes that name the explanations and models that an object rests on."""
    block = ds.private_block(PRIVATE_GROUP, PRIVATE_CREATOR)
    for element, values in ((P_KEY, explanation_keys), (P_MODEL, model_digests)):
        distinct = list(dict.fromkeys(codes.printable(v) for v in values))
        if distinct:
            block.add_new(element, "UC", distinct if len(distinct) > 1 else distinct[0])


def observer(device_serial: str) -> ObserverContext:
    """Return the observer of ViDi's documents: a device, in the role of an artificial intelligence (TID 1004)."""
    return ObserverContext(
        observer_type=standard.DCM.Device,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=uids.derive("device", device_serial),
            name="ViDi",
            manufacturer_name=MANUFACTURER,
            model_name=MODEL_NAME,
            serial_number=codes.printable(device_serial) or "VIDI",
            role_in_procedure=codes.ARTIFICIAL_INTELLIGENCE,
        ),
    )


def encode(ds: Dataset) -> bytes:
    """Return the Part 10 file, Explicit VR Little Endian. The same dataset always gives the same bytes."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = f"VIDI_{uids.BUILDER_VERSION}"
    out = Dataset(ds)
    out.file_meta = meta
    out.preamble = b"\0" * 128
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, out, enforce_file_format=True)
    return buffer.getvalue()


def reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    """Return a SOP instance reference (PS3.3 table 10-11)."""
    item = Dataset()
    item.ReferencedSOPClassUID = UID(sop_class_uid)
    item.ReferencedSOPInstanceUID = UID(sop_instance_uid)
    return item


def referenced_series(references: Sequence[tuple[str, Dataset]], sequence: str) -> list[Dataset]:
    """Return references grouped by series: items with SeriesInstanceUID and `sequence` (a keyword)."""
    groups: dict[str, list[Dataset]] = {}
    for series_uid, item in references:
        groups.setdefault(series_uid, []).append(item)
    result = []
    for series_uid, items in groups.items():
        series = Dataset()
        series.SeriesInstanceUID = UID(series_uid)
        setattr(series, sequence, items)
        result.append(series)
    return result


def hierarchy(study_uid: str, references: Sequence[tuple[str, Dataset]]) -> Dataset:
    """Return references of one study, grouped by series (PS3.3 table C.17-3)."""
    study = Dataset()
    put_verbatim(study, "StudyInstanceUID", study_uid)
    study.ReferencedSeriesSequence = referenced_series(references, "ReferencedSOPSequence")
    return study


def put_verbatim(ds: Dataset, keyword: str, value: str) -> None:
    """Set an attribute without validation, which would quote its value in a warning. Identifiers are never repaired."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(f"{keyword} is no DICOM keyword")
    ds[tag] = DataElement(tag, dictionary_VR(tag), value, validation_mode=IGNORE)


def decimal(value: float) -> str:
    """Return a decimal string of at most 16 characters (VR DS)."""
    text = repr(float(value))
    digits = 16
    while len(text) > 16:
        digits -= 1
        text = f"{value:.{digits}g}"
    return text
