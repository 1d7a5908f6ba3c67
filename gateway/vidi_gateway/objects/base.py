"""Patient, study, time and equipment of an object, copied from a header once."""

from __future__ import annotations

import re
from datetime import datetime

from pydicom import Dataset

from vidi.errors import InvalidInput
from vidi_gateway.objects import codes, source
from vidi_gateway.objects.common import MANUFACTURER, MODEL_NAME, decimal, put_verbatim
from vidi_gateway.objects.parts import BuildOptions


def of_header(header: Dataset, study_uid: str, created: datetime, options: BuildOptions) -> Dataset:
    """Return the attributes that all objects about a header's patient and study have in common.

    Parameters
    ----------
    header
        Of a film, or of an object of ViDi's own.
    study_uid
        The study that the objects go to.
    created
        When the objects are made.

    Raises
    ------
    InvalidInput
        When `created` has no time zone.
    """
    if created.tzinfo is None or created.utcoffset() is None:
        raise InvalidInput("the time of creation needs a time zone", field="created")
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
    put("StudyInstanceUID", study_uid)
    put("StudyDate", source.day(header, "StudyDate"))
    put("StudyTime", source.time_of_day(header, "StudyTime"))
    description = source.text(header, "StudyDescription").split("\\")[0]
    put("StudyDescription", codes.short(description), optional=True)

    zone = source.utc_offset(header)
    local = created.astimezone(zone) if zone else created
    put("TimezoneOffsetFromUTC", local.strftime("%z")[:5] if zone else "", optional=True)
    for day, time in (
        ("InstanceCreationDate", "InstanceCreationTime"),
        ("SeriesDate", "SeriesTime"),
        ("ContentDate", "ContentTime"),
    ):
        put(day, local.strftime("%Y%m%d"))
        put(time, local.strftime("%H%M%S.%f"))

    put("Manufacturer", MANUFACTURER)
    put("ManufacturerModelName", MODEL_NAME)
    put("DeviceSerialNumber", codes.short(codes.printable(options.device_serial)) or "VIDI")
    put("SoftwareVersions", codes.short(codes.printable(options.software_version)) or "unknown")
    ds.CodingSchemeIdentificationSequence = [codes.scheme_identification()]
    return ds


def lossy_of(header: Dataset) -> Dataset:
    """Return what a header says of lossy compression: what derives from a lossy film is lossy (PS3.3 C.7.6.1.1.5)."""
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


def values_of(*datasets: Dataset) -> list[str]:
    """Return all plain attributes as text, for a fingerprint."""
    return [f"{int(e.tag):08x} {e.value}" for ds in datasets for e in ds if e.VR != "SQ"]
