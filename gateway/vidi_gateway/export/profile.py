"""De-identifying one film: PS3.15 annex E, basic application confidentiality profile, and then a positive list.

The profile is applied by dicom-anonymizer, which follows the standard's own table. What it leaves is not taken over as
it is: the exported film is built anew from the attributes in `allowed.py`, with pixels that were decoded and written
again, so that nothing travels in a codec's comments, in overlay bits, in private elements or behind the last row.
"""

from __future__ import annotations

import copy
import datetime as dt
import io
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from dicomanonymizer.simpledicomanonymizer import anonymize_dataset, delete, initialize_actions, replace_UID
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

from vidi import __version__
from vidi.errors import PreconditionFailed
from vidi.imaging.dicom import decode_stored
from vidi.imaging.dx import IMPLEMENTATION_CLASS_UID
from vidi_gateway.export import allowed
from vidi_gateway.export.secret import Names
from vidi_gateway.objects import source

#: Edition of the standard whose table E.1-1 is applied.
EDITION = "2026c"
_TEXT = frozenset({"AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"})
_IDENTITY = (
    "PatientName",
    "PatientID",
    "OtherPatientIDs",
    "OtherPatientNames",
    "PatientBirthDate",
    "AccessionNumber",
    "StudyID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "InstitutionName",
    "ReferringPhysicianName",
    "PerformingPhysicianName",
    "OperatorsName",
    "StationName",
    "DeviceSerialNumber",
    "StudyDate",
    "AcquisitionDate",
)


@dataclass(frozen=True)
class Options:
    """What an export keeps beyond the basic profile.

    Attributes
    ----------
    keep_age_and_sex
        PS3.15 E.3.3, Retain Patient Characteristics: age in years (90 and more is 90) and sex.
    shift_dates
        E.3.6, Retain Longitudinal Temporal Information with Modified Dates: days are moved, the same for a patient's
        films; times are left out.
    """

    keep_age_and_sex: bool = False
    shift_dates: bool = False


@dataclass(frozen=True)
class Subject:
    """Whose film it is, by the journal's keyed digests."""

    film_id: str
    study_key: str
    patient_key: str


def deidentify(data: bytes, names: Names, subject: Subject, options: Options) -> bytes:
    """Return a de-identified Part 10 file. Native codecs run here: call it in a process that may die.

    Parameters
    ----------
    data
        The film as it came.
    names
        Of this export.
    subject
        Whose it is.
    options
        What is kept.

    Raises
    ------
    UnreadableImage
        It cannot be decoded.
    PreconditionFailed
        BURNED_IN_ANNOTATION: its pixels say who it is. NOT_DEIDENTIFIED: the profile could not be applied, or something
        of the patient was left all the same.
    """
    header, stored = decode_stored(data)
    if source.text(header, "BurnedInAnnotation").upper() == "YES":
        raise PreconditionFailed("the film's pixels hold annotations", reason="BURNED_IN_ANNOTATION")
    try:
        made = _build(_profiled(header), header, stored, names, subject, options)
        clean = not _left_over(header, made)
        buffer = io.BytesIO()
        dcmwrite(buffer, made, enforce_file_format=True)
    except Exception:  # noqa: BLE001 - a hostile header may raise anything, and messages quote values
        raise PreconditionFailed("the film could not be de-identified", reason="NOT_DEIDENTIFIED") from None
    if not clean:
        raise PreconditionFailed("something of the patient's identity was left", reason="NOT_DEIDENTIFIED")
    return buffer.getvalue()


def _profiled(header: Dataset) -> Dataset:
    """What the basic profile leaves. UIDs are deleted here and made anew: the library would keep a list of them."""
    ds = copy.deepcopy(header)
    rules = initialize_actions(f"dicomfields_{EDITION}")
    ours = {tag: delete for tag, action in rules.items() if action is replace_UID and tag[0] != 2}
    ds.file_meta = FileMetaDataset()
    anonymize_dataset(ds, ours, delete_private_tags=True, base_rules_gen=lambda: rules)
    return ds


def _build(
    left: Dataset,
    header: Dataset,
    stored: npt.NDArray[np.int32],
    names: Names,
    subject: Subject,
    options: Options,
) -> Dataset:
    """Build the film from what is allowed of what the profile has left."""
    ds = Dataset()
    for keyword in allowed.NUMBERS:
        if keyword in left and (numbers := source.numbers(left, keyword)):
            setattr(
                ds,
                keyword,
                [_decimal(keyword, n) for n in numbers] if len(numbers) > 1 else _decimal(keyword, numbers[0]),
            )
    for keyword in allowed.BINARY:
        if isinstance(value := left.get(keyword), int):
            setattr(ds, keyword, value)
    for keyword, values in allowed.WORDS.items():
        words = [w.upper() for w in source.texts(left, keyword)]
        if words and all(w in values or _directions(keyword, w, values) for w in words):
            setattr(ds, keyword, words if len(words) > 1 else words[0])
    for keyword in allowed.CODES:
        if items := [c for item in left.get(keyword) or [] if (c := _code(item))]:
            setattr(ds, keyword, items)
    _tables(ds, left)
    dx = header.get("SOPClassUID") != ComputedRadiographyImageStorage
    for keyword in (*allowed.EMPTY, *(allowed.EMPTY_DX if dx else ())):
        if keyword not in ds:
            setattr(ds, keyword, [] if keyword.endswith("Sequence") else "")
    ds.ImageType = ["DERIVED", "PRIMARY"]
    sign = left.get("PixelIntensityRelationshipSign")
    if sign in (1, -1):
        ds.PixelIntensityRelationshipSign = sign
    if "RescaleSlope" in ds:
        ds.RescaleType = "US"
    _identify(ds, header, names, subject, options)
    _pixels(ds, left, stored)
    return ds


def _identify(ds: Dataset, header: Dataset, names: Names, subject: Subject, options: Options) -> None:
    """Who it is in this export, and what was done."""
    series = names.uid("series", subject.study_key, source.text(header, "SeriesInstanceUID"))
    ds.SOPClassUID = source.uid(header, "SOPClassUID")
    ds.SOPInstanceUID = names.uid("film", subject.film_id)
    ds.SeriesInstanceUID = series
    ds.StudyInstanceUID = names.uid("study", subject.study_key)
    ds.PatientID = names.patient(subject.patient_key)
    ds.PatientName = names.patient(subject.patient_key)
    ds.PatientIdentityRemoved = "YES"
    ds.LongitudinalTemporalInformationModified = "MODIFIED" if options.shift_dates else "REMOVED"
    methods = [("113100", "Basic Application Confidentiality Profile")]
    if options.keep_age_and_sex:
        methods.append(("113108", "Retain Patient Characteristics Option"))
        sex, age = source.code_string(header, "PatientSex", ("M", "F", "O")), source.age(header)
        ds.PatientSex = sex
        if age:
            ds.PatientAge = f"{min(int(age[:3]), 90):03d}Y" if age.endswith("Y") else "000Y"
    if options.shift_dates:
        methods.append(("113107", "Retain Longitudinal Temporal Information Modified Dates Option"))
        moved = dt.timedelta(days=names.days(subject.patient_key))
        for keyword in allowed.DAYS:
            if day := source.day(header, keyword):
                setattr(ds, keyword, f"{dt.date.fromisoformat(day) - moved:%Y%m%d}")
    ds.DeidentificationMethod = [
        f"PS3.15 {EDITION} annex E, basic profile",
        "positive list of attributes",
        f"pixels written anew, ViDi {__version__}"[:64],
    ]
    ds.DeidentificationMethodCodeSequence = [_coded(value, "DCM", meaning) for value, meaning in methods]


def _pixels(ds: Dataset, left: Dataset, stored: npt.NDArray[np.int32]) -> None:
    """Write stored values as they are, natively; unused bits are empty."""
    signed = int(ds.PixelRepresentation) == 1
    ds.HighBit = int(ds.BitsStored) - 1
    cells = stored.astype(f"<{'i' if signed else 'u'}{int(ds.BitsAllocated) // 8}")
    raw = cells.tobytes()
    ds.add_new("PixelData", "OW" if ds.BitsAllocated > 8 else "OB", raw + b"\0" * (len(raw) % 2))
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        if isinstance(value := left.get(keyword), int):
            ds.add_new(keyword, "SS" if signed else "US", value)
    if source.text(left, "LossyImageCompression") == "01":
        ds.LossyImageCompression = "01"
        if ratio := source.numbers(left, "LossyImageCompressionRatio"):
            ds.LossyImageCompressionRatio = _decimal("LossyImageCompressionRatio", ratio[0])
        if source.text(left, "LossyImageCompressionMethod") in ("ISO_10918_1", "ISO_14495_1", "ISO_15444_1"):
            ds.LossyImageCompressionMethod = source.text(left, "LossyImageCompressionMethod")
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    ds.preamble = b"\0" * 128


def _tables(ds: Dataset, left: Dataset) -> None:
    """Take over look-up tables: numbers only."""
    signed = left.get("PixelRepresentation") == 1
    for keyword in ("ModalityLUTSequence", "VOILUTSequence"):
        items = []
        for item in left.get(keyword) or []:
            descriptor, table = item.get("LUTDescriptor"), item.get("LUTData")
            if descriptor is None or table is None or len(descriptor) != 3:
                continue
            made = Dataset()
            first = int(descriptor[1])
            made.add_new("LUTDescriptor", "SS" if signed or first < 0 else "US", [int(d) for d in descriptor])
            if isinstance(table, bytes):
                made.add_new("LUTData", "OW", table)
            else:
                made.add_new("LUTData", "US", [int(v) for v in table])
            if keyword == "ModalityLUTSequence":
                made.ModalityLUTType = "US"
            items.append(made)
        if items:
            setattr(ds, keyword, items)


def _code(item: Dataset) -> Dataset | None:
    value, scheme = source.text(item, "CodeValue"), source.text(item, "CodingSchemeDesignator")
    if scheme not in allowed.SCHEMES or not re.fullmatch(r"[0-9]{4,16}|[A-Z]-[0-9A-F]{4,6}", value, re.ASCII):
        return None
    # The meaning is free text: whoever needs it finds it under value and scheme.
    return _coded(value, scheme, f"{scheme} {value}")


def _coded(value: str, scheme: str, meaning: str) -> Dataset:
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = value, scheme, meaning[:64]
    return ds


def _directions(keyword: str, word: str, letters: frozenset[str]) -> bool:
    """Whether a direction of PatientOrientation, up to three letters, is made of those that there are."""
    return keyword == "PatientOrientation" and 1 <= len(word) <= 3 and set(word) <= letters


def _decimal(keyword: str, value: float) -> Any:
    whole = keyword in ("Exposure", "ExposureInuAs", "ExposureTime", "InstanceNumber", "RelativeXRayExposure")
    whole |= "Shutter" in keyword or keyword in ("XRayTubeCurrent", "FieldOfViewDimensions")
    return round(value) if whole else float(f"{value:.10g}")


def _left_over(header: Dataset, made: Dataset) -> bool:
    """Whether a word of the patient's identity stands in a text of the new film, names taken apart."""
    words: set[str] = set()
    for keyword in _IDENTITY:
        value = source.text(header, keyword)
        words |= {w.upper() for w in (value, *re.split(r"[\^=\\ ,]", value)) if len(w) >= 4}
    ours = {"PatientID", "PatientName", "SOPClassUID", "DeidentificationMethod", "CodeMeaning", *allowed.DAYS}
    for element in made.iterall():
        if element.VR not in _TEXT or element.keyword in ours or element.keyword in allowed.WORDS:
            continue
        text = str(element.value).upper()
        # Digits of a new UID may hold a short number by chance; an old UID stands there whole.
        if text in words or (element.VR != "UI" and any(word in text for word in words)):
            return True
    return False
