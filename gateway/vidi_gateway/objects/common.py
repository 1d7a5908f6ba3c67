"""What all of ViDi's objects have in common: patient, study, series, equipment, private attributes, encoding."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import highdicom
import pydicom
from pydicom import DataElement, Dataset
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

import vidi
from vidi.errors import InvalidInput
from vidi.imaging.dx import IMPLEMENTATION_CLASS_UID
from vidi_gateway.objects import codes, source, uids
from vidi_gateway.objects.identity import identity_digest
from vidi_gateway.outcome import FilmOutcome

MANUFACTURER = "ViDi"
MODEL_NAME = "ViDi gateway"
PRIVATE_GROUP = 0x0099
PRIVATE_CREATOR = "VIDI RESULT 1"
P_KIND, P_CLASS, P_SIGN, P_KEY, P_MODEL, P_AFFINE, P_GRID = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07
FIRST_SERIES_NUMBER = 9001
NOT_FOR_DIAGNOSIS = "Not for diagnosis. Made by software; a radiologist decides."


@dataclass(frozen=True)
class BuildOptions:
    """What the site decides about result objects.

    Attributes
    ----------
    created
        When the results were made, with a time zone. Journal it once per film: it stands in the objects and goes into
        their UIDs, so that a retry gives the same bytes.
    kinds
        Which objects are built: "sr", "pm", "sc", "png".
    software_version
        Version that the objects name.
    device_serial
        Serial number of this installation.
    """

    created: datetime
    kinds: tuple[str, ...] = ("sr", "pm", "sc", "png")
    software_version: str = vidi.__version__
    device_serial: str = "VIDI"


@dataclass(frozen=True)
class SourceImage:
    """The film that the results are about. Empty UIDs are those that its header does not validly have."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str

    @property
    def referable(self) -> bool:
        """Whether an object can refer to it without naming a UID that does not exist."""
        return all((self.sop_class_uid, self.sop_instance_uid, self.series_instance_uid, self.study_instance_uid))

    def reference(self) -> Dataset:
        """Return a reference to it (PS3.3 table 10-11)."""
        return reference(self.sop_class_uid, self.sop_instance_uid)


@dataclass(frozen=True, eq=False)
class Film:
    """All that the builders of one film share.

    Attributes
    ----------
    base
        Patient, study and general attributes, copied from the header once.
    source
        The film itself.
    outcome, options
        As given to `build_all`.
    fingerprint
        Digest over everything that goes into the objects; their UIDs derive from it.
    spacing
        Distance of the film's pixel centres in mm (between rows, between columns), None when unknown.
    orientation
        The film's PatientOrientation, None when unknown.
    shape
        Rows and columns of the film.
    lossy
        What the header says of lossy compression: what derives from a lossy film is lossy (PS3.3 C.7.6.1.1.5).
    """

    base: Dataset
    source: SourceImage
    outcome: FilmOutcome
    options: BuildOptions
    fingerprint: str
    spacing: tuple[float, float] | None
    orientation: tuple[str, str] | None
    shape: tuple[int, int]
    lossy: Dataset

    def uid(self, kind: str, *parts: str) -> UID:
        """Return the deterministic UID of something that belongs to these results."""
        return uids.derive(kind, self.fingerprint, *parts)


def film_of(
    header: Dataset, film_digest: str, shape: tuple[int, int], outcome: FilmOutcome, options: BuildOptions
) -> Film:
    """Read from a header what the objects need.

    Raises
    ------
    InvalidInput
        When `options.created` has no time zone.
    """
    if options.created.tzinfo is None or options.created.utcoffset() is None:
        raise InvalidInput("the time of creation needs a time zone", field="created")
    image = SourceImage(
        source.uid(header, "SOPClassUID"),
        source.uid(header, "SOPInstanceUID"),
        source.uid(header, "SeriesInstanceUID"),
        source.study_uid(header),
    )
    identity = identity_digest(header)
    base = _base(header, image, identity, film_digest, options)
    lossy, spacing, orientation = _lossy(header), source.spacing(header), source.patient_orientation(header)
    fingerprint = uids.digest_of(
        uids.BUILDER_VERSION,
        (highdicom.__version__, pydicom.__version__),
        (image.sop_instance_uid, image.sop_class_uid, image.series_instance_uid, image.study_instance_uid),
        identity,
        [f"{int(e.tag):08x} {e.value}" for e in (*base, *lossy) if e.VR != "SQ"],
        (str(spacing), str(orientation)),
        film_digest,
        outcome.explanation_key,
        outcome.digest,
        sorted(set(options.kinds)),
        (options.software_version, options.device_serial, options.created.isoformat()),
    )
    return Film(
        base=base,
        source=image,
        outcome=outcome,
        options=options,
        fingerprint=fingerprint,
        spacing=spacing,
        orientation=orientation,
        shape=shape,
        lossy=lossy,
    )


def new_object(
    film: Film, sop_class: str, kind: str, parts: Sequence[str], modality: str, number: int, title: str
) -> Dataset:
    """Return a dataset with all modules that the objects have in common, in a series of its own.

    Parameters
    ----------
    kind, parts
        What the UIDs are derived from, beside the film's fingerprint, such as "pm", ("pneumonia", "glum").
    modality, number, title
        The series' modality, number (from 9001, so that hanging protocols stay as they are) and description, which gets
        the prefix "AI ".
    """
    ds = Dataset()
    ds.update(film.base)
    ds.SOPClassUID = UID(sop_class)
    ds.SOPInstanceUID = film.uid("sop", kind, *parts)
    ds.SeriesInstanceUID = film.uid("series", kind, *parts)
    ds.Modality = modality
    ds.SeriesNumber = number
    ds.InstanceNumber = 1
    ds.SeriesDescription = codes.short("AI " + codes.printable(title))
    block = ds.private_block(PRIVATE_GROUP, PRIVATE_CREATOR, create=True)
    block.add_new(P_KIND, "CS", kind.upper())
    block.add_new(P_KEY, "UC", codes.printable(film.outcome.explanation_key))
    block.add_new(P_MODEL, "UC", codes.printable(film.outcome.model.digest))
    return ds


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


def _lossy(header: Dataset) -> Dataset:
    ds = Dataset()
    ds.LossyImageCompression = source.code_string(header, "LossyImageCompression", ("00", "01")) or "00"
    if ds.LossyImageCompression == "01":
        ratios = source.numbers(header, "LossyImageCompressionRatio")
        if ratios and all(1.0 <= r <= 1e6 for r in ratios):
            ds.LossyImageCompressionRatio = [decimal(r) for r in ratios]
            methods = [m.upper() for m in source.texts(header, "LossyImageCompressionMethod")]
            if len(methods) == len(ratios) and all(re.fullmatch(r"[A-Z0-9_ ]{1,16}", m) for m in methods):
                ds.LossyImageCompressionMethod = methods
    return ds


def _base(header: Dataset, image: SourceImage, identity: str, film_digest: str, options: BuildOptions) -> Dataset:
    ds = Dataset()

    def put(keyword: str, value: str, *, optional: bool = False) -> None:
        if value or not optional:
            put_verbatim(ds, keyword, value)

    put("SpecificCharacterSet", "ISO_IR 192")
    for keyword in ("PatientName", "PatientID", "AccessionNumber", "StudyID", "ReferringPhysicianName"):
        put(keyword, source.text(header, keyword))
    put("IssuerOfPatientID", source.text(header, "IssuerOfPatientID"), optional=True)
    put("PatientBirthDate", source.day(header, "PatientBirthDate"))
    put("PatientSex", source.code_string(header, "PatientSex", ("M", "F", "O")))
    put("PatientAge", source.age(header), optional=True)
    put("QualityControlSubject", source.code_string(header, "QualityControlSubject", ("YES", "NO")), optional=True)
    if source.code_string(header, "PatientIdentityRemoved", ("YES",)):
        put("PatientIdentityRemoved", "YES")
        method = codes.short(source.text(header, "DeidentificationMethod").split("\\")[0])
        put("DeidentificationMethod", method or "As of the source image")
    put(
        "StudyInstanceUID",
        image.study_instance_uid or uids.derive("study", image.sop_instance_uid, identity, film_digest),
    )
    put("StudyDate", source.day(header, "StudyDate"))
    put("StudyTime", source.time_of_day(header, "StudyTime"))
    description = source.text(header, "StudyDescription").split("\\")[0]
    put("StudyDescription", codes.short(description), optional=True)

    zone = source.utc_offset(header)
    created = options.created.astimezone(zone) if zone else options.created
    put("TimezoneOffsetFromUTC", created.strftime("%z")[:5] if zone else "", optional=True)
    for day, time in (
        ("InstanceCreationDate", "InstanceCreationTime"),
        ("SeriesDate", "SeriesTime"),
        ("ContentDate", "ContentTime"),
    ):
        put(day, created.strftime("%Y%m%d"))
        put(time, created.strftime("%H%M%S.%f"))

    put("Manufacturer", MANUFACTURER)
    put("ManufacturerModelName", MODEL_NAME)
    put("DeviceSerialNumber", codes.short(codes.printable(options.device_serial)) or "VIDI")
    put("SoftwareVersions", codes.short(codes.printable(options.software_version)) or "unknown")
    ds.CodingSchemeIdentificationSequence = [codes.scheme_identification()]
    return ds
